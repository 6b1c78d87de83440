//! Mutations, the same for the same number.

/// A generator of numbers that look random (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// Changes some bytes; cuts, doubles or exchanges parts.
pub(super) fn any(seed: &[u8], number: u64) -> Vec<u8> {
    let mut numbers = Numbers(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut bytes = seed.to_vec();
    for _ in 0..=numbers.below(4) {
        let (at, length) = (numbers.below(bytes.len()), numbers.below(600));
        let end = (at + length).min(bytes.len());
        match numbers.below(7) {
            0 => bytes[at] = numbers.below(256) as u8,
            1 => bytes[at] ^= 1 << numbers.below(8),
            2 => bytes.truncate(at.max(1)),
            3 => drop(bytes.drain(at..end)),
            4 => {
                let part = bytes[at..end].to_vec();
                let to = numbers.below(bytes.len());
                drop(bytes.splice(to..to, part));
            }
            5 => bytes[at..end].rotate_left(length.min(end - at) / 2),
            _ => {
                let word: &[u8] =
                    [&b"../"[..], b"/outside/file", b".wh.", b".wh..wh..opq", b"99999999999", b"\0", b"="]
                        [numbers.below(7)];
                let end = (at + word.len()).min(bytes.len());
                bytes[at..end].copy_from_slice(&word[..end - at]);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
    bytes
}

/// The same with archives, whose headers keep right checksums: without those nothing gets far.
pub(super) fn archive(seed: &[u8], number: u64) -> Vec<u8> {
    let mut bytes = any(seed, number);
    // The blocks stand behind three bytes of flags.
    for block in bytes.get_mut(3..).unwrap_or_default().chunks_exact_mut(512) {
        if block[257..].starts_with(b"ustar") {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        }
    }
    bytes
}
