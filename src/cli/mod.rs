//! The command line: words become typed values, and help.
//!
//! Each command and each flag is one row of a static table, and everything is made from that table: the parser, which
//! reads flags as Go's `flag` package does (callers of runc rely on it), the help, completions and man pages. A start
//! touches only the rows of its own command; a general parser that builds them all first costs 0.1 to 0.3 ms.
//!
//! Does not know which commands there are: `commands` declares them with what is here.

pub mod args;
pub mod completion;
mod global;
mod help;
pub mod manual;
pub mod signal;
pub mod values;

use std::ffi::OsString;

pub use args::{Args, Flag, Parsed, joined};
pub use global::Global;
pub use help::{command_help, main_help, version};

use crate::error::{Error, Result};

/// A command: one row, declared beside the function that it runs.
#[derive(Debug)]
pub struct Command {
    /// Its name; of a command below another one, both: `image unpack`.
    pub name: &'static str,
    /// Under which heading the main help lists it.
    pub group: Group,
    /// What it does, in one line.
    pub about: &'static str,
    /// Its words, such as `ID [SIGNAL]`: those in brackets may be left out, `...` takes any number.
    pub words: &'static str,
    /// What the help says after the flags: rules, then examples.
    pub details: &'static str,
    /// Its flags.
    pub flags: &'static [Flag],
    /// Does it; gives the exit code.
    pub run: fn(&Global, Parsed) -> Result<u8>,
}

impl Command {
    /// Whether its flags end at the first word, since what follows belongs to somebody else: a program, `ps`.
    fn hands_on(&self) -> bool {
        ["COMMAND...", "ARGUMENT...", "PS-OPTION..."].iter().any(|word| self.words.contains(word))
    }

    /// Whether its first word is a command of a program of its own.
    fn has_others_below(&self) -> bool {
        self.words.starts_with("COMMAND ")
    }
}

/// The headings of the main help.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    LifeCycle,
    Look,
    Change,
    Image,
    Sandbox,
    Host,
}

impl Group {
    /// All, in the order of the help, with their titles.
    pub const ALL: [(Self, &'static str); 6] = [
        (Self::LifeCycle, "Life cycle"),
        (Self::Look, "Look at containers"),
        (Self::Change, "Change a running container"),
        (Self::Image, "Images"),
        (Self::Sandbox, "Sandboxes"),
        (Self::Host, "Host and tools"),
    ];
}

/// What the words after the global flags ask for.
pub enum Request {
    /// Print this text.
    Print(String),
    /// Run this command.
    Run(&'static Command, Parsed),
}

/// Reads the flags that stand before the command; gives what follows as well. The program's name is left out.
///
/// # Errors
/// An unknown flag, a missing value, a value that cannot be read.
pub fn global(words: impl IntoIterator<Item = OsString>) -> Result<(Global, Vec<OsString>)> {
    // Global flags end at the command's name.
    let parsed = Parsed::read(Global::FLAGS, words, true)?;
    Ok((parsed.args()?, parsed.words))
}

/// Understands the command's name and what follows.
///
/// # Errors
/// An unknown command or flag, a missing value or word.
pub fn command(commands: &'static [Command], global: &Global, words: Vec<OsString>) -> Result<Request> {
    if global.version {
        return Ok(Request::Print(version()));
    }
    let mut words = words.into_iter();
    let Some(name) = words.next().filter(|_| !global.help) else {
        return Ok(Request::Print(main_help(commands)));
    };
    if name == "help" {
        let text = match words.next() {
            Some(topic) => {
                let command = find(commands, &topic)?;
                let more: Vec<OsString> = words.collect();
                if !more.is_empty() && command.has_others_below() {
                    // Which those are, the program knows that it becomes.
                    return Ok(Request::Run(command, Parsed::read(&[], more, true)?));
                }
                command_help(command)
            }
            None => main_help(commands),
        };
        return Ok(Request::Print(text));
    }
    let command = find(commands, &name)?;
    read(command, words).map_err(|error| match (command.group, command.hands_on()) {
        (Group::Sandbox, true) => error.exit_with(NOT_THE_PROGRAMS),
        _ => error,
    })
}

/// What a command exits with that hands on a program's exit code, where there was no program: as timeout(1) and env(1) do.
pub const NOT_THE_PROGRAMS: u8 = 125;

fn read(command: &'static Command, words: impl Iterator<Item = OsString>) -> Result<Request> {
    let parsed =
        Parsed::read(command.flags, words, command.hands_on()).map_err(|error| match command.has_others_below() {
            true => error.hint(format!("flags come after the command: `myrt {} COMMAND --flag`", command.name)),
            false => error.hint(format!("`myrt {} --help` lists its flags", command.name)),
        })?;
    if parsed.help {
        return Ok(Request::Print(command_help(command)));
    }
    parsed.count_words(command)?;
    if command.group == Group::Sandbox {
        parsed.refuse_empty()?;
    }
    Ok(Request::Run(command, parsed))
}

/// What stands before the names of these commands.
fn program(commands: &'static [Command]) -> String {
    let above = commands.first().and_then(|command| command.name.rsplit_once(' '));
    above.map_or("myrt".to_owned(), |(above, _)| format!("myrt {above}"))
}

fn find(commands: &'static [Command], name: &OsString) -> Result<&'static Command> {
    let word = |command: &&Command| command.name.rsplit(' ').next().unwrap_or_default();
    commands.iter().find(|command| *name == *word(command)).ok_or_else(|| {
        let error = Error::new(format!("unknown command: {}", name.display()));
        match args::nearest(&name.to_string_lossy(), commands.iter().map(|command| word(&command))) {
            Some(near) => error.hint(format!("did you mean `{} {near}`?", program(commands))),
            None => error.hint(format!("`{} --help` lists the commands", program(commands))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::args! {
        /// Flags of a command for tests.
        struct Try {
            /// Be quick
            quick: bool = "--quick -q",
            /// Where
            bundle: Option<std::path::PathBuf> = "--bundle -b DIR",
            /// More of them
            env: Vec<String> = "--env -e NAME=VALUE",
        }
    }

    const fn row(name: &'static str, words: &'static str) -> Command {
        let (about, details) = ("Try it", "");
        Command { name, group: Group::LifeCycle, about, words, details, flags: Try::FLAGS, run: |_, _| Ok(0) }
    }

    static COMMANDS: &[Command] = &[row("try", "ID [SIGNAL]"), row("exec", "ID [COMMAND...]")];

    fn read(line: &str) -> Result<(Global, Try, Vec<String>)> {
        let (global, words) = global(line.split_whitespace().map(OsString::from))?;
        match command(COMMANDS, &global, words)? {
            Request::Run(_, parsed) => {
                let words = parsed.words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
                Ok((global, parsed.args()?, words))
            }
            Request::Print(text) => Err(Error::new(text)),
        }
    }

    fn refused(line: &str) -> String {
        read(line).err().unwrap().to_string()
    }

    #[test]
    fn flags_have_one_dash_or_two_and_stand_anywhere() {
        for line in ["try --quick --bundle /b x", "try x -bundle=/b -quick", "try -q x -b /b", "try -qb /b x"] {
            let (_, args, words) = read(line).unwrap();
            assert!(args.quick, "{line}");
            assert_eq!(args.bundle.as_deref(), Some("/b".as_ref()), "{line}");
            assert_eq!(words, ["x"], "{line}");
        }
    }

    #[test]
    fn a_switch_takes_its_value_after_an_equals_sign_alone() {
        assert!(!read("try --quick --quick=false x").unwrap().1.quick);
        assert!(refused("try --quick=perhaps x").contains("quick"));
    }

    #[test]
    fn the_words_of_a_program_are_its_own() {
        let (_, args, words) = read("exec -e A=1 -eB=2 x ls -q --bundle y -- -e").unwrap();
        assert!(!args.quick && args.bundle.is_none());
        assert_eq!(args.env, ["A=1", "B=2"]);
        assert_eq!(words, ["x", "ls", "-q", "--bundle", "y", "--", "-e"]);
        assert_eq!(read("try -- -q").unwrap().2, ["-q"]);
    }

    #[test]
    fn a_value_may_begin_with_a_dash() {
        assert_eq!(read("try -b -1 x").unwrap().1.bundle.unwrap().to_str(), Some("-1"));
    }

    #[test]
    fn what_is_wrong_is_said_as_callers_match_it() {
        assert_eq!(refused("try x --bundle"), "flag needs an argument: --bundle");
        assert_eq!(refused("--root"), "flag needs an argument: --root");
        assert_eq!(refused("try x --bundel"), "flag provided but not defined: --bundel");
        assert_eq!(refused("tyr"), "unknown command: tyr");
        assert!(refused("try").contains("ID"));
        assert!(refused("try a b c").contains("\"c\""));
        let hint = |line: &str| read(line).err().unwrap().remedy().unwrap().to_owned();
        assert!(hint("tyr").contains("myrt try"));
        assert!(hint("try x --bundel").contains("--bundle"));
        assert!(hint("try x --root /r").contains("before the command"));
    }

    #[test]
    fn global_flags_come_first() {
        let (global, ..) = read("--root /r --log-format json -systemd-cgroup --debug try x").unwrap();
        assert_eq!(global.root.as_deref(), Some("/r".as_ref()));
        assert_eq!(global.driver(), crate::cgroup::Driver::Systemd);
        assert!(global.debug);
    }

    #[test]
    fn help_is_asked_for_in_every_way() {
        for line in ["", "--help", "-h", "help", "--debug help"] {
            assert!(refused(line).contains("Life cycle"), "{line}");
        }
        for line in ["help try", "try --help", "try x -h", "try -quick -help", "exec --help"] {
            assert!(refused(line).contains("Usage: myrt "), "{line}");
        }
        assert_eq!(read("exec x ls --help").unwrap().2, ["x", "ls", "--help"]);
        for line in ["--version", "-v", "-version"] {
            assert!(refused(line).starts_with("myrt version "), "{line}");
        }
    }
}
