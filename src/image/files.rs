//! The files that an image is made of, by name: in a folder or in an archive.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::digest::{Digest, Verified};
use crate::bail;
use crate::error::{Context, Error, Result};

/// A file: how many bytes it has, and what yields them.
pub type Opened<'a> = (u64, Box<dyn Read + Send + 'a>);

/// Files that are found by name.
pub trait Files: Send + Sync {
    /// Opens a file; nothing where there is none of that name.
    ///
    /// # Errors
    /// Any other failure.
    fn open(&self, name: &str) -> Result<Option<Opened<'_>>>;

    /// What holds them, for messages.
    fn place(&self) -> String;

    /// Somebody has this file already and does not open it.
    fn skipped(&self, _name: &str) {}

    /// Opens a file that has to be there.
    ///
    /// # Errors
    /// Where it is missing, or cannot be read.
    fn need(&self, name: &str) -> Result<Opened<'_>> {
        self.open(name)?.ok_or_else(|| Error::new(format!("{}: there is no {name}", self.place())))
    }

    /// The whole of a small file, checked against its digest where there is one.
    ///
    /// # Errors
    /// Where it is missing, too large, or another one than announced.
    fn document(&self, name: &str, most: u64, digest: Option<&Digest>) -> Result<Vec<u8>> {
        let (size, input) = self.need(name)?;
        let what = || format!("{}: {name}", self.place());
        if size > most {
            bail!("{}: {size} bytes, which is more than a document has (at most {most})", what());
        }
        let mut content = Vec::with_capacity(size as usize);
        let mut input = Verified::new(input, Some(size), digest);
        input.read_to_end(&mut content).map_err(|error| Error::new(format!("{}: {error}", what())))?;
        Ok(content)
    }
}

/// Files of a folder and those below.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
}

impl Folder {
    /// Opens the folder.
    ///
    /// # Errors
    /// Where it is missing, or may not be read.
    pub fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).context(|| format!("open {path:?}"));
        let fd = fd.map_err(|error| match error.errno() {
            Some(Errno::NOTDIR) => error.hint("an archive is named by oci-archive:FILE, or docker-archive:FILE"),
            _ => error,
        })?;
        Ok(Self { fd, path: path.to_owned() })
    }
}

impl Files for Folder {
    fn open(&self, name: &str) -> Result<Option<Opened<'_>>> {
        // Some builders fill a layout with links to their caches: links are followed. NONBLOCK: a fifo would wait.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let what = || format!("open {:?}", self.path.join(name));
        let fd = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            other => other.context(what)?,
        };
        let stat = rustix::fs::fstat(&fd).context(what)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            bail!("{:?}: not a regular file", self.path.join(name));
        }
        Ok(Some((stat.st_size as u64, Box::new(File::from(fd)))))
    }

    fn place(&self) -> String {
        self.path.display().to_string()
    }
}
