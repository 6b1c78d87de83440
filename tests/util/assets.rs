//! What root filesystems are made of: busybox, and a small C program for what busybox cannot show.
//!
//! A test gets copies, never links: it may run a hostile program as the host's root, which could write to them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::command::{TestCommand, copy_executable};

const FOLDERS: &[&str] = &["bin", "dev", "etc", "mnt", "proc", "root", "sys", "tmp", "var"];

const APPLETS: &[&str] = &[
    "awk",
    "basename",
    "cat",
    "chgrp",
    "chmod",
    "chown",
    "cmp",
    "cp",
    "cut",
    "date",
    "dd",
    "df",
    "dmesg",
    "echo",
    "env",
    "expr",
    "false",
    "find",
    "grep",
    "head",
    "hostname",
    "id",
    "ifconfig",
    "ionice",
    "ip",
    "ipcs",
    "kill",
    "ln",
    "ls",
    "mkdir",
    "mkfifo",
    "mknod",
    "mktemp",
    "mount",
    "mountpoint",
    "mv",
    "nc",
    "nproc",
    "od",
    "printf",
    "ps",
    "pwd",
    "readlink",
    "realpath",
    "renice",
    "rm",
    "rmdir",
    "sed",
    "seq",
    "setsid",
    "sh",
    "sleep",
    "sort",
    "stat",
    "stty",
    "su",
    "sync",
    "tail",
    "tee",
    "test",
    "time",
    "top",
    "touch",
    "tr",
    "true",
    "tty",
    "umount",
    "uname",
    "unshare",
    "uptime",
    "usleep",
    "vi",
    "wc",
    "which",
    "whoami",
    "xargs",
    "yes",
];

/// Debian's busybox-static.
fn busybox() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let found = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new).into_iter().find(|path| path.exists());
        found.expect("these tests need a static busybox: apt-get install busybox-static").to_owned()
    })
}

/// Fills `rootfs` with busybox, its links and empty mount points.
pub fn busybox_rootfs(rootfs: &Path) {
    for folder in FOLDERS {
        fs::create_dir_all(rootfs.join(folder)).unwrap();
    }
    copy_executable(busybox(), &rootfs.join("bin/busybox"));
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    fs::write(rootfs.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nguest:x:1000:1000::/home/guest:/bin/sh\n")
        .unwrap();
    fs::write(rootfs.join("etc/group"), "root:x:0:\nguest:x:1000:\nextra:x:2000:guest\n").unwrap();
}

/// The compiled probe (`probe.c` says what it can do), made once and kept in the target folder. `MYRT_TEST_PROBE` names one
/// that is compiled already, for a machine without a compiler.
pub fn probe() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(compiled) = std::env::var_os("MYRT_TEST_PROBE") {
            return compiled.into();
        }
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/util/probe.c");
        let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe");
        let newer = |path: &Path| fs::metadata(path).and_then(|file| file.modified()).ok();
        if newer(&built) <= newer(Path::new(source)) {
            let own = built.with_extension(std::process::id().to_string());
            TestCommand::new(["cc", "-static", "-Os", "-Wall", "-o", own.to_str().unwrap(), source]).run().ok();
            fs::rename(own, &built).unwrap();
        }
        built
    })
}
