//! gzip, zstd or neither, told by the first bytes and never by a media type, which is wrong too often.

use std::io::{self, BufRead, BufReader, Read};

use crate::error::{Context, Error, Result};

/// A window of zstd may be so large, as a power of two: 128 MiB, which is what its own tool takes without being asked.
const ZSTD_WINDOW: u32 = 27;
/// Bytes that are read at once.
const READ: usize = 256 << 10;

/// Formats that are recognised and not read, with their first bytes.
const FOREIGN: [(&str, &[u8]); 3] = [("bzip2", b"BZh"), ("xz", b"\xfd7zXZ\0"), ("lz4", &[0x04, 0x22, 0x4d, 0x18])];

/// A stream that is unpacked while it is read.
pub enum Decoder<R: Read> {
    /// As it is.
    Plain(BufReader<R>),
    /// gzip, of any number of members.
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<R>>>),
    /// zstd, of any number of frames.
    Zstd(Box<zstd::Decoder<'static, BufReader<R>>>),
}

impl<R: Read> Decoder<R> {
    /// Looks at the first bytes.
    ///
    /// # Errors
    /// Where they cannot be read, or are those of a format that layers are not packed in.
    pub fn new(input: R) -> Result<Self> {
        let mut input = BufReader::with_capacity(READ, input);
        let start = input.fill_buf().context(|| "read")?;
        match start {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(input)))),
            // A frame, or one that is to be skipped, with which parallel packers begin.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let mut decoder = zstd::Decoder::with_buffer(input).context(|| "begin with zstd")?;
                decoder.window_log_max(ZSTD_WINDOW).context(|| "limit zstd's window")?;
                Ok(Self::Zstd(Box::new(decoder)))
            }
            _ => {
                if let Some((name, _)) = FOREIGN.iter().find(|(_, magic)| start.starts_with(magic)) {
                    return Err(Error::new(format!("it is packed with {name}"))
                        .hint("gzip and zstd are read; skopeo copy --dest-compress-format makes one of them"));
                }
                Ok(Self::Plain(input))
            }
        }
    }

    /// Fills the buffer as far as the stream goes; gives how many bytes there are.
    ///
    /// # Errors
    /// Where the input fails, or is broken.
    pub fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::of_io(error)),
            }
        }
        Ok(filled)
    }
}

impl<R: Read> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(input) => input.read(buffer),
            Self::Gzip(input) => input.read(buffer),
            Self::Zstd(input) => input.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>> {
        let mut buffer = vec![0; 1 << 20];
        let count = Decoder::new(packed)?.fill(&mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(content).unwrap();
        packer.finish().unwrap()
    }

    #[test]
    fn the_bytes_decide() {
        let content = vec![b'x'; 70_000];
        let zstd = zstd::encode_all(content.as_slice(), 3).unwrap();
        for packed in [content.clone(), gzip(&content), zstd.clone()] {
            assert_eq!(unpacked(&packed).unwrap(), content);
        }
        for (one, two) in [(gzip(b"a"), gzip(b"b")), (zstd.clone(), zstd)] {
            assert_eq!(unpacked(&[one.clone(), two].concat()).unwrap().len() % 2, 0);
            assert!(unpacked(&one[..one.len() - 1]).is_err());
        }
        assert_eq!(unpacked(b"").unwrap(), b"");
        assert!(unpacked(b"BZh91AY").unwrap_err().to_string().contains("bzip2"));
    }
}
