//! Files of a layer that have several names: the host's get them as well.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use rustix::fs::{FileType, Stat};

use super::journal::Act;
use crate::error::{Error, Result};
use crate::sandbox::changes::{Change, Meta};
use crate::sandbox::copy::Attributes;
use crate::sandbox::roots::Root;
use crate::sandbox::tree::{self, Place};

/// What each further name of such a file becomes.
pub(super) struct Links<'a> {
    /// All changes of the box, by path.
    all: &'a [Change],
    /// Of these, the files that stay and get other attributes.
    kept: &'a BTreeSet<&'a Path>,
    /// By layer and inode.
    acts: BTreeMap<(usize, u64), Act>,
    /// The layers that were searched for names of the host's.
    searched: BTreeSet<usize>,
}

impl<'a> Links<'a> {
    /// For a commit, among all changes of a box; the files at `kept` stay and get other attributes.
    pub(super) fn new(all: &'a [Change], kept: &'a BTreeSet<&'a Path>) -> Self {
        Self { all, kept, acts: BTreeMap::new(), searched: BTreeSet::new() }
    }

    fn change(&self, path: &Path) -> Option<&'a Change> {
        self.all.binary_search_by(|change| change.path.as_path().cmp(path)).ok().map(|place| &self.all[place])
    }

    /// Whether the host does not have the layer's file at a path yet, as far as bytes go.
    fn is_new(&self, path: &Path) -> bool {
        self.change(path).is_some() && !self.kept.contains(path)
    }

    /// How a file of the layer comes to the host, in the step of this number; with the host's file that gets another name,
    /// where that is it.
    pub(super) fn act(
        &mut self,
        change: &Change,
        root: &Root,
        path: &Path,
        step: usize,
    ) -> Result<(Act, Option<Attributes>)> {
        let put = Ok((Act::Put, None));
        if !change.several_names {
            return put;
        }
        let layer = change.layer;
        let upper = root.upper.as_ref().ok_or_else(|| Error::new("the layer is gone"))?;
        let stat = Place::open(upper, path)?.stat()?;
        let Some(stat) = stat.filter(|stat| stat.st_nlink > 1) else { return put };
        if self.searched.insert(layer) {
            self.search(layer, root)?;
        }
        let key = (layer, stat.st_ino);
        match self.acts.get(&key) {
            Some(Act::Name(of)) => {
                if let Some(file) = self.host_file(root, of, &stat)? {
                    return Ok((Act::Name(of.clone()), Some(file)));
                }
            }
            Some(act) => return Ok((act.clone(), None)),
            None => {}
        }
        self.acts.insert(key, Act::Link(step));
        put
    }

    /// What the host has of a layer's file at a path; `None` where it is another one by now than the one that was compared:
    /// whoever may write to that folder is not to have a file of theirs wherever the box has this one.
    fn host_file(&self, root: &Root, path: &Path, own: &Stat) -> Result<Option<Attributes>> {
        let found = Place::find(&root.host, path)?.map(|place| place.stat()).transpose()?.flatten();
        let compared = match self.change(&root.mount.join(path)) {
            Some(Change { before: Some(Meta { mode, uid, gid, .. }), .. }) => {
                // Of the same kind, or it would be new.
                let kind = FileType::from_raw_mode(own.st_mode).as_raw_mode();
                Attributes { mode: kind | mode, uid: *uid, gid: *gid, ..Attributes::without_xattrs(own) }
            }
            _ => Attributes::without_xattrs(own),
        };
        Ok(found.filter(|found| compared.fit(found)).map(|found| Attributes::without_xattrs(&found)))
    }

    /// Finds the names under which the host has these files already.
    fn search(&mut self, layer: usize, root: &Root) -> Result<()> {
        let Some(upper) = &root.upper else { return Ok(()) };
        tree::visit(upper, Path::new(""), &mut |path, stat| {
            // A whiteout is a device with a name for each deletion.
            let kind = FileType::from_raw_mode(stat.st_mode);
            let whiteout = kind == FileType::CharacterDevice && stat.st_rdev == 0;
            let several = stat.st_nlink > 1 && kind != FileType::Directory && !whiteout;
            if several && !self.is_new(&root.mount.join(path)) {
                self.acts.entry((layer, stat.st_ino)).or_insert_with(|| Act::Name(path.to_owned()));
            }
            Ok(())
        })
    }
}
