//! What went in one place and came in another: the same file, or one that cannot be told from it.
//!
//! A file of the host that is moved inside is copied up, and overlayfs notes of which one it is a copy. Folders it does not
//! move: programs copy them then, as they do between filesystems, so what is left to see is that all of it is equal.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::OsStr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use super::compare::{self, Difference, File};
use super::{Change, Changes, FileKind, From, Kind, Meta, View, xattrs};
use crate::error::{Context, Result};
use crate::sandbox::tree::{entries, open_folder};
use crate::sys::handle::{self, FileHandle};

/// How many that look alike are compared with one: a box may be full of them.
const TRIES: usize = 4;

/// Two places of one file, in [`Changes::all`].
struct Pair {
    gone: usize,
    came: usize,
    difference: Difference,
}

impl Changes {
    /// The changes at these places, with what was moved as one change, a folder with all in it.
    ///
    /// # Errors
    /// Names the file that cannot be read.
    pub fn told(&self, selected: &BTreeSet<usize>) -> Result<Vec<Change>> {
        let of = |kind| selected.iter().copied().filter(|place| self.all[*place].kind == kind).collect::<BTreeSet<_>>();
        let mut search = Search { changes: self, gone: of(Kind::Deleted), came: of(Kind::Added), pairs: Vec::new() };
        if !search.gone.is_empty() && !search.came.is_empty() {
            search.same_files().context(|| "look for renamed files")?;
            search.alike(FileKind::Folder)?;
            search.alike(FileKind::File)?;
        }
        Ok(self.merged(selected, search.pairs))
    }

    fn merged(&self, selected: &BTreeSet<usize>, pairs: Vec<Pair>) -> Vec<Change> {
        let gone: BTreeSet<usize> = pairs.iter().map(|pair| pair.gone).collect();
        let mut came: HashMap<usize, Pair> = pairs.into_iter().map(|pair| (pair.came, pair)).collect();
        let mut all: Vec<Change> = Vec::new();
        for place in selected.iter().filter(|place| !gone.contains(place)) {
            let change = &self.all[*place];
            let in_it = |folder: &Change| folder.is_moved_folder() && change.path.starts_with(&folder.path);
            if all.last().is_some_and(in_it) {
                continue;
            }
            all.push(match came.remove(place) {
                Some(pair) => moved(&self.all[pair.gone], change, pair.difference),
                None => change.clone(),
            });
        }
        all
    }

    fn view(&self, place: usize) -> Option<&View> {
        self.views.get(self.all[place].layer)?.as_ref()
    }
}

impl Change {
    /// Whether it is a folder that was moved, with all in it.
    pub fn is_moved_folder(&self) -> bool {
        self.from.is_some() && self.after.as_ref().is_some_and(|after| after.kind == FileKind::Folder)
    }
}

fn moved(gone: &Change, came: &Change, difference: Difference) -> Change {
    Change {
        aspects: difference.aspects,
        xattrs: difference.xattrs,
        from: Some(From { path: gone.path.clone(), layer: gone.layer }),
        before: gone.before.clone(),
        ..came.clone()
    }
}

struct Search<'a> {
    changes: &'a Changes,
    /// What has not been paired yet.
    gone: BTreeSet<usize>,
    came: BTreeSet<usize>,
    pairs: Vec<Pair>,
}

impl Search<'_> {
    /// Files of the host whose copy has another name.
    fn same_files(&mut self) -> Result<()> {
        let mut copies: HashMap<(usize, FileHandle), Vec<usize>> = HashMap::new();
        for place in self.came.iter().copied().filter(|place| self.kind(*place) != Some(FileKind::Folder)) {
            let (Some(view), change) = (self.changes.view(place), &self.changes.all[place]) else { continue };
            let own = view.own(&change.path)?;
            if let Some(handle) = xattrs::origin(view.notes, own.folder.as_fd(), &own.name)? {
                copies.entry((change.layer, handle)).or_default().push(place);
            }
        }
        if copies.is_empty() {
            return Ok(());
        }
        for gone in self.gone.clone() {
            let (Some(view), change) = (self.changes.view(gone), &self.changes.all[gone]) else { continue };
            // What cannot be told is told as two changes.
            let Ok(Ok(handle)) = view.host(&change.path).map(|host| handle::of(&host.folder, &host.name)) else {
                continue;
            };
            let Some(came) = copies.get_mut(&(change.layer, handle)) else { continue };
            let Some(at) = came.iter().position(|came| self.kind(*came) == self.kind(gone)) else { continue };
            let came = came.remove(at);
            let difference = self.difference(gone, came)?;
            self.pair(gone, came, difference);
        }
        Ok(())
    }

    /// Files or folders with something in them that are equal in everything.
    fn alike(&mut self, kind: FileKind) -> Result<()> {
        let mut looks: HashMap<Looks, VecDeque<usize>> = HashMap::new();
        for place in &self.came {
            if let Some(look) = Looks::of(self.meta(*place), kind) {
                looks.entry(look).or_default().push_back(*place);
            }
        }
        for gone in self.gone.clone() {
            let Some(look) = Looks::of(self.meta(gone), kind) else { continue };
            let Some(candidates) = looks.get_mut(&look) else { continue };
            while candidates.front().is_some_and(|came| !self.came.contains(came)) {
                candidates.pop_front();
            }
            for came in candidates.iter().copied().take(TRIES) {
                if !self.came.contains(&came) {
                    continue;
                }
                let equal = match kind {
                    FileKind::Folder => self.equal_trees(gone, came),
                    _ => self.difference(gone, came).map(|found| found.aspects.is_empty()),
                };
                if equal.context(|| format!("compare {:?} with {:?}", self.path(gone), self.path(came)))? {
                    self.pair(gone, came, Difference::default());
                    break;
                }
            }
        }
        Ok(())
    }

    /// Takes both from what is left, with what lies in a folder.
    fn pair(&mut self, gone: usize, came: usize, difference: Difference) {
        self.gone.remove(&gone);
        let folder = self.path(came);
        let in_it = |place: &&usize| self.changes.all[**place].path.starts_with(folder);
        let all: Vec<usize> = self.came.range(came..).take_while(in_it).copied().collect();
        all.iter().for_each(|place| {
            self.came.remove(place);
        });
        self.pairs.push(Pair { gone, came, difference });
    }

    fn difference(&self, gone: usize, came: usize) -> Result<Difference> {
        let (Some(before), Some(after)) = (self.changes.view(gone), self.changes.view(came)) else {
            return Ok(Difference::default());
        };
        let (host, own) = (before.host(self.path(gone))?, after.own(self.path(came))?);
        let host = File::of_host(host.folder.as_fd(), &host.name)?;
        compare::difference(&host, &File::of_layer(after.notes, own.folder.as_fd(), &own.name)?)
    }

    fn equal_trees(&self, gone: usize, came: usize) -> Result<bool> {
        let (Some(before), Some(after)) = (self.changes.view(gone), self.changes.view(came)) else { return Ok(false) };
        let (gone, came) = (before.inner(self.path(gone)), after.inner(self.path(came)));
        let mut pending = vec![PathBuf::new()];
        let mut found_any = false;
        while let Some(path) = pending.pop() {
            // What cannot be opened is not told as moved.
            let (Ok(lower), Ok(upper)) =
                (open_folder(&before.lower, &gone.join(&path)), open_folder(&after.upper, &came.join(&path)))
            else {
                return Ok(false);
            };
            let names = entries(&lower).context(|| "read a folder of the host")?;
            if names != entries(&upper).context(|| "read a folder of the box")? {
                return Ok(false);
            }
            for name in &names {
                found_any = true;
                let host = File::of_host(lower.as_fd(), name)?;
                let own = File::of_layer(after.notes, upper.as_fd(), name)?;
                let mut found = Difference::default();
                if host.kind()? != own.kind()? {
                    return Ok(false);
                } else if host.is_folder() {
                    compare::shared(&host, &own, &mut found)?;
                    pending.push(path.join(OsStr::from_bytes(name.to_bytes())));
                } else {
                    found = compare::difference(&host, &own)?;
                }
                if !found.aspects.is_empty() {
                    return Ok(false);
                }
            }
        }
        Ok(found_any)
    }

    fn path(&self, place: usize) -> &PathBuf {
        &self.changes.all[place].path
    }

    fn meta(&self, place: usize) -> Option<&Meta> {
        let change = &self.changes.all[place];
        change.before.as_ref().or(change.after.as_ref())
    }

    fn kind(&self, place: usize) -> Option<FileKind> {
        self.meta(place).map(|meta| meta.kind)
    }
}

/// What a file has that needs no reading.
#[derive(PartialEq, Eq, Hash)]
struct Looks {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    modified: (i64, u32),
}

impl Looks {
    /// `None` for another kind, and for empty files, of which one is as good as another.
    fn of(meta: Option<&Meta>, kind: FileKind) -> Option<Self> {
        let meta = meta.filter(|meta| meta.kind == kind && (kind == FileKind::Folder || meta.size > 0))?;
        Some(Self { mode: meta.mode, owner: (meta.uid, meta.gid), size: meta.size, modified: meta.modified })
    }
}
