//! An ordinary user unpacks as root of a user namespace: with the caller's own id alone, or with the ranges that
//! /etc/subuid and /etc/subgid grant. The container's user namespace has the same maps later, so that owners fit.

use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Signal, WaitOptions};

use super::convert::Maps;
use crate::error::{Context, Error, Result};
use crate::namespaces::{id_helpers, write_id_maps};
use crate::plan::{IdMap, Namespaces};
use crate::sys::clone::{Forked, fork};

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

/// Goes on as root of a new user namespace: the child comes back with nothing and does the work, the parent waits for it
/// and comes back with its exit code. The process has no threads yet.
///
/// # Errors
/// Where the kernel refuses user namespaces, or the host refuses the maps.
pub fn enter(maps: &Maps) -> Result<Option<u8>> {
    let (gate, opened) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "pipe2")?;
    let forked = fork(libc::CLONE_NEWUSER as u64, None)
        .context(|| "clone3 with CLONE_NEWUSER")
        .map_err(|error| error.hint("user namespaces may be switched off: `myrt check` says how to allow them"))?;
    let child = match forked {
        Forked::Parent(child) => child,
        Forked::Child => {
            drop(opened);
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context(|| "prctl PDEATHSIG")?;
            let mut byte = [0_u8];
            return match rustix::io::retry_on_intr(|| rustix::io::read(&gate, &mut byte)) {
                Ok(1) => Ok(None),
                // The parent has told why.
                _ => Ok(Some(1)),
            };
        }
    };
    drop(gate);
    let lines = |map: &[(u32, u32, u32)]| {
        map.iter().map(|(inside, outside, count)| IdMap { inside: *inside, outside: *outside, count: *count }).collect()
    };
    let namespaces = Namespaces { uid_map: lines(&maps.uids), gid_map: lines(&maps.gids), ..Namespaces::default() };
    let mapped = write_id_maps(&namespaces, child.pid);
    if mapped.is_ok() {
        rustix::io::write(&opened, &[1]).context(|| "write to a pipe")?;
    }
    drop(opened);
    let status = loop {
        match rustix::process::waitpid(Some(child.pid), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status,
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).context(|| "wait for the process in the user namespace"),
        }
    };
    mapped?;
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ok(Some(code as u8)),
        (_, signal) => {
            Err(Error::new(format!("the process in the user namespace ended by signal {}", signal.unwrap_or(0))))
        }
    }
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
