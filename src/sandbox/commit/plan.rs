//! From changes to steps: what a commit does to the host, in which order.

use std::collections::btree_map::{BTreeMap, Entry};
use std::collections::{BTreeSet, HashMap};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::journal::{Act, Folder, Journal, Moved, Step};
use super::links::Links;
use crate::error::{Context, Error, Result};
use crate::sandbox::BoxName;
use crate::sandbox::changes::xattrs::Notes;
use crate::sandbox::changes::{Aspect, Change, FileKind, Kind};
use crate::sandbox::copy::{Attributes, Side};
use crate::sandbox::roots::{Root, Roots};
use crate::sandbox::tree::{self, Place};

/// Makes the journal of these changes, which are sorted by path, among all changes of the box. `moved`: which files need not
/// be copied, by their place.
///
/// # Errors
/// Where layers or host cannot be read.
pub(super) fn journal(
    changes: &[&Change],
    all: &[Change],
    roots: &Roots,
    whole: bool,
    mut moved: HashMap<usize, Moved>,
) -> Result<Journal> {
    let mut removals = Vec::new();
    let mut additions = Vec::new();
    let mut folders = Folders { roots, all: BTreeMap::new(), last: None };
    let mut kept = BTreeSet::new();
    for change in changes {
        if keeps_its_file(change, roots.of(change.layer)?)? {
            kept.insert(&*change.path);
        }
    }
    let mut links = Links::new(all, &kept);
    for (place, change) in changes.iter().enumerate() {
        let root = roots.of(change.layer)?;
        let path = root.inner(&change.path);
        let is_folder = |meta: &Option<crate::sandbox::changes::Meta>| {
            meta.as_ref().is_some_and(|meta| meta.kind == FileKind::Folder)
        };
        let old_folder = is_folder(&change.before);
        let step = |act, old| Step { layer: change.layer, path: path.to_owned(), act, old, named: None };
        let goes = change.kind == Kind::Deleted || change.kind == Kind::TypeChanged && old_folder;
        if goes {
            removed(change.layer, root, path, &mut removals, &mut folders).context(|| format!("{:?}", change.path))?;
        }
        let old = || match (goes, &change.before) {
            (false, Some(_)) => host_attributes(root, path, kept.contains(&*change.path)).map(Some),
            _ => Ok(None),
        };
        match change.kind {
            Kind::Deleted => {}
            Kind::Added | Kind::TypeChanged if is_folder(&change.after) => {
                if let Some(old) = old()? {
                    // A folder does not take a file's place by a rename.
                    removals.push(step(Act::Remove, Some(old)));
                }
                additions.push(step(Act::MakeFolder(layer_attributes(root, path)?), None));
                folders.touch(change.layer, path)?;
            }
            Kind::Modified if kept.contains(&*change.path) => {
                additions.push(step(Act::Set(layer_attributes(root, path)?), old()?));
                if old_folder {
                    folders.touch(change.layer, path)?;
                }
            }
            Kind::Added | Kind::TypeChanged | Kind::Modified => {
                let (act, named) = match moved.remove(&place) {
                    Some(moved) => (Act::Move(moved), None),
                    None => links.act(change, root, path, additions.len())?,
                };
                additions.push(Step { named, ..step(act, old()?) });
            }
        }
        // A folder that was made anew is no change by itself, but the one around it was modified by that.
        folders.around(change.layer, path)?;
    }
    // The deepest first: a folder is empty when its turn comes.
    removals.sort_by(|one, other| (other.layer, &other.path).cmp(&(one.layer, &one.path)));
    let before = removals.len();
    for step in &mut additions {
        if let Act::Link(first) = &mut step.act {
            *first += before;
        }
    }
    removals.append(&mut additions);
    for step in &removals {
        check_owner(step, roots.of(step.layer)?)?;
    }
    let moving = removals.iter().any(|step| matches!(step.act, Act::Move(_)));
    let folder = |((layer, path), Times { before, after, own, written })| {
        let own = if moving { own } else { None };
        Folder { layer, path, before, after, own, written }
    };
    let folders = folders.all.into_iter().rev().map(folder).collect();
    let next = format!(".myrt-commit-{}", BoxName::made_up()?);
    Ok(Journal { whole, next, paths: changes.len(), steps: removals, folders, others: Vec::new() })
}

/// Whether the host's own file is to get other attributes, and no other file its place. One with further names on the host
/// is another one: in the box these did not change with it, since overlayfs copies a file for the one name that is used.
fn keeps_its_file(change: &Change, root: &Root) -> Result<bool> {
    if change.kind != Kind::Modified || change.aspects.contains(&Aspect::Content) {
        return Ok(false);
    }
    let stat = Place::open(&root.host, root.inner(&change.path))?.stat()?;
    Ok(stat.is_none_or(|stat| stat.st_nlink == 1 || FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
}

/// Refuses what an ordinary user could do, but not take back: giving a file to others. A file of its own with another group
/// is kept as it is, by another name; a folder, and a file that stays, would have to be given that group again.
fn check_owner(step: &Step, root: &Root) -> Result<()> {
    let Some(old) = step.old.as_ref().filter(|_| root.notes == Notes::User) else { return Ok(()) };
    let stays = matches!(step.act, Act::Set(_)) || FileType::from_raw_mode(old.mode) == FileType::Directory;
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    if old.uid == own.0 && (!stays || old.gid == own.1) {
        return Ok(());
    }
    let path = root.mount.join(&step.path);
    Err(Error::new(format!("{path:?} is of another user or group, and an undo could not bring it back so"))
        .hint("change it on the host yourself, or name what else is to be taken over"))
}

/// What the host has at a path. Of a file that goes, its extended attributes are not read: they are kept with it. `stays`: it
/// is given other ones.
fn host_attributes(root: &Root, path: &Path, stays: bool) -> Result<Attributes> {
    let place = Place::open(&root.host, path)?;
    if !stays {
        let stat = place.stat()?.ok_or(Errno::NOENT).context(|| format!("stat {path:?}"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(Attributes::without_xattrs(&stat));
        }
    }
    Attributes::read(place.folder.as_fd(), &place.name, Side::Host)
}

fn layer_attributes(root: &Root, path: &Path) -> Result<Attributes> {
    let upper = root.upper.as_ref().ok_or_else(|| Error::new("the layer is gone"))?;
    let place = Place::open(upper, path)?;
    Attributes::read(place.folder.as_fd(), &place.name, Side::Layer(root.notes))
}

/// A file, or a folder with all in it.
fn removed(layer: usize, root: &Root, path: &Path, steps: &mut Vec<Step>, folders: &mut Folders<'_>) -> Result<()> {
    let mut found = Vec::new();
    tree::visit(&root.host, path, &mut |path, _| {
        found.push(path.to_owned());
        Ok(())
    })?;
    for path in found {
        let old = host_attributes(root, &path, false)?;
        if FileType::from_raw_mode(old.mode) == FileType::Directory {
            // Should it come back, then with its times.
            folders.touch(layer, &path)?;
        }
        steps.push(Step { layer, path, act: Act::Remove, old: Some(old), named: None });
    }
    Ok(())
}

/// Attributes of a folder before and after.
struct Times {
    before: Option<Attributes>,
    after: Option<Attributes>,
    own: Option<Attributes>,
    written: bool,
}

/// Folders that steps write to: afterwards they have the times that they have in the box, or on the host where these are
/// later.
struct Folders<'a> {
    roots: &'a Roots,
    all: BTreeMap<(usize, PathBuf), Times>,
    /// The one that was written to last: as a rule it is the next one as well.
    last: Option<(usize, PathBuf)>,
}

impl Folders<'_> {
    /// One that a step writes to.
    fn touch(&mut self, layer: usize, path: &Path) -> Result<()> {
        self.look(layer, path)?.written = true;
        Ok(())
    }

    /// The folders around a path: the first one is written to. Of the others the box may have a later time.
    fn around(&mut self, layer: usize, path: &Path) -> Result<()> {
        let mut around = path.ancestors().skip(1);
        let Some(first) = around.next() else { return Ok(()) };
        let same = |(known, last): &(usize, PathBuf)| *known == layer && last.as_os_str() == first.as_os_str();
        if self.last.as_ref().is_some_and(same) {
            return Ok(());
        }
        self.touch(layer, first)?;
        self.last = Some((layer, first.to_owned()));
        // Where one is known, those around it are as well.
        for folder in around {
            if self.all.contains_key(&(layer, folder.to_owned())) {
                break;
            }
            self.look(layer, folder)?;
        }
        Ok(())
    }

    fn look(&mut self, layer: usize, path: &Path) -> Result<&mut Times> {
        let entry = match self.all.entry((layer, path.to_owned())) {
            Entry::Occupied(entry) => return Ok(entry.into_mut()),
            Entry::Vacant(entry) => entry,
        };
        let root = self.roots.of(layer)?;
        let before = folder(Some(&root.host), path, Side::Host)?;
        let own = folder(root.upper.as_ref(), path, Side::Layer(root.notes))?;
        let later = |own: &Attributes| before.as_ref().is_none_or(|before| own.modified > before.modified);
        let after = own.clone().filter(later).or_else(|| before.clone());
        Ok(entry.insert(Times { before, after, own, written: false }))
    }
}

/// The attributes of a folder, where there is one.
fn folder(root: Option<&tree::Root>, path: &Path, side: Side) -> Result<Option<Attributes>> {
    let Some(root) = root else { return Ok(None) };
    let Some(place) = Place::find(root, path)? else { return Ok(None) };
    match place.stat()? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
            Attributes::read(place.folder.as_fd(), &place.name, side).map(Some)
        }
        _ => Ok(None),
    }
}
