//! execve(2), with everything that allocates done beforehand, and what precedes it.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::RawFd;
use std::os::raw::c_char;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::io::Errno;

use super::check;

/// A program with its arguments and environment, ready in the form the kernel takes.
#[derive(Debug)]
pub struct Image {
    path: CString,
    // The pointers below point into these; a moved CString keeps its heap buffer.
    _strings: Vec<CString>,
    argv: Vec<*const c_char>,
    envp: Vec<*const c_char>,
}

impl Image {
    /// Copies all strings.
    ///
    /// # Errors
    /// EINVAL where one holds a NUL byte.
    pub fn new<S: AsRef<OsStr>>(path: &OsStr, args: &[S], env: &[S]) -> Result<Self, Errno> {
        let c_string = |text: &OsStr| CString::new(text.as_bytes()).map_err(|_| Errno::INVAL);
        let path = c_string(path)?;
        let strings = args.iter().chain(env).map(|text| c_string(text.as_ref())).collect::<Result<Vec<_>, _>>()?;
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (argv, envp) = (pointers(&strings[..args.len()]), pointers(&strings[args.len()..]));
        Ok(Self { path, _strings: strings, argv, envp })
    }

    /// The program's path.
    pub fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.path.to_bytes()))
    }

    /// Becomes the program: one system call. Comes back only with the reason why not.
    pub fn exec(&self) -> Errno {
        // SAFETY: path, argv and envp are NUL-terminated and live as long as self; the arrays end with a null pointer.
        let result = unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        check(libc::c_long::from(result)).err().unwrap_or(Errno::IO)
    }
}

/// The environment of this process, `NAME=value` each: any bytes but NUL.
pub fn own_environment() -> Vec<OsString> {
    let entry = |(mut name, value): (OsString, OsString)| {
        name.push("=");
        name.push(value);
        name
    };
    std::env::vars_os().map(entry).collect()
}

/// Ends the process at once: no destructor and no exit handler of the copied parent runs.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// No descriptor has a higher number, unless the host's administrator raised fs.nr_open.
const MOST: u32 = 1 << 20;

/// Closes every descriptor but the standard streams, those in `keep`, and of the `for_program` after the streams those
/// that the caller handed on: ours among them have CLOEXEC, which a descriptor that came through an exec cannot have.
///
/// Whoever owns one of the others must never use or drop it again: a process that is about to exec leaves by execve(2) or
/// [`exit_now`].
///
/// # Errors
/// The errno of close_range(2), bare.
pub fn close_all_but(for_program: u32, mut keep: Vec<RawFd>) -> Result<(), Errno> {
    keep.sort_unstable();
    let first = for_program.saturating_add(3).min(MOST);
    for fd in (3..first as RawFd).filter(|fd| keep.binary_search(fd).is_err()) {
        // SAFETY: takes a number; one that is no open descriptor gives EBADF.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC != 0 {
            close_range(fd as u32, fd as u32)?;
        }
    }
    close_between(first, keep)
}

/// Closes all from this number on but those in `keep`, which is sorted.
fn close_between(mut from: u32, keep: Vec<RawFd>) -> Result<(), Errno> {
    for fd in keep.into_iter().map(|fd| fd as u32) {
        if fd > from {
            close_range(from, fd - 1)?;
        }
        from = from.max(fd.saturating_add(1));
    }
    close_range(from, u32::MAX)
}

/// Closes every descriptor but those in `keep`, the standard streams as well, with the same promise of the caller's.
///
/// # Errors
/// The errno of close_range(2), bare.
pub fn close_all(mut keep: Vec<RawFd>) -> Result<(), Errno> {
    keep.sort_unstable();
    close_between(0, keep)
}

/// close_range(2); where a filter around us hides it, each descriptor by itself.
fn close_range(first: u32, last: u32) -> Result<(), Errno> {
    // SAFETY: takes three numbers. By the promise of the only caller nobody uses these descriptors any more.
    match check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) }) {
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other.map(drop),
    }
    for fd in first..=last.min(MOST) {
        // SAFETY: as above; a number that is no open descriptor gives EBADF.
        unsafe { libc::close(fd as RawFd) };
    }
    Ok(())
}
