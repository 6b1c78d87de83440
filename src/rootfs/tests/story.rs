//! The whole way of ordinary bundles.

use super::*;

/// What `spec` writes, without the cgroup mount.
fn ordinary() -> Bundle {
    let bundle = Bundle::new();
    for name in ["proc", "dev", "sys"] {
        fs::create_dir(bundle.inside(name)).unwrap();
    }
    bundle
        .mount(r#"{"destination":"/proc","type":"proc","source":"proc"}"#)
        .mount(
            r#"{"destination":"/dev","type":"tmpfs","source":"tmpfs",
                "options":["nosuid","strictatime","mode=755","size=65536k"]}"#,
        )
        .mount(
            r#"{"destination":"/dev/pts","type":"devpts","source":"devpts",
                "options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]}"#,
        )
        .mount(
            r#"{"destination":"/dev/shm","type":"tmpfs","source":"shm",
                "options":["nosuid","noexec","nodev","mode=1777","size=65536k"]}"#,
        )
        .mount(
            r#"{"destination":"/dev/mqueue","type":"mqueue","source":"mqueue",
                "options":["nosuid","noexec","nodev"]}"#,
        )
        .mount(r#"{"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]}"#)
        .linux(
            r#""maskedPaths":["/proc/acpi","/proc/asound","/proc/kcore","/proc/keys","/proc/latency_stats",
                "/proc/timer_list","/proc/timer_stats","/proc/sched_debug","/sys/firmware","/proc/scsi","/proc/version",
                "/none","/proc/stat/none","/proc/fs"],
                "readonlyPaths":["/proc/bus","/proc/irq","/proc/sys","/proc/sysrq-trigger","/proc/none"]"#,
        )
}

#[test]
fn an_ordinary_bundle_becomes_the_root() {
    in_namespaces("story::an_ordinary_bundle_becomes_the_root", || {
        let mut bundle = ordinary();
        bundle.root = r#""readonly":true"#.into();
        fs::write(bundle.inside("here"), "x").unwrap();
        bundle.enter().unwrap();

        assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
        assert_eq!(fs::read_to_string("/here").unwrap(), "x");
        let mut mounts: Vec<_> = mountinfo().iter().map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect();
        mounts.sort();
        let hidden: Vec<_> = mounts.iter().filter(|path| path.starts_with("/proc/")).collect();
        assert!(
            hidden.contains(&&"/proc/version".to_owned()) && hidden.contains(&&"/proc/sys".to_owned()),
            "{hidden:?}"
        );
        mounts.retain(|path| !path.starts_with("/proc/") && path != "/sys/firmware");
        assert_eq!(mounts, ["/", "/dev", "/dev/mqueue", "/dev/pts", "/dev/shm", "/proc", "/sys"]);

        assert!(options("/").starts_with("ro"));
        assert!(options("/sys").starts_with("ro,nosuid,nodev,noexec"));
        assert!(options("/dev").starts_with("rw,nosuid"));
        assert_eq!(mode("/dev/shm"), 0o1777);
        assert_eq!(fs::read("/proc/version").unwrap(), b"");
        assert_eq!(fs::read_dir("/proc/fs").unwrap().count(), 0);
        assert!(options("/proc/fs").starts_with("ro"));
        assert!(options("/proc/sys").starts_with("ro"));
        assert!(fs::write("/proc/sys/kernel/domainname", "x").is_err());

        for (name, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
            let found = fs::metadata(Path::new("/dev").join(name)).unwrap();
            assert_eq!(found.rdev(), rustix::fs::makedev(1, minor), "{name}");
            assert_eq!(found.mode() & 0o7777, 0o666, "{name}");
        }
        assert_eq!(fs::read_link("/dev/fd").unwrap(), Path::new("/proc/self/fd"));
        assert_eq!(fs::read_link("/dev/ptmx").unwrap(), Path::new("pts/ptmx"));
    });
}

#[test]
fn a_terminal_is_the_console() {
    in_namespaces("story::a_terminal_is_the_console", || {
        let bundle = ordinary();
        let inside = bundle.enter().unwrap();
        let master = fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx").unwrap();
        rustix::pty::unlockpt(&master).unwrap();
        let slave = rustix::pty::ioctl_tiocgptpeer(&master, rustix::pty::OpenptFlags::RDWR).unwrap();
        inside.console(&slave).unwrap();
        let found = fs::metadata("/dev/console").unwrap();
        assert_eq!(found.rdev(), rustix::fs::fstat(&slave).unwrap().st_rdev);
    });
}

#[test]
fn without_pivot_root_the_host_is_out_of_reach_as_well() {
    in_namespaces("story::without_pivot_root_the_host_is_out_of_reach_as_well", || {
        let bundle = ordinary();
        fs::write(bundle.inside("here"), "x").unwrap();
        let plan = bundle.plan(&["mount", "pid", "ipc", "network"]);
        let proc = ProcFs::open().unwrap();
        let root = build(&plan, &Prepared::default(), &no_cgroups(), &proc).unwrap();
        let inside = root.pivot(true, &proc).unwrap();
        inside.finish(&plan, &proc).unwrap();
        assert_eq!(std::env::current_dir().unwrap(), Path::new("/"));
        assert!(Path::new("/here").exists() && !Path::new("/mnt").exists());
        // Through a /proc of the container's own: nothing of the host's proc and sysfs is left in the namespace.
        let whole = mountinfo().iter().filter(|line| line.contains(" - proc ") || line.contains(" - sysfs ")).count();
        assert!(fs::read_to_string("/proc/self/stat").is_ok());
        assert!(whole > 0);
    });
}

#[test]
fn shared_propagation_does_not_reach_the_host() {
    in_namespaces("story::shared_propagation_does_not_reach_the_host", || {
        let bundle = ordinary().linux(r#""rootfsPropagation":"rshared""#);
        // The outer world of this test: a tree of peers, one of which a process outside would see.
        let shared = rustix::mount::MountPropagationFlags::SHARED | rustix::mount::MountPropagationFlags::REC;
        rustix::mount::mount_change("/", shared).unwrap();
        let output = Command::new("unshare")
            .args(["--mount", "--propagation", "unchanged", "--pid", "--fork", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture", "--test-threads=1", "rootfs::tests::story::helper_shared_child"])
            .env("MYRT_TEST_SHARED_CHILD", "1")
            .output()
            .unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        let left: Vec<_> = mountinfo().into_iter().filter(|line| line.contains(" /mnt/rootfs")).collect();
        assert!(left.is_empty(), "{left:#?}");
        assert!(bundle.inside("/").exists());
        assert!(Path::new("/proc/self/stat").exists());
    });
}

/// The inner half of the test above; alone it has nothing to do.
#[test]
fn helper_shared_child() {
    if std::env::var_os("MYRT_TEST_SHARED_CHILD").is_none() {
        return;
    }
    let mut bundle =
        Bundle { path: "/mnt".into(), mounts: Vec::new(), root: r#""readonly":false"#.into(), linux: String::new() };
    bundle = bundle.mount(r#"{"destination":"/proc","type":"proc"}"#).linux(r#""rootfsPropagation":"rshared""#);
    bundle.enter().unwrap();
    assert!(mountinfo().iter().all(|line| line.contains(" shared:")), "{:#?}", mountinfo());
}

#[test]
fn unbindable_is_for_the_end() {
    in_namespaces("story::unbindable_is_for_the_end", || {
        let bundle = ordinary().linux(r#""rootfsPropagation":"runbindable""#);
        bundle.enter().unwrap();
        assert!(mountinfo().iter().all(|line| line.contains(" unbindable ")));
    });
}
