//! The rest of the host: filesystems, security modules, cgroups, systemd.

use super::{Finding, Status, line};
use crate::cgroup::{self, Host, Kind};

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

/// Which trees of cgroups there are, with which controllers, and whether the caller may use them.
fn cgroups(as_root: bool) -> Vec<Finding> {
    let host = cgroup::host(!as_root);
    let mode = match &host.kind {
        Ok(Kind::V2) => Finding::ok("cgroups", "v2"),
        Ok(Kind::V1) => Finding::ok("cgroups", "v1"),
        Ok(Kind::Hybrid) => Finding::ok("cgroups", "hybrid: v1, and a v2 tree at /sys/fs/cgroup/unified"),
        Err(error) => Finding::new("cgroups", Status::Short, error.to_string())
            .remedy(error.remedy().unwrap_or("mount -t cgroup2 cgroup2 /sys/fs/cgroup").to_owned()),
    };
    let controllers = if host.controllers.is_empty() {
        Finding::new("controllers", Status::Short, "none: no limit can be set")
            .remedy("give some to this place: cgroup.subtree_control of the cgroups above")
    } else {
        Finding::ok("controllers", host.controllers.join(" "))
    };
    let mut findings = vec![mode, controllers];
    if !as_root {
        findings.push(delegation(&host));
    }
    findings.push(match &host.systemd {
        Ok(version) => Finding::ok("systemd", format!("version {version}")),
        Err(error) => {
            // What each bus answered would make the column as wide as a page.
            let said = error.to_string();
            let found = said.split(" (").next().unwrap_or_default();
            Finding::new("systemd", Status::Absent, found)
                .remedy(error.remedy().unwrap_or("leave --systemd-cgroup out").to_owned())
        }
    });
    findings
}

/// What an ordinary user may do with cgroups: only on v2, below a cgroup that was given to it.
fn delegation(host: &Host) -> Finding {
    const REMEDY: &str =
        "run in `systemd-run --user --scope -p Delegate=yes`, or use --systemd-cgroup where there is a user manager";
    match &host.place {
        Some((place, true)) if host.delegated.is_empty() => {
            let found = format!("{}, without controllers: no limit can be set", place.display());
            Finding::new("delegation", Status::Short, found).remedy(REMEDY)
        }
        Some((_, true)) => Finding::ok("delegation", host.delegated.join(" ")),
        Some((place, false)) => {
            let found = format!("{} is not yours: containers run without limits", place.display());
            Finding::new("delegation", Status::Short, found).remedy(REMEDY)
        }
        None => Finding::new("delegation", Status::Short, "v1 is root's alone: containers run without limits")
            .remedy("boot with systemd.unified_cgroup_hierarchy=1"),
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
