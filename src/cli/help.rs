//! Help and version texts, made from the tables.

use super::{Args, Command, Flag, Global, Group};

/// How wide a line of help may be.
const WIDTH: usize = 96;

/// What `--version` prints; Docker reads the first three lines.
pub fn version() -> String {
    format!("myrt version {}\ncommit: {}\nspec: 1.3.0\n", env!("CARGO_PKG_VERSION"), env!("MYRT_COMMIT"))
}

/// The help of the whole program.
pub fn main_help(commands: &[Command]) -> String {
    let mut text = "myrt runs OCI containers in milliseconds.\n\nUsage: myrt [FLAGS] COMMAND ...\n".to_owned();
    let left = commands.iter().map(|command| command.name.len()).max().unwrap_or_default();
    for (group, title) in Group::ALL {
        let rows = commands.iter().filter(|command| command.group == group);
        section(&mut text, title, rows.map(|command| (format!("{:left$}", command.name), command.about)).collect());
    }
    flags(&mut text, "Flags, before the command", Global::FLAGS);
    text.push_str(
        "\nExamples:\n  \
         myrt spec && sudo myrt run .            make a config.json here, and run it\n  \
         sudo myrt run rootfs-examples/hello     run a bundle under a name of its own\n  \
         sudo myrt exec web sh                   a shell beside what runs in `web`\n\n\
         `myrt COMMAND --help` tells more.\n",
    );
    text
}

/// The help of one command.
pub fn command_help(command: &Command) -> String {
    let between = if command.flags.is_empty() { "" } else { " [FLAGS]" };
    let words = if command.words.is_empty() { String::new() } else { format!(" {}", command.words) };
    let mut text = format!("{}\n\nUsage: myrt {}{between}{words}\n", command.about, command.name);
    flags(&mut text, "Flags", command.flags);
    if !command.details.is_empty() {
        text.push('\n');
        text.push_str(command.details.trim_matches('\n'));
        text.push('\n');
    }
    text
}

/// The help of a flag as one line, without the spaces that a doc comment begins its lines with.
pub(super) fn sentence(help: &str) -> &str {
    help.trim()
}

fn flags(text: &mut String, title: &str, flags: &'static [Flag]) {
    let listed = flags.iter().filter(|flag| !flag.hidden());
    let rows = listed.map(|flag| {
        let short = flag.short().map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = flag.value_name().map_or(String::new(), |name| format!(" {name}"));
        (format!("{short}--{}{value}", flag.long()), sentence(flag.help))
    });
    section(text, title, rows.collect());
}

/// A title and rows in two columns, the second one wrapped.
fn section(text: &mut String, title: &str, rows: Vec<(String, &str)>) {
    if rows.is_empty() {
        return;
    }
    text.push_str(&format!("\n{title}:\n"));
    let left = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    for (name, what) in rows {
        let mut line = format!("  {name:left$} ");
        for word in what.split_whitespace() {
            if line.chars().count() + word.chars().count() >= WIDTH {
                text.push_str(&line);
                text.push('\n');
                line = " ".repeat(left + 3);
            }
            line.push(' ');
            line.push_str(word);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
}
