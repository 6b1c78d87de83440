//! Profiles: flags of `sandbox run`, written down in a TOML file.
//!
//! A key is the long name of a flag, and a value is what that flag takes, so there is one table of both. What a file says
//! stands before what is typed: a list on the command line adds to it, anything else replaces it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::{Args, Flag};
use crate::error::{Context, Error, Result};
use crate::plan;

/// Flags that mean one run, not a kind of runs.
const NOT_HERE: [&str; 3] = ["name", "profile", "store"];
/// Keys whose paths may be missing: then there is nothing to hide or to keep.
const MAY_BE_MISSING: [&str; 2] = ["hide", "read-only"];
/// Where the host's own profiles are.
const OF_THE_HOST: &str = "/etc/myrt/sandbox";

/// Puts a profile over what is there.
///
/// # Errors
/// Where there is no such profile, or it says what no flag understands: with file, line and key.
pub(super) fn apply<A: Args>(profile: &str, args: &mut A) -> Result<()> {
    let path = find(profile)?;
    let bytes = plan::read_file(&path).context(|| format!("--profile {profile:?}"))?;
    let text = String::from_utf8(bytes).map_err(|_| Error::new(format!("{}: it is not UTF-8", path.display())))?;
    let at = |place: usize| {
        let line = text[..place.min(text.len())].matches('\n').count() + 1;
        format!("{}, line {line}", path.display())
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let place = error.span().map_or(0, |span| span.start);
        Error::new(format!("{}: {}", at(place), error.message()))
    })?;
    // In the order of the file, so that the first mistake is the one that is told.
    let mut keys: Vec<_> = table.get_ref().iter().collect();
    keys.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in keys {
        let name: &str = key.get_ref();
        let (index, flag) = flag::<A>(name).map_err(|error| error.context(at(key.span().start)))?;
        for (place, text) in
            texts(flag, value).map_err(|(place, why)| Error::new(format!("{}: {name}: {why}", at(place))))?
        {
            args.set(index, &text).map_err(|why| Error::new(format!("{}: {name}: {why}", at(place))))?;
        }
    }
    Ok(())
}

/// The flag that a key stands for.
fn flag<A: Args>(name: &str) -> Result<(usize, &'static Flag)> {
    let found = A::FLAGS.iter().enumerate().find(|(_, flag)| flag.long() == name);
    match found {
        Some((_, flag)) if NOT_HERE.contains(&flag.long()) => {
            Err(Error::new(format!("{name}: this belongs on the command line, not in a profile")))
        }
        Some(found) => Ok(found),
        None => {
            let all: Vec<&str> = A::FLAGS.iter().map(Flag::long).filter(|name| !NOT_HERE.contains(name)).collect();
            Err(Error::new(format!("{name}: there is no such key")).hint(format!("the keys are {}", all.join(", "))))
        }
    }
}

/// What is to be typed after a flag, each with its place in the file.
type Texts = Vec<(usize, OsString)>;

fn texts(flag: &Flag, value: &Spanned<DeValue<'_>>) -> Result<Texts, (usize, String)> {
    let place = value.span().start;
    match (value.get_ref(), flag.many) {
        (DeValue::Array(values), true) => {
            let mut all = Vec::new();
            for value in values.iter() {
                let text = text(flag, value)?;
                if !(MAY_BE_MISSING.contains(&flag.long()) && is_missing(&text)) {
                    all.push((value.span().start, text));
                }
            }
            Ok(all)
        }
        (_, true) => Err((place, "an array is expected, such as [\"…\"]".to_owned())),
        (_, false) => Ok(vec![(place, text(flag, value)?)]),
    }
}

fn text(flag: &Flag, value: &Spanned<DeValue<'_>>) -> Result<OsString, (usize, String)> {
    let wrong = |why: &str| Err((value.span().start, why.to_owned()));
    let is_path = matches!(flag.value_name(), Some("PATH" | "FILE" | "DIR"));
    match value.get_ref() {
        DeValue::Boolean(value) if !flag.takes_value => Ok(value.to_string().into()),
        _ if !flag.takes_value => wrong("true or false is expected"),
        DeValue::String(text) if text.is_empty() => wrong("it is empty"),
        DeValue::String(text) if is_path => {
            expand(text).map(PathBuf::into_os_string).map_err(|why| (value.span().start, why))
        }
        _ if is_path => wrong("a string is expected"),
        DeValue::String(text) => Ok(text.as_ref().into()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Ok(number.to_string().into()),
            Err(_) => wrong("the number is too large"),
        },
        DeValue::Float(number) => Ok(number.as_str().into()),
        _ => wrong("a string or a number is expected"),
    }
}

/// A path as it is written, from the current folder if it is relative; `~` at its beginning is the caller's home. Nothing
/// else is expanded.
fn expand(text: &str) -> Result<PathBuf, String> {
    let Some(below) = text.strip_prefix('~').filter(|below| below.is_empty() || below.starts_with('/')) else {
        return Ok(text.into());
    };
    let home = home().ok_or_else(|| format!("{text}: HOME is not set"))?;
    Ok(home.join(below.trim_start_matches('/')))
}

fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

fn is_missing(path: &OsString) -> bool {
    std::fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
}

/// The file of a profile: itself, where it has a slash or ends in .toml; otherwise by its name in the caller's own folder,
/// then in the host's.
fn find(profile: &str) -> Result<PathBuf> {
    if profile.contains('/') || profile.ends_with(".toml") {
        return Ok(profile.into());
    }
    let own = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let own = own.or_else(|| Some(home()?.join(".config"))).map(|config| config.join("myrt/sandbox"));
    let places: Vec<PathBuf> = own
        .into_iter()
        .chain([Path::new(OF_THE_HOST).to_owned()])
        .map(|place| place.join(format!("{profile}.toml")))
        .collect();
    places.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        Error::new(format!("--profile {profile:?}: there is no such profile (looked for {places:?})"))
            .hint("name a file by its path, such as ./mine.toml")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::sandbox::run;

    /// What a profile gives, or why it is refused.
    fn read(text: &str) -> Result<run::Args> {
        use std::sync::atomic::{AtomicU32, Ordering};
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("myrt-profile-{}-{number}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        let mut args = run::Args::default();
        let result = apply(path.to_str().unwrap(), &mut args);
        std::fs::remove_file(&path).unwrap();
        result.map(|()| args)
    }

    #[test]
    fn a_key_takes_what_its_flag_takes() {
        let args = read(
            "# a comment\nhide = [\"/etc/shadow\", '/nowhere/at/all']\ntmpfs = [\"/tmp\"]\nmemory = \"64m\"\ncpus = 1.5\npids = 0x20
no-new-privileges = true\nseccomp = \"unconfined\"\nnet = \"host\"",
        )
        .unwrap();
        assert_eq!(args.hide, [PathBuf::from("/etc/shadow")]);
        assert_eq!(args.tmpfs, [PathBuf::from("/tmp")]);
        assert_eq!((args.memory, args.pids), (Some(crate::cli::values::Size(64 << 20)), Some(32)));
        assert_eq!(args.cpus, Some(crate::sandbox::Cpus::new(1.5).unwrap()));
        assert!(args.no_new_privileges && args.seccomp.is_some() && args.net.is_some());
    }

    #[test]
    fn what_no_flag_understands_is_refused_with_its_place() {
        for (text, words) in [
            ("hide = []\nhidden = []", "line 2: hidden: there is no such key"),
            ("\nname = \"x\"", "line 2: name: this belongs on the command line"),
            ("[net]\nx = 1", "line 1: net: a string or a number is expected"),
            ("hide = \"/x\"", "line 1: hide: an array is expected"),
            ("hide = [\"/x\", 1]", "line 1: hide: a string is expected"),
            ("memory = [\"1m\"]", "line 1: memory: a string or a number is expected"),
            ("memory = \"much\"", "line 1: memory: bytes are expected"),
            ("tmpfs = [\n  \"/a\",\n  3.5e,\n]", "line 3: "),
            ("tmpfs = [\n  \"/a\",\n  {},\n]", "line 3: tmpfs: a string is expected"),
            ("tmpfs = [\n  \"\",\n]", "line 2: tmpfs: it is empty"),
            ("no-new-privileges = 1", "line 1: no-new-privileges: true or false"),
            ("pids = -1", "line 1: pids: a number from"),
            ("net = \"lan\"", "line 1: net: one of"),
            ("pids = 1\npids = 2", "line 2: "),
        ] {
            let refused = read(text).unwrap_err().to_string();
            assert!(refused.contains(words), "{text:?} gave {refused:?}");
        }
    }

    #[test]
    fn home_is_all_that_is_expanded() {
        let home = home().unwrap();
        assert_eq!(expand("~").unwrap(), home);
        assert_eq!(expand("~/.ssh").unwrap(), home.join(".ssh"));
        for path in ["~other/x", "/a/~", "$HOME/x", "rel/ative"] {
            assert_eq!(expand(path).unwrap(), PathBuf::from(path));
        }
    }
}
