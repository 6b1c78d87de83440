//! One header block: its fields, and its numbers in octal or in GNU's base 256.

use super::{BLOCK, Piece, sparse};
use crate::bail;
use crate::error::Result;

/// A header whose checksum is right.
#[derive(Debug)]
pub(super) struct Header([u8; BLOCK]);

/// Which dialect a header is written in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Dialect {
    /// Neither of the others: V7.
    Old,
    Gnu,
    Posix,
    /// POSIX's with a shorter prefix and two times behind it, as Schily's tar writes it.
    Star,
}

impl Header {
    pub(super) fn new(block: [u8; BLOCK]) -> Result<Self> {
        let header = Self(block);
        let said = header.number(148, 8).ok();
        // The sum takes its own field as spaces. Some old writers summed signed bytes.
        let sum = |value: fn(u8) -> i64| -> i64 {
            let field = |index: usize| (148..156).contains(&index);
            block.iter().enumerate().map(|(index, byte)| value(if field(index) { b' ' } else { *byte })).sum()
        };
        if said != Some(sum(i64::from)) && said != Some(sum(|byte| i64::from(byte as i8))) {
            bail!("not a tar archive, or a damaged one: a header's checksum is wrong");
        }
        Ok(header)
    }

    /// The type, as it stands there.
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = match self.dialect() {
            Dialect::Posix => self.text(345, 155),
            Dialect::Star => self.text(345, 131),
            Dialect::Old | Dialect::Gnu => &[],
        };
        let name = self.text(0, 100);
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        self.text(157, 100).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32> {
        Ok(self.number(100, 8)? as u32)
    }

    pub(super) fn uid(&self) -> Result<u64> {
        self.unsigned(108, 8, "owner")
    }

    pub(super) fn gid(&self) -> Result<u64> {
        self.unsigned(116, 8, "group")
    }

    pub(super) fn size(&self) -> Result<u64> {
        self.unsigned(124, 12, "size")
    }

    pub(super) fn mtime(&self) -> Result<i64> {
        self.number(136, 12)
    }

    pub(super) fn major(&self) -> Result<u32> {
        self.device(329)
    }

    pub(super) fn minor(&self) -> Result<u32> {
        self.device(337)
    }

    /// The part of a sparse map that stands in the header, as GNU tar's own type `S` has it.
    pub(super) fn pieces(&self) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        sparse::old_table(&self.0[386..482], &mut pieces)?;
        Ok(pieces)
    }

    /// Whether blocks with more of that map follow.
    pub(super) fn more_pieces(&self) -> bool {
        self.0[482] != 0
    }

    /// The size of such a file with its holes.
    pub(super) fn real_size(&self) -> Result<u64> {
        self.unsigned(483, 12, "size")
    }

    fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            [b'u', b's', b't', b'a', b'r', 0, ..] if &self.0[508..512] == b"tar\0" => Dialect::Star,
            [b'u', b's', b't', b'a', b'r', 0, ..] => Dialect::Posix,
            _ => Dialect::Old,
        }
    }

    fn text(&self, at: usize, length: usize) -> &[u8] {
        let field = &self.0[at..at + length];
        &field[..field.iter().position(|byte| *byte == 0).unwrap_or(length)]
    }

    fn device(&self, at: usize) -> Result<u32> {
        let number = self.unsigned(at, 8, "device")?;
        match u32::try_from(number) {
            Ok(number) => Ok(number),
            Err(_) => bail!("{number} is no device number"),
        }
    }

    fn unsigned(&self, at: usize, length: usize, what: &str) -> Result<u64> {
        match u64::try_from(self.number(at, length)?) {
            Ok(number) => Ok(number),
            Err(_) => bail!("a negative {what}"),
        }
    }

    fn number(&self, at: usize, length: usize) -> Result<i64> {
        number(&self.0[at..at + length])
    }
}

/// A number of a header: octal digits with blanks around them, or, with the highest bit set, base 256 in two's
/// complement.
pub(super) fn number(field: &[u8]) -> Result<i64> {
    let first = field.first().copied().unwrap_or_default();
    if first & 0x80 != 0 {
        // The sign is bit 6 of the first byte.
        let mut value = i128::from(if first & 0x40 != 0 { i64::from(first) - 256 } else { i64::from(first & 0x7f) });
        for byte in &field[1..] {
            value = value << 8 | i128::from(*byte);
        }
        return match i64::try_from(value) {
            Ok(value) => Ok(value),
            Err(_) => bail!("a number of a header is too large"),
        };
    }
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default().trim_ascii();
    text.iter().try_fold(0_i64, |value, byte| match byte {
        // Twelve octal digits at most.
        b'0'..=b'7' => Ok(value << 3 | i64::from(byte - b'0')),
        _ => bail!("a number of a header is not octal: {:?}", String::from_utf8_lossy(text)),
    })
}
