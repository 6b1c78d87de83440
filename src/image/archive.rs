//! Archives that hold images: the files in them are found once and then read where they are, nothing is unpacked.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use super::compression::Decoder;
use super::files::{Files, Opened};
use super::name;
use super::tar::{Kind, Reader};
use crate::bail;
use crate::error::{Context, Error, Result};

/// An archive of an image has as many files as the image has layers and documents.
const MOST: usize = 100_000;
/// Bytes of all their names, which are kept in memory.
const NAMES: usize = 16 << 20;
/// A link in it leads to a file and not to another link, more than so often.
const LINKS: usize = 8;

/// An archive with an index of what is where.
#[derive(Debug)]
pub struct Archive {
    file: Arc<File>,
    place: String,
    index: HashMap<Vec<u8>, Place>,
}

/// Where a file's content is.
#[derive(Clone, Debug)]
enum Place {
    /// So many bytes from an offset on.
    At(u64, u64),
    /// Under another name. Docker shares layers so.
    Link(Vec<u8>),
}

impl Archive {
    /// Opens an archive and reads which files are where; one that is packed as a whole may have `most` bytes in it.
    ///
    /// # Errors
    /// Where it is missing, or no archive.
    pub fn open(path: &Path, most: u64) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty()).context(|| format!("open {path:?}"))?;
        Self::of(File::from(fd), &path.display().to_string(), most)
    }

    /// The archive on standard input.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn stdin(most: u64) -> Result<Self> {
        let fd = rustix::stdio::stdin().try_clone_to_owned().context(|| "take over standard input")?;
        Self::of(File::from(fd), "standard input", most)
    }

    /// What cannot be read twice, or is packed as a whole, is written to a file that has no name.
    pub(super) fn of(file: File, place: &str, most: u64) -> Result<Self> {
        let what = || place.to_owned();
        let stat = rustix::fs::fstat(&file).context(what)?;
        let is_file = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        let file = match Decoder::new(&file).context(what)? {
            Decoder::Plain(_) if is_file => {
                rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0)).context(what)?;
                file
            }
            decoder => {
                let mut copy = unnamed()?;
                let copied = io::copy(&mut decoder.take(most.saturating_add(1)), &mut copy)
                    .map_err(|error| Error::new(format!("{place}: {error}")))?;
                if copied > most {
                    return Err(Error::new(format!("{place}: more than {most} bytes"))
                        .hint("if that is meant, raise --max-size"));
                }
                copy.flush().context(what)?;
                copy
            }
        };
        let file = Arc::new(file);
        let index = index(&file).context(what)?;
        Ok(Self { file, place: place.to_owned(), index })
    }
}

/// A file in the folder for temporary ones, gone with its descriptor.
fn unnamed() -> Result<File> {
    let folder = std::env::temp_dir();
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, &folder, flags, Mode::RUSR | Mode::WUSR);
    fd.map(File::from)
        .context(|| format!("make a file in {folder:?}"))
        .map_err(|error| error.hint("the archive is kept there while it is read: TMPDIR names another folder"))
}

/// Reads all headers; the content between them is skipped without being read.
fn index(file: &Arc<File>) -> Result<HashMap<Vec<u8>, Place>> {
    let mut archive = Reader::new(BufReader::new(At { file: file.clone(), offset: 0, end: u64::MAX }));
    let (mut index, mut names) = (HashMap::new(), 0);
    while let Some(entry) = archive.next_entry()? {
        let Some(name) = name::clean(&entry.path)? else { continue };
        let place = match entry.kind {
            Kind::File if entry.pieces.is_some() => bail!("a sparse file in an image's archive"),
            Kind::File => {
                let reader = archive.input_mut();
                let offset = reader.get_ref().offset - reader.buffer().len() as u64;
                Place::At(offset, entry.size)
            }
            Kind::Link(target) => match name::clean(&target)? {
                Some(target) => Place::Link(target.path()),
                None => continue,
            },
            Kind::Symlink(target) => match name::clean(&beside(&name.folder, &target))? {
                Some(target) => Place::Link(target.path()),
                None => continue,
            },
            _ => continue,
        };
        names += entry.path.len();
        if index.len() >= MOST || names > NAMES {
            bail!("more than {MOST} files in an image's archive, or {NAMES} bytes of names");
        }
        index.insert(name.path(), place);
        archive.skip_data(|reader, count| {
            // Behind what is buffered lies a file: seeking is a matter of a number.
            let buffered = reader.buffer().len() as u64;
            if count > buffered {
                io::BufRead::consume(reader, buffered as usize);
                reader.get_mut().offset += count - buffered;
            } else {
                io::BufRead::consume(reader, count as usize);
            }
        });
    }
    Ok(index)
}

/// What a symbolic link in a folder leads to, `..` taken by the letter.
fn beside(folder: &[u8], target: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = folder.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join(&b'/')
}

impl Files for Archive {
    fn open(&self, name: &str) -> Result<Option<Opened<'_>>> {
        let Some(name) = name::clean(name.as_bytes())? else { return Ok(None) };
        let mut path = name.path();
        for _ in 0..LINKS {
            match self.index.get(&path) {
                None => return Ok(None),
                Some(Place::Link(target)) => path.clone_from(target),
                Some(Place::At(offset, size)) => {
                    let content = At { file: self.file.clone(), offset: *offset, end: offset.saturating_add(*size) };
                    return Ok(Some((*size, Box::new(content))));
                }
            }
        }
        bail!("{}: {name:?} is a link to a link, and so on", self.place)
    }

    fn place(&self) -> String {
        self.place.clone()
    }
}

/// A part of a file, read without moving anybody else's place in it.
#[derive(Debug)]
struct At {
    file: Arc<File>,
    offset: u64,
    end: u64,
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let length = left.min(buffer.len());
        let count = self.file.read_at(&mut buffer[..length], self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}
