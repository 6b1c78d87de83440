//! A layer onto the tree of those below it: what it brings, and what it hides.
//!
//! A mark hides what the layers below have, never what its own layer brings, in whatever order the two stand in the
//! archive. So the names that a layer has brought are remembered, but for the lowest one, which has nothing to hide.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::BufRead;
use std::os::fd::{AsFd, OwnedFd};

use super::limits::Budget;
use super::name::{Meaning, Name, join, meaning};
use super::remove;
use super::tar::{Entry, Kind, Reader};
use super::tree::{Implied, Tree};
use crate::error::{Context, Result};

/// Unpacks the archive of a layer into the tree. `lowest` says that nothing is below it.
///
/// # Errors
/// A broken archive, an entry that leads outside or cannot be made, more than the budget allows.
pub fn apply(archive: impl BufRead, tree: &mut Tree, lowest: bool, budget: &Budget) -> Result<()> {
    let mut archive = Reader::new(archive);
    let mut brought = (!lowest).then(Brought::default);
    if !lowest {
        tree.keep_times();
    }
    while let Some(entry) = archive.next_entry()? {
        let what = || format!("entry {:?}", String::from_utf8_lossy(&entry.path));
        budget.entry()?;
        budget.file(entry.size).context(what)?;
        one(&mut archive, &entry, tree, brought.as_mut()).context(what)?;
        budget.folders(tree.implied())?;
    }
    tree.set_times()
}

/// Unpacks the archive of a layer alone, as overlayfs takes it: what it hides becomes marks of the kernel's, also where it is
/// the lowest one, since another image may have it above others. Gives the folders that it uses and does not name.
///
/// # Errors
/// As [`apply`]; and a hard link to a file of another layer, which no folder of its own can have.
pub fn apply_alone(archive: impl BufRead, tree: &mut Tree, budget: &Budget) -> Result<Implied> {
    let mut archive = Reader::new(archive);
    tree.remember_implied()?;
    let mut marks = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let what = || format!("entry {:?}", String::from_utf8_lossy(&entry.path));
        budget.entry()?;
        budget.file(entry.size).context(what)?;
        match meaning(&entry.path).context(what)? {
            mark @ (Meaning::Gone(_) | Meaning::Opaque(_)) => marks.push(mark),
            // Such a device is the kernel's own mark; an image has none.
            _ if entry.kind == Kind::Char(0, 0) => {}
            _ => one(&mut archive, &entry, tree, None).context(what).map_err(|error| match entry.kind {
                Kind::Link(_) => error.hint("if it is in a layer below: `image unpack` reaches it, the store cannot"),
                _ => error,
            })?,
        }
        budget.folders(tree.implied())?;
    }
    // After all entries: what a layer brings is never hidden by its own marks, in whatever order they stand.
    tree.marks_follow();
    for mark in marks {
        match mark {
            Meaning::Gone(name) => tree.white_out(&name)?,
            Meaning::Opaque(folder) => tree.make_opaque(&folder)?,
            _ => {}
        }
        budget.folders(tree.implied())?;
    }
    tree.set_times()?;
    tree.take_implied()
}

fn one(
    archive: &mut Reader<impl BufRead>,
    entry: &Entry,
    tree: &mut Tree,
    brought: Option<&mut Brought>,
) -> Result<()> {
    tree.settle()?;
    match meaning(&entry.path)? {
        Meaning::Root => tree.dress_root(entry),
        Meaning::Nothing => Ok(()),
        Meaning::Gone(name) => brought.map_or(Ok(()), |brought| hide(tree, &name, brought)),
        Meaning::Opaque(folder) => brought.map_or(Ok(()), |brought| hide_content(tree, &folder, brought)),
        Meaning::Plain(name) => {
            if let Some(brought) = brought {
                brought.add(&name.path());
            }
            tree.make(&name, entry, |file| content(archive, file, entry))
        }
    }
}

/// Writes a file's content; holes stay holes.
fn content(archive: &mut Reader<impl BufRead>, file: &OwnedFd, entry: &Entry) -> Result<()> {
    let what = || "write";
    let Some(pieces) = &entry.pieces else {
        loop {
            let data = archive.data()?;
            if data.is_empty() {
                return Ok(());
            }
            let written = rustix::io::retry_on_intr(|| rustix::io::write(file, data)).context(what)?;
            archive.consume(written);
        }
    };
    rustix::fs::ftruncate(file, entry.size).context(|| format!("make it {} bytes long", entry.size))?;
    for piece in pieces {
        let (mut at, end) = (piece.offset, piece.offset + piece.length);
        while at < end {
            let data = archive.data()?;
            let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(data.len());
            let written = rustix::io::retry_on_intr(|| rustix::io::pwrite(file, &data[..length], at)).context(what)?;
            archive.consume(written);
            at += written as u64;
        }
    }
    Ok(())
}

/// Removes what the layers below have at a name.
fn hide(tree: &mut Tree, name: &Name, brought: &Brought) -> Result<()> {
    let Some(folder) = tree.existing(&name.folder)? else { return Ok(()) };
    tree.keep_time_of(&name.folder, &folder)?;
    hide_below(tree, &folder, &name.folder, vec![name.last.clone()], brought)
}

/// Removes what the layers below have in a folder.
fn hide_content(tree: &mut Tree, folder: &[u8], brought: &Brought) -> Result<()> {
    let Some(fd) = tree.existing(folder)? else { return Ok(()) };
    tree.keep_time_of(folder, &fd)?;
    let names = remove::list(fd.as_fd()).context(|| "read a folder")?;
    hide_below(tree, &fd, folder, names.into_iter().map(|(name, _)| name).collect(), brought)
}

/// Removes names of a folder, but for what this layer has brought there.
fn hide_below(
    tree: &mut Tree,
    folder: &OwnedFd,
    path: &[u8],
    mut pending: Vec<Vec<u8>>,
    brought: &Brought,
) -> Result<()> {
    while let Some(name) = pending.pop() {
        let whole = join(path, &name);
        if !brought.has(&whole) {
            let (parent, last) = match name.iter().rposition(|byte| *byte == b'/') {
                Some(slash) => (&name[..slash], &name[slash + 1..]),
                None => (&b""[..], &name[..]),
            };
            let parent = remove::open(folder.as_fd(), parent).context(|| "open a folder")?;
            remove::remove(parent, last)?;
            tree.forget_folders();
            continue;
        }
        // Not a folder: it is the layer's own, and nothing is below.
        let Ok(fd) = remove::open(folder.as_fd(), &name) else { continue };
        tree.keep_time_of(&whole, &fd)?;
        for (child, _) in remove::list(fd.as_fd()).context(|| "read a folder")? {
            pending.push(join(&name, &child));
        }
    }
    Ok(())
}

/// The paths that a layer has brought, and the folders above them: as hashes with a random key, eight bytes each.
#[derive(Default)]
struct Brought {
    keys: RandomState,
    paths: HashSet<u64>,
}

impl Brought {
    fn add(&mut self, path: &[u8]) {
        let mut end = path.len();
        // Where a folder is known, so are those above.
        while self.paths.insert(self.keys.hash_one(&path[..end])) {
            match path[..end].iter().rposition(|byte| *byte == b'/') {
                Some(slash) => end = slash,
                None => break,
            }
        }
    }

    fn has(&self, path: &[u8]) -> bool {
        self.paths.contains(&self.keys.hash_one(path))
    }
}
