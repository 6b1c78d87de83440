//! `pull`: an image comes into the store, its layers at the same time, each of them once.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::{IMAGES, Record, Store, check_name};
use crate::bail;
use crate::error::{Context, Error, Result};
use crate::image::digest::Digest;
use crate::image::document::{Image, Layer};
use crate::image::files::Files;
use crate::image::layer;
use crate::image::limits::{Budget, Limits};
use crate::image::pipeline::{self, Packed};
use crate::image::platform::Platform;
use crate::image::source::{Opened, Source};
use crate::image::tree::Tree;
use crate::time;

/// What a pull has done.
#[derive(Debug)]
pub struct Pulled {
    /// The record that is in the store now.
    pub record: Record,
    /// How many layers were unpacked; the others were there.
    pub unpacked: usize,
    /// What could not be kept, a sentence each.
    pub left_out: Vec<String>,
}

impl Store {
    /// Pulls an image and gives it this name. `owners` says whether files get the owners that layers name. The caller's
    /// umask has to be 0.
    ///
    /// # Errors
    /// Where the image is not there, lies, or is hostile. Layers that were whole before stay, for the next attempt.
    pub fn pull(
        &self,
        source: &Source,
        name: &str,
        platform: &Platform,
        limits: Limits,
        owners: bool,
    ) -> Result<Pulled> {
        check_name(name)?;
        source.is_apart_from(&self.path)?;
        let Opened { mut image, files } = source.open(platform, &limits)?;
        if image.layers.is_empty() {
            bail!("the image has no layers");
        }
        identify(&mut image, &*files)?;
        let _lock = self.lock(false)?;
        let budget = Budget::new(limits);
        let (next, unpacked) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (failure, left_out) = (Mutex::new(None), Mutex::new(Vec::new()));
        let work = || {
            while let Some(layer) = image.layers.get(next.fetch_add(1, Ordering::Relaxed)) {
                match self.bring(layer, &*files, &budget, owners) {
                    Ok(None) => {}
                    Ok(Some(lost)) => {
                        unpacked.fetch_add(1, Ordering::Relaxed);
                        left_out.lock().unwrap_or_else(|broken| broken.into_inner()).extend(lost);
                    }
                    Err(error) => {
                        next.store(image.layers.len(), Ordering::Relaxed);
                        failure.lock().unwrap_or_else(|broken| broken.into_inner()).get_or_insert(error);
                    }
                }
            }
        };
        let workers = thread::available_parallelism().map_or(1, usize::from).min(image.layers.len());
        thread::scope(|scope| {
            for _ in 1..workers {
                // Where no thread is to be had, this one does it all.
                let _ = thread::Builder::new().name("layer".to_owned()).spawn_scoped(scope, work);
            }
            work();
        });
        if let Some(error) = failure.into_inner().unwrap_or_else(|broken| broken.into_inner()) {
            return Err(error);
        }
        let record = Record {
            name: name.to_owned(),
            source: source.to_string(),
            manifest: image.manifest,
            pulled: time::now_seconds(),
            layers: image.layers.iter().filter_map(|layer| layer.diff_id.clone()).collect(),
            config: image.config,
        };
        self.write(IMAGES, name, &record)?;
        let left_out = left_out.into_inner().unwrap_or_else(|broken| broken.into_inner());
        Ok(Pulled { record, unpacked: unpacked.into_inner(), left_out })
    }

    /// Unpacks a layer, if it is not there; then says what was lost.
    fn bring(&self, layer: &Layer, files: &dyn Files, budget: &Budget, owners: bool) -> Result<Option<Vec<String>>> {
        let what = || format!("layer {}", layer.name);
        let diff_id = layer.diff_id.as_ref().ok_or_else(|| Error::new("no diff_id")).context(what)?;
        let mut lost = Vec::new();
        let needed = self.ensure_layer(diff_id, |folder| {
            let mut tree = Tree::open(folder, owners)?;
            let packed = Packed::of(layer, files)?;
            let implied = pipeline::unpack(packed, budget, |archive| layer::apply_alone(archive, &mut tree, budget))?;
            lost = tree.lost.sentences();
            Ok(implied)
        });
        let needed = needed.context(what)?;
        if !needed {
            files.skipped(&layer.name);
        }
        Ok(needed.then_some(lost))
    }
}

/// A layer's name in the store is the digest of its archive: where nobody has said that one, it is read for it, and unpacked
/// when it is read again.
fn identify(image: &mut Image, files: &dyn Files) -> Result<()> {
    for layer in image.layers.iter_mut().filter(|layer| layer.diff_id.is_none()) {
        let (_, input) = files.need(&layer.name)?;
        layer.diff_id = Some(Digest::of_all(input).context(|| format!("layer {}", layer.name))?);
    }
    image.config.rootfs.diff_ids = image.layers.iter().filter_map(|layer| layer.diff_id.clone()).collect();
    Ok(())
}
