//! Flags: a table row each, a parser over the rows, and the macro that declares a struct and its rows at once.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::{Command, Global};
use crate::error::{Error, Result};

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// How it is written: `--bundle -b DIR`. The long name comes first, the short one may be missing, and so may the
    /// name of the value, for a switch.
    pub spec: &'static str,
    /// What it does, in one line or two; without any, the help does not list it.
    pub help: &'static str,
    /// Whether a value follows it.
    pub takes_value: bool,
    /// Whether one that comes again adds to the ones before.
    pub many: bool,
    /// The values that it takes, where they are few.
    pub choices: &'static [&'static str],
}

impl Flag {
    /// The long name, without dashes.
    pub fn long(&self) -> &'static str {
        self.spec.split(' ').next().unwrap_or_default().trim_start_matches('-')
    }

    /// The short name, without its dash.
    pub fn short(&self) -> Option<char> {
        let name = self.spec.split(' ').nth(1)?.strip_prefix('-')?;
        name.chars().next()
    }

    /// What the help calls the value.
    pub fn value_name(&self) -> Option<&'static str> {
        self.takes_value.then(|| self.spec.rsplit(' ').next().unwrap_or_default())
    }

    /// Whether the help lists it.
    pub fn hidden(&self) -> bool {
        self.help.is_empty()
    }

    fn is_named(&self, name: &str) -> bool {
        let mut letters = name.chars();
        self.long() == name
            || (letters.next().is_some_and(|first| self.short() == Some(first)) && letters.next().is_none())
    }
}

/// Flags as typed fields; made by [`args!`](crate::args).
pub trait Args: Default {
    /// The rows, in the order of the fields.
    const FLAGS: &'static [Flag];

    /// Takes the value of the row `index`.
    ///
    /// # Errors
    /// Why the value cannot be read.
    fn set(&mut self, index: usize, value: &OsStr) -> Result<(), String>;
}

/// Two tables of flags as one, of so many rows.
pub const fn joined<const COUNT: usize>(first: &[Flag], second: &[Flag]) -> [Flag; COUNT] {
    let mut all = [if first.is_empty() { second[0] } else { first[0] }; COUNT];
    let mut index = 0;
    while index < COUNT {
        all[index] = if index < first.len() { first[index] } else { second[index - first.len()] };
        index += 1;
    }
    all
}

/// Declares a struct of flags. The comment of a field is its help; a field that has none is not listed. `with FIELD: STRUCT`
/// takes in the flags of another such struct, behind its own.
///
/// ```
/// myrt::args! {
///     /// Flags of `kill`.
///     pub struct Kill {
///         /// Signal every process of the container
///         all: bool = "--all -a",
///         /// Where
///         root: Option<std::path::PathBuf> = "--root DIR",
///     }
/// }
/// ```
#[macro_export]
macro_rules! args {
    (
        #[doc = $doc:literal]
        $visibility:vis struct $name:ident $(with $more:ident: $others:ty)?
        { $($(#[doc = $help:literal])* $field:ident: $type:ty = $spec:literal,)* }
    ) => {
        #[doc = $doc]
        #[derive(Debug, Default)]
        $visibility struct $name {
            $(
                #[allow(missing_docs, reason = "a flag that the help does not list")]
                $(#[doc = $help])*
                pub $field: $type,
            )*
            $(
                #[allow(missing_docs, reason = "flags that several commands have")]
                pub $more: $others,
            )?
        }

        impl $name {
            const OWN: &'static [$crate::cli::Flag] = &[$($crate::cli::Flag {
                spec: $spec,
                help: concat!($($help),*),
                takes_value: <$type as $crate::cli::values::Value>::TAKES_VALUE,
                many: <$type as $crate::cli::values::Value>::MANY,
                choices: <$type as $crate::cli::values::Value>::CHOICES,
            }),*];
        }

        impl $crate::cli::Args for $name {
            const FLAGS: &'static [$crate::cli::Flag] = {
                #[allow(unused, reason = "there may be others behind them")]
                let flags = Self::OWN;
                $(
                    const ALL: usize = $name::OWN.len() + <$others as $crate::cli::Args>::FLAGS.len();
                    let flags: &[_] = const { &$crate::cli::joined::<ALL>($name::OWN, <$others as $crate::cli::Args>::FLAGS) };
                )?
                flags
            };

            #[allow(unused, reason = "a struct without fields")]
            fn set(&mut self, index: usize, value: &std::ffi::OsStr) -> $crate::error::Result<(), String> {
                let mut row = 0;
                $(
                    if row == index {
                        return $crate::cli::values::Value::set(&mut self.$field, value);
                    }
                    row += 1;
                )*
                $(return $crate::cli::Args::set(&mut self.$more, index - row, value);)?
                #[allow(unreachable_code, reason = "there may be no others")]
                Ok(())
            }
        }
    };
}

/// A command line, split by a table of flags.
#[derive(Debug)]
pub struct Parsed {
    flags: &'static [Flag],
    values: Vec<(usize, OsString)>,
    /// What is no flag, in order.
    pub words: Vec<OsString>,
    /// Whether `--help` or `-h` is there.
    pub help: bool,
}

impl Parsed {
    /// Splits a command line. One dash or two before a long name, and `--flag=value` as well as `--flag value`, are the
    /// same, as in Go; a switch takes a value after `=` only. Short names can be joined (`-td`, `-eA=1`) where no long
    /// name reads the same. `--` ends the flags; so does the first word, with `until_word`.
    ///
    /// # Errors
    /// An unknown flag, or one whose value is missing.
    pub fn read(flags: &'static [Flag], words: impl IntoIterator<Item = OsString>, until_word: bool) -> Result<Self> {
        let mut parsed = Self { flags, values: Vec::new(), words: Vec::new(), help: false };
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let bytes = word.as_bytes();
            match bytes {
                b"--" => break,
                [b'-', _, ..] => parsed.flag(bytes, &mut words)?,
                _ => {
                    parsed.words.push(word);
                    if until_word {
                        break;
                    }
                }
            }
            if parsed.help {
                break;
            }
        }
        parsed.words.extend(words);
        Ok(parsed)
    }

    fn flag(&mut self, typed: &[u8], words: &mut impl Iterator<Item = OsString>) -> Result<()> {
        let dashes = if typed.starts_with(b"--") { 2 } else { 1 };
        let mut halves = typed[dashes..].splitn(2, |byte| *byte == b'=');
        let name = String::from_utf8_lossy(halves.next().unwrap_or_default());
        let value = halves.next().map(|value| OsString::from_vec(value.to_vec()));
        if let Some((index, flag)) = find(self.flags, &name) {
            let value = match value {
                Some(value) => value,
                None if !flag.takes_value => "true".into(),
                None => words.next().ok_or_else(|| needs_argument(typed))?,
            };
            self.values.push((index, value));
            return Ok(());
        }
        if matches!(&*name, "help" | "h") {
            self.help = true;
            return Ok(());
        }
        if dashes == 1 && self.cluster(&typed[1..], words)? {
            return Ok(());
        }
        let error = Error::new(format!("flag provided but not defined: {}{name}", &"--"[..dashes]));
        if let Some((_, flag)) = find(Global::FLAGS, &name) {
            return Err(error.hint(format!("it stands before the command: myrt --{} … COMMAND", flag.long())));
        }
        Err(match nearest(&name, self.flags.iter().filter(|flag| !flag.hidden()).map(Flag::long)) {
            Some(near) => error.hint(format!("did you mean --{near}?")),
            None => error,
        })
    }

    /// Reads joined short names; says whether they are that.
    fn cluster(&mut self, letters: &[u8], words: &mut impl Iterator<Item = OsString>) -> Result<bool> {
        let mut values = Vec::new();
        for (at, letter) in letters.iter().enumerate() {
            let Some((index, flag)) = find(self.flags, char::from(*letter).encode_utf8(&mut [0; 4])) else {
                return Ok(false);
            };
            if !flag.takes_value {
                values.push((index, "true".into()));
                continue;
            }
            let value = match &letters[at + 1..] {
                [] => words.next().ok_or_else(|| needs_argument(&[b'-', *letter]))?,
                rest => OsString::from_vec(rest.to_vec()),
            };
            values.push((index, value));
            break;
        }
        self.values.append(&mut values);
        Ok(true)
    }

    /// The flags as their struct.
    ///
    /// # Errors
    /// A value that cannot be read.
    pub fn args<A: Args>(&self) -> Result<A> {
        self.args_over(A::default())
    }

    /// Likewise, over what was said elsewhere: lists grow, anything else is replaced.
    ///
    /// # Errors
    /// As [`Parsed::args`].
    pub fn args_over<A: Args>(&self, mut args: A) -> Result<A> {
        for (index, value) in &self.values {
            args.set(*index, value).map_err(|why| {
                let name = self.flags.get(*index).map(Flag::long).unwrap_or_default();
                Error::new(format!("invalid value {value:?} for --{name}: {why}"))
            })?;
        }
        Ok(args)
    }

    /// The first word, which for most commands is the container's id.
    ///
    /// # Errors
    /// Where it is missing or not UTF-8.
    pub fn id(&self) -> Result<&str> {
        let word = self.words.first().ok_or_else(|| Error::new("the container's ID is missing"))?;
        word.to_str().ok_or_else(|| Error::new(format!("{word:?} is not a container's ID: not UTF-8")))
    }

    /// Refuses a value that is empty, as that of a variable that is not set. Callers of the OCI commands write one for "none";
    /// where people write flags, a limit would be absent without a word.
    pub(super) fn refuse_empty(&self) -> Result<()> {
        let empty = self.values.iter().find(|(_, value)| value.is_empty());
        match empty.and_then(|(index, _)| self.flags.get(*index)) {
            Some(flag) => {
                let flag = flag.long();
                Err(Error::new(format!("--{flag}: its value is empty"))
                    .hint(format!("leave --{flag} out for its default")))
            }
            None => Ok(()),
        }
    }

    /// Compares the number of words with what the command takes.
    pub(super) fn count_words(&self, command: &Command) -> Result<()> {
        let usage = || format!("usage: myrt {} {}", command.name, command.words).trim_end().to_owned();
        let wanted = command.words.split(' ').filter(|word| !word.is_empty());
        let missing = wanted.clone().nth(self.words.len()).filter(|word| !word.starts_with('['));
        if let Some(word) = missing {
            return Err(Error::new(format!("{}: {word} is missing", command.name)).hint(usage()));
        }
        match self.words.get(wanted.count()) {
            Some(word) if !command.words.contains("...") => {
                Err(Error::new(format!("{}: unexpected argument {word:?}", command.name)).hint(usage()))
            }
            _ => Ok(()),
        }
    }
}

/// The row that a name, long or short, stands for.
pub(super) fn find(flags: &'static [Flag], name: &str) -> Option<(usize, &'static Flag)> {
    flags.iter().enumerate().find(|(_, flag)| flag.is_named(name))
}

fn needs_argument(typed: &[u8]) -> Error {
    Error::new(format!("flag needs an argument: {}", String::from_utf8_lossy(typed)))
}

/// The name that a person probably meant: the one with the fewest letters to change, at most a third of them.
pub(super) fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.map(|name| (distance(typed.as_bytes(), name.as_bytes()), name)).min()?;
    (near.0 <= typed.len().div_ceil(3)).then_some(near.1)
}

/// How many letters to insert, remove, replace or swap with their neighbour make `a` into `b`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
                if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                    least = least.min(rows[i - 2][j - 2] + 1);
                }
                least
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spec_names_its_parts() {
        let flag = Flag { spec: "--bundle -b DIR", help: " Where", takes_value: true, many: false, choices: &[] };
        assert_eq!((flag.long(), flag.short(), flag.value_name()), ("bundle", Some('b'), Some("DIR")));
        let flag = Flag { spec: "--no-pivot", help: "", takes_value: false, many: false, choices: &[] };
        assert_eq!((flag.long(), flag.short(), flag.value_name()), ("no-pivot", None, None));
        assert!(flag.hidden());
    }

    #[test]
    fn a_slip_finds_its_name_and_nonsense_none() {
        let names = ["run", "resume", "restore", "list"];
        let near = |typed| nearest(typed, names.into_iter());
        assert_eq!(near("lsit"), Some("list"));
        assert_eq!(near("resum"), Some("resume"));
        assert_eq!(near("frobnicate"), None);
    }
}
