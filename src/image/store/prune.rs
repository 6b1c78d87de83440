//! `prune`: layers go that no image and no bundle uses any more.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::{BUNDLES, IMAGES, IMPLIED, Store, Use};
use crate::error::{Context, Result};
use crate::image::digest::Digest;

/// What was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Layers that were whole.
    pub layers: usize,
    /// What was left by who was killed.
    pub leftovers: usize,
    /// Records of bundles that are gone.
    pub bundles: usize,
}

impl Store {
    /// Removes what nobody uses. It waits until nobody pulls or makes a bundle.
    ///
    /// # Errors
    /// Where something cannot be removed. A broken record stops it: what that one uses is not known.
    pub fn prune(&self) -> Result<Pruned> {
        let _lock = self.lock(true)?;
        let (mut pruned, mut leftovers) = (Pruned::default(), 0);
        let mut used: HashSet<Digest> = self.images()?.into_iter().flat_map(|image| image.layers).collect();
        for (path, bundle) in self.records::<Use>(BUNDLES)? {
            if is_there(&bundle.bundle) {
                used.extend(bundle.layers);
            } else {
                fs::remove_file(&path).context(|| format!("remove {path:?}"))?;
                pruned.bundles += 1;
            }
        }
        for kind in [IMAGES, BUNDLES] {
            let folder = self.path.join(kind);
            // Nobody is writing now: a record with an extension is one that was never finished.
            for name in names(&folder)?.into_iter().filter(|name| Path::new(name).extension().is_some()) {
                fs::remove_file(folder.join(&name)).context(|| format!("remove {name:?} from {folder:?}"))?;
                leftovers += 1;
            }
        }
        let used: HashSet<OsString> = used.iter().map(|digest| digest.hex().into()).collect();
        // The link first: a layer without one is no layer.
        let mut linked = HashSet::new();
        for name in names(&self.path.join("layers"))? {
            let link = self.path.join("layers").join(&name);
            if used.contains(&name) {
                linked.extend(fs::read_link(&link).ok().and_then(|target| Some(target.file_name()?.to_owned())));
            } else {
                fs::remove_file(&link).context(|| format!("remove {link:?}"))?;
                pruned.layers += 1;
            }
        }
        let (mut removed, data) = (0, self.path.join("d"));
        for name in names(&data)?.into_iter().filter(|name| !linked.contains(name)) {
            self.take_away(&data.join(name))?;
            removed += 1;
        }
        pruned.leftovers = leftovers + removed - pruned.layers.min(removed);
        for name in names(&self.path.join("partial"))? {
            self.take_away(&self.path.join("partial").join(name))?;
            pruned.leftovers += 1;
        }
        for kind in [IMPLIED, "locks"] {
            let folder = self.path.join(kind);
            for name in names(&folder)?.into_iter().filter(|name| !used.contains(name)) {
                fs::remove_file(folder.join(&name)).context(|| format!("remove {name:?} from {folder:?}"))?;
            }
        }
        Ok(pruned)
    }
}

/// A bundle without config.json is none any more. One that cannot be looked at is taken as being there.
fn is_there(bundle: &Path) -> bool {
    bundle.join("config.json").try_exists().unwrap_or(true)
}

fn names(folder: &Path) -> Result<Vec<OsString>> {
    let what = || format!("read {folder:?}");
    let entries = fs::read_dir(folder).context(what)?;
    entries.map(|entry| entry.map(|entry| entry.file_name()).context(what)).collect()
}
