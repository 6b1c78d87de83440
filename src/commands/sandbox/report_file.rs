//! The file of `--report`: open before there is a box, so that nothing the program does has a say in where it is.

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::sandbox::Report;

/// The file, and what it was called.
pub(super) struct ReportFile {
    file: OwnedFd,
    path: PathBuf,
}

impl ReportFile {
    /// Opens it, or makes it; what it holds stays until there is a report.
    ///
    /// # Errors
    /// Where it cannot be written, or is no regular file.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let what = || format!("--report {path:?}");
        if path.as_os_str() == "-" {
            return Err(Error::new(format!("{}: the standard output is the program's", what()))
                .hint("name a file; one that is called so is ./-"));
        }
        let irregular = || Error::new(format!("{}: this is no regular file", what()));
        // Not to wait for the reader of a fifo, and to get no terminal.
        let patient = OFlags::NONBLOCK | OFlags::NOCTTY;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | patient;
        let file = match rustix::fs::open(path, flags, Mode::from(0o644)) {
            Err(Errno::NXIO) => return Err(irregular()),
            // Where a program of an earlier run could write on the host itself, it may have put one there.
            Err(Errno::LOOP) => return Err(Error::new(format!("{}: it is a link, which is not followed", what()))),
            other => other.context(|| "open it").context(what)?,
        };
        let found = rustix::fs::fstat(&file).context(what)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(irregular());
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Writes the report in place of what is there.
    ///
    /// # Errors
    /// Where that fails, such as on a full disk.
    pub(super) fn write(self, report: &Report) -> Result<()> {
        let what = || format!("--report {:?}", self.path);
        let mut text = serde_json::to_vec_pretty(report).map_err(|error| Error::new(error.to_string()))?;
        text.push(b'\n');
        let mut file = File::from(self.file);
        file.set_len(0).and_then(|()| file.write_all(&text)).context(|| "write it").context(what)
    }
}
