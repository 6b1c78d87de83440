//! What an image may try.

use super::*;

const PROC: &str = r#"{"destination":"/proc","type":"proc"}"#;

#[test]
fn proc_and_sys_are_real_folders() {
    in_namespaces("hostile::proc_and_sys_are_real_folders", || {
        let bundle = Bundle::new();
        fs::create_dir_all(bundle.inside("elsewhere")).unwrap();
        symlink("/elsewhere", bundle.inside("proc")).unwrap();
        symlink("elsewhere", bundle.inside("sys")).unwrap();
        bundle.mount(PROC).refused("\"/proc\" is a link");
        let bundle = Bundle { mounts: vec![r#"{"destination":"/sys","type":"sysfs"}"#.into()], ..later() };
        bundle.refused("\"/sys\" is a link");
    });
}

/// The bundle that is mounted already.
fn later() -> Bundle {
    Bundle { path: "/mnt".into(), mounts: Vec::new(), root: r#""readonly":false"#.into(), linux: String::new() }
}

#[test]
fn proc_behind_a_linked_folder_is_refused() {
    in_namespaces("hostile::proc_behind_a_linked_folder_is_refused", || {
        let bundle = Bundle::new().mount(r#"{"destination":"/jail/proc","type":"proc"}"#);
        fs::create_dir_all(bundle.inside("real")).unwrap();
        symlink("/real", bundle.inside("jail")).unwrap();
        bundle.refused("\"/jail/proc\" is a link");
    });
}

#[test]
fn nothing_is_mounted_inside_proc() {
    in_namespaces("hostile::nothing_is_mounted_inside_proc", || {
        let bundle = Bundle::new().mount(PROC).mount(r#"{"destination":"/innocent","type":"tmpfs"}"#);
        symlink("/proc/self/attr", bundle.inside("innocent")).unwrap();
        bundle.refused("it lies inside /proc");
    });
}

#[test]
fn proc_itself_is_no_place_for_other_filesystems() {
    in_namespaces("hostile::proc_itself_is_no_place_for_other_filesystems", || {
        Bundle::new().mount(r#"{"destination":"/proc","type":"tmpfs"}"#).refused("only a procfs");
    });
}

#[test]
fn a_bound_procfs_and_replaced_numbers_are_fine() {
    in_namespaces("hostile::a_bound_procfs_and_replaced_numbers_are_fine", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/proc","type":"bind","source":"/proc","options":["rbind"]}"#)
            .mount(r#"{"destination":"/proc/meminfo","source":"/mnt/host/meminfo","options":["bind"]}"#);
        fs::write(bundle.host("meminfo"), "none").unwrap();
        bundle.enter().unwrap();
        assert_eq!(fs::read_to_string("/proc/meminfo").unwrap(), "none");
    });
}

#[test]
fn targets_behind_links_stay_inside() {
    in_namespaces("hostile::targets_behind_links_stay_inside", || {
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/absolute/deep","type":"tmpfs","options":["mode=700"]}"#)
            .mount(r#"{"destination":"/climbing","type":"tmpfs"}"#)
            .mount(r#"{"destination":"/file","source":"/mnt/host/data","options":["bind"]}"#);
        fs::write(bundle.host("data"), "data").unwrap();
        symlink("/mnt/host", bundle.inside("absolute")).unwrap();
        symlink("../../../../../../mnt/host/climbed", bundle.inside("climbing")).unwrap();
        symlink("/etc/../../resolved", bundle.inside("file")).unwrap();
        bundle.build().unwrap();
        // On the host's side nothing has been made, and nothing is mounted.
        let names: Vec<_> = fs::read_dir("/mnt/host").unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["data"]);
        for path in ["/mnt/rootfs/mnt/host/deep", "/mnt/rootfs/mnt/host/climbed", "/mnt/rootfs/resolved"] {
            options(path);
        }
    });
}

#[test]
fn a_linked_dev_stays_inside() {
    in_namespaces("hostile::a_linked_dev_stays_inside", || {
        let bundle = Bundle::new().mount(r#"{"destination":"/dev","type":"tmpfs","options":["mode=755"]}"#);
        symlink("/mnt/host", bundle.inside("dev")).unwrap();
        bundle.build().unwrap();
        assert_eq!(fs::read_dir("/mnt/host").unwrap().count(), 0);
        assert!(Path::new("/mnt/rootfs/mnt/host/null").exists());
    });
}

#[test]
fn a_null_device_that_is_something_else_is_refused() {
    in_namespaces("hostile::a_null_device_that_is_something_else_is_refused", || {
        let bundle = Bundle::new();
        fs::create_dir(bundle.inside("dev")).unwrap();
        fs::write(bundle.inside("victim"), "x").unwrap();
        symlink("/victim", bundle.inside("dev/null")).unwrap();
        bundle.refused("something else of that name");
        assert_eq!(mode("/mnt/rootfs/victim"), 0o644);
        assert_eq!(fs::read_link("/mnt/rootfs/dev/null").unwrap(), Path::new("/victim"));
    });
}

#[test]
fn masks_are_not_made_of_what_the_image_calls_null() {
    in_namespaces("hostile::masks_are_not_made_of_what_the_image_calls_null", || {
        // A /dev that the bundle brings is left as it is, so its null can be a link to a file with power.
        let bundle = Bundle::new()
            .mount(PROC)
            .mount(r#"{"destination":"/dev","source":"/mnt/host","options":["bind"]}"#)
            .linux(r#""maskedPaths":["/proc/version"]"#);
        symlink("/proc/sysrq-trigger", bundle.host("null")).unwrap();
        let message = bundle.enter().unwrap_err().to_string();
        assert!(message.contains("is not the null device"), "{message}");
    });
}

#[test]
fn a_linked_console_is_refused() {
    in_namespaces("hostile::a_linked_console_is_refused", || {
        let bundle = Bundle::new().mount(PROC);
        fs::create_dir(bundle.inside("dev")).unwrap();
        symlink("/proc/sys/kernel/core_pattern", bundle.inside("dev/console")).unwrap();
        let inside = bundle.enter().unwrap();
        let terminal = fs::File::open("/dev/null").unwrap();
        let message = inside.console(&terminal).unwrap_err().to_string();
        assert!(message.contains("/dev/console in the rootfs"), "{message}");
    });
}

#[test]
fn the_images_own_ptmx_goes() {
    in_namespaces("hostile::the_images_own_ptmx_goes", || {
        let bundle = Bundle::new();
        fs::create_dir(bundle.inside("dev")).unwrap();
        symlink("/elsewhere", bundle.inside("dev/ptmx")).unwrap();
        bundle.build().unwrap();
        assert_eq!(fs::read_link("/mnt/rootfs/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    });
}
