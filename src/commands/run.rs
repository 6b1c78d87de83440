//! `myrt run`: a container from its making to its end.

use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use super::bundle::bundle_args;
use super::store;
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::container::{self, RunOptions};
use crate::error::{Context, Error, Result};
use crate::plan::ContainerId;

bundle_args! {
    /// Flags of `run`.
    pub struct Args {
        /// Return once the program runs
        detach: bool = "--detach -d",
        /// Leave the container there when it has ended
        keep: bool = "--keep",
        /// Do not adopt orphans of the container
        no_subreaper: bool = "--no-subreaper",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "run",
    group: Group::LifeCycle,
    about: "Make a container, run its program, and take it down",
    words: "BUNDLE|ID [ID]",
    details: "
Two forms:
  myrt run BUNDLE [ID]         the id defaults to the folder's name and a short suffix
  myrt run [-b BUNDLE] ID      as runc has it
The first word is a BUNDLE if there is no -b, and it is '.', contains a '/', or names a folder
that holds config.json. Otherwise it is an ID, and without -b the bundle is the current folder.

In the foreground signals are passed on, and the exit code is the program's own, or 128+n
after signal n.

Examples:
  sudo myrt run rootfs-examples/hello
  sudo myrt run --detach rootfs-examples/web web && sudo myrt list",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let (bundle, id) = target(args.bundle.as_deref(), &parsed.words, |folder| folder.join("config.json").exists())?;
    let run =
        RunOptions { detach: args.detach, keep: args.keep, no_subreaper: args.no_subreaper, ..RunOptions::default() };
    container::run(&store(global)?, &id, &args.options(global, bundle), run)
}

/// Tells the two forms apart, by the rule of the help.
fn target(
    flag: Option<&Path>,
    words: &[OsString],
    is_bundle: impl Fn(&Path) -> bool,
) -> Result<(PathBuf, ContainerId)> {
    let (first, second) = match words {
        [first] => (first, None),
        [first, second] => (first, Some(second)),
        _ => bail!("run: one or two words are expected"),
    };
    let folder = Path::new(first);
    match flag {
        Some(bundle) if second.is_none() => return Ok((bundle.to_owned(), id(first)?)),
        Some(_) => bail!("run: with --bundle, the only word is the ID"),
        None => {}
    }
    let is_path = first.as_encoded_bytes().contains(&b'/') || first == "." || first == "..";
    if is_path || is_bundle(folder) {
        let id = match second {
            Some(second) => id(second)?,
            None => ContainerId::new(made_id(&folder_name(folder)?))?,
        };
        return Ok((folder.to_owned(), id));
    }
    if second.is_some() {
        return Err(Error::new(format!("run: {first:?} is no bundle: there is no {:?}", folder.join("config.json")))
            .hint("`myrt spec --bundle DIR` makes a config.json to begin with"));
    }
    Ok((".".into(), id(first)?))
}

fn id(word: &OsStr) -> Result<ContainerId> {
    ContainerId::new(word.to_string_lossy())
}

/// The last part of a folder's path; `.` and `..` are looked up.
fn folder_name(folder: &Path) -> Result<String> {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    if let Some(name) = name(folder).filter(|_| !folder.ends_with(".") && !folder.ends_with("..")) {
        return Ok(name);
    }
    let folder = folder.canonicalize().context(|| format!("bundle {folder:?}"))?;
    Ok(name(&folder).unwrap_or_default())
}

/// A name and a suffix that makes it another one each time; letters that an id cannot have become `-`.
fn made_id(name: &str) -> String {
    let letters = name.chars().map(|letter| match letter {
        '_' | '+' | '-' | '.' => letter,
        _ if letter.is_ascii_alphanumeric() => letter,
        _ => '-',
    });
    let name: String = letters.take(64).collect();
    // The keys of the standard library's hash maps are random, which is all that a suffix needs.
    let random = RandomState::new().build_hasher().finish() & 0x00ff_ffff;
    format!("{}-{random:06x}", if name.is_empty() { "container" } else { &name })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(flag: Option<&str>, line: &str) -> Result<(String, String)> {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (bundle, id) = target(flag.map(Path::new), &words, |folder| folder == Path::new("hello"))?;
        Ok((bundle.to_string_lossy().into_owned(), id.to_string()))
    }

    #[test]
    fn a_bundle_is_told_from_an_id() {
        let pair = |bundle: &str, id: &str| (bundle.to_owned(), id.to_owned());
        assert_eq!(read(None, "web").unwrap(), pair(".", "web"));
        assert_eq!(read(Some("/b"), "web").unwrap(), pair("/b", "web"));
        assert_eq!(read(Some("/b"), "hello").unwrap(), pair("/b", "hello"));
        assert_eq!(read(None, "hello web").unwrap(), pair("hello", "web"));
        assert_eq!(read(None, "./web x").unwrap(), pair("./web", "x"));
        assert!(read(Some("/b"), "a b").is_err());
        assert!(read(None, "web x").unwrap_err().remedy().is_some());
        assert!(read(None, "./web a/b").is_err());
        assert_eq!(read(None, ".").unwrap().0, ".");
    }

    #[test]
    fn an_id_is_made_from_the_folders_name() {
        for (line, name) in [("hello", "hello-"), ("/srv/my%20web/", "my-20web-"), ("a/..", "")] {
            if let Ok((_, id)) = read(None, line) {
                assert!(id.starts_with(name), "{id}");
            }
        }
        assert_ne!(read(None, "hello").unwrap().1, read(None, "hello").unwrap().1);
        assert_eq!(made_id("").len(), "container-123456".len());
        assert!(ContainerId::new(made_id(&"ü".repeat(300))).is_ok());
    }

    #[test]
    fn dots_are_looked_up() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(folder_name(Path::new("./")).unwrap(), here.file_name().unwrap().to_string_lossy());
        assert_eq!(folder_name(Path::new("src/..")).unwrap(), here.file_name().unwrap().to_string_lossy());
    }
}
