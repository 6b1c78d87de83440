//! `myrt completion`: what a shell needs to complete myrt's commands and flags.

use std::ffi::OsString;

use clap_complete::Shell;

use super::output;
use crate::cli::values::FromText;
use crate::cli::{Command, Group, Parsed, clap_command};
use crate::error::{Error, Result};

/// The row.
pub const COMMAND: Command = Command {
    name: "completion",
    group: Group::Host,
    about: "Print a shell's completion script",
    words: "SHELL",
    details: "
SHELL is bash, zsh or fish.

Examples:
  myrt completion bash > /usr/share/bash-completion/completions/myrt
  myrt completion zsh > /usr/share/zsh/vendor-completions/_myrt
  myrt completion fish > ~/.config/fish/completions/myrt.fish",
    flags: &[],
    run: |_, parsed| run(&parsed),
};

crate::choices! { Shell { "bash" => Self::Bash, "zsh" => Self::Zsh, "fish" => Self::Fish } }

fn run(parsed: &Parsed) -> Result<u8> {
    let word = parsed.words.first().map_or("".as_ref(), OsString::as_os_str);
    let shell = Shell::from_text(word).map_err(|why| Error::new(format!("completion: SHELL {word:?}: {why}")))?;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut clap_command(super::ALL), "myrt", &mut script);
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(0)
}
