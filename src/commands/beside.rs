//! Programs that stand beside this one: `myrt NAME …` becomes `myrt-NAME` with the same command line.
//!
//! What is no part of a container start lives there, since the kernel counts every page of a program's text that it maps.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::{man, output};
use crate::cli::completion::{self, Shell};
use crate::cli::values::FromText;
use crate::cli::{self, Command, Request};
use crate::error::{Error, Result};
use crate::sys::entry;
use crate::{log, trace};

/// Executes the program with this one's command line. Comes back only with the reason why not.
pub(super) fn become_program(name: &str) -> Error {
    execute(name, entry::exec_again)
}

/// Likewise, one that is going to enter a container.
pub(super) fn become_protected(name: &str) -> Error {
    execute(name, entry::exec_protected)
}

fn execute(name: &str, exec: fn(&OwnedFd) -> rustix::io::Errno) -> Error {
    match find(name) {
        Ok((path, file)) => Error::call(format!("execute {path:?}"), exec(&file)),
        Err(error) => error,
    }
}

/// What such a program does: the same command line, understood by its own commands once `row` is read as `myrt` reads it, which
/// does not always look at it first.
///
/// # Errors
/// Where a command fails.
pub(super) fn main(row: &'static Command, commands: &'static [Command], words: Vec<OsString>) -> Result<u8> {
    let (global, mut words) = cli::global(words.into_iter().skip(1))?;
    log::configure(global.log_settings())?;
    if words.first().is_some_and(|word| word == row.name) && !global.version && !global.help {
        match cli::command(std::slice::from_ref(row), &global, words)? {
            Request::Print(text) => return output::print(&text).map(|()| 0),
            Request::Run(_, parsed) => words = parsed.words,
        }
    }
    // `myrt help sandbox run` is `myrt sandbox help run`.
    if words.len() > 2 && words[0] == "help" && words[1] == row.name {
        words.remove(1);
    }
    if (words.is_empty() || words == ["help"]) && !global.version {
        return output::print(&cli::command_help(row)).map(|()| 0);
    }
    if tell(row, commands, &words)? {
        return Ok(0);
    }
    match cli::command(commands, &global, words)? {
        Request::Print(text) => output::print(&text).map(|()| 0),
        Request::Run(command, parsed) => {
            global.trace_file().map(trace::begin).transpose()?;
            (command.run)(&global, parsed)
        }
    }
}

/// What the scripts of `myrt completion`, and an installation, ask such a program for: its part of them, and its manual
/// pages. Gives whether that was asked.
fn tell(row: &Command, commands: &'static [Command], words: &[OsString]) -> Result<bool> {
    match words {
        [what, flag] if (what == "completion" || what == "man") && flag.as_encoded_bytes().starts_with(b"-") => {
            output::print(&usage(row, what == "man", flag)?)?;
        }
        [what, shell] if what == "completion" => {
            let shell = Shell::from_text(shell).map_err(|why| Error::new(format!("completion: {shell:?}: {why}")))?;
            output::print(&completion::below(shell, row.name, commands))?;
        }
        [what, folder] if what == "man" => man::write(Path::new(folder), commands)?,
        _ => return Ok(false),
    }
    Ok(true)
}

/// The help of these two, which have no row of their own.
fn usage(row: &Command, man: bool, flag: &OsStr) -> Result<String> {
    let (about, words) = match man {
        true => ("Write the manual pages of the commands below into a folder", "man DIR"),
        false => (
            "Print what a shell's completion script asks for; `myrt completion` prints that script",
            "completion SHELL",
        ),
    };
    let usage = format!("Usage: myrt {} {words}\n", row.name);
    match flag.to_str() {
        Some("--help" | "-help" | "-h") => Ok(format!("{about}\n\n{usage}")),
        _ => {
            Err(Error::new(format!("flag provided but not defined: {}", flag.display()))
                .hint(usage.trim_end().to_owned()))
        }
    }
}

/// Looks beside this program's file. When that was executed through a mount of its own (`sys::entry`), the kernel does not
/// know its path any more, and the name that it was called by has to do.
fn find(name: &str) -> Result<(PathBuf, OwnedFd)> {
    let by_kernel = std::fs::read_link("/proc/self/exe").ok();
    let by_name = called_as().and_then(|path| path.canonicalize().ok());
    let beside = |path: PathBuf| path.with_file_name(name);
    let mut places: Vec<PathBuf> = by_kernel.into_iter().chain(by_name).map(beside).collect();
    places.dedup();
    for path in &places {
        if let Ok(file) = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
            return Ok((path.clone(), file));
        }
    }
    Err(Error::new(format!("there is no {name} beside this program (looked for {places:?})"))
        .hint(format!("install {name} where myrt is: it is built along with it")))
}

/// The path of this program as its caller named it: with a slash as it is, otherwise by PATH.
fn called_as() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let line = std::fs::read("/proc/self/cmdline").ok()?;
    let name = PathBuf::from(std::ffi::OsStr::from_bytes(line.split(|byte| *byte == 0).next()?));
    if name.components().count() > 1 || name.is_absolute() {
        return Some(name);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file())
}
