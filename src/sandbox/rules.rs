//! What a caller asks for beyond the whole host: paths that are hidden, read-only, written through, or empty.

use std::path::PathBuf;

use crate::error::{Context, Result};

/// The rules of a run. Paths are the host's.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Files and folders that are empty inside, and can be neither read nor written.
    pub hide: Vec<PathBuf>,
    /// Files and folders that can only be read.
    pub read_only: Vec<PathBuf>,
    /// Files and folders that are the host's own: what is written there is written on the host.
    pub write_through: Vec<PathBuf>,
    /// Folders that are empty and forgotten at the end.
    pub tmpfs: Vec<PathBuf>,
    /// Whether setuid programs and file capabilities give nothing.
    pub no_new_privileges: bool,
}

impl Rules {
    /// The same with true paths: a link is followed here, on the host, and not inside.
    ///
    /// # Errors
    /// Names the flag whose path is not there.
    pub(super) fn resolved(&self) -> Result<Self> {
        let real = |flag: &str, paths: &[PathBuf]| {
            let one = |path: &PathBuf| path.canonicalize().context(|| format!("{flag} {path:?}"));
            paths.iter().map(one).collect::<Result<Vec<_>>>()
        };
        Ok(Self {
            hide: real("--hide", &self.hide)?,
            read_only: real("--read-only", &self.read_only)?,
            write_through: real("--write-through", &self.write_through)?,
            tmpfs: real("--tmpfs", &self.tmpfs)?,
            no_new_privileges: self.no_new_privileges,
        })
    }
}
