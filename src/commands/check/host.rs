//! The rest of the host: filesystems, security modules, cgroups, systemd.

use super::{Finding, Status, line};

pub(super) fn look(as_root: bool) -> Vec<Finding> {
    let mut findings = cgroups(as_root);
    findings.push(procfs());
    findings.push(filesystem("overlay", "image layers are copied, not stacked", "modprobe overlay"));
    findings.push(filesystem("mqueue", "mounts of mqueue are refused", "use a kernel with CONFIG_POSIX_MQUEUE"));
    findings.push(apparmor());
    findings.push(selinux());
    findings.push(resctrl());
    findings
}

/// Which trees of cgroups there are, with their controllers, and whether the caller may use them.
fn cgroups(as_root: bool) -> Vec<Finding> {
    const ROOT: &str = "/sys/fs/cgroup";
    let is_v2 = |path: &str| {
        rustix::fs::statfs(path).is_ok_and(|found| found.f_type as u64 == libc::CGROUP2_SUPER_MAGIC as u64)
    };
    let hybrid = is_v2("/sys/fs/cgroup/unified");
    let (mode, tree) = match (is_v2(ROOT), hybrid) {
        (true, _) => ("v2", ROOT),
        (false, true) => {
            ("hybrid: controllers in v1 trees, a v2 tree at /sys/fs/cgroup/unified", "/sys/fs/cgroup/unified")
        }
        (false, false) => ("v1", ""),
    };
    let text = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/").trim_end_matches('/');
    let mut controllers: Vec<String> = text
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .filter(|names| !names.is_empty())
        .map(str::to_owned)
        .collect();
    controllers
        .extend(line(&format!("{tree}/cgroup.controllers")).filter(|names| !tree.is_empty() && !names.is_empty()));
    let mode = if controllers.is_empty() && tree.is_empty() {
        Finding::new("cgroups", Status::Short, "none: containers run without limits")
            .remedy("mount -t cgroup2 cgroup2 /sys/fs/cgroup")
    } else {
        Finding::ok("cgroups", mode)
    };
    let mut findings = vec![mode, Finding::ok("controllers", controllers.join(" "))];
    if !as_root {
        let place = format!(
            "{tree}{}",
            std::path::Path::new(own).parent().map_or(own, |parent| parent.to_str().unwrap_or(own))
        );
        let may = !tree.is_empty() && rustix::fs::access(&place, rustix::fs::Access::WRITE_OK).is_ok();
        findings.push(if may {
            Finding::ok("delegation", line(&format!("{place}/cgroup.controllers")).unwrap_or_default())
        } else {
            Finding::new("delegation", Status::Short, "no cgroup of your own: containers run without limits").remedy(
                "run in `systemd-run --user --scope -p Delegate=yes`, or use --systemd-cgroup with a user manager",
            )
        });
    }
    findings.push(systemd(as_root));
    findings
}

fn systemd(as_root: bool) -> Finding {
    let user = std::env::var("XDG_RUNTIME_DIR").unwrap_or_default();
    let sockets = if as_root {
        vec!["/run/systemd/private".to_owned(), "/run/dbus/system_bus_socket".to_owned()]
    } else {
        vec![format!("{user}/systemd/private"), format!("{user}/bus")]
    };
    match sockets.iter().find(|socket| std::fs::exists(socket).unwrap_or(false)) {
        Some(socket) => Finding::ok("systemd", socket.as_str()),
        None => Finding::new("systemd", Status::Absent, "not reachable: --systemd-cgroup is refused"),
    }
}

fn procfs() -> Finding {
    match crate::sys::procfs::ProcFs::open() {
        Ok(_) => Finding::ok("/proc", "a procfs"),
        Err(error) => Finding::new("/proc", Status::Fatal, error.to_string()).remedy("mount -t proc proc /proc"),
    }
}

fn is_known(filesystem: &str) -> bool {
    let list = std::fs::read_to_string("/proc/filesystems").unwrap_or_default();
    list.lines().any(|line| line.split_whitespace().last() == Some(filesystem))
}

fn filesystem(name: &'static str, without: &str, remedy: &str) -> Finding {
    if is_known(name) {
        return Finding::ok(name, "known to the kernel");
    }
    Finding::new(name, Status::Short, format!("not known to the kernel: {without}")).remedy(remedy)
}

fn apparmor() -> Finding {
    match line("/sys/module/apparmor/parameters/enabled").as_deref() {
        Some("Y") => Finding::ok("AppArmor", "enabled"),
        _ => Finding::new("AppArmor", Status::Absent, "not enabled: process.apparmorProfile is refused"),
    }
}

fn selinux() -> Finding {
    match line("/sys/fs/selinux/enforce").as_deref() {
        Some("1") => Finding::ok("SELinux", "enforcing"),
        Some(_) => Finding::ok("SELinux", "permissive"),
        None => Finding::new(
            "SELinux",
            Status::Absent,
            "not enabled: process.selinuxLabel and linux.mountLabel are refused",
        ),
    }
}

fn resctrl() -> Finding {
    if std::fs::exists("/sys/fs/resctrl/schemata").unwrap_or(false) {
        return Finding::ok("resctrl", "mounted at /sys/fs/resctrl");
    }
    if is_known("resctrl") {
        return Finding::new("resctrl", Status::Absent, "not mounted: linux.intelRdt is refused")
            .remedy("mount -t resctrl resctrl /sys/fs/resctrl");
    }
    Finding::new("resctrl", Status::Absent, "the processor or the kernel has none: linux.intelRdt is refused")
}
