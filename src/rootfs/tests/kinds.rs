//! Kinds and options of mounts.

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::*;

#[test]
fn a_bind_mount_keeps_what_the_host_forbids() {
    in_namespaces("kinds::a_bind_mount_keeps_what_the_host_forbids", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/data","source":"host","options":["rbind","ro","rprivate"]}"#)
            .mount(r#"{"destination":"/free","source":"host","options":["bind","suid","noexec","noatime"]}"#);
        rustix::mount::mount("tmpfs", bundle.host(""), "tmpfs", MountFlags::NOSUID, None).unwrap();
        bundle.build().unwrap();
        assert!(options("/mnt/rootfs/data").starts_with("ro,nosuid,relatime"));
        assert_eq!(options("/mnt/rootfs/free"), "rw,noexec,noatime");
    });
}

#[test]
fn the_target_of_a_bind_mount_is_made_after_its_source() {
    in_namespaces("kinds::the_target_of_a_bind_mount_is_made_after_its_source", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/a/file","source":"/mnt/host/file","options":["bind"]}"#)
            .mount(r#"{"destination":"/a/folder","source":"/mnt/host","options":["bind"]}"#);
        fs::write(bundle.host("file"), "x").unwrap();
        bundle.build().unwrap();
        assert_eq!(fs::read_to_string("/mnt/rootfs/a/file").unwrap(), "x");
        assert!(Path::new("/mnt/rootfs/a/folder/file").exists());
    });
}

#[test]
fn a_missing_source_is_named() {
    in_namespaces("kinds::a_missing_source_is_named", || {
        let bundle = Bundle::new().mount(r#"{"destination":"/a","source":"/mnt/none","options":["bind"]}"#);
        bundle.refused("mounts[0]: source: open_tree \"/mnt/none\": no such file or directory");
        assert!(!bundle.inside("a").exists());
    });
}

#[test]
fn a_file_on_a_folder_is_refused() {
    in_namespaces("kinds::a_file_on_a_folder_is_refused", || {
        let bundle = Bundle::new().mount(r#"{"destination":"/","source":"/mnt/host/file","options":["bind"]}"#);
        fs::write(bundle.host("file"), "x").unwrap();
        bundle.refused("the source is a file, but what is there is a folder");
    });
}

#[test]
fn recursive_options_reach_the_mounts_below() {
    in_namespaces("kinds::recursive_options_reach_the_mounts_below", || {
        let bundle =
            Bundle::new().mount(r#"{"destination":"/data","source":"host","options":["rbind","rro","rnoexec"]}"#);
        fs::create_dir(bundle.host("below")).unwrap();
        rustix::mount::mount("tmpfs", bundle.host("below"), "tmpfs", MountFlags::NODEV, None).unwrap();
        bundle.build().unwrap();
        assert_eq!(options("/mnt/rootfs/data/below"), "ro,nodev,noexec,relatime");
    });
}

#[test]
fn propagation_is_set_on_the_mount() {
    in_namespaces("kinds::propagation_is_set_on_the_mount", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/a","source":"host","options":["bind","shared"]}"#)
            .mount(r#"{"destination":"/b","type":"tmpfs","options":["unbindable"]}"#);
        bundle.build().unwrap();
        let find = |path: &str| mountinfo().into_iter().find(|line| line.split(' ').nth(4) == Some(path)).unwrap();
        assert!(find("/mnt/rootfs/a").contains(" shared:"));
        assert!(find("/mnt/rootfs/b").contains(" unbindable "));
    });
}

#[test]
fn a_slave_hears_of_the_hosts_mounts() {
    in_namespaces("kinds::a_slave_hears_of_the_hosts_mounts", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/a","source":"host","options":["rbind","rslave"]}"#)
            .linux(r#""rootfsPropagation":"rslave""#);
        rustix::mount::mount_bind(bundle.host(""), bundle.host("")).unwrap();
        rustix::mount::mount_change(bundle.host(""), MountPropagationFlags::SHARED).unwrap();
        bundle.build().unwrap();
        let lines = mountinfo();
        let line = lines.iter().find(|line| line.split(' ').nth(4) == Some("/mnt/rootfs/a")).unwrap();
        // The peer is gone in this namespace, where the host's own mount became a slave as well; none is shared.
        assert!(!line.contains("shared:"), "{line}");
    });
}

#[test]
fn a_tmpfs_has_the_mode_of_what_it_covers() {
    in_namespaces("kinds::a_tmpfs_has_the_mode_of_what_it_covers", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/proc","type":"proc"}"#)
            .mount(r#"{"destination":"/old","type":"tmpfs"}"#)
            .mount(r#"{"destination":"/new","type":"tmpfs"}"#)
            .mount(r#"{"destination":"/old/said","type":"tmpfs","options":["mode=711","ro"]}"#);
        fs::create_dir(bundle.inside("old")).unwrap();
        fs::set_permissions(bundle.inside("old"), fs::Permissions::from_mode(0o2750)).unwrap();
        bundle.enter().unwrap();
        assert_eq!((mode("/old"), mode("/new"), mode("/old/said")), (0o2750, 0o1777, 0o711));
        assert!(options("/old/said").starts_with("ro"));
    });
}

#[test]
fn copy_up_keeps_what_files_are() {
    in_namespaces("kinds::copy_up_keeps_what_files_are", || {
        let bundle = Bundle::new().mount(r#"{"destination":"/var","type":"tmpfs","options":["tmpcopyup","mode=755"]}"#);
        fs::create_dir_all(bundle.inside("var/a/b")).unwrap();
        fs::write(bundle.inside("var/a/file"), vec![7; 100_000]).unwrap();
        fs::set_permissions(bundle.inside("var/a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        std::os::unix::fs::chown(bundle.inside("var/a/file"), Some(12), Some(34)).unwrap();
        fs::set_permissions(bundle.inside("var/a/file"), fs::Permissions::from_mode(0o4751)).unwrap();
        fs::hard_link(bundle.inside("var/a/file"), bundle.inside("var/a/b/second")).unwrap();
        symlink("/mnt/host", bundle.inside("var/outside")).unwrap();
        fs::set_permissions(bundle.inside("var/a/b"), fs::Permissions::from_mode(0o500)).unwrap();
        bundle.enter().unwrap();
        let found = fs::metadata("/var/a/file").unwrap();
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid(), found.len()), (0o4751, 12, 34, 100_000));
        assert_eq!(fs::metadata("/var/a/b/second").unwrap().ino(), found.ino());
        assert_eq!(fs::read_link("/var/outside").unwrap(), Path::new("/mnt/host"));
        assert_eq!(mode("/var/a/b"), 0o500);
        fs::remove_file("/var/a/file").unwrap();
    });
}

#[test]
fn a_mount_on_the_root_becomes_the_root() {
    in_namespaces("kinds::a_mount_on_the_root_becomes_the_root", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/","type":"tmpfs","options":["mode=755"]}"#)
            .mount(r#"{"destination":"/proc","type":"proc"}"#);
        fs::write(bundle.inside("covered"), "x").unwrap();
        bundle.enter().unwrap();
        let mut names: Vec<_> = fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["dev", "proc"]);
    });
}

#[test]
fn what_cannot_be_cleared_by_the_new_call_is_left_to_the_old_one() {
    in_namespaces("kinds::what_cannot_be_cleared_by_the_new_call_is_left_to_the_old_one", || {
        // The descriptor is no mount's root: both ways must say so, and neither panic nor succeed.
        let bundle = Bundle::new();
        rustix::process::fchdir(ProcFs::open().unwrap()).unwrap();
        let folder = fs::File::open(bundle.host("")).unwrap();
        let result = super::super::attributes::change(&folder, MountFlags::RDONLY, MountFlags::empty());
        assert_eq!(result, Err(rustix::io::Errno::INVAL));
    });
}

#[test]
fn a_remount_changes_what_is_there() {
    in_namespaces("kinds::a_remount_changes_what_is_there", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/a","type":"tmpfs","options":["nosuid"]}"#)
            .mount(r#"{"destination":"/a","type":"tmpfs","options":["remount","noexec","nosuid"]}"#)
            .mount(r#"{"destination":"/b","source":"host","options":["bind"]}"#)
            .mount(r#"{"destination":"/b","options":["bind","remount","ro"]}"#);
        bundle.build().unwrap();
        assert_eq!(options("/mnt/rootfs/a"), "rw,nosuid,noexec,relatime");
        assert!(options("/mnt/rootfs/b").starts_with("ro"));
    });
}

#[test]
fn an_overlay_is_a_filesystem_like_others() {
    in_namespaces("kinds::an_overlay_is_a_filesystem_like_others", || {
        let bundle = Bundle::new().mount(
            r#"{"destination":"/o","type":"overlay","source":"overlay",
                "options":["lowerdir=/mnt/host/low","upperdir=/mnt/host/up","workdir=/mnt/host/work"]}"#,
        );
        for name in ["low", "up", "work"] {
            fs::create_dir(bundle.host(name)).unwrap();
        }
        fs::write(bundle.host("low/x"), "x").unwrap();
        bundle.build().unwrap();
        assert_eq!(fs::read_to_string("/mnt/rootfs/o/x").unwrap(), "x");
    });
}

#[test]
fn an_unknown_filesystem_or_option_is_named() {
    in_namespaces("kinds::an_unknown_filesystem_or_option_is_named", || {
        Bundle::new().mount(r#"{"destination":"/a","type":"nonefs"}"#).refused("mounts[0]: mount nonefs on \"/a\"");
        let options = r#"{"destination":"/a","type":"tmpfs","options":["nonsense"]}"#;
        Bundle::new().mount(options).refused("mounts[0]: mount tmpfs on \"/a\": invalid argument");
    });
}

#[test]
fn devices_stand_where_they_are_wanted() {
    in_namespaces("kinds::devices_stand_where_they_are_wanted", || {
        let bundle = Bundle::new().linux(
            r#""devices":[{"path":"/deep/fuse","type":"c","major":10,"minor":229,"fileMode":384,"uid":5,"gid":6},
                {"path":"/dev/pipe","type":"p"},{"path":"/dev/disk","type":"b","major":7,"minor":0}]"#,
        );
        bundle.build().unwrap();
        let found = fs::metadata("/mnt/rootfs/deep/fuse").unwrap();
        assert_eq!((found.rdev(), found.uid(), found.gid()), (rustix::fs::makedev(10, 229), 5, 6));
        assert_eq!(mode("/mnt/rootfs/deep/fuse"), 0o600);
        assert_eq!(fs::metadata("/mnt/rootfs/dev/disk").unwrap().rdev(), rustix::fs::makedev(7, 0));
        assert!(Path::new("/mnt/rootfs/dev/pipe").exists());
    });
}

#[test]
fn a_v2_tree_is_bound_or_mounted() {
    in_namespaces("kinds::a_v2_tree_is_bound_or_mounted", || {
        let mount = r#"{"destination":"/sys/fs/cgroup","type":"cgroup","options":["ro","nosuid","noexec","nodev"]}"#;
        let bundle = Bundle::new().mount(mount);
        fs::create_dir(bundle.host("tree")).unwrap();
        rustix::mount::mount("cgroup2", bundle.host("tree"), "cgroup2", MountFlags::empty(), None).unwrap();
        let tree = ViewTree {
            name: String::new(),
            fstype: "cgroup2",
            options: String::new(),
            mount: bundle.host("tree"),
            container: None,
        };
        let view = View { kind: Kind::V2, trees: vec![tree], links: Vec::new() };
        let proc = ProcFs::open().unwrap();
        for kinds in [&["mount"][..], &["mount", "cgroup"]] {
            let plan = bundle.plan(kinds);
            build(&plan, &Prepared::default(), &view, &proc).unwrap();
            assert!(options("/mnt/rootfs/sys/fs/cgroup").starts_with("ro,nosuid,nodev,noexec"));
            assert!(Path::new("/mnt/rootfs/sys/fs/cgroup/cgroup.procs").exists());
        }
    });
}

#[test]
fn v1_trees_stand_side_by_side() {
    in_namespaces("kinds::v1_trees_stand_side_by_side", || {
        let mount = r#"{"destination":"/sys/fs/cgroup","type":"cgroup","options":["ro"]}"#;
        let bundle = Bundle::new().mount(mount);
        fs::create_dir(bundle.host("own")).unwrap();
        fs::write(bundle.host("own/tasks"), "").unwrap();
        let tree = |name: &str| ViewTree {
            name: name.into(),
            fstype: "cgroup",
            options: name.into(),
            mount: bundle.host(""),
            container: Some(bundle.host("own")),
        };
        let view = View {
            trees: vec![tree("cpu,cpuacct"), ViewTree { container: None, ..tree("memory") }],
            links: vec![("cpu".into(), "cpu,cpuacct".into())],
            ..no_cgroups()
        };
        build(&bundle.plan(&["mount"]), &Prepared::default(), &view, &ProcFs::open().unwrap()).unwrap();
        assert!(Path::new("/mnt/rootfs/sys/fs/cgroup/cpu/tasks").exists());
        assert!(options("/mnt/rootfs/sys/fs/cgroup").starts_with("ro,nosuid,nodev,noexec"));
        assert!(options("/mnt/rootfs/sys/fs/cgroup/cpu,cpuacct").starts_with("ro"));
        assert!(options("/mnt/rootfs/sys/fs/cgroup/memory").starts_with("ro"));
    });
}
