//! An ordinary user unpacks as root of a user namespace: with the caller's own id alone, or with the ranges that
//! /etc/subuid and /etc/subgid grant. The container's user namespace has the same maps later, so that owners fit.

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitOptions};

use super::convert::Maps;
use crate::error::{Context, Error, Result};
use crate::log;
use crate::namespaces::{id_helpers, write_id_maps};
use crate::plan::{IdMap, Namespaces};
use crate::sys::clone::{Child, Forked, fork};
use crate::sys::exec::exit_now;

impl Maps {
    /// None for root, who needs no user namespace; else what the host grants to the caller.
    pub fn of_caller() -> Self {
        let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid().as_raw());
        if uid.is_root() {
            return Self::default();
        }
        let uid = uid.as_raw();
        let can = |name: &str| id_helpers::find(name).is_some_and(|program| id_helpers::has_rights(&program));
        let name = id_helpers::user_name(uid);
        let range = |file: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            id_helpers::granted(&text, &name, uid)
        };
        let (mut uids, mut gids) = (vec![(0, uid, 1)], vec![(0, gid, 1)]);
        let (more_uids, more_gids) = (range("/etc/subuid"), range("/etc/subgid"));
        if can("newuidmap") && can("newgidmap") && !more_uids.is_empty() && !more_gids.is_empty() {
            uids.extend(stacked(&more_uids));
            gids.extend(stacked(&more_gids));
        }
        Self { uids, gids }
    }
}

impl Maps {
    fn namespaces(&self) -> Namespaces {
        let lines = |map: &[(u32, u32, u32)]| {
            let line = |(inside, outside, count): &(u32, u32, u32)| IdMap {
                inside: *inside,
                outside: *outside,
                count: *count,
            };
            map.iter().map(line).collect()
        };
        Namespaces { uid_map: lines(&self.uids), gid_map: lines(&self.gids), ..Namespaces::default() }
    }
}

/// Ranges one above the other, from id 1 on.
fn stacked(ranges: &[(u32, u32)]) -> Vec<(u32, u32, u32)> {
    let mut inside = 1_u32;
    let mut lines = Vec::new();
    for (first, count) in ranges {
        lines.push((inside, *first, *count));
        let Some(next) = inside.checked_add(*count) else { break };
        inside = next;
    }
    lines
}

/// Does the work as root of a user namespace with these maps, in a child that is waited for; without maps, here. Gives the
/// exit code. The process has no threads yet.
///
/// # Errors
/// Where the kernel refuses user namespaces, or the host refuses the maps. A failure of the work is told by the child.
pub fn inside(maps: &Maps, work: impl FnOnce() -> Result<()>) -> Result<u8> {
    if maps.uids.is_empty() {
        return work().map(|()| 0);
    }
    let child = begin(maps, work)?;
    let status = loop {
        match rustix::process::waitpid(Some(child.pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the process in the user namespace"),
        }
    };
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ok(code as u8),
        (_, signal) => {
            Err(Error::new(format!("the process in the user namespace ended by signal {}", signal.unwrap_or(0))))
        }
    }
}

/// Begins the work in a child, which is root of a user namespace with these maps, where there are any. It exits with 0, or
/// tells why not and exits with something else.
///
/// # Errors
/// As [`inside`].
pub fn begin(maps: &Maps, work: impl FnOnce() -> Result<()>) -> Result<Child> {
    let (gate, opened) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "pipe2")?;
    let flags = if maps.uids.is_empty() { 0 } else { libc::CLONE_NEWUSER as u64 };
    let forked = fork(flags, None)
        .context(|| "clone3")
        .map_err(|error| error.hint("user namespaces may be switched off: `myrt check` says how to allow them"))?;
    let child = match forked {
        Forked::Parent(child) => child,
        Forked::Child => {
            drop(opened);
            exit_now(i32::from(through_gate(&gate, work)));
        }
    };
    drop(gate);
    let mapped = if maps.uids.is_empty() { Ok(()) } else { write_id_maps(&maps.namespaces(), child.pid) };
    match mapped.and_then(|()| rustix::io::write(&opened, &[1]).context(|| "write to a pipe")) {
        Ok(_) => Ok(child),
        Err(error) => {
            // Without the byte the child ends.
            drop(opened);
            let _ = rustix::process::waitpid(Some(child.pid), WaitOptions::empty());
            Err(error)
        }
    }
}

/// The child's part; its exit code.
fn through_gate(gate: &OwnedFd, work: impl FnOnce() -> Result<()>) -> u8 {
    let result = rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context(|| "prctl PDEATHSIG")
        .and_then(|()| rustix::io::retry_on_intr(|| rustix::io::read(gate, &mut [0_u8])).context(|| "read"))
        .and_then(|count| if count == 1 { work().map(|()| 0) } else { Ok(1) });
    result.unwrap_or_else(|error| {
        log::failure(&error);
        error.exit_code()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_lie_one_above_the_other() {
        assert_eq!(stacked(&[(100_000, 65_536), (300_000, 10)]), [(1, 100_000, 65_536), (65_537, 300_000, 10)]);
        assert_eq!(stacked(&[(5, u32::MAX), (7, 9)]).len(), 1);
    }
}
