//! Which changes are meant: a pattern is a path, in which `*` stands for any letters but `/` and `?` for one. It means what
//! it names and all below.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::error::{Context, Error, Result};
use crate::sandbox::changes::{Change, FileKind};

/// Makes a pattern absolute, from the working folder, and takes `.` and `..` out.
///
/// # Errors
/// Where there is no working folder.
pub(super) fn absolute(pattern: &OsStr) -> Result<PathBuf> {
    let path = std::path::absolute(Path::new(pattern)).context(|| format!("the pattern {pattern:?}"))?;
    Ok(crate::plan::mounts::clean(&path))
}

/// The places of the changes that the patterns mean, all of them without a pattern, and of the new folders that these lie
/// in: nothing can be put into a folder that is not there.
///
/// # Errors
/// Names a pattern that means nothing.
pub(super) fn select(changes: &[Change], patterns: &[PathBuf]) -> Result<BTreeSet<usize>> {
    if patterns.is_empty() {
        return Ok((0..changes.len()).collect());
    }
    let mut selected = BTreeSet::new();
    for pattern in patterns {
        let before = selected.len();
        let meant = |change: &Change| means(pattern, &change.path);
        let places: Vec<usize> = (0..changes.len()).filter(|place| meant(&changes[*place])).collect();
        if places.is_empty() && before == selected.len() {
            return Err(Error::new(format!("{pattern:?} names no change of this box"))
                .hint("`myrt sandbox diff NAME` lists them; `*` stands for letters within one name"));
        }
        selected.extend(places);
    }
    let folders = |(_, change): &(usize, &Change)| {
        change.before.as_ref().is_none_or(|before| before.kind != FileKind::Folder)
            && change.after.as_ref().is_some_and(|after| after.kind == FileKind::Folder)
    };
    let made: Vec<(usize, &Path)> =
        changes.iter().enumerate().filter(folders).map(|(place, change)| (place, change.path.as_path())).collect();
    let needed =
        made.into_iter().filter(|(_, folder)| selected.iter().any(|place| changes[*place].path.starts_with(folder)));
    let needed: Vec<usize> = needed.map(|(place, _)| place).collect();
    selected.extend(needed);
    Ok(selected)
}

fn means(pattern: &Path, path: &Path) -> bool {
    let mut path = path.components();
    pattern.components().all(|wanted| match (wanted, path.next()) {
        (Component::Normal(wanted), Some(Component::Normal(name))) => fits(wanted.as_bytes(), name.as_bytes()),
        (wanted, Some(name)) => wanted == name,
        (_, None) => false,
    })
}

/// Whether a name fits, letter by letter; of a star, only the last one is ever tried again.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut here) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while here < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, here));
                at += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[here] => {
                at += 1;
                here += 1;
            }
            _ => match &mut star {
                Some((after, from)) => {
                    *from += 1;
                    (at, here) = (*after + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|letter| *letter == b'*')
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
            ("/etc/p?ss*d", "/etc/passwd", true),
            ("/a*b*c", "/aXbYbZc", true),
            ("/a*b*c", "/aXbYbZ", false),
            ("/", "/anything", true),
            ("/**", "/x", true),
        ] {
            assert_eq!(means(Path::new(pattern), Path::new(path)), meant, "{pattern} {path}");
        }
    }
}
