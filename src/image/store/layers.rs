//! Layers in the store: each unpacked once, in the form that overlayfs takes, by whoever comes first.

use std::fs;
use std::path::PathBuf;

use rustix::fs::{CWD, FlockOperation};

use super::{IMPLIED, Store, lock};
use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::image::remove::remove;
use crate::image::tree::Implied;
use crate::image::{durable, fresh};

/// What stands before each path in the list of a layer's folders without an entry: whether anything but marks is in it.
const USED: u8 = b'u';
const FOR_MARKS: u8 = b'm';

impl Store {
    /// The folder of a layer, where it is there; short, for a mount's options.
    pub(super) fn layer(&self, diff_id: &Digest) -> Option<PathBuf> {
        let target = fs::read_link(self.layer_link(diff_id)).ok()?;
        let number = target.file_name()?.to_owned();
        Some(self.path.join("d").join(number))
    }

    pub(super) fn layer_link(&self, diff_id: &Digest) -> PathBuf {
        self.path.join("layers").join(diff_id.hex())
    }

    /// The folders that a layer uses and does not name.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub(super) fn implied(&self, diff_id: &Digest) -> Result<Implied> {
        let file = self.path.join(IMPLIED).join(diff_id.hex());
        let content = fs::read(&file).context(|| format!("read {file:?}"))?;
        let records = content.split(|byte| *byte == 0).filter_map(<[u8]>::split_first);
        Ok(records.map(|(kind, path)| (path.to_vec(), *kind == FOR_MARKS)).collect())
    }

    /// Sees to it that a layer is there: `unpack` fills an empty folder with it, unless somebody has done so already or
    /// does so in this moment, who is waited for. Says whether it was needed.
    ///
    /// # Errors
    /// Where `unpack` fails; then nothing is visible.
    pub(super) fn ensure_layer(
        &self,
        diff_id: &Digest,
        unpack: impl FnOnce(&PathBuf) -> Result<Implied>,
    ) -> Result<bool> {
        let _lock = lock(&self.path.join("locks").join(diff_id.hex()), FlockOperation::LockExclusive)?;
        if self.layer(diff_id).is_some() {
            return Ok(false);
        }
        let partial = self.path.join("partial").join(diff_id.hex());
        // Of somebody who was killed.
        self.take_away(&partial)?;
        let (root, _) = fresh::ensure(&partial, 0o755)?;
        let done = unpack(&partial).and_then(|implied| {
            self.write_implied(diff_id, &implied)?;
            durable::all(&root)?;
            let number = self.new_number()?;
            let folder = self.path.join("d").join(&number);
            // Over the empty folder that keeps the number.
            fs::rename(&partial, &folder).context(|| format!("rename {partial:?} to {folder:?}"))?;
            durable::names(&self.path.join("d"))?;
            let link = self.layer_link(diff_id);
            std::os::unix::fs::symlink(format!("../d/{number}"), &link).context(|| format!("make {link:?}"))?;
            durable::names(&self.path.join("layers"))
        });
        if done.is_err() {
            let _ = self.take_away(&partial);
        }
        done.map(|()| true)
    }

    /// Until the layer has its name nobody reads this, and what follows waits for the disk.
    fn write_implied(&self, diff_id: &Digest, implied: &Implied) -> Result<()> {
        let file = self.path.join(IMPLIED).join(diff_id.hex());
        let kind = |for_marks: &bool| if *for_marks { FOR_MARKS } else { USED };
        let records: Vec<u8> =
            implied.iter().flat_map(|(path, for_marks)| [&[kind(for_marks)][..], path, b"\0"].concat()).collect();
        fs::write(&file, records).context(|| format!("write {file:?}"))
    }

    /// Removes a folder that layers were unpacked into.
    pub(super) fn take_away(&self, folder: &std::path::Path) -> Result<()> {
        let (Some(parent), Some(name)) = (folder.parent(), folder.file_name()) else { return Ok(()) };
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
        let parent = rustix::fs::openat(CWD, parent, flags, rustix::fs::Mode::empty());
        remove(parent.context(|| format!("open the folder of {folder:?}"))?, name.as_encoded_bytes())
    }

    /// A number that no layer has: an empty folder keeps it.
    fn new_number(&self) -> Result<String> {
        let folder = self.path.join("d");
        let what = || format!("make a folder in {folder:?}");
        let taken = fs::read_dir(&folder).context(what)?.count();
        for number in taken.. {
            let name = number.to_string();
            if fresh::ensure(&folder.join(&name), 0o700)?.1 {
                return Ok(name);
            }
        }
        Err(Error::new("no number is left"))
    }
}
