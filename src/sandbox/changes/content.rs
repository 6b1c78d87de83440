//! What stands at a changed path, read for people, as far as that makes sense.

use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::compare::File;
use super::view::View;
use super::{Change, Changes, FileKind, From, Kind};
use crate::error::{Context, Error, Result};
use crate::sandbox::tree::{self, Place};

/// The largest text, in bytes and in lines: what is larger nobody reads.
const LARGEST: u64 = 8 << 20;
const MOST_LINES: usize = 1 << 20;

/// What a path holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Content {
    /// There is nothing.
    Nothing,
    /// Bytes that a person may want to see.
    Text(Vec<u8>),
    /// A file with other bytes: how many.
    Binary(u64),
    /// A file that is too large to be looked at: how many.
    Large(u64),
    /// Where a link leads.
    Link(Vec<u8>),
    /// What has no content: a folder, a socket, a device.
    Other,
}

impl Changes {
    /// What host and box have at a changed path, or had where it was renamed.
    ///
    /// # Errors
    /// Where one of them cannot be read.
    pub fn contents(&self, change: &Change) -> Result<(Content, Content)> {
        let old = match (&change.before, &change.from) {
            (None, _) => Content::Nothing,
            (Some(_), from) => {
                let (layer, path) = from.as_ref().map_or((change.layer, &change.path), |from| (from.layer, &from.path));
                let place = self.layer(layer)?.host(path)?;
                read(&File::of_host(place.folder.as_fd(), &place.name)?).context(|| format!("{path:?} of the host"))?
            }
        };
        let new = match change.after {
            None => Content::Nothing,
            Some(_) => {
                let view = self.layer(change.layer)?;
                let place = view.own(&change.path)?;
                let file = File::of_layer(view.notes, place.folder.as_fd(), &place.name)?;
                read(&file).context(|| format!("{:?} of the box", change.path))?
            }
        };
        Ok((old, new))
    }

    /// What goes with a folder that is deleted, or moves with one that was moved: everything in it, as changes of their own.
    ///
    /// # Errors
    /// Where the host's folder cannot be read.
    pub fn within(&self, change: &Change) -> Result<Vec<Change>> {
        let is_folder = change.before.as_ref().is_some_and(|before| before.kind == FileKind::Folder);
        let goes = change.kind == Kind::Deleted || change.kind == Kind::TypeChanged || change.from.is_some();
        if !is_folder || !goes {
            return Ok(Vec::new());
        }
        let at = change.from.as_ref().map_or(change.path.as_path(), |from| &from.path);
        let view = self.layer(change.from.as_ref().map_or(change.layer, |from| from.layer))?;
        let mut paths = Vec::new();
        tree::visit(&view.lower, view.inner(at), &mut |path, _| {
            paths.push(path.to_owned());
            Ok(())
        })?;
        let folder = view.inner(at).to_owned();
        paths.sort_unstable();
        let inner = paths.iter().filter(|path| **path != folder);
        inner.map(|path| self.one_within(change, view, &folder, path).context(|| format!("{path:?}"))).collect()
    }

    fn one_within(&self, change: &Change, view: &View, folder: &Path, path: &Path) -> Result<Change> {
        let place = Place::open(&view.lower, path)?;
        let meta = File::of_host(place.folder.as_fd(), &place.name)?.meta()?;
        let old = view.mount.join(path);
        Ok(match &change.from {
            None => Change { layer: change.layer, ..Change::new(old, Kind::Deleted, Some(meta), None) },
            Some(from) => {
                let new = change.path.join(path.strip_prefix(folder).unwrap_or(path));
                let from = Some(From { path: old, layer: from.layer });
                let after = Some(meta.clone());
                Change { layer: change.layer, from, ..Change::new(new, Kind::Added, Some(meta), after) }
            }
        })
    }

    fn layer(&self, place: usize) -> Result<&View> {
        let view = self.views.get(place).and_then(Option::as_ref);
        view.ok_or_else(|| Error::new("the layer is gone"))
    }
}

fn read(file: &File<'_>) -> Result<Content> {
    let kind = file.kind()?;
    if kind == FileKind::Link {
        return Ok(Content::Link(file.target()?.as_os_str().as_bytes().to_owned()));
    }
    if kind != FileKind::File {
        return Ok(Content::Other);
    }
    let size = file.stat.st_size as u64;
    if size > LARGEST {
        return Ok(Content::Large(size));
    }
    let mut content = Vec::with_capacity(size as usize);
    // One that grows meanwhile is not followed.
    let open = std::fs::File::from(file.open()?);
    std::io::Read::read_to_end(&mut std::io::Read::take(open, LARGEST), &mut content).context(|| "read")?;
    let lines = content.iter().filter(|byte| **byte == b'\n').count();
    Ok(match content.contains(&0) {
        true => Content::Binary(size),
        false if lines > MOST_LINES => Content::Large(size),
        false => Content::Text(content),
    })
}
