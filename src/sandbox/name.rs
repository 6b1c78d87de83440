//! The name of a box: a folder of the store, and the id of its container while it runs.

use std::fmt::{self, Display};
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::bail;
use crate::error::{Error, Result};
use crate::plan::ContainerId;

/// The longest name in bytes. Names of the box's cgroup, and of its folder while it is made or removed, are longer by some,
/// and none may have more than 255.
const LONGEST: usize = 200;

/// A name that can be a folder: letters, digits, `_`, `+`, `-` and `.`, first neither a dot nor a dash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoxName(ContainerId);

impl BoxName {
    /// Checks a name.
    ///
    /// # Errors
    /// Where it holds a letter that no name may have.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() {
            bail!("a box has a name: this one is empty");
        }
        if name.starts_with(['.', '-']) {
            bail!("a box may not be called {name:?}: a name begins neither with a dot nor with a dash");
        }
        if name.len() > LONGEST {
            bail!("a box may not be called that: a name has at most {LONGEST} bytes, this one {}", name.len());
        }
        let id = ContainerId::new(name).map_err(|_| {
            Error::new(format!("a box may not be called {name:?}")).hint("a name has letters, digits, _, +, - and dots")
        })?;
        Ok(Self(id))
    }

    /// A name that no box has yet, most likely: the store says for sure.
    ///
    /// # Errors
    /// None that can happen.
    pub fn made_up() -> Result<Self> {
        // The keys of the standard library's hash maps are random, which is all that a name needs.
        let random = RandomState::new().build_hasher().finish() & 0xff_ffff;
        Self::new(&format!("box-{random:06x}"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// As the engine's id.
    pub(super) fn id(&self) -> &ContainerId {
        &self.0
    }
}

impl Display for BoxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_folder() {
        for name in ["a", "try-1", "box-00ff12", "1.2_3+x"] {
            assert_eq!(BoxName::new(name).unwrap().as_str(), name);
        }
        for name in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\0b", "ü", &"a".repeat(LONGEST + 1)] {
            assert!(BoxName::new(name).is_err(), "{name:?}");
        }
        assert_ne!(BoxName::made_up().unwrap(), BoxName::made_up().unwrap());
    }
}
