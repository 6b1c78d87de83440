//! Which device nodes a container may make and open: `linux.resources.devices`.
//!
//! `rules` reads them; `list` says them to a v1 devices cgroup, `program` to a v2 cgroup, as an eBPF program.

mod list;
mod program;
mod rules;

use std::os::fd::{AsFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::{Resource, Rlimit};

pub(super) use self::rules::Rules;
use super::record::Record;
use crate::error::{Context, Error, Result};
use crate::sys::bpf;

/// The name by which our program is found again on a cgroup, beside those of others such as systemd.
const NAME: bpf::Name = *b"myrt_devices\0\0\0\0";

impl Rules {
    /// Makes them hold in a container's cgroup. `fresh` says that it was just made, so has no program of ours yet.
    /// An ordinary user can do neither the one nor the other, and needs it less: no node can be made in a user namespace.
    ///
    /// # Errors
    /// Where the kernel or the rights for it are missing.
    pub(super) fn apply(&self, record: &Record, v2: Option<BorrowedFd<'_>>, fresh: bool) -> Result<()> {
        match (record.v1("devices"), v2) {
            (Some(_), _) if fresh && self.allow_all() => Ok(()),
            (Some(tree), _) => match list::apply(self, &tree.folder()) {
                Err(error) if record.rootless && matches!(error.errno(), Some(Errno::PERM | Errno::ACCESS)) => Ok(()),
                result => result,
            },
            (None, Some(_)) if fresh && self.allow_all() => Ok(()),
            (None, Some(cgroup)) => match self.attach(cgroup, fresh) {
                Err(errno) if record.rootless && matches!(errno, Errno::PERM | Errno::ACCESS) => Ok(()),
                result => {
                    result.context(|| "linux.resources.devices: attach a device program to the cgroup").map_err(hint)
                }
            },
            (None, None) => Ok(()),
        }
    }

    fn attach(&self, cgroup: BorrowedFd<'_>, fresh: bool) -> Result<(), Errno> {
        let old = if fresh { None } else { bpf::find_device_program(cgroup, NAME)? };
        if self.allow_all() {
            return old.map_or(Ok(()), |old| bpf::detach_device_program(cgroup, old.as_fd()));
        }
        let code = program::program(self).map_err(|_| Errno::TOOBIG)?;
        let program = match bpf::load_device_program(&code, NAME) {
            Err(Errno::PERM) => with_locked_memory(|| bpf::load_device_program(&code, NAME))?,
            other => other?,
        };
        bpf::attach_device_program(cgroup, program.as_fd(), old.as_ref().map(AsFd::as_fd))
    }
}

/// Before Linux 5.11 a program counted as locked memory, of which the limit is small: tries again without one.
fn with_locked_memory<T>(load: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let before = rustix::process::getrlimit(Resource::Memlock);
    let unlimited = Rlimit { current: None, maximum: None };
    rustix::process::setrlimit(Resource::Memlock, unlimited).map_err(|_| Errno::PERM)?;
    let result = load();
    // Back to what was inherited; it was valid before.
    let _ = rustix::process::setrlimit(Resource::Memlock, before);
    result
}

fn hint(error: Error) -> Error {
    match error.errno() {
        Some(Errno::PERM | Errno::ACCESS) => {
            error.hint("it needs CAP_BPF or CAP_SYS_ADMIN on the host, and no lockdown of bpf(2)")
        }
        Some(Errno::INVAL | Errno::NOSYS) => error.hint("the kernel needs CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL"),
        _ => error,
    }
}
