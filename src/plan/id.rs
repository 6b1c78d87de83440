//! The id of a container: a name that is safe as the name of a folder, of a cgroup and of a systemd unit.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use crate::error::{Error, Result};

/// The longest name that a folder can have (NAME_MAX): a longer id could never be kept.
const LONGEST: usize = 255;

/// A container's id, known to be well formed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

impl ContainerId {
    /// Takes 1 to 255 of the letters `A-Z a-z 0-9 _ + - .`; not `.` and not `..`.
    ///
    /// # Errors
    /// Where it breaks the rule, which the message says.
    pub fn new(id: impl Into<String>) -> Result<Self> {
        let id = id.into();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
        let why = if id.is_empty() {
            "it is empty"
        } else if id.len() > LONGEST {
            "it is longer than 255 bytes"
        } else if id == "." || id == ".." {
            "it names a folder"
        } else if !id.bytes().all(allowed) {
            "it has other letters"
        } else {
            return Ok(Self(id));
        };
        Err(Error::new(format!("invalid container id {id:?}: {why}"))
            .hint("an id is made of letters, digits, '_', '+', '-' and '.'"))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ContainerId {
    type Err = Error;

    fn from_str(id: &str) -> Result<Self> {
        Self::new(id)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ContainerId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl AsRef<Path> for ContainerId {
    fn as_ref(&self) -> &Path {
        Path::new(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rule() {
        for good in ["a", "web-1", "A_b+c.d", "...", "-x", ".hidden", &"x".repeat(255)] {
            assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a/b", "a b", "ä", "a\n", "a\0", "a:b", &"x".repeat(256)] {
            let error = bad.parse::<ContainerId>().unwrap_err();
            assert!(error.to_string().starts_with("invalid container id"), "{bad:?}");
            assert!(error.remedy().is_some());
        }
    }
}
