//! `myrt sandbox export`: a box's changes as an archive.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::{names, store};
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::{Context, Error, Result};
use crate::sandbox::{self, Box, text};

crate::args! {
    /// Flags of `sandbox export`.
    pub struct Args {
        /// Write to this file in place of stdout; - is stdout
        output: Option<PathBuf> = "--output -o FILE",
        /// How to say what a file got: table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox export",
    group: Group::Sandbox,
    about: "Write a box's changes as a layer of an image",
    words: "NAME",
    details: "
The archive is a tar file, as an OCI image has for each of its layers: what the box has made or
changed, and an empty file .wh.NAME for each NAME that it removed; .wh..wh..opq says that a folder
shows nothing of the one below it. Owners, modes, times to the nanosecond, extended attributes and
hard links are kept, holes are written as zeros. Sockets are left out, with a warning. The same box
gives the same bytes, and their SHA-256 is what an image calls the layer's diff ID.

A FILE appears when it is whole, readable by you alone: it may hold what others must not read.

Examples:
  sudo myrt sandbox export try -o try.tar
  sudo myrt sandbox export try | tar -tv",
    flags: Args::FLAGS,
    run,
};

/// What a file got, for programs.
#[derive(Serialize)]
struct Written {
    file: String,
    entries: u64,
    bytes: u64,
    digest: String,
}

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let names = names(&parsed)?;
    let [name] = names.as_slice() else { bail!("export: the name of one box is expected") };
    let file = args.output.filter(|path| path.as_os_str() != "-");
    if file.is_none() && rustix::termios::isatty(rustix::stdio::stdout()) {
        return Err(Error::new("export: an archive is nothing for a terminal")
            .hint("write it to a file with -o FILE, or into a pipe"));
    }
    if file.is_none() && is_closed(rustix::stdio::stdout()) {
        return Err(Error::new("export: standard output is closed, and the archive would be lost")
            .hint("write it to a file with -o FILE, or into a pipe"));
    }
    let mut held = store(args.store)?.hold(name)?;
    let Some(path) = file else {
        let stdout = rustix::stdio::stdout().try_clone_to_owned().context(|| "duplicate stdout")?;
        return write(&mut held, File::from(stdout)).map(|_| 0).map_err(output::of_stdout);
    };
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        // A pipe or a device, perhaps stdout itself: nothing is said beside the archive.
        let file = File::options().write(true).open(&path).context(|| format!("open {path:?}"))?;
        return write(&mut held, file).map(|_| 0);
    }
    let (entries, bytes, digest) = to_file(&mut held, &path).context(|| path.display())?;
    let written = Written { file: path.to_string_lossy().into_owned(), entries, bytes, digest };
    match args.format.unwrap_or_default() {
        Format::Json => output::json(&written)?,
        Format::Table => output::print(&format!(
            "{}: {entries} entries, {}, {}\n",
            text::shown(&path),
            text::size(bytes),
            written.digest
        ))?,
    }
    Ok(0)
}

/// Whether a stream is what stands in for one that the caller has closed (`sys::entry`): /dev/null, open both ways, which no
/// redirection to it is.
fn is_closed(stream: BorrowedFd<'_>) -> bool {
    let both = rustix::fs::fcntl_getfl(stream).is_ok_and(|flags| flags & OFlags::RWMODE == OFlags::RDWR);
    let null = rustix::fs::fstat(stream).is_ok_and(|found| found.st_rdev == rustix::fs::makedev(1, 3));
    both && null
}

/// Writes to a file that gets its name when it is whole.
fn to_file(held: &mut Box, path: &Path) -> Result<(u64, u64, String)> {
    let name = path.file_name().ok_or_else(|| Error::new("this names no file"))?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let next = path.with_file_name(hidden);
    let file = File::options().write(true).create_new(true).mode(0o600).open(&next).context(|| "make it")?;
    let result = write(held, file).and_then(|written| {
        std::fs::rename(&next, path).context(|| "give it its name")?;
        Ok(written)
    });
    result.inspect_err(|_| {
        // The reason for the failure matters more than one more.
        let _ = std::fs::remove_file(&next);
    })
}

/// Gives the number of entries and of bytes, and their digest.
fn write(held: &mut Box, file: File) -> Result<(u64, u64, String)> {
    let mut out = Digesting { out: BufWriter::with_capacity(256 << 10, file), digest: Sha256::new(), bytes: 0 };
    let entries = sandbox::export(held, &mut out)?;
    let digest: String = out.digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((entries, out.bytes, format!("sha256:{digest}")))
}

/// Counts and digests what goes through.
struct Digesting<W> {
    out: W,
    digest: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Digesting<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}
