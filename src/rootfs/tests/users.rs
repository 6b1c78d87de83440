//! Id mappings and user namespaces.

use super::*;
use crate::sys::clone::{Forked, fork};
use crate::sys::exec::exit_now;

const MAPS: &str = r#""uidMappings":[{"containerID":0,"hostID":100000,"size":65536}],
    "gidMappings":[{"containerID":0,"hostID":100000,"size":65536}]"#;

#[test]
fn an_idmapped_mount_shows_other_owners() {
    in_namespaces("users::an_idmapped_mount_shows_other_owners", || {
        own_proc();
        let mount = format!(r#"{{"destination":"/a","source":"host","options":["rbind","idmap"],{MAPS}}}"#);
        let bundle = Bundle::new().mount(&mount).mount(&mount.replace("\"/a\"", "\"/b\""));
        bundle.build().unwrap();
        assert_eq!(fs::metadata("/mnt/rootfs/a").unwrap().uid(), 100_000);
        assert_eq!(fs::metadata("/mnt/rootfs/b").unwrap().gid(), 100_000);
        assert_eq!(fs::metadata(bundle.host("")).unwrap().uid(), 0);
    });
}

/// Builds as the child of a clone with a user namespace, and looks around there.
#[track_caller]
fn in_user_namespace(bundle: &Bundle, kinds: &[&str], look: impl FnOnce()) {
    let mut all = vec!["user", "mount"];
    all.extend(kinds);
    let plan = bundle.plan(&all);
    let prepared = prepare(&plan).unwrap();
    let flags = plan.namespaces.new.iter().fold(0, |flags, kind| flags | kind.flag());
    let (gate, opener) = rustix::pipe::pipe().unwrap();
    match fork(flags, None).unwrap() {
        Forked::Child => {
            drop(opener);
            let _ = rustix::io::read(&gate, &mut [0_u8]);
            rustix::thread::set_thread_uid(rustix::fs::Uid::ROOT).unwrap();
            rustix::thread::set_thread_gid(rustix::fs::Gid::ROOT).unwrap();
            let built = || {
                let proc = ProcFs::open()?;
                let root = build(&plan, &prepared, &no_cgroups(), &proc)?;
                let inside = root.pivot(false, &proc)?;
                inside.finish(&plan, &proc)
            };
            let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                built().unwrap();
                look();
            }));
            exit_now(i32::from(result.is_err()));
        }
        Forked::Parent(child) => {
            for map in ["uid_map", "gid_map"] {
                fs::write(format!("/proc/{}/{map}", child.pid.as_raw_nonzero()), "0 100000 65536\n").unwrap();
            }
            drop((gate, opener));
            let (_, status) =
                rustix::process::waitpid(Some(child.pid), rustix::process::WaitOptions::empty()).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0));
        }
    }
}

/// A procfs of this test's own pid namespace, as a host has one.
fn own_proc() {
    rustix::mount::mount("proc", "/proc", "proc", rustix::mount::MountFlags::empty(), None).unwrap();
}

#[test]
fn a_user_namespace_gets_what_it_cannot_reach() {
    in_namespaces("users::a_user_namespace_gets_what_it_cannot_reach", || {
        own_proc();
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/proc","type":"proc"}"#)
            .mount(r#"{"destination":"/dev","type":"tmpfs","options":["nosuid","mode=755"]}"#)
            .mount(
                r#"{"destination":"/dev/pts","type":"devpts","options":["newinstance","ptmxmode=0666","gid=100005"]}"#,
            )
            .mount(r#"{"destination":"/data","source":"/mnt/host/data","options":["rbind","ro"]}"#)
            .linux(&format!(r#""maskedPaths":["/proc/version","/proc/fs"],"readonlyPaths":["/proc/sys"],{MAPS}"#));
        fs::create_dir(bundle.host("data")).unwrap();
        fs::write(bundle.host("data/x"), "x").unwrap();
        for name in ["dev", "proc", "data"] {
            fs::create_dir(bundle.inside(name)).unwrap();
        }
        std::os::unix::fs::chown(bundle.inside("/"), Some(100_000), Some(100_000)).unwrap();
        // Neither the rootfs nor the volume can be reached by name any more.
        fs::set_permissions(&bundle.path, fs::Permissions::from_mode(0o700)).unwrap();
        in_user_namespace(&bundle, &["pid", "ipc"], || {
            assert_eq!(fs::read_to_string("/data/x").unwrap(), "x");
            assert!(options("/data").starts_with("ro"));
            assert_eq!(fs::metadata("/dev/null").unwrap().rdev(), rustix::fs::makedev(1, 3));
            assert_eq!(fs::read("/dev/null").unwrap(), b"");
            assert!(Path::new("/dev/pts/ptmx").exists());
            assert_eq!(fs::read("/proc/version").unwrap(), b"");
            assert!(mountinfo().iter().all(|line| !line.contains("/mnt")), "{:#?}", mountinfo());
        });
        assert!(mountinfo().iter().all(|line| !line.contains(" /mnt/rootfs")));
    });
}

#[test]
fn sysfs_and_mqueue_of_the_host_stand_in() {
    in_namespaces("users::sysfs_and_mqueue_of_the_host_stand_in", || {
        own_proc();
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/proc","type":"proc"}"#)
            .mount(r#"{"destination":"/sys","type":"sysfs","options":["nosuid","noexec","nodev","ro"]}"#)
            .linux(MAPS);
        for name in ["proc", "sys", "dev"] {
            fs::create_dir(bundle.inside(name)).unwrap();
            std::os::unix::fs::chown(bundle.inside(name), Some(100_000), Some(100_000)).unwrap();
        }
        std::os::unix::fs::chown(bundle.inside("/"), Some(100_000), Some(100_000)).unwrap();
        in_user_namespace(&bundle, &["pid"], || {
            assert!(Path::new("/sys/class").exists());
            for line in mountinfo().iter().filter(|line| line.split(' ').nth(4).unwrap().starts_with("/sys")) {
                assert!(line.split(' ').nth(5).unwrap().starts_with("ro,nosuid,nodev,noexec"), "{line}");
            }
        });
    });
}

#[test]
fn a_lock_of_the_host_stays() {
    in_namespaces("users::a_lock_of_the_host_stays", || {
        own_proc();
        let bundle = Bundle::new()
            .mount(r#"{"destination":"/proc","type":"proc"}"#)
            .mount(r#"{"destination":"/data","source":"/mnt/host","options":["rbind","noexec"]}"#)
            .linux(MAPS);
        for name in ["proc", "data", "dev"] {
            fs::create_dir(bundle.inside(name)).unwrap();
            std::os::unix::fs::chown(bundle.inside(name), Some(100_000), Some(100_000)).unwrap();
        }
        let read_only = rustix::mount::MountFlags::RDONLY | rustix::mount::MountFlags::NOSUID;
        rustix::mount::mount("tmpfs", bundle.host(""), "tmpfs", read_only, None).unwrap();
        in_user_namespace(&bundle, &["pid"], || {
            assert!(options("/data").starts_with("ro,nosuid,noexec"));
            let lifted = rustix::mount::mount_remount("/data", rustix::mount::MountFlags::BIND, "");
            assert_eq!(lifted, Err(rustix::io::Errno::PERM));
        });
    });
}
