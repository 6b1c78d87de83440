//! `myrt man`: a manual page for the program and one for each command.

use std::ffi::OsString;
use std::path::Path;

use crate::cli::{Command, Group, Parsed, manual};
use crate::error::{Context, Result};

/// The row.
pub const COMMAND: Command = Command {
    name: "man",
    group: Group::Host,
    about: "Write the manual pages into a folder",
    words: "DIR",
    details: "
Pages of the commands below `image` and `sandbox` are written by `myrt image man DIR` and
`myrt sandbox man DIR`.

Example:
  sudo myrt man /usr/local/share/man/man1",
    flags: &[],
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let folder = Path::new(parsed.words.first().map_or("".as_ref(), OsString::as_os_str));
    write(folder, super::ALL)?;
    let file = folder.join("myrt.1");
    std::fs::write(&file, manual::main_page(super::ALL)).context(|| format!("write {file:?}"))?;
    Ok(0)
}

/// Writes the page of each command into a folder, which is made.
pub(super) fn write(folder: &Path, commands: &[Command]) -> Result<()> {
    std::fs::create_dir_all(folder).context(|| format!("make {folder:?}"))?;
    for command in commands {
        let file = folder.join(manual::file_name(command) + ".1");
        std::fs::write(&file, manual::command_page(command)).context(|| format!("write {file:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::process::Command as Process;

    use super::*;
    use crate::cli::{Args, Global};
    use crate::commands::ALL;

    fn pages() -> Vec<(&'static [crate::cli::Flag], String)> {
        let pages = ALL.iter().map(|command| (command.flags, manual::command_page(command)));
        pages.chain([(Global::FLAGS, manual::main_page(ALL))]).collect()
    }

    /// What a program prints of a file; nothing when it is not installed.
    fn printed(program: &[&str], file: &Path) -> Option<String> {
        let output = Process::new(program[0]).args(&program[1..]).arg(file).output().ok()?;
        Some(String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }

    fn folder(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("myrt-man-{name}-{}", std::process::id()))
    }

    #[test]
    fn pages_name_every_command_and_flag() {
        for (flags, page) in pages() {
            for flag in flags.iter().filter(|flag| !flag.hidden()) {
                let name = format!(r"\fB\-\-{}\fR", flag.long().replace('-', r"\-"));
                assert!(page.contains(&name), "{name}: {page}");
            }
            let known = [".TH ", ".SH ", ".TP", ".PP", ".RS 2", ".RE", ".nf", ".fi"];
            for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
                assert!(known.iter().any(|request| line.starts_with(request)), "no request: {line}");
            }
            let title = |title| page.find(&format!("\n.SH {title}\n")).unwrap_or_else(|| panic!("{title}: {page}"));
            let places = ["NAME", "SYNOPSIS", "DESCRIPTION", "EXIT STATUS", "FILES", "SEE ALSO"].map(title);
            assert!(places.is_sorted(), "{page}");
        }
        for command in ALL {
            assert!(manual::main_page(ALL).contains(&format!(r"myrt\-{}\fR(1)", command.name)), "{}", command.name);
        }
    }

    #[test]
    fn an_example_keeps_its_letters() {
        let row = Command {
            about: "Try it",
            details: "\n.hidden it's `a\\b` --c\n\nSecond.\n\nExample:\n  myrt x '^~' \"y\"\n  .z",
            words: "ID",
            ..COMMAND
        };
        let page = manual::command_page(&row);
        assert!(page.contains("\n\\&.hidden it\\(aqs \\(gaa\\eb\\(ga \\-\\-c\n.PP\nSecond.\n"), "{page}");
        let example = ".SH EXAMPLES\n.RS 2\n.nf\nmyrt x \\(aq\\(ha\\(ti\\(aq \\(dqy\\(dq\n\\&.z\n.fi\n.RE\n.SH";
        assert!(page.contains(example), "{page}");
        let file = folder("example");
        std::fs::write(&file, &page).unwrap();
        if let Some(text) = printed(&["groff", "-man", "-Tascii", "-P-cbou"], &file) {
            assert!(text.contains(".hidden it's `a\\b` --c"), "{text}");
            assert!(text.contains("myrt x '^~' \"y\"\n") && text.contains("  .z\n"), "{text}");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn formatters_find_no_fault() {
        let folder = folder("all");
        assert_eq!(run(&Parsed::read(&[], [folder.clone().into()], false).unwrap()).unwrap(), 0);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), ALL.len() + 1);
        for file in files {
            if let Some(faults) = printed(&["groff", "-man", "-Tutf8", "-ww", "-z"], &file) {
                assert_eq!(faults, "");
            }
            if let Some(text) = printed(&["mandoc", "-man", "-T", "lint", "-W", "warning"], &file) {
                // A page without a date is the same whenever it is made.
                let faults: Vec<_> = text.lines().filter(|line| !line.contains("missing date")).collect();
                assert!(faults.is_empty(), "{faults:?}");
            }
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
