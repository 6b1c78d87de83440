//! What is remembered of a box, in a file of its folder.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::held::read_file;
use crate::bail;
use crate::error::Result;
use crate::sandbox::changes::xattrs::Notes;
use crate::sandbox::{rights, text};

/// Its name.
pub(in crate::sandbox) const RECORD: &str = "box.json";
/// The version of that file.
const VERSION: u32 = 1;

/// What is remembered of a box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    version: u32,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Whether nobody gave it its name.
    pub unnamed: bool,
    /// One for each filesystem that it ever saw writable.
    pub(in crate::sandbox) layers: Vec<Layer>,
    /// Where overlayfs keeps its notes in them.
    #[serde(default)]
    pub(in crate::sandbox) notes: Notes,
}

/// The changes of one filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Layer {
    /// Where it is mounted on the host.
    #[serde(with = "text::as_text")]
    pub(in crate::sandbox) path: PathBuf,
    /// The part of the filesystem that is mounted there.
    #[serde(with = "text::as_text")]
    pub(in crate::sandbox) root: PathBuf,
    /// The filesystem's type.
    pub(in crate::sandbox) kind: String,
    /// Which one of its type it is, where that can be told across a reboot.
    #[serde(default)]
    pub(in crate::sandbox) identity: Option<String>,
}

impl Record {
    /// The layer in which a path lies.
    pub(in crate::sandbox) fn layer_of(&self, path: &Path) -> Option<usize> {
        let around = self.layers.iter().enumerate().filter(|(_, layer)| path.starts_with(&layer.path));
        around.max_by_key(|(_, layer)| layer.path.as_os_str().len()).map(|(place, _)| place)
    }

    /// Of a box that nothing was done with.
    pub(in crate::sandbox) fn new(unnamed: bool) -> Self {
        Self {
            version: VERSION,
            created: crate::time::now_seconds(),
            unnamed,
            layers: Vec::new(),
            notes: if rights::are_of_the_host() { Notes::Trusted } else { Notes::User },
        }
    }
}

/// Reads it from a box's folder, which is at `path`.
///
/// # Errors
/// Where it cannot be read, or another version of myrt wrote it.
pub(super) fn read_record(fd: &OwnedFd, path: &Path) -> Result<Option<Record>> {
    let record: Option<Record> = read_file(fd, RECORD, path)?;
    if let Some(version) = record.as_ref().map(|record| record.version).filter(|version| *version != VERSION) {
        bail!("{path:?} was written by another version of myrt ({version} instead of {VERSION})");
    }
    Ok(record)
}
