//! Content digests: `sha256:…` and `sha512:…`, checked while the content streams by.

use std::fmt::{self, Display};
use std::io::{self, Read};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256, Sha512};

use crate::bail;
use crate::error::{Error, Result};

/// The name of a content. Its text is safe as a file's name: an algorithm and hexadecimal digits, checked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    algorithm: Algorithm,
    hex: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Algorithm {
    Sha256,
    Sha512,
}

/// Names, and how many hexadecimal digits a digest has.
const ALGORITHMS: [(Algorithm, &str, usize); 2] =
    [(Algorithm::Sha256, "sha256", 64), (Algorithm::Sha512, "sha512", 128)];

impl Digest {
    /// Reads `ALGORITHM:HEX`.
    ///
    /// # Errors
    /// An unknown algorithm, or not the right number of lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self> {
        let (name, hex) = text.split_once(':').unwrap_or((text, ""));
        let Some((algorithm, _, length)) = ALGORITHMS.iter().find(|(_, known, _)| *known == name) else {
            return Err(Error::new(format!("digest {text:?}: not of a known algorithm"))
                .hint("sha256 and sha512 are known, written sha256:HEX"));
        };
        let digits = hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if hex.len() != *length || !digits {
            bail!("digest {text:?}: {length} lower-case hexadecimal digits are expected");
        }
        Ok(Self { algorithm: *algorithm, hex: hex.to_owned() })
    }

    /// The SHA-256 of a content.
    pub fn of(content: &[u8]) -> Self {
        let mut hasher = Hasher(State::Sha256(Sha256::new()));
        hasher.update(content);
        hasher.finish()
    }

    /// The SHA-256 of all that is read.
    ///
    /// # Errors
    /// Where reading fails.
    pub fn of_all(mut input: impl Read) -> Result<Self> {
        let (mut hasher, mut buffer) = (Hasher(State::Sha256(Sha256::new())), vec![0; 256 << 10]);
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(hasher.finish()),
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => bail!("{error}"),
            }
        }
    }

    /// The algorithm's name, which is a folder of a layout.
    pub fn algorithm(&self) -> &'static str {
        ALGORITHMS.iter().find(|(known, ..)| *known == self.algorithm).map_or("", |(_, name, _)| name)
    }

    /// The digits.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// What computes a digest of the same algorithm.
    pub fn hasher(&self) -> Hasher {
        Hasher(match self.algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }
}

impl Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A digest in the making.
#[derive(Debug)]
pub struct Hasher(State);

#[derive(Debug)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all of them.
    pub fn finish(self) -> Digest {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self.0 {
            State::Sha256(state) => Digest { algorithm: Algorithm::Sha256, hex: hex(&state.finalize()) },
            State::Sha512(state) => Digest { algorithm: Algorithm::Sha512, hex: hex(&state.finalize()) },
        }
    }
}

/// A reader that knows what it has to yield: so many bytes with this digest, where they are known. It fails instead of
/// ending where they differ, and never reads more.
#[derive(Debug)]
pub struct Verified<R> {
    input: R,
    size: Option<u64>,
    digest: Option<(Digest, Hasher)>,
    seen: u64,
}

impl<R: Read> Verified<R> {
    /// What `input` yields is checked against both, where they are given.
    pub fn new(input: R, size: Option<u64>, digest: Option<&Digest>) -> Self {
        let digest = digest.map(|digest| (digest.clone(), digest.hasher()));
        Self { input, size, digest, seen: 0 }
    }

    fn verify_end(&mut self) -> io::Result<()> {
        if let Some(size) = self.size.filter(|size| *size != self.seen) {
            return Err(refused(format!("it has {} bytes where {size} are announced", self.seen)));
        }
        if let Some((wanted, hasher)) = self.digest.take() {
            let found = hasher.finish();
            if found != wanted {
                return Err(refused(format!("its digest is {found} and not {wanted}")));
            }
        }
        Ok(())
    }
}

/// The content is another one than its name says.
fn refused(why: String) -> io::Error {
    io::Error::other(Error::new(why).hint("the image is damaged, or was changed on its way: get it again"))
}

impl<R: Read> Read for Verified<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        if count == 0 && !buffer.is_empty() {
            self.verify_end()?;
            return Ok(0);
        }
        self.seen += count as u64;
        if self.size.is_some_and(|size| self.seen > size) {
            return Err(refused(format!("it has more than the {} bytes announced", self.size.unwrap_or(0))));
        }
        if let Some((_, hasher)) = &mut self.digest {
            hasher.update(&buffer[..count]);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn digests_are_checked_names() {
        assert_eq!(Digest::parse(EMPTY).unwrap(), Digest::of(b""));
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        let hostile = ["sha256:../../etc/passwd", "sha256:", "md5:00", "", "sha256", &EMPTY.to_uppercase()];
        for text in hostile {
            assert!(Digest::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_streams_by_is_checked() {
        let content = b"content".as_slice();
        let digest = Digest::of(content);
        let read = |content: &[u8], size, digest: &Digest| {
            Verified::new(content, Some(size), Some(digest)).read_to_end(&mut Vec::new())
        };
        assert_eq!(read(content, 7, &digest).unwrap(), 7);
        for (content, size) in [(&b"Content"[..], 7), (content, 6), (content, 8), (b"", 7), (b"contents", 7)] {
            assert!(read(content, size, &digest).is_err(), "{size}");
        }
    }
}
