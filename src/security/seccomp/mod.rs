//! A seccomp profile becomes a filter: a program of classic BPF that the kernel runs at each system call.
//!
//! Owns the meaning of a profile, which is libseccomp's as runc and crun use it, since profiles were written against
//! those: [`rules`] says what happens to which number, [`order`] which of two conflicting rules wins, and [`emit`]
//! writes the instructions. Neighbouring numbers that are treated alike become one range, and ranges are found by binary
//! search, so a profile of 350 names takes some 150 instructions instead of 700 an architecture.
//!
//! Not here: names and numbers (`plan::seccomp`, `plan::syscalls`), the system call (`sys::seccomp`), the delivery of a
//! listener ([`super::notify`]).

mod emit;
mod order;
mod rules;
#[cfg(test)]
mod tests;

use std::os::fd::OwnedFd;

use rustix::io::Errno;

use crate::bail;
use crate::error::{Error, Result};
use crate::plan::{self, SeccompAction, seccomp as names};
use crate::sys;

/// What the kernel refuses to load more of (BPF_MAXINSNS).
const MAX_INSTRUCTIONS: usize = 4096;

/// Bytes of an instruction (struct sock_filter).
const INSTRUCTION: usize = size_of::<libc::sock_filter>();

/// A filter, ready to be loaded.
#[derive(Clone)]
pub struct Program {
    code: Vec<libc::sock_filter>,
    flags: u64,
    notify: bool,
    allows_futex: bool,
    allows_sendmsg: bool,
}

/// Compiles a profile.
///
/// # Errors
/// Where two rules say different things about the same condition, and where the filter gets too long for the kernel.
pub fn compile(seccomp: &plan::Seccomp) -> Result<Program> {
    compile_with(seccomp, &plan::syscalls::NATIVE)
}

fn compile_with(seccomp: &plan::Seccomp, names: &plan::syscalls::Names) -> Result<Program> {
    let decided = rules::decide(seccomp, names)?;
    let code = emit::program(&decided);
    if code.len() > MAX_INSTRUCTIONS {
        bail!(
            "linux.seccomp: the filter has {} instructions and Linux takes {MAX_INSTRUCTIONS}: it has too many conditions",
            code.len()
        );
    }
    let notify = seccomp.uses_notify();
    let flags = if notify { seccomp.flags } else { seccomp.flags & !names::WAIT_KILLABLE_RECV };
    let allows = |number| allows(seccomp, &decided, number);
    let (allows_futex, allows_sendmsg) = (allows(libc::SYS_futex), allows(libc::SYS_sendmsg));
    Ok(Program { code, flags, notify, allows_futex, allows_sendmsg })
}

/// Whether a call of this kernel's own numbers is left to whom the filter is loaded for, whatever its arguments.
fn allows(seccomp: &plan::Seccomp, decided: &[rules::Architecture], number: libc::c_long) -> bool {
    let native = seccomp.architectures.iter().find(|arch| arch.column == 0 && arch.offset == 0);
    let native = native.and_then(|native| decided.iter().find(|decided| decided.audit == native.audit));
    native.and_then(|native| native.always(number as u32)) == Some(libc::SECCOMP_RET_ALLOW)
}

impl Program {
    /// The instructions, in the kernel's form, in parts of `most` bytes at most, after what else there is to know.
    pub fn parts(&self, most: usize) -> impl Iterator<Item = Vec<u8>> {
        let bytes = |one: &libc::sock_filter| {
            let [code, code_high] = one.code.to_ne_bytes();
            let [k0, k1, k2, k3] = one.k.to_ne_bytes();
            [code, code_high, one.jt, one.jf, k0, k1, k2, k3]
        };
        let part = move |part: &[libc::sock_filter]| part.iter().flat_map(bytes).collect();
        let head = [self.notify, self.allows_futex, self.allows_sendmsg].map(u8::from);
        let head = head.into_iter().chain(self.flags.to_ne_bytes());
        std::iter::once(head.collect()).chain(self.code.chunks(most / INSTRUCTION).map(part))
    }

    /// Puts the parts together; `None` where they are none.
    pub fn of_parts(parts: &[Vec<u8>]) -> Option<Self> {
        let (head, parts) = parts.split_first()?;
        let (&[notify, allows_futex, allows_sendmsg], flags) = head.split_first_chunk()?;
        let instruction = |bytes: &[u8]| {
            let &[code, code_high, jt, jf, k0, k1, k2, k3] = bytes.first_chunk()?;
            let (code, k) = (u16::from_ne_bytes([code, code_high]), u32::from_ne_bytes([k0, k1, k2, k3]));
            Some(libc::sock_filter { code, jt, jf, k })
        };
        Some(Self {
            code: parts.iter().flat_map(|part| part.chunks(INSTRUCTION)).map(instruction).collect::<Option<_>>()?,
            flags: u64::from_ne_bytes(flags.try_into().ok()?),
            notify: notify != 0,
            allows_futex: allows_futex != 0,
            allows_sendmsg: allows_sendmsg != 0,
        })
    }

    /// Loads the filter for this thread and all that it becomes. Gives the listener where a rule notifies one.
    ///
    /// # Errors
    /// EACCES without no_new_privs and without CAP_SYS_ADMIN; EINVAL for a flag that the kernel lacks; EBUSY when a
    /// filter with a listener is there already.
    pub fn install(&self) -> Result<Option<OwnedFd>> {
        sys::seccomp::install(&self.code, self.flags, self.notify).map_err(|errno| {
            let error = Error::call(format!("linux.seccomp: load the filter with flags {:#x}", self.flags), errno);
            match errno {
                Errno::ACCESS => error.hint("set process.noNewPrivileges, or run with CAP_SYS_ADMIN"),
                Errno::INVAL => {
                    error.hint("this kernel lacks one of linux.seccomp.flags, or SCMP_ACT_NOTIFY (Linux 5.0)")
                }
                Errno::BUSY => error.hint("a filter with a listener is loaded already; Linux allows one"),
                _ => error,
            }
        })
    }

    /// The same filter for a process to which nobody listens: calls that it would notify of fail there with ENOSYS.
    #[must_use]
    pub fn without_listener(&self) -> Self {
        Self { code: self.code.clone(), flags: self.flags & !names::WAIT_KILLABLE_RECV, notify: false, ..*self }
    }

    /// Whether [`Program::install`] gives a listener.
    pub fn uses_notify(&self) -> bool {
        self.notify
    }

    /// Whether who has loaded it may still wait for another process in futex(2).
    pub fn allows_futex(&self) -> bool {
        self.allows_futex
    }

    /// Whether it may still send a descriptor over a socket.
    pub fn allows_sendmsg(&self) -> bool {
        self.allows_sendmsg
    }

    /// Number of instructions.
    pub fn len(&self) -> usize {
        self.code.len()
    }

    /// Whether there is nothing in it; a compiled program never is.
    pub fn is_empty(&self) -> bool {
        self.code.is_empty()
    }
}

/// What a filter returns for an action (include/uapi/linux/seccomp.h).
const fn return_value(action: SeccompAction) -> u32 {
    match action {
        SeccompAction::KillThread => libc::SECCOMP_RET_KILL_THREAD,
        SeccompAction::KillProcess => libc::SECCOMP_RET_KILL_PROCESS,
        SeccompAction::Trap => libc::SECCOMP_RET_TRAP,
        SeccompAction::Errno(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
        SeccompAction::Trace(message) => libc::SECCOMP_RET_TRACE | message as u32,
        SeccompAction::Allow => libc::SECCOMP_RET_ALLOW,
        SeccompAction::Log => libc::SECCOMP_RET_LOG,
        SeccompAction::Notify => libc::SECCOMP_RET_USER_NOTIF,
    }
}

/// The names of flags that this kernel has, of those in `plan::seccomp`. Loads nothing.
pub fn supported_flags() -> Vec<&'static str> {
    let supported = |bit: u64| match bit {
        // TSYNC, which is granted by there being one thread.
        0 => true,
        names::WAIT_KILLABLE_RECV => sys::seccomp::has_flag(bit, true),
        _ => sys::seccomp::has_flag(bit, false),
    };
    names::FLAGS.iter().filter(|(_, bit)| supported(*bit)).map(|(name, _)| *name).collect()
}
