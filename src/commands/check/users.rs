//! User namespaces: whether the caller may make them, what blocks them, and which ids it may map.

use rustix::io::Errno;
use rustix::process::WaitOptions;

use super::{Finding, Status, line};
use crate::namespaces::id_helpers;
use crate::plan::NamespaceKind;
use crate::sys::clone::{self, Forked};
use crate::sys::exec::exit_now;

/// A file of /proc/sys, the value that blocks, whom it blocks, and what to do.
const BLOCKS: [(&str, &str, bool, &str); 3] = [
    ("user/max_user_namespaces", "0", false, "sysctl -w user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", "0", true, "sysctl -w kernel.unprivileged_userns_clone=1"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        "1",
        true,
        "allow it in an AppArmor profile for myrt (`userns,`), or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
];

pub(super) fn look(as_root: bool) -> Vec<Finding> {
    let mut findings = vec![rights(as_root), user_namespaces(as_root)];
    if as_root {
        findings.extend(["/etc/subuid", "/etc/subgid"].map(users_with_ranges));
    } else {
        findings.extend(["newuidmap", "newgidmap"].map(helper));
        findings.extend(["/etc/subuid", "/etc/subgid"].map(ranges));
        findings.push(runtime_folder());
    }
    findings
}

fn rights(as_root: bool) -> Finding {
    let uid = rustix::process::geteuid().as_raw();
    let own = if as_root { "root".to_owned() } else { format!("user {}", id_helpers::user_name(uid)) };
    let inside = line("/proc/self/uid_map").is_some_and(|map| !map.split_whitespace().eq(["0", "0", "4294967295"]));
    let place = if inside { ", in a user namespace" } else { "" };
    Finding::ok("caller", format!("{own}{place}"))
}

/// Makes one, with a mount namespace in it: AppArmor lets the first happen and then takes the rights away.
fn user_namespaces(as_root: bool) -> Finding {
    let flags = NamespaceKind::User.flag() | NamespaceKind::Mount.flag();
    let errno = match clone::fork(flags, None) {
        Ok(Forked::Child) => exit_now(0),
        Ok(Forked::Parent(child)) => {
            let _ = rustix::process::waitpid(Some(child.pid), WaitOptions::empty());
            return Finding::ok("user namespaces", "allowed");
        }
        Err(errno) => errno,
    };
    // Without them an ordinary user has nothing; root needs them only where config.json asks.
    let status = if as_root { Status::Short } else { Status::Fatal };
    let block = BLOCKS.iter().find(|(file, value, ordinary, _)| {
        (!ordinary || !as_root) && line(&format!("/proc/sys/{file}")).as_deref() == Some(value)
    });
    if let Some((file, value, _, remedy)) = block {
        return Finding::new("user namespaces", status, format!("blocked: /proc/sys/{file} is {value}"))
            .remedy(*remedy);
    }
    let (found, remedy) = match errno {
        Errno::INVAL => ("the kernel has none", "use a kernel that was built with CONFIG_USER_NS"),
        Errno::NOSPC | Errno::USERS => ("too many or too deep", "raise /proc/sys/user/max_user_namespaces"),
        _ => {
            ("refused", "a seccomp filter or a security module around myrt forbids it: leave that sandbox or relax it")
        }
    };
    Finding::new("user namespaces", status, format!("{found} ({errno})")).remedy(remedy)
}

fn helper(name: &'static str) -> Finding {
    match id_helpers::find(name) {
        None => Finding::new(name, Status::Short, "missing: only the one own id can be mapped")
            .remedy("install it (package uidmap or shadow-utils)"),
        Some(path) if id_helpers::has_rights(&path) => Finding::ok(name, path.display().to_string()),
        Some(path) => {
            let path = path.display();
            Finding::new(name, Status::Short, format!("{path} has neither its setuid bit nor a file capability"))
                .remedy(format!("chmod u+s {path}"))
        }
    }
}

fn ranges(file: &'static str) -> Finding {
    let uid = rustix::process::geteuid().as_raw();
    let name = id_helpers::user_name(uid);
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let ranges = granted(&text, &name, uid);
    if ranges.is_empty() {
        return Finding::new(file, Status::Short, format!("no range for {name}: only the one own id can be mapped"))
            .remedy(format!("add the line `{name}:100000:65536`, or a range that is free, to {file}"));
    }
    Finding::ok(file, ranges.join(" "))
}

/// Root maps what it likes; but it is root who grants ranges to the others.
fn users_with_ranges(file: &'static str) -> Finding {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    match owners(&text).join(" ") {
        none if none.is_empty() => Finding::new(file, Status::Absent, "no user has a range; root needs none"),
        names => Finding::ok(file, format!("ranges for {names}; root needs none")),
    }
}

/// Who has a range, each once.
fn owners(text: &str) -> Vec<&str> {
    let owners = text.lines().filter_map(|line| line.split_once(':')).map(|(owner, _)| owner.trim());
    let owners: std::collections::BTreeSet<&str> = owners.filter(|owner| !owner.is_empty()).collect();
    owners.into_iter().collect()
}

/// The ranges of a user, as `first+count`.
fn granted(text: &str, name: &str, uid: u32) -> Vec<String> {
    let ranges = id_helpers::granted(text, name, uid);
    ranges.into_iter().map(|(first, count)| format!("{first}+{count}")).collect()
}

fn runtime_folder() -> Finding {
    const NAME: &str = "XDG_RUNTIME_DIR";
    match std::env::var_os(NAME).filter(|path| std::path::Path::new(path).is_dir()) {
        Some(path) => Finding::ok(NAME, path.to_string_lossy()),
        None => Finding::new(NAME, Status::Short, "not set, or no folder: containers have no place to be recorded")
            .remedy("log in through a login session (`loginctl enable-linger`), or give --root DIR"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_by_name_and_by_number() {
        let text = "root:1:2\nann:100000:65536\n1000:200000:10\nann:broken\n";
        assert_eq!(granted(text, "ann", 1000), ["100000+65536", "200000+10"]);
        assert!(granted(text, "bob", 1001).is_empty());
        assert_eq!(owners(text), ["1000", "ann", "root"]);
    }

    #[test]
    fn the_own_rights_are_told() {
        assert_eq!(rights(true).status, Status::Ok);
    }
}
