//! A user namespace that nobody lives in: it carries an id mapping, which is what an idmapped mount asks for.
//!
//! Owns the short life of the process that the namespace is born with.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, WaitOptions};

use super::clone::{Forked, fork};
use super::exec::exit_now;
use super::procfs::ProcFs;
use crate::error::{Context, Result};

/// Makes a user namespace with these two maps, in the format of /proc/PID/uid_map, and gives a descriptor of it. Nothing
/// else keeps it alive.
///
/// # Errors
/// Where the kernel refuses user namespaces or the maps.
pub fn mapping(uid_map: &str, gid_map: &str) -> Result<OwnedFd> {
    let (gate, held) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).context(|| "pipe2")?;
    let forked = fork(libc::CLONE_NEWUSER as u64, None)
        .context(|| "clone3 with CLONE_NEWUSER")
        .map_err(|error| error.hint("user namespaces may be switched off: see sysctl user.max_user_namespaces"))?;
    let child = match forked {
        Forked::Parent(child) => Resident { pid: child.pid, held: Some(held) },
        Forked::Child => {
            drop(held);
            // Ends when the pipe does, so also when the parent dies.
            while rustix::io::read(&gate, &mut [0_u8]) == Err(Errno::INTR) {}
            exit_now(0);
        }
    };
    let proc = ProcFs::open()?;
    let pid = child.pid.as_raw_nonzero();
    for (file, map) in [("uid_map", uid_map), ("gid_map", gid_map)] {
        let path = format!("{pid}/{file}");
        proc.write(&path, map.as_bytes()).context(|| format!("write {map:?} to /proc/{path}"))?;
    }
    // A magic link, in a procfs that was verified: it leads to the namespace itself.
    let path = format!("{pid}/ns/user");
    rustix::fs::openat(proc.as_fd(), path.as_str(), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .context(|| format!("open /proc/{path}"))
}

/// The process in the namespace, which ends with the pipe and is then waited for.
struct Resident {
    pid: Pid,
    held: Option<OwnedFd>,
}

impl Drop for Resident {
    fn drop(&mut self) {
        self.held = None;
        while let Err(Errno::INTR) = rustix::process::waitpid(Some(self.pid), WaitOptions::empty()) {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_is_a_namespace_of_its_own() {
        let fd = mapping("0 100000 65536\n", "0 100000 65536\n").unwrap();
        let own = std::fs::metadata("/proc/self/ns/user").unwrap();
        let made = rustix::fs::fstat(&fd).unwrap();
        assert_ne!(std::os::unix::fs::MetadataExt::ino(&own), made.st_ino);
    }

    #[test]
    fn a_map_that_the_kernel_refuses_is_named() {
        let message = mapping("0 0 0\n", "0 0 1\n").unwrap_err().to_string();
        assert!(message.contains("uid_map"), "{message}");
    }
}
