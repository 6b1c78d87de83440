//! The records of a pax extension header that mean something here.

use super::sparse;
use crate::bail;
use crate::error::{Error, Result};

/// What was read of the extension headers before an entry; absent fields stand in the entry's own header.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Bytes of their names, as listxattr(2) counts them.
    xattr_names: usize,
    pub(super) sparse: Sparse,
}

/// No file's extended attributes have longer names together (XATTR_LIST_MAX of include/uapi/linux/limits.h).
const XATTR_NAMES: usize = 64 << 10;

/// GNU tar's notations of sparse files in pax headers.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// Version 1.0: the map stands at the beginning of the data.
    pub(super) in_data: bool,
    /// Versions 0.0 and 0.1: offsets and lengths, alternating.
    pub(super) map: Option<Vec<u64>>,
    pub(super) real_size: Option<u64>,
    pub(super) name: Option<Vec<u8>>,
}

impl Pax {
    /// Reads `LENGTH KEY=VALUE\n` records.
    pub(super) fn read(&mut self, mut content: &[u8]) -> Result<()> {
        while !content.is_empty() {
            let (key, value, rest) = record(content).ok_or_else(|| Error::new("a broken pax header"))?;
            self.take(key, value)?;
            content = rest;
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        // An empty value takes back what was said before.
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        let number = || if value.is_empty() { Ok(None) } else { sparse::decimal(value).map(Some) };
        match key {
            b"path" => self.path = name(key, text())?,
            b"linkpath" => self.link = name(key, text())?,
            b"size" => self.size = number()?,
            b"uid" => self.uid = number()?,
            b"gid" => self.gid = number()?,
            b"mtime" => self.mtime = if value.is_empty() { None } else { Some(time(value)?) },
            b"GNU.sparse.major" => self.sparse.in_data = value == b"1",
            b"GNU.sparse.name" => self.sparse.name = name(key, text())?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = number()?,
            b"GNU.sparse.map" => {
                let numbers = value.split(|byte| *byte == b',').filter(|number| !number.is_empty());
                self.sparse.map = Some(numbers.map(sparse::decimal).collect::<Result<_>>()?);
            }
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                self.sparse.map.get_or_insert_default().push(sparse::decimal(value)?);
            }
            _ => {
                if let Some(xattr) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(xattr, value)?;
                }
            }
        }
        Ok(())
    }

    /// The last of a name counts. Without a cap the search for it would take a hostile header hours.
    fn xattr(&mut self, name: &[u8], value: &[u8]) -> Result<()> {
        if let Some((_, known)) = self.xattrs.iter_mut().find(|(known, _)| known == name) {
            *known = value.to_vec();
            return Ok(());
        }
        self.xattr_names += name.len() + 1;
        if self.xattr_names > XATTR_NAMES {
            bail!("more extended attributes than a file can have");
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

/// Splits the first record off: key, value, and what follows.
fn record(content: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = content.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(sparse::decimal(&content[..space]).ok()?).ok()?;
    if length <= space + 1 || length > content.len() {
        return None;
    }
    let (record, rest) = content.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((&record[..equals], &record[equals + 1..], rest))
}

/// No file's name has a zero byte in it, and what comes after one would be read by some and not by others.
fn name(key: &[u8], value: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
    if value.as_ref().is_some_and(|value| value.contains(&0)) {
        bail!("a zero byte in the pax record {:?}", String::from_utf8_lossy(key));
    }
    Ok(value)
}

/// Seconds with a fraction of any length, such as `-1.25`.
fn time(value: &[u8]) -> Result<(i64, u32)> {
    let broken = || Error::new(format!("a broken time {:?}", String::from_utf8_lossy(value)));
    let (negative, digits) = match value {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, value),
    };
    let mut halves = digits.splitn(2, |byte| *byte == b'.');
    let seconds = sparse::decimal(halves.next().unwrap_or_default())?;
    let seconds = i64::try_from(seconds).map_err(|_| broken())?;
    let fraction = halves.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(broken());
    }
    let digit = |place: usize| u32::from(fraction.get(place).map_or(0, |digit| digit - b'0'));
    let nanoseconds = (0..9).fold(0, |value, place| value * 10 + digit(place));
    // Nanoseconds count upwards, also before 1970.
    Ok(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_nanoseconds() {
        assert_eq!(time(b"1700000000.123456789").unwrap(), (1_700_000_000, 123_456_789));
        assert_eq!(time(b"7").unwrap(), (7, 0));
        assert_eq!(time(b"7.5").unwrap(), (7, 500_000_000));
        assert_eq!(time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert_eq!(time(b"-1").unwrap(), (-1, 0));
        assert_eq!(time(b"1.0000000009").unwrap(), (1, 0));
        for broken in [&b"x"[..], b"1.x", b"", b"99999999999999999999", b"--1"] {
            assert!(time(broken).is_err());
        }
    }

    #[test]
    fn records_have_lengths() {
        let mut pax = Pax::default();
        pax.read(b"11 path=a b\n22 SCHILY.xattr.user.a=1\n").unwrap_err();
        let mut pax = Pax::default();
        pax.read(b"12 path=a b\n25 SCHILY.xattr.user.a=1\n").unwrap();
        assert_eq!(pax.path.as_deref(), Some(&b"a b"[..]));
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"1".to_vec())]);
        pax.read(b"8 path=\n").unwrap();
        assert_eq!(pax.path, None);
        for broken in [&b"5 a=b"[..], b"x a=b\n", b"99 a=b\n", b"0 a=b\n", b"6 ab\n", b"12 path=a\0b\n"] {
            assert!(Pax::default().read(broken).is_err(), "{:?}", String::from_utf8_lossy(broken));
        }
    }
}
