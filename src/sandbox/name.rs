//! The name of a box: a folder of the store, and the id of its container while it runs.

use std::fmt::{self, Display};
use std::hash::{BuildHasher, Hasher, RandomState};

use crate::bail;
use crate::error::{Error, Result};
use crate::plan::ContainerId;

/// A name that can be a folder: letters, digits, `_`, `+`, `-` and `.`, not first a dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BoxName(ContainerId);

impl BoxName {
    /// Checks a name.
    ///
    /// # Errors
    /// Where it holds a letter that no name may have.
    pub fn new(name: &str) -> Result<Self> {
        if name.starts_with(['.', '-']) {
            bail!("a box may not be called {name:?}: a name begins with a letter or a digit");
        }
        let id = ContainerId::new(name).map_err(|_| {
            Error::new(format!("a box may not be called {name:?}"))
                .hint("a name has letters, digits, _, + and -, and dots but not first")
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
        for name in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\0b", "ü"] {
            assert!(BoxName::new(name).is_err(), "{name:?}");
        }
        assert_ne!(BoxName::made_up().unwrap(), BoxName::made_up().unwrap());
    }
}
