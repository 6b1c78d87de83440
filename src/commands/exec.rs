//! `myrt exec`: one more process in a container.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::{id, store};
use crate::bail;
use crate::cli::values::FromText;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::container::{self, Changes, ExecOptions, ProcessSource};
use crate::error::{Error, Result};

/// What the command ends with when myrt, not the process, failed: 1 is an answer that many programs give.
const FAILED: u8 = 255;

crate::args! {
    /// Flags of `exec`.
    pub struct Args {
        /// Give it a terminal
        tty: bool = "--tty -t",
        /// Return once it runs
        detach: bool = "--detach -d",
        /// Working folder (default: that of config.json)
        cwd: Option<String> = "--cwd DIR",
        /// Set a variable of the environment; may come again
        env: Vec<String> = "--env -e NAME=VALUE",
        /// Numbers of user and group (default: those of config.json)
        user: Option<User> = "--user -u UID[:GID]",
        /// Add a supplementary group; may come again
        additional_gids: Vec<u32> = "--additional-gids -g GID",
        /// Add a capability; may come again
        cap: Vec<String> = "--cap -c NAME",
        /// Forbid it to gain privileges by an exec
        no_new_privs: bool = "--no-new-privs",
        /// SELinux label
        process_label: Option<String> = "--process-label LABEL",
        /// AppArmor profile
        apparmor: Option<String> = "--apparmor PROFILE",
        /// The process as JSON, in place of COMMAND and the flags above
        process: Option<PathBuf> = "--process -p FILE",
        /// Existing cgroup below the container's, for one controller of v1 as CONTROLLER:PATH; may come again
        cgroup: Vec<String> = "--cgroup PATH",
        /// Write the process id to this file
        pid_file: Option<PathBuf> = "--pid-file FILE",
        /// Unix socket that gets the terminal's descriptor
        console_socket: Option<PathBuf> = "--console-socket SOCKET",
        /// Unix socket that gets a pidfd of the process
        pidfd_socket: Option<PathBuf> = "--pidfd-socket SOCKET",
        /// Hand the process N descriptors more, from 3 on
        preserve_fds: Option<u32> = "--preserve-fds N",
        /// Allow it in a paused container, where it waits for `resume`
        ignore_paused: bool = "--ignore-paused",
        no_subreaper: bool = "--no-subreaper",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "exec",
    group: Group::LifeCycle,
    about: "Run one more process in a container",
    words: "ID [COMMAND...]",
    details: "
Flags end at ID: what follows is the command's own. The exit code is the process's, 128+n
after signal n, and 255 when it could not be started.

Examples:
  sudo myrt exec -t web sh
  sudo myrt exec -u 1000:1000 -e LANG=C web ls -l /",
    flags: Args::FLAGS,
    run,
};

/// `UID` or `UID:GID`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User(u32, Option<u32>);

impl FromText for User {
    fn from_text(text: &OsStr) -> Result<Self, String> {
        let number = |text: &str| text.parse().map_err(|_| "numbers are expected, as UID or UID:GID".to_owned());
        let text = text.to_str().unwrap_or_default();
        Ok(match text.split_once(':') {
            Some((uid, gid)) => Self(number(uid)?, Some(number(gid)?)),
            None => Self(number(text)?, None),
        })
    }
}

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    exec(global, &parsed).map_err(|error| error.exit_with(FAILED))
}

fn exec(global: &Global, parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let id = id(parsed)?;
    let options = ExecOptions {
        detach: args.detach,
        console_socket: args.console_socket.clone(),
        pid_file: args.pid_file.clone(),
        pidfd_socket: args.pidfd_socket.clone(),
        preserve_fds: args.preserve_fds.unwrap_or_default(),
        cgroup: args.cgroup.clone(),
        ignore_paused: args.ignore_paused,
        process: process(args, &parsed.words[1..])?,
    };
    container::exec(&store(global)?, &id, &options)
}

/// A file describes the whole process, so nothing beside it is taken. containerd gives --tty all the same.
fn process(args: Args, command: &[OsString]) -> Result<ProcessSource> {
    if let Some(file) = args.process {
        if let Some(word) = command.first() {
            bail!("exec: {word:?} and --process both say what to run");
        }
        return Ok(ProcessSource::File(file));
    }
    // A `--` between the two is there for people who like to see the border.
    let command = if command.first().is_some_and(|word| word == "--") { &command[1..] } else { command };
    if command.is_empty() {
        return Err(Error::new("exec: COMMAND is missing").hint("usage: myrt exec [FLAGS] ID COMMAND..."));
    }
    let text = |word: &OsStr| {
        let text = word.to_str().map(str::to_owned);
        text.ok_or_else(|| Error::new(format!("exec: {word:?} is not UTF-8")))
    };
    Ok(ProcessSource::Changed(Box::new(Changes {
        args: command.iter().map(|word| text(word)).collect::<Result<_>>()?,
        terminal: args.tty,
        cwd: args.cwd,
        env: args.env,
        user: args.user.map(|User(uid, gid)| (uid, gid)),
        additional_gids: args.additional_gids,
        capabilities: args.cap,
        label: args.process_label,
        apparmor: args.apparmor,
        no_new_privileges: args.no_new_privs,
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: Args, words: &[&str]) -> Result<ProcessSource> {
        process(args, &words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn a_command_or_a_file_but_not_both() {
        let file = || Args { process: Some("/p.json".into()), tty: true, ..Args::default() };
        assert!(matches!(read(file(), &[]), Ok(ProcessSource::File(_))));
        assert!(read(file(), &["ls"]).is_err());
        assert!(read(Args::default(), &[]).is_err());
        assert!(read(Args::default(), &["--"]).is_err());
        for words in [&["ls", "-l", "--"][..], &["--", "ls", "-l", "--"]] {
            let Ok(ProcessSource::Changed(changes)) = read(Args::default(), words) else { panic!("{words:?}") };
            assert_eq!(changes.args, ["ls", "-l", "--"]);
        }
    }

    #[test]
    fn a_user_is_numbers() {
        let read = |text: &str| User::from_text(text.as_ref()).ok();
        assert_eq!(read("1"), Some(User(1, None)));
        assert_eq!(read("1:2"), Some(User(1, Some(2))));
        for text in ["", "root", "1:", ":1", "-1", "1:2:3"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
