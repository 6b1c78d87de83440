//! Which paths are meant: a pattern is a path, in which `*` stands for any letters but `/`, `?` for one, a name `**` for
//! any number of names, and `\xNN` for the byte, as [`super::text`] shows it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use super::changes::{Change, FileKind};
use super::store::Box;
use super::text;
use crate::error::{Context, Error, Result};

/// A pattern, absolute.
#[derive(Clone, Debug)]
pub struct Pattern {
    /// As it was given, for messages.
    typed: PathBuf,
    names: Vec<Name>,
}

/// What one name may be.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    /// Any number of names.
    Any,
    /// One that fits.
    One(Vec<Piece>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// Any bytes.
    Star,
    /// One byte.
    Mark,
    Byte(u8),
}

impl Pattern {
    /// Reads one from the command line: from the working folder, with `.` and `..` taken out.
    ///
    /// # Errors
    /// Where there is no working folder.
    pub fn typed(text: &OsStr) -> Result<Self> {
        let path = std::path::absolute(Path::new(text)).context(|| format!("the pattern {text:?}"))?;
        Ok(Self::new(&crate::plan::mounts::clean(&path)))
    }

    /// Reads one that is absolute.
    pub fn new(path: &Path) -> Self {
        let names = path.components().filter_map(|component| match component {
            Component::Normal(name) => Some(Name::read(name.as_bytes())),
            _ => None,
        });
        Self { typed: path.to_owned(), names: names.collect() }
    }

    /// The one path that fits, where there is no other.
    pub fn literal(&self) -> Option<PathBuf> {
        self.names.iter().all(|name| name.literal().is_some()).then(|| self.start())
    }

    /// The folder in which all lies that fits, as far as that can be told: of a literal one, the path itself.
    pub fn start(&self) -> PathBuf {
        let known = self.names.iter().map_while(Name::literal);
        known.fold(PathBuf::from("/"), |path, name| path.join(OsStr::from_bytes(&name)))
    }

    /// Whether the whole path fits.
    pub fn fits(&self, path: &Path) -> bool {
        let names: Vec<&[u8]> = names(path).collect();
        like(&self.names, &names, |name| *name == Name::Any, Name::fits)
    }

    /// Whether the path fits, or lies below one that does.
    pub fn means(&self, path: &Path) -> bool {
        let names: Vec<&[u8]> = names(path).collect();
        let below: Vec<Name> = self.names.iter().cloned().chain([Name::Any]).collect();
        like(&below, &names, |name| *name == Name::Any, Name::fits)
    }
}

fn names(path: &Path) -> impl Iterator<Item = &[u8]> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.as_bytes()),
        _ => None,
    })
}

impl Name {
    fn read(text: &[u8]) -> Self {
        if text == b"**" {
            return Self::Any;
        }
        let piece = |(byte, escaped): (u8, bool)| match byte {
            b'*' if !escaped => Piece::Star,
            b'?' if !escaped => Piece::Mark,
            byte => Piece::Byte(byte),
        };
        Self::One(text::bytes(text).map(piece).collect())
    }

    /// The one name that fits, where there is no other.
    fn literal(&self) -> Option<Vec<u8>> {
        let Self::One(pieces) = self else { return None };
        let byte = |piece: &Piece| match piece {
            Piece::Byte(byte) => Some(*byte),
            Piece::Star | Piece::Mark => None,
        };
        pieces.iter().map(byte).collect()
    }

    fn fits(&self, name: &&[u8]) -> bool {
        let Self::One(pieces) = self else { return true };
        like(
            pieces,
            name,
            |piece| *piece == Piece::Star,
            |piece, byte| match piece {
                Piece::Byte(wanted) => wanted == byte,
                Piece::Star | Piece::Mark => true,
            },
        )
    }
}

/// Whether a list fits a pattern of which some parts stand for any number; of these, only the last one is ever tried again.
fn like<P, T>(pattern: &[P], list: &[T], is_any: impl Fn(&P) -> bool, fits: impl Fn(&P, &T) -> bool) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut any: Option<(usize, usize)> = None;
    while here < list.len() {
        match pattern.get(at) {
            Some(part) if is_any(part) => {
                any = Some((at, here));
                at += 1;
            }
            Some(part) if fits(part, &list[here]) => {
                at += 1;
                here += 1;
            }
            _ => match &mut any {
                Some((after, from)) => {
                    *from += 1;
                    (at, here) = (*after + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(is_any)
}

/// The places of the changes that the patterns mean, all of them without a pattern.
///
/// # Errors
/// Names a pattern that means nothing.
pub fn select(held: &Box, changes: &[Change], patterns: &[Pattern]) -> Result<BTreeSet<usize>> {
    if patterns.is_empty() {
        return Ok((0..changes.len()).collect());
    }
    let mut selected = BTreeSet::new();
    for pattern in patterns {
        let meant = changes.iter().enumerate().filter(|(_, change)| pattern.means(&change.path));
        let places: Vec<usize> = meant.map(|(place, _)| place).collect();
        if places.is_empty() {
            return Err(Error::new(format!("{:?} names no change of this box", pattern.typed)).hint(format!(
                "`{}` lists them; `*` stands for letters within one name",
                held.command("diff", held.name())
            )));
        }
        selected.extend(places);
    }
    Ok(selected)
}

/// Adds the new folders that the selected changes lie in: nothing can be put into a folder that is not there.
pub(super) fn with_folders(changes: &[Change], selected: &mut BTreeSet<usize>) {
    let folder = |change: &Change| {
        change.before.as_ref().is_none_or(|before| before.kind != FileKind::Folder)
            && change.after.as_ref().is_some_and(|after| after.kind == FileKind::Folder)
    };
    let made: Vec<usize> = (0..changes.len()).filter(|place| folder(&changes[*place])).collect();
    // Sorted by path, what lies in a folder comes right behind it.
    let needed = made.into_iter().filter(|place| {
        let folder = &changes[*place].path;
        selected.range(*place..).next().is_some_and(|next| changes[*next].path.starts_with(folder))
    });
    let needed: Vec<usize> = needed.collect();
    selected.extend(needed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_what_it_names_and_all_below() {
        for (pattern, path, meant) in [
            ("/etc", "/etc/passwd", true),
            ("/etc", "/etcetera", false),
            ("/etc/*", "/etc", false),
            ("/etc/*.conf", "/etc/a.conf", true),
            ("/etc/*.conf", "/etc/a.conf/below", true),
            ("/*/passwd", "/etc/passwd", true),
            ("/*/passwd", "/etc/x/passwd", false),
            ("/**/passwd", "/etc/x/passwd", true),
            ("/etc/p?ss*d", "/etc/passwd", true),
            ("/a*b*c", "/aXbYbZc", true),
            ("/a*b*c", "/aXbYbZ", false),
            ("/", "/anything", true),
            ("/**", "/x", true),
            ("/new\\x0aline", "/new\nline", true),
            ("/\\x2a", "/x", false),
            ("/\\x2a", "/*", true),
            ("/back\\x5cx41", "/back\\x41", true),
        ] {
            assert_eq!(Pattern::new(Path::new(pattern)).means(Path::new(path)), meant, "{pattern} {path}");
        }
    }

    #[test]
    fn a_whole_path_fits_or_not() {
        for (pattern, path, fits) in [
            ("/etc", "/etc", true),
            ("/etc", "/etc/passwd", false),
            ("/etc/**", "/etc/a/b", true),
            ("/etc/**", "/etc", true),
            ("/**/b/**/d", "/a/b/b/c/d", true),
            ("/**/b/**/d", "/a/c/d", false),
        ] {
            assert_eq!(Pattern::new(Path::new(pattern)).fits(Path::new(path)), fits, "{pattern} {path}");
        }
        assert_eq!(Pattern::new(Path::new("/a\\x2a/b")).literal(), Some("/a*/b".into()));
        assert_eq!(Pattern::new(Path::new("/a*/b")).literal(), None);
    }
}
