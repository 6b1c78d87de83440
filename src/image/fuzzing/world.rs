//! Where inputs do their work: a root, and beside it a folder that stays as it is.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::image::limits::Limits;
use crate::image::remove::remove;

/// What an input may use up.
pub(super) const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 200 };

/// The folders of one thread.
pub struct World {
    base: PathBuf,
    outside: Vec<String>,
}

impl World {
    /// In the folder for temporary files.
    pub fn in_folder(name: &str) -> Self {
        let base = std::env::temp_dir().join(format!("myrt-fuzz-{name}-{}", std::process::id()));
        Self::at(base).unwrap_or_else(|error| panic!("{error}"))
    }

    fn at(base: PathBuf) -> Result<Self> {
        let what = || "make the folders";
        fs::create_dir_all(base.join("outside/folder")).context(what)?;
        fs::write(base.join("outside/file"), "precious").context(what)?;
        symlink("file", base.join("outside/link")).context(what)?;
        let outside = tree(&base.join("outside"));
        Ok(Self { base, outside })
    }

    /// The path of a new root filesystem.
    pub(super) fn root(&self) -> PathBuf {
        let root = self.base.join("root");
        fs::create_dir(&root).unwrap_or_else(|error| panic!("make a root: {error}"));
        root
    }

    /// Asserts that nothing has happened outside of the root and that the caps held in it; then removes it.
    pub(super) fn settle(&self) {
        assert_eq!(tree(&self.base.join("outside")), self.outside, "outside of the root");
        let mut names: Vec<_> =
            fs::read_dir(&self.base).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        assert_eq!(names, ["outside", "root"], "beside the root");
        let files = tree(&self.base.join("root"));
        // The root itself is nobody's entry.
        assert!(files.len() as u64 <= LIMITS.entries + 1, "{} files", files.len());
        let base = rustix::fs::open(&self.base, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty());
        remove(base.unwrap_or_else(|errno| panic!("open the base: {errno}")), b"root")
            .unwrap_or_else(|error| panic!("what was made cannot be removed: {error}"));
        assert!(!self.base.join("root").exists());
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

/// A line for each file below a folder, the folder included. Panics where regular files have more bytes than they may.
fn tree(folder: &Path) -> Vec<String> {
    let (mut lines, mut bytes, mut seen) = (Vec::new(), 0, std::collections::HashSet::new());
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        // What is deeper than a path can be long is seen when it is removed.
        let Ok(meta) = path.symlink_metadata() else { continue };
        if meta.is_file() && seen.insert(meta.ino()) {
            bytes += meta.len();
        }
        if meta.is_dir() {
            pending.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
        let content = if meta.is_file() && meta.len() < 100 { fs::read(&path).ok() } else { None };
        lines.push(format!(
            "{path:?} {:o} {} {} {:?} {content:?}",
            meta.mode(),
            meta.uid(),
            meta.nlink(),
            meta.mtime()
        ));
    }
    assert!(bytes <= LIMITS.bytes, "{bytes} bytes in files");
    lines.sort();
    lines
}
