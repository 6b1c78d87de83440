//! Names of a layer's entries: split into parts, cleaned, and told apart from the marks that hide what lies below.

use crate::bail;
use crate::error::Result;

/// What begins the name of a mark.
pub const MARK: &[u8] = b".wh.";

/// Where an entry goes: no part is empty, `.` or `..`, and there is no zero byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The folder, relative to the root; empty for the root itself.
    pub folder: Vec<u8>,
    /// The last part.
    pub last: Vec<u8>,
}

/// What an entry's name asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The root folder itself.
    Root,
    /// Something to make.
    Plain(Name),
    /// Something of the layers below that is gone.
    Gone(Name),
    /// A folder whose content in the layers below is gone.
    Opaque(Vec<u8>),
    /// A mark of aufs that means nothing elsewhere.
    Nothing,
}

impl Name {
    /// The whole path, relative to the root.
    pub fn path(&self) -> Vec<u8> {
        join(&self.folder, &self.last)
    }
}

/// Two parts of a path as one.
pub fn join(folder: &[u8], last: &[u8]) -> Vec<u8> {
    if folder.is_empty() { last.to_vec() } else { [folder, b"/", last].concat() }
}

/// Cleans a path; nothing where it is the root. What begins with `/` is taken as relative to the root, as every reader of
/// layers does. What goes up is refused: honest writers do not, and readers differ in what they make of it.
///
/// # Errors
/// `..` in it, or a zero byte.
pub fn clean(path: &[u8]) -> Result<Option<Name>> {
    let shown = || String::from_utf8_lossy(path).into_owned();
    let mut folder: Vec<u8> = Vec::with_capacity(path.len());
    let mut last: Option<&[u8]> = None;
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => continue,
            b".." => bail!("{:?} has .. in it", shown()),
            _ if part.contains(&0) => bail!("{:?} has a zero byte in it", shown()),
            _ => {}
        }
        if let Some(before) = last.replace(part) {
            if !folder.is_empty() {
                folder.push(b'/');
            }
            folder.extend_from_slice(before);
        }
    }
    Ok(last.map(|last| Name { folder, last: last.to_vec() }))
}

/// Understands the name of an entry.
///
/// # Errors
/// As [`clean`]; and a mark that names nothing, or a way up.
pub fn meaning(path: &[u8]) -> Result<Meaning> {
    let Some(name) = clean(path)? else { return Ok(Meaning::Root) };
    let Some(hidden) = name.last.strip_prefix(MARK) else {
        // What is below a mark would be below something that is gone.
        if name.folder.split(|byte| *byte == b'/').any(|part| part.starts_with(MARK)) {
            return Ok(Meaning::Nothing);
        }
        return Ok(Meaning::Plain(name));
    };
    match hidden {
        b".wh..opq" => Ok(Meaning::Opaque(name.folder)),
        _ if hidden.starts_with(MARK) => Ok(Meaning::Nothing),
        b"" | b"." | b".." => bail!("{:?} hides no name", String::from_utf8_lossy(path)),
        _ => Ok(Meaning::Gone(Name { last: hidden.to_vec(), folder: name.folder })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(folder: &str, last: &str) -> Name {
        Name { folder: folder.into(), last: last.into() }
    }

    #[test]
    fn paths_are_cleaned() {
        assert_eq!(clean(b"./a//b/./c/").unwrap(), Some(name("a/b", "c")));
        assert_eq!(clean(b"/etc/passwd").unwrap(), Some(name("etc", "passwd")));
        assert_eq!(clean(b"...").unwrap(), Some(name("", "...")));
        for root in [&b""[..], b".", b"./", b"/", b"//."] {
            assert_eq!(clean(root).unwrap(), None);
        }
        for hostile in [&b".."[..], b"../x", b"a/../b", b"/..", b"a/..", b"a\0b"] {
            assert!(clean(hostile).is_err(), "{:?}", String::from_utf8_lossy(hostile));
        }
    }

    #[test]
    fn marks_are_told_from_names() {
        assert_eq!(meaning(b"a/.wh.b").unwrap(), Meaning::Gone(name("a", "b")));
        assert_eq!(meaning(b"a/b/.wh..wh..opq").unwrap(), Meaning::Opaque(b"a/b".to_vec()));
        assert_eq!(meaning(b".wh..wh..opq").unwrap(), Meaning::Opaque(Vec::new()));
        assert_eq!(meaning(b"./").unwrap(), Meaning::Root);
        for nothing in [&b".wh..wh.plnk"[..], b".wh..wh.plnk/1.2", b".wh..wh.aufs"] {
            assert_eq!(meaning(nothing).unwrap(), Meaning::Nothing);
        }
        assert_eq!(meaning(b"a/.who").unwrap(), Meaning::Plain(name("a", ".who")));
        for hostile in [&b".wh..."[..], b"a/.wh..", b".wh."] {
            assert!(meaning(hostile).is_err(), "{:?}", String::from_utf8_lossy(hostile));
        }
    }
}
