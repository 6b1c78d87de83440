//! Maps of sparse files: where their data lies.

use super::header::number;
use crate::bail;
use crate::error::Result;

/// More pieces than an extension header could name are no map of an honest file.
const MOST: usize = 1 << 17;

/// A run of data in a sparse file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// Refuses maps that overlap, go backwards, leave the file, or do not fit the data that is there.
pub(super) fn check(pieces: &[Piece], size: u64, data: u64) -> Result<()> {
    let (mut end, mut sum) = (0_u64, 0_u64);
    for piece in pieces {
        let after = piece.offset.checked_add(piece.length).filter(|after| piece.offset >= end && *after <= size);
        let Some(after) = after else { bail!("a sparse map that contradicts itself") };
        end = after;
        sum += piece.length;
    }
    if sum != data || size > i64::MAX as u64 {
        bail!("a sparse map of {sum} bytes, where {data} follow");
    }
    Ok(())
}

/// The entries of a table in GNU tar's own headers: two numbers of twelve bytes each, unused ones empty.
pub(super) fn old_table(table: &[u8], pieces: &mut Vec<Piece>) -> Result<()> {
    for entry in table.chunks_exact(24) {
        if entry[0] == 0 {
            break;
        }
        let (offset, length) = (number(&entry[..12])?, number(&entry[12..])?);
        match (u64::try_from(offset), u64::try_from(length)) {
            (Ok(offset), Ok(length)) if pieces.len() < MOST => pieces.push(Piece { offset, length }),
            _ => bail!("a broken sparse map"),
        }
    }
    Ok(())
}

/// A block that continues such a table; says whether another one follows.
pub(super) fn old_block(block: &[u8], pieces: &mut Vec<Piece>) -> Result<bool> {
    old_table(&block[..504], pieces)?;
    Ok(block[504] != 0)
}

/// Offsets and lengths, alternating, as pieces.
pub(super) fn pairs(numbers: &[u64]) -> Result<Vec<Piece>> {
    if !numbers.len().is_multiple_of(2) || numbers.len() / 2 > MOST {
        bail!("a broken sparse map");
    }
    Ok(numbers.chunks_exact(2).map(|pair| Piece { offset: pair[0], length: pair[1] }).collect())
}

/// A number without sign or blanks.
pub(super) fn decimal(text: &[u8]) -> Result<u64> {
    let digits = text.iter().try_fold(0_u64, |value, byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    });
    match digits {
        Some(value) if !text.is_empty() => Ok(value),
        _ => bail!("not a number: {:?}", String::from_utf8_lossy(text)),
    }
}

/// Version 1.0's map: a line with the number of pieces, then a line for each number, in whole blocks.
#[derive(Debug, Default)]
pub(super) struct MapInData {
    line: Vec<u8>,
    count: Option<usize>,
    numbers: Vec<u64>,
}

impl MapInData {
    pub(super) fn is_whole(&self) -> bool {
        self.count.is_some_and(|count| self.numbers.len() == count * 2)
    }

    pub(super) fn read(&mut self, block: &[u8]) -> Result<()> {
        for byte in block {
            if self.is_whole() {
                // What fills the block.
                break;
            }
            if *byte != b'\n' {
                self.line.push(*byte);
                if self.line.len() > 20 {
                    bail!("a broken sparse map");
                }
                continue;
            }
            let number = decimal(&self.line)?;
            self.line.clear();
            match self.count {
                Some(_) => self.numbers.push(number),
                None if number <= MOST as u64 => self.count = Some(number as usize),
                None => bail!("a sparse map of {number} pieces"),
            }
        }
        Ok(())
    }

    pub(super) fn pieces(self) -> Result<Vec<Piece>> {
        pairs(&self.numbers)
    }
}
