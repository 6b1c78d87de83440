//! `myrt completion`: what a shell needs to complete myrt's commands and flags.

use std::ffi::OsString;

use super::output;
use crate::cli::completion::{Shell, script};
use crate::cli::values::FromText;
use crate::cli::{Command, Group, Parsed};
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

fn run(parsed: &Parsed) -> Result<u8> {
    let word = parsed.words.first().map_or("".as_ref(), OsString::as_os_str);
    let shell = Shell::from_text(word).map_err(|why| Error::new(format!("completion: SHELL {word:?}: {why}")))?;
    output::print(&script(shell, super::ALL))?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;
    use crate::cli::{Args, Global};
    use crate::commands::ALL;

    /// What a program says; nothing when it is not installed.
    fn output(words: &[&str]) -> Option<(bool, String)> {
        let output = Process::new(words[0]).args(&words[1..]).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        Some((output.status.success(), String::from_utf8(text).unwrap()))
    }

    /// What bash offers for the last word, after the way in which it completes files, if it does.
    fn offered(words: &[&str]) -> Vec<String> {
        const ASK: &str = r#"
            way=''
            compopt() { way="$*"; }
            command() { [[ $2 == --root ]] && echo "in$3"; [[ "$*" == "myrt "*"list -q" ]] && echo web db; }
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
            _myrt
            printf '%s\n' "$way" "${COMPREPLY[@]}"
        "#;
        let program = script(Shell::Bash, ALL) + ASK;
        let (done, text) = output(&[&["bash", "-u", "-c", &program, "bash", "myrt"], words].concat()).unwrap();
        assert!(done, "{words:?}: {text}");
        text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
    }

    #[test]
    fn scripts_name_every_command_and_flag() {
        for (shell, dashes) in [(Shell::Bash, "--"), (Shell::Zsh, "--"), (Shell::Fish, "-l ")] {
            let script = script(shell, ALL);
            for place in ["@TABLE@", "@COMMANDS@", "@VALUED@"] {
                assert!(!script.contains(place), "{shell:?} {place}");
            }
            for command in ALL {
                assert!(script.contains(command.name), "{shell:?} {}", command.name);
                for flag in command.flags.iter().chain(Global::FLAGS).filter(|flag| !flag.hidden()) {
                    let name = format!("{dashes}{}", flag.long());
                    assert!(script.contains(&name), "{shell:?} {} {name}", command.name);
                }
            }
        }
    }

    #[test]
    fn shells_can_read_their_scripts() {
        for (shell, name) in [(Shell::Bash, "bash"), (Shell::Zsh, "zsh"), (Shell::Fish, "fish")] {
            match output(&[name, "-n", "-c", &script(shell, ALL)]) {
                Some((done, text)) => assert!(done && text.is_empty(), "{name}: {text}"),
                None => assert_ne!(name, "bash", "bash is needed"),
            }
        }
    }

    #[test]
    fn bash_offers_commands_and_flags() {
        assert_eq!(offered(&["re"]), ["resume", "restore"]);
        assert_eq!(offered(&["--root", "/r", "--debug", "res"]), ["resume", "restore"]);
        assert_eq!(offered(&["--criu", "x", "li"]), ["list"]);
        assert_eq!(offered(&["--sys"]), ["--systemd-cgroup"]);
        assert_eq!(offered(&["help", "fea"]), ["features"]);
        assert_eq!(offered(&["delete", "-"]), ["--force", "--regex"]);
        assert_eq!(offered(&["delete", "web", "--f"]), ["--force"]);
        assert_eq!(offered(&["exec", "-t", "--cw"]), ["--cwd"]);
        let none: [&str; 0] = [];
        assert_eq!(offered(&["no-such-command", "-"]), none);
        assert_eq!(offered(&["delete", "--", "-"]), none);
    }

    #[test]
    fn bash_offers_the_values_of_flags() {
        assert_eq!(offered(&["list", "--format", ""]), ["table", "json"]);
        assert_eq!(offered(&["list", "-f", "j"]), ["json"]);
        assert_eq!(offered(&["list", "-format", "j"]), ["json"]);
        // As readline splits --format= and --format=j.
        assert_eq!(offered(&["list", "--format", "="]), ["table", "json"]);
        assert_eq!(offered(&["--log-format", "=", "j"]), ["json"]);
        assert_eq!(offered(&["run", "--bundle", ""]), ["-o dirnames"]);
        assert_eq!(offered(&["run", "--pid-file", "x"]), ["-o default"]);
        let none: [&str; 0] = [];
        assert_eq!(offered(&["exec", "--env", "A"]), none);
        assert_eq!(offered(&["exec", "--env", "A", "="]), none);
        assert_eq!(offered(&["exec", "--env", "A", "=", "w"]), none);
    }

    #[test]
    fn bash_offers_containers_and_folders() {
        assert_eq!(offered(&["kill", ""]), ["web", "db"]);
        assert_eq!(offered(&["--root", "/r", "kill", "--all", ""]), ["in/r", "web", "db"]);
        assert_eq!(offered(&["--root", "=", "/r", "kill", "in"]), ["in/r"]);
        assert_eq!(offered(&["exec", "--env", "A", "=", "B", "-u", "1", ":", "2", "w"]), ["web"]);
        assert_eq!(offered(&["run", ""]), ["-o dirnames"]);
        assert_eq!(offered(&["man", ""]), ["-o dirnames"]);
        let none: [&str; 0] = [];
        // The id of a new container, a signal, and what belongs to the program.
        for words in [&["create", ""][..], &["kill", "web", ""], &["exec", "web", ""], &["exec", "web", "ls", "-"]] {
            assert_eq!(offered(words), none, "{words:?}");
        }
    }
}
