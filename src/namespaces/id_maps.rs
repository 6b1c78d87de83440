//! The id maps of a new user namespace, written from outside by the parent (user_namespaces(7)).
//!
//! Directly where the kernel lets us: with CAP_SETUID and CAP_SETGID over the ids, or for the one own id. Otherwise by
//! the setuid helpers newuidmap(1) and newgidmap(1), which know what /etc/subuid and /etc/subgid grant.

use std::fmt::Write;

use rustix::io::Errno;
use rustix::process::Pid;

use super::id_helpers;
use crate::error::{Context, Error, Result};
use crate::plan::{IdMap, Namespaces};
use crate::sys::procfs::ProcFs;

/// One of the two maps.
pub(super) struct Side {
    /// The file below /proc/PID.
    file: &'static str,
    /// Its field in config.json.
    pub(super) field: &'static str,
    /// The program that may write it for an ordinary user.
    pub(super) helper: &'static str,
    /// Where the administrator grants ranges.
    pub(super) grants: &'static str,
}

const UID: Side = Side { file: "uid_map", field: "linux.uidMappings", helper: "newuidmap", grants: "/etc/subuid" };
const GID: Side = Side { file: "gid_map", field: "linux.gidMappings", helper: "newgidmap", grants: "/etc/subgid" };

/// Writes both maps for the process that has just been cloned into a new user namespace, and waits for them.
///
/// # Errors
/// Names the field, and what would grant the ids.
pub fn write_id_maps(namespaces: &Namespaces, pid: Pid) -> Result<()> {
    let proc = ProcFs::open()?;
    let pid = pid.as_raw_nonzero().get();
    write_map(&proc, pid, &UID, &namespaces.uid_map)?;
    // Before an ordinary user may write a gid map, setgroups must be denied for good: dropping a group could otherwise
    // give access that the group was there to take away (CVE-2014-8989).
    if let [IdMap { outside, count: 1, .. }] = namespaces.gid_map[..]
        && outside == rustix::process::getegid().as_raw()
        && !rustix::process::geteuid().is_root()
    {
        proc.write(format!("{pid}/setgroups"), b"deny")
            .context(|| format!("write \"deny\" to /proc/{pid}/setgroups"))?;
    }
    write_map(&proc, pid, &GID, &namespaces.gid_map)
}

fn write_map(proc: &ProcFs, pid: i32, side: &Side, map: &[IdMap]) -> Result<()> {
    match proc.write(format!("{pid}/{}", side.file), lines(map).as_bytes()) {
        Ok(()) => Ok(()),
        Err(Errno::PERM) => id_helpers::write_map(pid, side, map),
        Err(errno) => {
            let error = Error::call(format!("{}: write /proc/{pid}/{}", side.field, side.file), errno);
            Err(match errno {
                // The process is gone, or its file was: nothing to say about the ids.
                Errno::NOENT | Errno::SRCH => error,
                _ => error.hint("the kernel refuses this map: are all of its host ids mapped where myrt runs?"),
            })
        }
    }
}

/// The text of the map file.
fn lines(map: &[IdMap]) -> String {
    let mut text = String::new();
    for line in map {
        let _ = writeln!(text, "{} {} {}", line.inside, line.outside, line.count);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clone;

    #[test]
    fn the_file_has_a_line_for_each_range() {
        let map = [IdMap { inside: 0, outside: 1000, count: 1 }, IdMap { inside: 1, outside: 100_000, count: 65_536 }];
        assert_eq!(lines(&map), "0 1000 1\n1 100000 65536\n");
    }

    /// A process in a new user namespace, killed at the end.
    struct Inside(clone::Child);

    impl Drop for Inside {
        fn drop(&mut self) {
            let _ = rustix::process::pidfd_send_signal(&self.0.pidfd, rustix::process::Signal::KILL);
            let _ = rustix::process::waitpid(Some(self.0.pid), rustix::process::WaitOptions::empty());
        }
    }

    #[test]
    fn the_kernel_takes_the_maps() {
        let inside = match clone::fork(libc::CLONE_NEWUSER as u64, None).unwrap() {
            clone::Forked::Parent(child) => Inside(child),
            clone::Forked::Child => loop {
                rustix::event::pause();
            },
        };
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid().as_raw());
        let one = |outside| vec![IdMap { inside: 7, outside, count: 1 }];
        let mut namespaces = Namespaces { uid_map: one(uid.as_raw()), gid_map: one(gid), ..Namespaces::default() };
        if uid.is_root() {
            namespaces.uid_map.push(IdMap { inside: 100, outside: 100_000, count: 10 });
        }
        write_id_maps(&namespaces, inside.0.pid).unwrap();
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", inside.0.pid)).unwrap();
        assert_eq!(read("uid_map").lines().count(), namespaces.uid_map.len());
        assert!(read("gid_map").split_whitespace().eq(["7", &gid.to_string(), "1"]));
        // Only who has no rights over other groups must give them up.
        assert_eq!(read("setgroups").trim(), if uid.is_root() { "allow" } else { "deny" });
        // A map is written once.
        assert!(write_id_maps(&namespaces, inside.0.pid).is_err());
    }
}
