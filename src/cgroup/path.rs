//! Where a container's cgroup is, from `linux.cgroupsPath` and the id: pure text, nothing is looked up here.

use crate::bail;
use crate::error::{Error, Result};

/// The place that a path of config.json asks for, cgroupfs driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Below the root of each hierarchy.
    Root(String),
    /// Below the cgroup that the caller itself is in.
    Own(String),
}

impl Place {
    /// Resolves `cgroupsPath`: an absolute one counts from the root of the hierarchy, a relative one from the caller's own
    /// cgroup, and none gives the container's id: below the root, or, for an ordinary user, below the own cgroup.
    ///
    /// # Errors
    /// Where the path names no cgroup below.
    pub(super) fn of(path: Option<&str>, id: &str, rootless: bool) -> Result<Self> {
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            return Ok(if rootless { Self::Own(format!("/{id}")) } else { Self::Root(format!("/{id}")) });
        };
        let clean = clean(path);
        if clean == "/" || path.contains('\0') {
            bail!("linux.cgroupsPath: {path:?} names no cgroup of its own");
        }
        Ok(if path.starts_with('/') { Self::Root(clean) } else { Self::Own(clean) })
    }
}

/// Makes a path absolute and free of `.`, `..` and doubled slashes; `..` stops at the top.
pub(super) fn clean(path: &str) -> String {
    let mut names: Vec<&str> = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Joins a clean path to a base, both starting at the top: `/` and `/a` give `/a`.
pub(super) fn join(base: &str, path: &str) -> String {
    format!("{}{path}", base.trim_end_matches('/'))
}

/// The path without its last name: of `/a/b` `/a`, of `/a` and of `/` `/`.
pub(super) fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(end) => &path[..end],
    }
}

/// A container's unit of systemd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UnitPath {
    /// Such as `system.slice`.
    pub(super) slice: String,
    /// Such as `docker-ID.scope`.
    pub(super) name: String,
}

impl UnitPath {
    /// Reads `slice:prefix:name`; an absent path gives the default slice and `myrt-ID.scope`.
    ///
    /// # Errors
    /// Where the form is another one, or the slice's name is none.
    pub(super) fn of(path: Option<&str>, id: &str, rootless: bool) -> Result<Self> {
        let default = if rootless { "user.slice" } else { "system.slice" };
        let escaped;
        let (slice, prefix, name) = match path.filter(|path| !path.is_empty()) {
            None => {
                // The only letter of an id that a unit's name may not have (systemd-escape(1)).
                escaped = id.replace('+', "\\x2b");
                (default, "myrt", escaped.as_str())
            }
            Some(path) => {
                let mut parts = path.split(':');
                match (parts.next(), parts.next(), parts.next(), parts.next()) {
                    (Some(slice), Some(prefix), Some(name), None) if !name.is_empty() => {
                        (if slice.is_empty() { default } else { slice }, prefix, name)
                    }
                    _ => {
                        return Err(Error::new(format!(
                            "linux.cgroupsPath: {path:?} is not of the form slice:prefix:name, which the systemd driver needs"
                        ))
                        .hint("give such a path, or use the cgroupfs driver (without --systemd-cgroup)"));
                    }
                }
            }
        };
        slice_path(slice)?;
        if name.ends_with(".slice") {
            bail!("linux.cgroupsPath: a container is a scope, not the slice {name:?}");
        }
        let name = if prefix.is_empty() { format!("{name}.scope") } else { format!("{prefix}-{name}.scope") };
        check_name(&name)?;
        Ok(Self { slice: slice.to_owned(), name })
    }

    /// The cgroup of the unit below the manager's own.
    ///
    /// # Errors
    /// Where the slice's name is none.
    pub(super) fn cgroup(&self) -> Result<String> {
        Ok(join(&slice_path(&self.slice)?, &format!("/{}", self.name)))
    }
}

/// Checks what systemd would refuse later (systemd.unit(5)): the letters of a unit's name, and its length.
fn check_name(name: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\".contains(&byte);
    if name.bytes().all(plain) && name.len() < 256 {
        return Ok(());
    }
    Err(Error::new(format!("linux.cgroupsPath: {name:?} is no name for a unit of systemd"))
        .hint("a name has at most 255 letters, digits and : - _ . \\; `systemd-escape TEXT` makes one of any text"))
}

/// The cgroup of a slice: each dash nests it one deeper, so `a-b.slice` is `/a.slice/a-b.slice` (systemd.slice(5)).
fn slice_path(slice: &str) -> Result<String> {
    let wrong = || Error::new(format!("linux.cgroupsPath: {slice:?} is no name of a slice, such as system.slice"));
    let stem = slice.strip_suffix(".slice").filter(|stem| !stem.is_empty() && !stem.contains('/')).ok_or_else(wrong)?;
    check_name(slice)?;
    if stem == "-" {
        return Ok("/".to_owned());
    }
    let mut path = String::new();
    for (index, part) in stem.split('-').enumerate() {
        if part.is_empty() {
            return Err(wrong());
        }
        let end: usize = stem.split('-').take(index + 1).map(|part| part.len() + 1).sum::<usize>() - 1;
        path.push_str(&format!("/{}.slice", &stem[..end]));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let rows = [
            (None, false, Place::Root("/c1".into())),
            (Some(""), false, Place::Root("/c1".into())),
            (None, true, Place::Own("/c1".into())),
            (Some("/docker/x"), false, Place::Root("/docker/x".into())),
            (Some("//a/./b/../c/"), true, Place::Root("/a/c".into())),
            (Some("../../x"), false, Place::Own("/x".into())),
            (Some("a/b"), false, Place::Own("/a/b".into())),
        ];
        for (path, rootless, expected) in rows {
            assert_eq!(Place::of(path, "c1", rootless).unwrap(), expected, "{path:?}");
        }
        for path in ["/", "..", "/a/..", "/a\0"] {
            assert!(Place::of(Some(path), "c1", false).is_err(), "{path:?}");
        }
    }

    #[test]
    fn units() {
        let rows = [
            (None, false, "/system.slice/myrt-c1.scope"),
            (None, true, "/user.slice/myrt-c1.scope"),
            (Some("system.slice:docker:abc"), false, "/system.slice/docker-abc.scope"),
            (Some("a-b-c.slice:cri:x"), false, "/a.slice/a-b.slice/a-b-c.slice/cri-x.scope"),
            (Some(":p:n"), true, "/user.slice/p-n.scope"),
            (Some("-.slice::n"), false, "/n.scope"),
            (Some("system.slice:p:a\\x2fb"), false, "/system.slice/p-a\\x2fb.scope"),
        ];
        for (path, rootless, expected) in rows {
            assert_eq!(UnitPath::of(path, "c1", rootless).unwrap().cgroup().unwrap(), expected, "{path:?}");
        }
        for path in
            ["/docker/abc", "a:b", "a.slice:b:", "a--b.slice:c:d", ".slice:c:d", "a/b.slice:c:d", "a.slice:b:c:d"]
        {
            assert!(UnitPath::of(Some(path), "c1", false).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_unit_has_a_name_that_systemd_takes() {
        assert_eq!(UnitPath::of(None, "a+b_c.d", false).unwrap().name, "myrt-a\\x2bb_c.d.scope");
        let long = format!("system.slice:p:{}", "x".repeat(255));
        for path in
            ["system.slice:p:a b", "system.slice:p:a@b", "system.slice:p:%n", "system.slice:p:\u{e4}", "a b.slice:p:c"]
        {
            let refused = UnitPath::of(Some(path), "c1", false).unwrap_err();
            assert!(refused.to_string().starts_with("linux.cgroupsPath:"), "{refused}");
        }
        assert!(UnitPath::of(Some(&long), "c1", false).is_err());
    }

    #[test]
    fn parents() {
        assert_eq!([parent("/a/b"), parent("/a"), parent("/")], ["/a", "/", "/"]);
        assert_eq!(join("/", "/a"), "/a");
        assert_eq!(join("/x", "/a"), "/x/a");
    }
}
