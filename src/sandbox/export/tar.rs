//! Writing a tar archive: POSIX headers, and pax records for what these cannot hold.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::Stat;

use crate::bail;
use crate::error::{Context, Result};
use crate::sandbox::changes::xattrs::Xattrs;

/// Headers and data come in blocks of this size.
const BLOCK: usize = 512;
/// How much of a file is read at once.
const CHUNK: usize = 256 << 10;

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of so many bytes, which follow.
    File(u64),
    /// Another name of an earlier file.
    Link(PathBuf),
    Symlink(PathBuf),
    Folder,
    Fifo,
    /// Major and minor number.
    Char((u32, u32)),
    /// Likewise.
    Block((u32, u32)),
}

/// One entry; its path is relative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, u32),
    pub(super) xattrs: Xattrs,
}

impl Entry {
    /// A file with these attributes; of what kind is to be said.
    pub(super) fn of(path: &Path, stat: &Stat, xattrs: Xattrs) -> Self {
        Self {
            path: path.to_owned(),
            kind: Kind::File(0),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            modified: (stat.st_mtime, stat.st_mtime_nsec as u32),
            xattrs,
        }
    }

    /// An empty file whose name says it all.
    pub(super) fn mark(path: &Path) -> Self {
        let (kind, modified, xattrs) = (Kind::File(0), (0, 0), Xattrs::new());
        Self { path: path.to_owned(), kind, mode: 0o600, uid: 0, gid: 0, modified, xattrs }
    }

    fn size(&self) -> u64 {
        if let Kind::File(size) = self.kind { size } else { 0 }
    }

    /// The letter of its type, where it leads, its numbers.
    fn type_and_target(&self) -> (u8, &[u8], (u32, u32)) {
        match &self.kind {
            Kind::File(_) => (b'0', b"", (0, 0)),
            Kind::Link(first) => (b'1', first.as_os_str().as_bytes(), (0, 0)),
            Kind::Symlink(target) => (b'2', target.as_os_str().as_bytes(), (0, 0)),
            Kind::Char(numbers) => (b'3', b"", *numbers),
            Kind::Block(numbers) => (b'4', b"", *numbers),
            Kind::Folder => (b'5', b"", (0, 0)),
            Kind::Fifo => (b'6', b"", (0, 0)),
        }
    }
}

/// An archive that is being written.
pub(super) struct Archive<W> {
    out: W,
    entries: u64,
}

impl<W: Write> Archive<W> {
    pub(super) fn new(out: W) -> Self {
        Self { out, entries: 0 }
    }

    /// Writes the headers of an entry; the data of a file comes next, by [`Archive::data`].
    pub(super) fn entry(&mut self, entry: &Entry) -> Result<()> {
        let mut name = entry.path.as_os_str().as_bytes().to_vec();
        if entry.kind == Kind::Folder {
            name.push(b'/');
        }
        let (letter, target, numbers) = entry.type_and_target();
        let mut header = Header::new(letter);
        let mut records = Vec::new();
        if !header.text(0, 100, &name) {
            record(&mut records, b"path", &name);
        }
        if !header.text(157, 100, target) {
            record(&mut records, b"linkpath", target);
        }
        header.octal(100, 8, u64::from(entry.mode));
        for (at, key, id) in [(108, &b"uid"[..], entry.uid), (116, b"gid", entry.gid)] {
            if !header.octal(at, 8, u64::from(id)) {
                record(&mut records, key, id.to_string().as_bytes());
            }
        }
        if !header.octal(124, 12, entry.size()) {
            record(&mut records, b"size", entry.size().to_string().as_bytes());
        }
        let (seconds, nanoseconds) = entry.modified;
        let whole = u64::try_from(seconds).is_ok_and(|seconds| header.octal(136, 12, seconds));
        if !whole || nanoseconds != 0 {
            record(&mut records, b"mtime", time(seconds, nanoseconds).as_bytes());
        }
        if matches!(entry.kind, Kind::Char(_) | Kind::Block(_)) {
            let fits = header.octal(329, 8, u64::from(numbers.0)) && header.octal(337, 8, u64::from(numbers.1));
            if !fits {
                bail!("the numbers of the device {:?} are too large for an archive", entry.path);
            }
        }
        for (key, value) in &entry.xattrs {
            if key.to_bytes().contains(&b'=') {
                bail!("the extended attribute {key:?} of {:?} has a name that no archive can hold", entry.path);
            }
            record(&mut records, &[b"SCHILY.xattr.", key.to_bytes()].concat(), value);
        }
        if !records.is_empty() {
            self.records(&records)?;
        }
        self.entries += 1;
        self.write(&header.finish())
    }

    /// Writes the records of the entry that comes next, as an entry of their own.
    fn records(&mut self, records: &[u8]) -> Result<()> {
        let mut header = Header::new(b'x');
        header.text(0, 100, b"PaxHeaders/records");
        header.octal(100, 8, 0o644);
        for (at, length, number) in [(108, 8, 0), (116, 8, 0), (124, 12, records.len() as u64), (136, 12, 0)] {
            header.octal(at, length, number);
        }
        self.write(&header.finish())?;
        self.write(records)?;
        self.pad(records.len() as u64)
    }

    /// Writes the content of a file, of which the header has said how long it is.
    pub(super) fn data(&mut self, file: OwnedFd, size: u64) -> Result<()> {
        let mut file = File::from(file).take(size);
        let mut buffer = vec![0; CHUNK];
        let mut written = 0;
        loop {
            match file.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => {
                    self.write(&buffer[..length])?;
                    written += length as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context(|| "read"),
            }
        }
        if written != size {
            bail!("it has {written} bytes instead of {size}");
        }
        self.pad(size)
    }

    /// Two empty blocks; gives how many entries there are.
    pub(super) fn end(mut self) -> Result<u64> {
        self.write(&[0; 2 * BLOCK])?;
        self.out.flush().context(|| "write the archive")?;
        Ok(self.entries)
    }

    fn pad(&mut self, size: u64) -> Result<()> {
        let over = (size % BLOCK as u64) as usize;
        if over == 0 { Ok(()) } else { self.write(&[0; BLOCK][over..]) }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).context(|| "write the archive")
    }
}

/// A header block in the making.
struct Header([u8; BLOCK]);

impl Header {
    fn new(letter: u8) -> Self {
        let mut block = [0; BLOCK];
        block[156] = letter;
        block[257..265].copy_from_slice(b"ustar\x0000");
        Self(block)
    }

    /// Writes as much of a text as there is room for; gives whether that is all.
    fn text(&mut self, at: usize, room: usize, text: &[u8]) -> bool {
        let length = text.len().min(room);
        self.0[at..at + length].copy_from_slice(&text[..length]);
        text.len() <= room
    }

    /// Writes a number, 0 where it is too large; gives whether it was not.
    fn octal(&mut self, at: usize, room: usize, number: u64) -> bool {
        let digits = room - 1;
        let fits = number < 1 << (3 * digits);
        let text = format!("{:0digits$o}", if fits { number } else { 0 });
        self.0[at..at + digits].copy_from_slice(text.as_bytes());
        fits
    }

    /// The block with its sum, which takes its own field as spaces.
    fn finish(mut self) -> [u8; BLOCK] {
        self.0[148..156].fill(b' ');
        let sum: u32 = self.0.iter().map(|byte| u32::from(*byte)).sum();
        self.0[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        self.0
    }
}

/// Adds `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() > length {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(length.to_string().as_bytes());
    records.push(b' ');
    records.extend_from_slice(key);
    records.push(b'=');
    records.extend_from_slice(value);
    records.push(b'\n');
}

/// Seconds with a fraction. Nanoseconds count upwards, also before 1970, where the text counts down.
fn time(seconds: i64, nanoseconds: u32) -> String {
    let (sign, whole, fraction) = match (seconds < 0, nanoseconds) {
        (false, _) => ("", seconds.unsigned_abs(), nanoseconds),
        (true, 0) => ("-", seconds.unsigned_abs(), 0),
        (true, _) => ("-", seconds.unsigned_abs() - 1, 1_000_000_000 - nanoseconds),
    };
    let text = format!("{sign}{whole}.{fraction:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_their_own_length() {
        for length in 0..1200 {
            let mut records = Vec::new();
            record(&mut records, b"path", &vec![b'x'; length]);
            let said: usize = String::from_utf8_lossy(&records).split(' ').next().unwrap().parse().unwrap();
            assert_eq!(said, records.len(), "{length}");
        }
    }

    #[test]
    fn times_before_1970_count_down() {
        let cases = [
            ((7, 0), "7"),
            ((7, 500_000_000), "7.5"),
            ((0, 1), "0.000000001"),
            ((-1, 0), "-1"),
            ((-2, 750_000_000), "-1.25"),
            ((-1, 999_999_999), "-0.000000001"),
            ((10, 0), "10"),
        ];
        for ((seconds, nanoseconds), text) in cases {
            assert_eq!(time(seconds, nanoseconds), text);
        }
    }

    #[test]
    fn what_fits_needs_no_records() {
        let write = |entry: &Entry| {
            let mut bytes = Vec::new();
            let mut archive = Archive::new(&mut bytes);
            archive.entry(entry).unwrap();
            assert_eq!(archive.end().unwrap(), 1);
            bytes.len() / BLOCK - 2
        };
        let plain = Entry { mode: 0o4755, uid: 0o777_7777, modified: (1 << 32, 0), ..Entry::mark(Path::new("a")) };
        assert_eq!(write(&plain), 1);
        let long = "x".repeat(100);
        assert_eq!(write(&Entry::mark(Path::new(&long))), 1);
        let folder = Entry { kind: Kind::Folder, ..Entry::mark(Path::new(&long)) };
        for more in [
            folder,
            Entry { uid: 0o1000_0000, ..plain.clone() },
            Entry { modified: (0, 1), ..plain.clone() },
            Entry { modified: (-1, 0), ..plain.clone() },
            Entry { kind: Kind::File(1 << 33), ..plain.clone() },
            Entry { kind: Kind::Symlink("y".repeat(101).into()), ..plain.clone() },
            Entry { xattrs: vec![(c"user.a".to_owned(), b"\0\n=".to_vec())], ..plain.clone() },
        ] {
            assert_eq!(write(&more), 3, "{more:?}");
        }
    }
}
