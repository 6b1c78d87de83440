//! The tar format, as layers use it: POSIX ustar and pax, the forms of GNU tar, old V7. Reads a stream, never seeks.
//!
//! Written here and not taken from a crate: what a layer needs (the holes of sparse files in all four notations, extended
//! attributes, caps on what an extension may hold, data handed on without a copy) is more than half of a reader. Where
//! readers differ, this one does what the readers of container engines do, so that one archive means the same to all:
//! global pax headers are skipped, and links, folders and devices have no data whatever their size says.
//!
//! Knows nothing of layers, whiteouts or filesystems.

mod header;
mod pax;
mod sparse;
mod write;

use std::io::BufRead;

use crate::bail;
use crate::error::{Context, Error, Result};
use header::Header;
use pax::Pax;
pub use sparse::Piece;
pub use write::{header, padding};

/// The unit of the format, in bytes.
const BLOCK: usize = 512;
/// The most that one extension header (a long name, pax records, a sparse map) may hold.
const EXTENSION: u64 = 1 << 20;
/// How many extension headers may stand before one entry; honest archives have two.
const EXTENSIONS: usize = 16;

/// One entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as it stands there: unchecked.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970, which may be negative, and nanoseconds.
    pub mtime: (i64, u32),
    /// Bytes of content as a reader of the file sees them, holes included; 0 for all but files.
    pub size: u64,
    /// Extended attributes, names with their prefix, in the order of the archive.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// For a sparse file: where its data lies; all else are holes.
    pub pieces: Option<Vec<Piece>>,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// Another name of the file that the archive calls so.
    Link(Vec<u8>),
    /// A symbolic link with this target.
    Symlink(Vec<u8>),
    /// A folder.
    Folder,
    /// A character device: major, minor.
    Char(u32, u32),
    /// A block device: major, minor.
    Block(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Reads the entries of an archive one after the other.
#[derive(Debug)]
pub struct Reader<R> {
    input: R,
    /// Bytes of the current entry's data that nobody has read.
    data: u64,
    /// Bytes that fill its last block.
    padding: u64,
}

impl<R: BufRead> Reader<R> {
    /// An archive that begins where `input` stands.
    pub fn new(input: R) -> Self {
        Self { input, data: 0, padding: 0 }
    }

    /// The next entry; what nobody has read of the one before is skipped. Nothing at the end of the archive.
    ///
    /// # Errors
    /// Where the archive is no tar, ends early, or says what no honest one does.
    pub fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut pax = Pax::default();
        let (mut long_path, mut long_link) = (None, None);
        for _ in 0..EXTENSIONS {
            let Some(header) = self.next_header()? else { return Ok(None) };
            match header.kind() {
                b'x' => pax.read(&self.extension(&header)?)?,
                b'L' => long_path = Some(text(self.extension(&header)?)),
                b'K' => long_link = Some(text(self.extension(&header)?)),
                // Engines read these as comments.
                b'g' | b'V' => self.data_of(&header)?,
                _ => return self.entry(&header, pax, long_path, long_link).map(Some),
            }
        }
        bail!("more than {EXTENSIONS} extension headers before one entry")
    }

    /// What comes next of the current entry's data, without holes; empty at its end.
    ///
    /// # Errors
    /// Where the archive ends early.
    pub fn data(&mut self) -> Result<&[u8]> {
        if self.data == 0 {
            return Ok(&[]);
        }
        let buffer = self.input.fill_buf().context(|| "read the archive")?;
        if buffer.is_empty() {
            bail!("the archive ends in the middle of a file");
        }
        let length = usize::try_from(self.data).unwrap_or(usize::MAX).min(buffer.len());
        Ok(&buffer[..length])
    }

    /// Says that so many bytes of [`Reader::data`] have been used.
    pub fn consume(&mut self, count: usize) {
        self.input.consume(count);
        self.data -= count as u64;
    }

    /// Where the archive is read from.
    pub fn input_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Leaves the rest of the current entry out by other means than reading it: `seek` goes on by so many bytes.
    pub fn skip_data(&mut self, seek: impl FnOnce(&mut R, u64)) {
        seek(&mut self.input, self.data.saturating_add(self.padding));
        (self.data, self.padding) = (0, 0);
    }

    fn entry(
        &mut self,
        header: &Header,
        mut pax: Pax,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry> {
        let path = long_path.or(pax.path.take()).unwrap_or_else(|| header.path());
        let what = || format!("entry {:?}", String::from_utf8_lossy(&path));
        let link = || long_link.or(pax.link.take()).unwrap_or_else(|| header.link());
        let device = || Ok::<_, Error>((header.major()?, header.minor()?));
        let kind = match header.kind() {
            // V7 had no type for folders.
            0 if path.ends_with(b"/") => Kind::Folder,
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::Link(link()),
            b'2' => Kind::Symlink(link()),
            b'3' => device().map(|(major, minor)| Kind::Char(major, minor)).context(what)?,
            b'4' => device().map(|(major, minor)| Kind::Block(major, minor)).context(what)?,
            b'5' => Kind::Folder,
            b'6' => Kind::Fifo,
            other => bail!("{}: unknown type {:?}", what(), char::from(other)),
        };
        let id = |pax: Option<u64>, header: Result<u64>| match pax.map_or(header, Ok)? {
            // The last one means "leave it" to chown(2).
            id if id < u64::from(u32::MAX) => Ok(id as u32),
            id => Err(Error::new(format!("{id} is no user or group id"))),
        };
        let uid = id(pax.uid, header.uid()).context(what)?;
        let gid = id(pax.gid, header.gid()).context(what)?;
        let mtime = pax.mtime.map_or_else(|| header.mtime().map(|seconds| (seconds, 0)), Ok).context(what)?;
        let mode = header.mode().context(what)? & 0o7777;
        let (mut size, mut pieces) = (0, None);
        if kind == Kind::File {
            size = pax.size.map_or_else(|| header.size(), Ok).context(what)?;
            self.expect(size).context(what)?;
            if let Some((real, map)) = self.sparse(header, &pax).context(what)? {
                sparse::check(&map, real, self.data).context(what)?;
                (size, pieces) = (real, Some(map));
            }
        }
        let path = pax.sparse.name.take().unwrap_or(path);
        Ok(Entry { path, kind, mode, uid, gid, mtime, size, xattrs: pax.xattrs, pieces })
    }

    /// The size and the map of a sparse file, in any of the four notations.
    fn sparse(&mut self, header: &Header, pax: &Pax) -> Result<Option<(u64, Vec<Piece>)>> {
        if header.kind() == b'S' {
            let mut map = header.pieces()?;
            let mut more = header.more_pieces();
            while more {
                // These blocks stand before the data and are not part of its size.
                let Some(block) = self.block()? else { bail!("the archive ends in the middle of a sparse map") };
                more = sparse::old_block(&block, &mut map)?;
            }
            return Ok(Some((header.real_size()?, map)));
        }
        let sparse = &pax.sparse;
        if sparse.in_data {
            let mut map = sparse::MapInData::default();
            // The numbers stand in whole blocks at the beginning of the data.
            while !map.is_whole() {
                let mut block = [0; BLOCK];
                if self.data < BLOCK as u64 {
                    bail!("the file ends in the middle of its sparse map");
                }
                self.read_exact(&mut block)?;
                self.data -= BLOCK as u64;
                map.read(&block)?;
            }
            return Ok(Some((sparse.real_size.unwrap_or(0), map.pieces()?)));
        }
        match (&sparse.map, sparse.real_size) {
            (Some(numbers), Some(real)) => Ok(Some((real, sparse::pairs(numbers)?))),
            _ => Ok(None),
        }
    }

    /// The next header; nothing where two empty blocks or the end of the input say that there is none.
    fn next_header(&mut self) -> Result<Option<Header>> {
        self.skip(self.data.saturating_add(self.padding))?;
        (self.data, self.padding) = (0, 0);
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            // Most end with two of them, some with one, and what stands behind is not read by anybody.
            return match self.block()? {
                Some(block) if block.iter().any(|byte| *byte != 0) => bail!("an empty block in the middle"),
                _ => Ok(None),
            };
        }
        Header::new(block).map(Some)
    }

    /// The whole content of an extension header.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>> {
        let size = header.size()?;
        if size > EXTENSION {
            bail!("an extension header of {size} bytes (at most {EXTENSION} are read)");
        }
        self.expect(size)?;
        let mut content = vec![0; size as usize];
        self.read_exact(&mut content)?;
        self.data = 0;
        Ok(content)
    }

    /// Leaves the data of a header to be skipped.
    fn data_of(&mut self, header: &Header) -> Result<()> {
        self.expect(header.size()?)
    }

    fn expect(&mut self, size: u64) -> Result<()> {
        // No offset of a file is larger.
        if size > i64::MAX as u64 {
            bail!("a size of {size} bytes");
        }
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
        Ok(())
    }

    /// One block; nothing at the end of the input.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>> {
        if self.input.fill_buf().context(|| "read the archive")?.is_empty() {
            return Ok(None);
        }
        let mut block = [0; BLOCK];
        self.read_exact(&mut block)?;
        Ok(Some(block))
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.input.read_exact(buffer).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Error::new("the archive ends early"),
            _ => Error::new(format!("read the archive: {error}")),
        })
    }

    fn skip(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            let length = self.input.fill_buf().context(|| "read the archive")?.len();
            if length == 0 {
                bail!("the archive ends early");
            }
            let length = usize::try_from(count).unwrap_or(usize::MAX).min(length);
            self.input.consume(length);
            count -= length as u64;
        }
        Ok(())
    }
}

/// A name of GNU tar, which ends at its first zero byte.
fn text(mut content: Vec<u8>) -> Vec<u8> {
    let end = content.iter().position(|byte| *byte == 0).unwrap_or(content.len());
    content.truncate(end);
    content
}
