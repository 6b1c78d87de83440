//! `linux.sysctl`: which kernel parameters belong to a namespace of the container, and where they stand below /proc/sys.
//!
//! A parameter that no namespace holds is the host's, and a container may not set it.

use std::collections::BTreeMap;

use super::{NamespaceKind, Namespaces};
use crate::bail;
use crate::error::{Error, Result};

/// A parameter, or with a final `/` all below it, and the namespace that holds it (namespaces(7), the kernel's
/// Documentation/admin-guide/sysctl).
const NAMESPACED: [(&str, NamespaceKind); 12] = [
    ("kernel/msgmax", NamespaceKind::Ipc),
    ("kernel/msgmnb", NamespaceKind::Ipc),
    ("kernel/msgmni", NamespaceKind::Ipc),
    ("kernel/sem", NamespaceKind::Ipc),
    ("kernel/shmall", NamespaceKind::Ipc),
    ("kernel/shmmax", NamespaceKind::Ipc),
    ("kernel/shmmni", NamespaceKind::Ipc),
    ("kernel/shm_rmid_forced", NamespaceKind::Ipc),
    ("fs/mqueue/", NamespaceKind::Ipc),
    ("net/", NamespaceKind::Network),
    ("kernel/domainname", NamespaceKind::Uts),
    ("user/", NamespaceKind::User),
];

/// Checks each parameter against the container's namespaces; gives path below /proc/sys and value, in the order of the
/// names.
///
/// # Errors
/// Names the key where it is malformed, said twice, or the host's.
pub(super) fn resolve(sysctl: &BTreeMap<String, String>, namespaces: &Namespaces) -> Result<Vec<(String, String)>> {
    let mut resolved: Vec<(String, String)> = Vec::with_capacity(sysctl.len());
    for (key, value) in sysctl {
        let path = path_of(key)?;
        check(key, &path, namespaces)?;
        if resolved.iter().any(|(earlier, _)| *earlier == path) {
            bail!("linux.sysctl.{key}: the same parameter is there already, spelled in another way");
        }
        if value.contains('\0') {
            bail!("linux.sysctl.{key}: the value holds a zero byte");
        }
        resolved.push((path, value.clone()));
    }
    Ok(resolved)
}

/// sysctl(8): the first of `.` and `/` separates; where it is the dot, a `/` stands for a dot inside a name, such as
/// that of the interface in `net.ipv4.conf.eth0/100.forwarding`.
fn path_of(key: &str) -> Result<String> {
    let dotted = key.find(['.', '/']).is_some_and(|at| key.as_bytes()[at] == b'.');
    let swap = |letter| match letter {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let path: String = if dotted { key.chars().map(swap).collect() } else { key.to_owned() };
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(|letter: char| letter.is_control());
    if !path.contains('/') || !path.split('/').all(is_name) {
        bail!("linux.sysctl.{key}: not the name of a kernel parameter, such as \"net.ipv4.ip_forward\"");
    }
    Ok(path)
}

/// The kind of namespace that holds the parameter at `path` below /proc/sys; none for what is the host's.
pub fn holder(path: &str) -> Option<NamespaceKind> {
    let holds = |row: &str| if row.ends_with('/') { path.starts_with(row) } else { path == row };
    NAMESPACED.into_iter().find(|(row, _)| holds(row)).map(|(_, kind)| kind)
}

fn check(key: &str, path: &str, namespaces: &Namespaces) -> Result<()> {
    if path == "kernel/hostname" {
        return Err(Error::new(format!("linux.sysctl.{key}: the host name has a field of its own"))
            .hint("set `hostname` in config.json instead"));
    }
    let Some(kind) = holder(path) else {
        return Err(Error::new(format!("linux.sysctl.{key}: the parameter is the host's, no namespace holds it"))
            .hint("set it on the host: sysctl -w"));
    };
    if !namespaces.separate(kind) {
        let name = kind.name();
        return Err(Error::new(format!("linux.sysctl.{key}: without a {name} namespace this would change the host"))
            .hint(format!("add {{\"type\": \"{name}\"}} to linux.namespaces, or remove the parameter")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_one(key: &str, kinds: &[NamespaceKind]) -> Result<String> {
        let namespaces = Namespaces { new: kinds.to_vec(), ..Namespaces::default() };
        let map = BTreeMap::from([(key.to_owned(), "1".to_owned())]);
        resolve(&map, &namespaces).map(|mut list| list.remove(0).0)
    }

    #[test]
    fn names_become_paths() {
        for (key, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/ip_forward", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.eth0/100.forwarding", "net/ipv4/conf/eth0.100/forwarding"),
            ("net/ipv4/conf/eth0.100/forwarding", "net/ipv4/conf/eth0.100/forwarding"),
        ] {
            assert_eq!(resolve_one(key, &[NamespaceKind::Network]).unwrap(), path);
        }
    }

    #[test]
    fn each_needs_its_namespace() {
        for (key, kind) in [
            ("kernel.shmmax", NamespaceKind::Ipc),
            ("fs.mqueue.msg_max", NamespaceKind::Ipc),
            ("net.core.somaxconn", NamespaceKind::Network),
            ("kernel.domainname", NamespaceKind::Uts),
            ("user.max_user_namespaces", NamespaceKind::User),
        ] {
            resolve_one(key, &[kind]).unwrap();
            let error = resolve_one(key, &[NamespaceKind::Pid]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("linux.sysctl.{key}: without a")), "{error}");
        }
    }

    #[test]
    fn the_hosts_and_the_malformed_are_refused() {
        for key in [
            "kernel.hostname",
            "kernel.core_pattern",
            "vm.overcommit_memory",
            "kernel.shmmax2",
            "fs.mqueue",
            "net",
            "",
            "net..x",
            "net/../kernel/core_pattern",
            "net.//.kernel.core_pattern",
            "/net/ipv4/ip_forward",
            "net.x\ny",
            "net.",
        ] {
            assert!(resolve_one(key, &NamespaceKind::ALL).is_err(), "{key:?}");
        }
    }

    #[test]
    fn two_spellings_of_one_are_refused() {
        let namespaces = Namespaces { new: vec![NamespaceKind::Network], ..Namespaces::default() };
        let map = BTreeMap::from([("net.a.b".into(), "1".into()), ("net/a/b".into(), "2".into())]);
        assert!(resolve(&map, &namespaces).is_err());
    }
}
