//! The one error of myrt: what failed, where, why, and what to do about it.
//!
//! An error is made where the fact is known (a field, a path, a failed call), gets context on the way up, and is printed
//! once, by `main`. It can cross a socket, since a container's init reports to its parent.

use std::borrow::Cow;
use std::fmt::{self, Display};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// The result of everything in myrt that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What failed. `Display` gives one line, outermost context first; `hint` gives the remedy, where there is one.
#[derive(Clone, Serialize, Deserialize)]
pub struct Error(Box<Inner>);

#[derive(Clone, Serialize, Deserialize)]
struct Inner {
    message: String,
    errno: Option<i32>,
    hint: Option<Cow<'static, str>>,
    exit_code: Option<u8>,
    /// Of a program that cannot run.
    shells_code: Option<u8>,
}

impl Error {
    /// An error without a failed call behind it.
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Inner { message: message.into(), errno: None, hint: None, exit_code: None, shells_code: None }))
    }

    /// A failed system call: `call` names it with the arguments that matter, such as `open "/proc"`.
    pub fn call(call: impl Display, errno: Errno) -> Self {
        let mut error = Self::new(format!("{call}: {}", errno_text(errno)));
        error.0.errno = Some(errno.raw_os_error());
        error
    }

    /// What a reader failed with: the error of ours that it carries, hint and all, or its text.
    pub fn of_io(error: std::io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(|error| Self::new(error.to_string()))
    }

    /// Puts `context` before what is already said.
    #[must_use]
    pub fn context(mut self, context: impl Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// Says what a person can do. The innermost hint is nearest to the cause, so it stays.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<Cow<'static, str>>) -> Self {
        self.0.hint.get_or_insert_with(|| hint.into());
        self
    }

    /// The exit code that the command ends with, where it is not 1.
    #[must_use]
    pub fn exit_with(mut self, code: u8) -> Self {
        self.0.exit_code = Some(code);
        self
    }

    /// Marks it as the reason why the program that was asked for does not run: `code` is what a shell ends with then, 127
    /// where there is no such program and 126 where it cannot be executed. An OCI command ends with 1 all the same.
    #[must_use]
    pub fn of_the_program(mut self, code: u8) -> Self {
        self.0.shells_code = Some(code);
        self
    }

    /// What a shell ends with, where the program that was asked for does not run.
    pub fn shells_code(&self) -> Option<u8> {
        self.0.shells_code
    }

    /// The errno of the failed call, if one was behind it.
    pub fn errno(&self) -> Option<Errno> {
        self.0.errno.map(Errno::from_raw_os_error)
    }

    /// The remedy: the one given, or what the errno alone suggests.
    pub fn remedy(&self) -> Option<&str> {
        self.0.hint.as_deref().or_else(|| errno_remedy(self.errno()?))
    }

    /// The exit code of the command.
    pub fn exit_code(&self) -> u8 {
        self.0.exit_code.unwrap_or(1)
    }
}

/// The texts of strerror(3) in lower case, which is how callers of an OCI runtime match them.
fn errno_text(errno: Errno) -> String {
    let text = std::io::Error::from_raw_os_error(errno.raw_os_error()).to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    let keeps_case = text.chars().nth(1).is_some_and(char::is_uppercase);
    match letters.next() {
        Some(first) if !keeps_case => first.to_lowercase().chain(letters).collect(),
        _ => text.to_owned(),
    }
}

/// What an errno alone suggests, where nothing nearer to the cause was said.
fn errno_remedy(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOSPC => "a filesystem is full: free some space, or choose another --root, or --store for a sandbox",
        Errno::MFILE | Errno::NFILE => "too many open files: raise the limit (ulimit -n)",
        Errno::NOMEM => "the kernel is out of memory for this request: see `dmesg`",
        Errno::ROFS => "the filesystem is mounted read-only",
        _ => return None,
    })
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::error::Error for Error {}

/// Adds what was being done to a failure.
pub trait Context<T> {
    /// Names the call or the deed; `what` is only built on failure.
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T>;
}

impl<T> Context<T> for Result<T, Errno> {
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|errno| Error::call(what(), errno))
    }
}

impl<T> Context<T> for Result<T, Error> {
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| error.context(what()))
    }
}

impl<T> Context<T> for Result<T, std::io::Error> {
    fn context<D: Display>(self, what: impl FnOnce() -> D) -> Result<T> {
        self.map_err(|error| match Errno::from_io_error(&error) {
            Some(errno) => Error::call(what(), errno),
            None => Error::of_io(error).context(what()),
        })
    }
}

/// Returns early with an error made of a format string.
#[macro_export]
macro_rules! bail {
    ($($text:tt)*) => { return Err($crate::error::Error::new(format!($($text)*))) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_call_reads_as_callers_match_it() {
        let error = Error::call("open \"/x\"", Errno::NOENT).context("mounts[2]");
        assert_eq!(error.to_string(), "mounts[2]: open \"/x\": no such file or directory");
        assert_eq!(Error::call("mount", Errno::PERM).to_string(), "mount: operation not permitted");
        assert_eq!(error.errno(), Some(Errno::NOENT));
    }

    #[test]
    fn the_innermost_hint_stays() {
        let error = Error::new("x").hint("near").hint("far");
        assert_eq!(error.remedy(), Some("near"));
    }
}
