//! The kernel: its version, its namespaces, and what newer versions add.

use super::{Finding, Status, line};
use crate::plan::NamespaceKind;

/// The oldest kernel that is tested.
const FLOOR: (u32, u32) = (5, 10);

/// What came after the floor: what it is for, since when, and what happens without it. By version, so a distribution
/// that has carried a feature back has it earlier.
const FEATURES: [(&str, (u32, u32), &str); 9] = [
    ("overlayfs in user namespaces", (5, 11), "an ordinary user's images are unpacked, not stacked"),
    ("recursive mount options", (5, 12), "mounts with rro, rnosuid and the like are refused"),
    ("idmapped mounts", (5, 12), "mounts with idmap or ridmap are refused"),
    ("cgroup.kill", (5, 14), "processes are killed one by one"),
    ("CPU bursts and idle cgroups", (5, 15), "cpu.burst and cpu.idle are refused"),
    ("killable seccomp listeners", (5, 19), "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV is refused"),
    ("memory peaks", (5, 19), "statistics have no peak of memory"),
    ("idmapped tmpfs", (6, 3), "idmap on a tmpfs is refused"),
    ("weighted interleaving", (6, 9), "MPOL_WEIGHTED_INTERLEAVE is refused"),
];

pub(super) fn look() -> Vec<Finding> {
    let uname = rustix::system::uname();
    let release = uname.release().to_string_lossy().into_owned();
    let version = parse(&release);
    let mut findings = vec![kernel(&release, version)];
    findings.push(namespaces());
    findings.extend(FEATURES.iter().map(|feature| newer(feature, version)));
    findings.push(seccomp());
    findings
}

/// Major and minor number of a release such as `6.1.0-18-amd64`.
fn parse(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn kernel(release: &str, version: (u32, u32)) -> Finding {
    if version < FLOOR {
        return Finding::new(
            "kernel",
            Status::Short,
            format!("Linux {release}, older than 5.10: myrt is not tested on it"),
        )
        .remedy("use Linux 5.10 or newer");
    }
    Finding::ok("kernel", format!("Linux {release}"))
}

fn newer((name, since, without): &(&str, (u32, u32), &str), version: (u32, u32)) -> Finding {
    let (major, minor) = since;
    if version < *since {
        return Finding::new(name, Status::Short, (*without).to_owned()).remedy(format!("needs Linux {major}.{minor}"));
    }
    Finding::ok(name, format!("since Linux {major}.{minor}"))
}

fn namespaces() -> Finding {
    let there = |kind: &NamespaceKind| std::fs::symlink_metadata(format!("/proc/self/ns/{}", kind.proc_name())).is_ok();
    let (found, missing): (Vec<NamespaceKind>, Vec<NamespaceKind>) =
        NamespaceKind::ALL.iter().copied().partition(there);
    let names = |kinds: &[NamespaceKind]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" ");
    if missing.is_empty() {
        return Finding::ok("namespaces", names(&found));
    }
    let status = if missing.contains(&NamespaceKind::Mount) { Status::Fatal } else { Status::Short };
    Finding::new("namespaces", status, format!("without {}", names(&missing)))
        .remedy("mount /proc where it is missing, or use a kernel that was built with these namespaces")
}

fn seccomp() -> Finding {
    match line("/proc/sys/kernel/seccomp/actions_avail") {
        Some(actions) => Finding::ok("seccomp", actions),
        None => Finding::new("seccomp", Status::Short, "none: bundles with linux.seccomp are refused")
            .remedy("use a kernel that was built with CONFIG_SECCOMP_FILTER"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(parse("6.1.0-18-amd64"), (6, 1));
        assert_eq!(parse("5.10+"), (5, 10));
        assert_eq!(parse("rubbish"), (0, 0));
    }

    #[test]
    fn an_old_kernel_is_short_of_much() {
        let short = FEATURES.iter().filter(|feature| newer(feature, (5, 12)).status == Status::Short).count();
        assert_eq!(short, 6);
        assert_eq!(kernel("5.4.0", (5, 4)).status, Status::Short);
    }
}
