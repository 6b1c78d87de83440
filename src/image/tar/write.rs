//! Headers for entries, in the one dialect that says everything: ustar with pax records, sparse files in GNU's version 1.0.

use super::{BLOCK, Entry, Kind};

/// What stands before an entry's data; and how many bytes of data have to follow, filled up to a whole block by whoever writes
/// them: of a sparse file its pieces alone.
pub fn header(entry: &Entry) -> (Vec<u8>, u64) {
    let map = entry.pieces.as_ref().map(|pieces| {
        let numbers = pieces.iter().flat_map(|piece| [piece.offset, piece.length]);
        let lines = std::iter::once(pieces.len() as u64).chain(numbers).map(|number| format!("{number}\n"));
        let mut map = lines.collect::<String>().into_bytes();
        map.resize(map.len().next_multiple_of(BLOCK), 0);
        map
    });
    let pieces = entry.pieces.as_ref().map(|pieces| pieces.iter().map(|piece| piece.length).sum());
    let data = if entry.kind == Kind::File { pieces.unwrap_or(entry.size) } else { 0 };
    let stored = data + map.as_ref().map_or(0, |map| map.len() as u64);
    let records = records(entry, stored);
    let mut bytes = block(b'x', 0, records.len() as u64, (0, 0)).to_vec();
    bytes.extend(&records);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    let (kind, device) = match entry.kind {
        Kind::File => (b'0', (0, 0)),
        Kind::Link(_) => (b'1', (0, 0)),
        Kind::Symlink(_) => (b'2', (0, 0)),
        Kind::Char(major, minor) => (b'3', (major, minor)),
        Kind::Block(major, minor) => (b'4', (major, minor)),
        Kind::Folder => (b'5', (0, 0)),
        Kind::Fifo => (b'6', (0, 0)),
    };
    // The size is in the records, where it may be of any length.
    bytes.extend(block(kind, entry.mode, 0, device));
    bytes.extend(map.unwrap_or_default());
    (bytes, data)
}

/// How many bytes fill the last block of so much data.
pub fn padding(data: u64) -> u64 {
    data.wrapping_neg() % BLOCK as u64
}

/// The pax records of an entry.
fn records(entry: &Entry, stored: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let mut put = |key: &[u8], value: &[u8]| record(&mut records, key, value);
    put(b"path", &entry.path);
    if let Kind::Link(target) | Kind::Symlink(target) = &entry.kind {
        put(b"linkpath", target);
    }
    put(b"uid", entry.uid.to_string().as_bytes());
    put(b"gid", entry.gid.to_string().as_bytes());
    put(b"mtime", time(entry.mtime).as_bytes());
    if entry.kind == Kind::File {
        put(b"size", stored.to_string().as_bytes());
    }
    if entry.pieces.is_some() {
        put(b"GNU.sparse.major", b"1");
        put(b"GNU.sparse.minor", b"0");
        put(b"GNU.sparse.name", &entry.path);
        put(b"GNU.sparse.realsize", entry.size.to_string().as_bytes());
    }
    for (name, value) in &entry.xattrs {
        put(&[b"SCHILY.xattr.", &name[..]].concat(), value);
    }
    records
}

/// `LENGTH KEY=VALUE\n`, where the length counts its own digits.
fn record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    records.extend(format!("{length} ").as_bytes());
    records.extend(key);
    records.push(b'=');
    records.extend(value);
    records.push(b'\n');
}

/// Seconds with their fraction; before 1970 both count downwards.
fn time((seconds, nanoseconds): (i64, u32)) -> String {
    if seconds < 0 && nanoseconds > 0 {
        return format!("-{}.{:09}", (seconds + 1).unsigned_abs(), 1_000_000_000 - nanoseconds);
    }
    format!("{seconds}.{nanoseconds:09}")
}

fn block(kind: u8, mode: u32, size: u64, device: (u32, u32)) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    let mut octal = |at: usize, digits: usize, number: u64| {
        block[at..at + digits].copy_from_slice(format!("{number:0digits$o}").as_bytes());
    };
    octal(100, 7, u64::from(mode & 0o7777));
    octal(108, 7, 0);
    octal(116, 7, 0);
    octal(124, 11, size);
    octal(136, 11, 0);
    // Linux has 12 bits of major numbers and 20 of minor ones.
    octal(329, 7, u64::from(device.0) & 0o7_777_777);
    octal(337, 7, u64::from(device.1) & 0o7_777_777);
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    // The sum takes its own field as spaces.
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    block
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::{Piece, Reader};
    use super::*;

    fn kind() -> impl Strategy<Value = Kind> {
        let name = || vec(1..=u8::MAX, 1..300);
        prop_oneof![
            Just(Kind::File),
            Just(Kind::Folder),
            Just(Kind::Fifo),
            (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Kind::Char(major, minor)),
            (0..4096_u32, 0..1_048_576_u32).prop_map(|(major, minor)| Kind::Block(major, minor)),
            name().prop_map(Kind::Link),
            name().prop_map(Kind::Symlink),
        ]
    }

    /// Holes and data alternate.
    fn pieces() -> impl Strategy<Value = (u64, Vec<Piece>)> {
        (vec((0..100_000_u64, 1..2000_u64), 0..40), 0..5000_u64).prop_map(|(runs, end)| {
            let mut at = 0;
            let place = |(hole, length): (u64, u64)| {
                let piece = Piece { offset: at + hole, length };
                at += hole + length;
                piece
            };
            let pieces = runs.into_iter().map(place).collect();
            (at + end, pieces)
        })
    }

    fn entry() -> impl Strategy<Value = Entry> {
        let name = || vec(1..=u8::MAX, 1..300);
        let attributes = vec((name(), vec(any::<u8>(), 0..50)), 0..4).prop_map(|mut xattrs| {
            xattrs.sort();
            xattrs.dedup_by(|one, other| one.0 == other.0);
            // The key ends at the first of these.
            xattrs.iter_mut().for_each(|(name, _)| name.iter_mut().for_each(|byte| *byte = (*byte).max(b'>')));
            xattrs.dedup_by(|one, other| one.0 == other.0);
            xattrs
        });
        let numbers =
            (0..0o10000_u32, 0..u32::MAX, 0..u32::MAX, -5_000_000_000..5_000_000_000_i64, 0..1_000_000_000_u32);
        (kind(), name(), numbers, attributes, 0..3000_u64, proptest::option::of(pieces())).prop_map(
            |(kind, path, (mode, uid, gid, seconds, nanoseconds), xattrs, size, sparse)| {
                let is_file = kind == Kind::File;
                let sparse = sparse.filter(|_| is_file);
                let size = sparse.as_ref().map_or(if is_file { size } else { 0 }, |(size, _)| *size);
                let pieces = sparse.map(|(_, pieces)| pieces);
                Entry { path, kind, mode, uid, gid, mtime: (seconds, nanoseconds), size, xattrs, pieces }
            },
        )
    }

    proptest! {
        /// What is written is what is read.
        #[test]
        fn entries_come_back(entries in vec(entry(), 1..4)) {
            let mut archive = Vec::new();
            for entry in &entries {
                let (bytes, data) = header(entry);
                archive.extend(bytes);
                archive.resize(archive.len() + (data + padding(data)) as usize, b'd');
            }
            let mut reader = Reader::new(&archive[..]);
            for entry in &entries {
                let mut read = reader.next_entry().unwrap().unwrap();
                read.xattrs.sort();
                let mut wanted = entry.clone();
                wanted.xattrs.sort();
                prop_assert_eq!(read, wanted);
            }
            prop_assert_eq!(reader.next_entry().unwrap(), None);
        }
    }
}
