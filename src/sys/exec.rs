//! execve(2), with everything that allocates done beforehand, and what precedes it.

use std::ffi::{CStr, CString};
use std::os::raw::c_char;

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
    pub fn new(path: &[u8], args: &[String], env: &[String]) -> Result<Self, Errno> {
        let c_string = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::INVAL);
        let path = c_string(path)?;
        let strings = args.iter().chain(env).map(|s| c_string(s.as_bytes())).collect::<Result<Vec<_>, _>>()?;
        let pointers = |strings: &[CString]| -> Vec<*const c_char> {
            strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
        };
        let (argv, envp) = (pointers(&strings[..args.len()]), pointers(&strings[args.len()..]));
        Ok(Self { path, _strings: strings, argv, envp })
    }

    /// The program's path.
    pub fn path(&self) -> &CStr {
        &self.path
    }

    /// Becomes the program: one system call. Comes back only with the reason why not.
    pub fn exec(&self) -> Errno {
        // SAFETY: path, argv and envp are NUL-terminated and live as long as self; the arrays end with a null pointer.
        let result = unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr()) };
        check(libc::c_long::from(result)).err().unwrap_or(Errno::IO)
    }
}

/// Ends the process at once: no destructor and no exit handler of the copied parent runs.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory.
    unsafe { libc::_exit(code) }
}

/// Marks every descriptor from `first` on as CLOEXEC, whoever opened it (CVE-2024-21626).
///
/// # Errors
/// The errno of close_range(2); before Linux 5.11 each descriptor is marked by itself.
pub fn close_on_exec_from(first: u32) -> Result<(), Errno> {
    // SAFETY: takes three numbers; descriptors stay open, only their flag changes.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match check(result) {
        Err(Errno::NOSYS | Errno::INVAL) => mark_each_from(first),
        other => other.map(drop),
    }
}

/// The fallback for kernels without CLOSE_RANGE_CLOEXEC: walks the whole table of descriptors.
fn mark_each_from(first: u32) -> Result<(), Errno> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(1 << 20);
    for fd in u64::from(first)..limit {
        // SAFETY: a number that is no open descriptor gives EBADF; an open one only gets the flag.
        unsafe { libc::fcntl(fd as i32, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}
