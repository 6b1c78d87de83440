//! Caps against bombs: a small blob that unpacks to more than any disk holds, or to more files than it has inodes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// How much all layers of an image together may unpack to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes: of the unpacked archives, and of the files in them with their holes.
    pub bytes: u64,
    /// Entries of archives, and folders that have none.
    pub entries: u64,
}

impl Default for Limits {
    /// More than honest images have.
    fn default() -> Self {
        Self { bytes: 64 << 30, entries: 4_000_000 }
    }
}

/// What is left of the [`Limits`]; shared by the threads that unpack.
#[derive(Debug)]
pub struct Budget {
    limits: Limits,
    archives: AtomicU64,
    files: AtomicU64,
    entries: AtomicU64,
}

impl Budget {
    /// Nothing is used yet.
    pub fn new(limits: Limits) -> Self {
        let zero = || AtomicU64::new(0);
        Self { limits, archives: zero(), files: zero(), entries: zero() }
    }

    /// Counts bytes of an unpacked archive.
    ///
    /// # Errors
    /// Beyond the limit.
    pub fn archive(&self, bytes: u64) -> Result<()> {
        self.bytes(&self.archives, bytes)
    }

    /// Counts a file of so many bytes, holes included.
    ///
    /// # Errors
    /// Beyond the limit.
    pub fn file(&self, bytes: u64) -> Result<()> {
        self.bytes(&self.files, bytes)
    }

    /// Counts an entry.
    ///
    /// # Errors
    /// Beyond the limit.
    pub fn entry(&self) -> Result<()> {
        if self.entries.fetch_add(1, Ordering::Relaxed) < self.limits.entries {
            return Ok(());
        }
        Err(Error::new(format!("the image has more than {} files", self.limits.entries))
            .hint("if that is meant, raise --max-entries"))
    }

    /// Counts folders that were made without an entry of their own.
    ///
    /// # Errors
    /// Beyond the limit.
    pub fn folders(&self, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| self.entry())
    }

    /// How many entries were counted.
    pub fn entries(&self) -> u64 {
        self.entries.load(Ordering::Relaxed)
    }

    /// How many bytes of unpacked archives were counted.
    pub fn bytes_unpacked(&self) -> u64 {
        self.archives.load(Ordering::Relaxed)
    }

    fn bytes(&self, counter: &AtomicU64, bytes: u64) -> Result<()> {
        let before = counter.fetch_add(bytes, Ordering::Relaxed);
        if before.checked_add(bytes).is_some_and(|sum| sum <= self.limits.bytes) {
            return Ok(());
        }
        Err(Error::new(format!("the image unpacks to more than {} bytes", self.limits.bytes))
            .hint("if that is meant, raise --max-size"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_the_limit_is_refused() {
        let budget = Budget::new(Limits { bytes: 10, entries: 2 });
        budget.archive(10).unwrap();
        budget.file(10).unwrap();
        assert!(budget.archive(1).unwrap_err().remedy().unwrap().contains("--max-size"));
        let budget = Budget::new(Limits { bytes: 10, entries: 1 });
        budget.file(u64::MAX).unwrap_err();
        budget.entry().unwrap();
        assert!(budget.entry().unwrap_err().remedy().unwrap().contains("--max-entries"));
    }
}
