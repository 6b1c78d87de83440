//! Files of the caller's that the program has open for writing: its standard streams, where the caller sends them to a file.
//!
//! What it writes there is the caller's wish. Mode, owner and attributes are not, yet the program owns the file where its
//! caller does: of what it wrote it could make a setuid program, or let everybody read what was the caller's alone. As long
//! as somebody has a file open for writing the kernel executes it for nobody, so they are put right before that ends.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{FileType, Gid, Mode, OFlags, Stat, Uid, XattrFlags};

use super::changes::xattrs::{self, Xattrs};
use crate::error::{Context, Result};
use crate::log;

/// Whoever executes the file gets rights by it.
const CAPABILITIES: &str = "security.capability";

/// The files, as they were before the run.
#[derive(Debug)]
pub(super) struct Lent(Vec<File>);

#[derive(Debug)]
struct File {
    name: &'static str,
    file: OwnedFd,
    was: Stat,
    /// Missing where the caller may not read them.
    xattrs: Option<Xattrs>,
}

/// Notes what the program is about to get.
///
/// # Errors
/// Where a stream cannot be looked at.
pub(super) fn note() -> Result<Lent> {
    let streams = [
        (rustix::stdio::stdin(), "standard input"),
        (rustix::stdio::stdout(), "standard output"),
        (rustix::stdio::stderr(), "standard error"),
    ];
    let mut lent: Vec<File> = Vec::new();
    for (stream, name) in streams {
        if let Some(file) = File::note(stream, name).context(|| format!("look at {name}"))?
            && !lent.iter().any(|other| other.which() == file.which())
        {
            lent.push(file);
        }
    }
    Ok(Lent(lent))
}

impl Lent {
    /// Whether there is any.
    pub(super) fn is_something(&self) -> bool {
        !self.0.is_empty()
    }

    /// Gives the files the mode, owner and attributes that they had.
    pub(super) fn take_back(&self) {
        for file in &self.0 {
            let name = file.name;
            match file.take_back() {
                Ok(false) => {}
                Ok(true) => log::warn(format!(
                    "the program has changed mode, owner or attributes of the file that is its {name}: they are as they were"
                )),
                Err(error) => log::warn(format!(
                    "the program has changed mode, owner or attributes of the file that is its {name}, and they stay so: {error}"
                )),
            }
        }
    }
}

impl File {
    fn note(stream: BorrowedFd<'_>, name: &'static str) -> Result<Option<Self>> {
        let was = rustix::fs::fstat(stream).context(|| "fstat")?;
        if FileType::from_raw_mode(was.st_mode) != FileType::RegularFile {
            return Ok(None);
        }
        let flags = rustix::fs::fcntl_getfl(stream).context(|| "fcntl")?;
        if flags & OFlags::RWMODE == OFlags::RDONLY {
            return Ok(None);
        }
        let file = rustix::io::fcntl_dupfd_cloexec(stream, 3).context(|| "duplicate")?;
        let mut xattrs = xattrs::of_open(file.as_fd()).ok();
        // The kernel takes these rights away from a file that is written to.
        xattrs.iter_mut().for_each(|xattrs| xattrs.retain(|(key, _)| key.to_bytes() != CAPABILITIES.as_bytes()));
        Ok(Some(Self { name, file, was, xattrs }))
    }

    fn which(&self) -> (u64, u64) {
        (self.was.st_dev, self.was.st_ino)
    }

    /// What the mode was, but for the bits that writing takes away.
    fn mode(&self) -> u32 {
        let group = if self.was.st_mode & 0o010 == 0 { 0 } else { 0o2000 };
        self.was.st_mode & 0o7777 & !(0o4000 | group)
    }

    /// Whether there was something to give back.
    fn take_back(&self) -> Result<bool> {
        let is = rustix::fs::fstat(&self.file).context(|| "fstat")?;
        let mut changed = self.take_back_xattrs()?;
        if (is.st_uid, is.st_gid) != (self.was.st_uid, self.was.st_gid) {
            let (uid, gid) = (Uid::from_raw(self.was.st_uid), Gid::from_raw(self.was.st_gid));
            rustix::fs::fchown(&self.file, Some(uid), Some(gid)).context(|| "chown")?;
            changed = true;
        }
        // Last: a list of rights among the attributes has its say about the mode, and so has a new owner.
        if changed || is.st_mode & 0o7777 != self.mode() {
            rustix::fs::fchmod(&self.file, Mode::from_raw_mode(self.mode())).context(|| "chmod")?;
            changed = true;
        }
        Ok(changed)
    }

    fn take_back_xattrs(&self) -> Result<bool> {
        let Some(were) = &self.xattrs else { return Ok(false) };
        let are = xattrs::of_open(self.file.as_fd())?;
        let what = |key: &CString| format!("the attribute {key:?}");
        let mut changed = false;
        for (key, _) in are.iter().filter(|(key, _)| !were.iter().any(|(known, _)| known == key)) {
            rustix::fs::fremovexattr(&self.file, key.as_c_str()).context(|| what(key))?;
            changed = true;
        }
        for (key, value) in were.iter().filter(|was| !are.contains(was)) {
            rustix::fs::fsetxattr(&self.file, key.as_c_str(), value, XattrFlags::empty()).context(|| what(key))?;
            changed = true;
        }
        Ok(changed)
    }
}
