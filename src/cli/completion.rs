//! Completion scripts for shells: a fixed script each, with the tables of the commands put in.
//!
//! Owns what a shell is told of the tables. How it completes is written in the three scripts beside this file.

use super::help::sentence;
use super::{Args, Command, Flag, Global};

/// A shell that can be taught.
#[allow(missing_docs, reason = "the names say it")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

crate::choices! { Shell { "bash" => Self::Bash, "zsh" => Self::Zsh, "fish" => Self::Fish } }

/// The script for a shell, ready to be saved where the shell looks for it.
pub fn script(shell: Shell, commands: &'static [Command]) -> String {
    match shell {
        Shell::Bash => bash(commands),
        Shell::Zsh => zsh(commands),
        Shell::Fish => fish(commands),
    }
}

/// Its part of the script for a command whose commands are another program's, such as `sandbox`; printed by that program,
/// asked for by the script when it is needed.
pub fn below(shell: Shell, name: &str, commands: &'static [Command]) -> String {
    match shell {
        Shell::Bash => bash_below(name, commands),
        Shell::Zsh => zsh_below(name, commands),
        Shell::Fish => fish_below(name, commands),
    }
}

/// The commands that have commands below them.
fn with_below(commands: &'static [Command]) -> impl Iterator<Item = &'static str> {
    commands.iter().filter(|command| command.words.starts_with("COMMAND")).map(|command| command.name)
}

/// The name of a command below another one, without that.
fn last_name(command: &Command) -> &'static str {
    command.name.rsplit(' ').next().unwrap_or_default()
}

/// What completes a value or a word.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// Nothing that a shell could know.
    Unknown,
    File,
    Dir,
    /// The id of a container that is there.
    Id,
    /// The name of a box that is there.
    Box,
    OneOf(&'static [&'static str]),
}

impl What {
    fn value(flag: &Flag) -> Self {
        match flag.value_name() {
            _ if !flag.choices.is_empty() => Self::OneOf(flag.choices),
            Some("FILE" | "SOCKET") => Self::File,
            Some("DIR") => Self::Dir,
            Some("NAME") if flag.long() == "name" => Self::Box,
            _ => Self::Unknown,
        }
    }

    /// The first word of a command.
    fn first(command: &Command) -> Self {
        match command.words.split([' ', '|']).next() {
            Some("BUNDLE" | "DIR") => Self::Dir,
            // What takes a bundle makes a container, and the id is a new one.
            Some("NAME") if command.name.starts_with("sandbox ") => Self::Box,
            Some("ID") if !command.flags.iter().any(|flag| flag.long() == "bundle") => Self::Id,
            _ => Self::Unknown,
        }
    }
}

/// A text as one word of a shell, in single quotes, with `quote` in place of each quote in it.
fn quoted(text: &str, quote: &str) -> String {
    format!("'{}'", text.replace('\'', quote))
}

fn bash(commands: &'static [Command]) -> String {
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    let names = names.join("|");
    let mut table = String::new();
    bash_row(&mut table, "''", Global::FLAGS, &format!("{names}|help"), false);
    bash_row(&mut table, "help", &[], &names, false);
    let nested: Vec<&str> = with_below(commands).collect();
    for command in commands.iter().filter(|command| !nested.contains(&command.name)) {
        let first = bash_what(What::first(command));
        bash_row(&mut table, command.name, command.flags, &first, command.hands_on());
    }
    for name in nested {
        table.push_str(&format!("    {name} | {name}\\ *) _myrt_below {name} \"$1\" ;;\n"));
    }
    include_str!("completion/myrt.bash").replace("@TABLE@\n", &table)
}

fn bash_below(name: &str, commands: &'static [Command]) -> String {
    let names: Vec<&str> = commands.iter().map(last_name).collect();
    let mut table = format!("    {name})\n        first='{}' below=1 ;;\n", names.join("|"));
    for command in commands {
        let (row, first) = (format!("'{}'", command.name), bash_what(What::first(command)));
        bash_row(&mut table, &row, command.flags, &first, command.hands_on());
    }
    format!("_myrt_table_{name}() {{\n    case $1 in\n{table}    *) return 1 ;;\n    esac\n}}\n")
}

fn bash_row(table: &mut String, name: &str, flags: &'static [Flag], first: &str, rest: bool) {
    let (mut offered, mut more) = (Vec::new(), Vec::new());
    for flag in flags {
        let value = if flag.takes_value { format!("={}", bash_what(What::value(flag))) } else { String::new() };
        let long = format!("--{}{value}", flag.long());
        if flag.hidden() {
            more.push(long)
        } else {
            offered.push(long)
        }
        more.extend(flag.short().map(|letter| format!("-{letter}{value}")));
    }
    table.push_str(&format!(
        "    {name})\n        flags='{}'\n        more='{}' first='{first}' rest='{}' ;;\n",
        offered.join(" "),
        more.join(" "),
        if rest { "1" } else { "" }
    ));
}

fn bash_what(what: What) -> String {
    match what {
        What::Unknown => String::new(),
        What::File => "FILE".to_owned(),
        What::Dir => "DIR".to_owned(),
        What::Id => "ID".to_owned(),
        What::Box => "BOX".to_owned(),
        What::OneOf(choices) => choices.join("|"),
    }
}

fn zsh(commands: &'static [Command]) -> String {
    let (mut names, mut table) = (String::new(), String::new());
    zsh_row(&mut table, "''", Global::FLAGS, &[]);
    for command in commands {
        zsh_command(&mut names, &mut table, command.name, command);
    }
    let nested: Vec<&str> = with_below(commands).collect();
    let script = include_str!("completion/myrt.zsh").replace("@BELOW@", &nested.join("|"));
    script.replace("@COMMANDS@\n", &names).replace("@TABLE@\n", &table)
}

fn zsh_below(name: &str, commands: &'static [Command]) -> String {
    let (mut names, mut table) = (String::new(), String::new());
    for command in commands {
        zsh_command(&mut names, &mut table, last_name(command), command);
    }
    format!(
        "_myrt_below_{name}() {{
    local -a flags commands=(
{names}    )
    if (( CURRENT == 2 )); then
        _describe command commands
        return
    fi
    shift words
    (( CURRENT-- ))
    case $words[1] in
{table}    *) return 1 ;;
    esac
    _arguments -s $flags
}}
"
    )
}

/// A command's name with what it does, and its row.
fn zsh_command(names: &mut String, table: &mut String, name: &str, command: &Command) {
    let row = format!("{name}:{}", command.about);
    names.push_str(&format!("        {}\n", quoted(&row, r"'\''")));
    let mut words = Vec::new();
    if command.hands_on() {
        // No flags after the first word.
        words.extend(["-A".to_owned(), "-*".to_owned()]);
    }
    if !command.words.is_empty() {
        words.push(format!(":{}:{}", zsh_text(command.words), zsh_what(What::first(command))));
    }
    zsh_row(table, name, command.flags, &words);
}

/// The specifications that `_arguments` takes (zshcompsys(1)).
fn zsh_row(table: &mut String, name: &str, flags: &'static [Flag], words: &[String]) {
    table.push_str(&format!("    {name})\n        flags=(\n"));
    for word in words {
        table.push_str(&format!("            {}\n", quoted(word, r"'\''")));
    }
    for flag in flags.iter().filter(|flag| !flag.hidden()) {
        let help = zsh_text(sentence(flag.help)).replace('[', r"\[").replace(']', r"\]");
        let value = flag
            .value_name()
            .map_or(String::new(), |name| format!(":{}:{}", zsh_text(name), zsh_what(What::value(flag))));
        let (plus, equals) = if flag.takes_value { ("+", "=") } else { ("", "") };
        let short = flag.short().map(|letter| format!("-{letter}{plus}"));
        for name in short.into_iter().chain([format!("--{}{equals}", flag.long())]) {
            // A list grows with each mention.
            table.push_str(&format!("            {}\n", quoted(&format!("*{name}[{help}]{value}"), r"'\''")));
        }
    }
    table.push_str("        ) ;;\n");
}

/// Text within a specification, whose parts are divided by colons.
fn zsh_text(text: &str) -> String {
    text.replace('\\', r"\\").replace(':', r"\:")
}

fn zsh_what(what: What) -> String {
    match what {
        What::Unknown => " ".to_owned(),
        What::File => "_files".to_owned(),
        What::Dir => "_files -/".to_owned(),
        What::Id => "_myrt_id".to_owned(),
        What::Box => "_myrt_box".to_owned(),
        What::OneOf(choices) => format!("({})", choices.join(" ")),
    }
}

fn fish(commands: &'static [Command]) -> String {
    let valued = Global::FLAGS.iter().filter(|flag| flag.takes_value);
    let valued: Vec<String> = valued.map(|flag| flag.long().to_owned()).collect();
    let mut table = String::new();
    fish_rows(&mut table, "''", Global::FLAGS);
    for command in commands {
        fish_command(&mut table, "''", command.name, command);
    }
    let nested: Vec<&str> = with_below(commands).collect();
    let script = include_str!("completion/myrt.fish").replace("@BELOW@", &nested.join(" "));
    script.replace("@VALUED@", &valued.join(" ")).replace("@TABLE@\n", &table)
}

fn fish_below(name: &str, commands: &'static [Command]) -> String {
    let mut table = String::new();
    for command in commands {
        fish_command(&mut table, name, last_name(command), command);
    }
    table
}

/// A command's name where `above` stands already, its first word, its flags.
fn fish_command(table: &mut String, above: &str, name: &str, command: &Command) {
    let about = quoted(command.about, r"\'");
    table.push_str(&format!("complete -c myrt -n \"__myrt_at {above}\" -a {name} -d {about}\n"));
    let place = format!("'{}'", command.name);
    if let Some(action) = fish_what(What::first(command)) {
        table.push_str(&format!("complete -c myrt -n \"__myrt_at {place}\" {action}\n"));
    }
    fish_rows(table, &place, command.flags);
}

fn fish_rows(table: &mut String, command: &str, flags: &'static [Flag]) {
    for flag in flags.iter().filter(|flag| !flag.hidden()) {
        let short = flag.short().map_or(String::new(), |letter| format!(" -s {letter}"));
        let value = match (flag.takes_value, fish_what(What::value(flag))) {
            (false, _) => String::new(),
            (true, None) => " -x".to_owned(),
            (true, Some(action)) => format!(" -r {action}"),
        };
        let help = quoted(&sentence(flag.help).replace('\\', r"\\"), r"\'");
        let name = flag.long();
        table.push_str(&format!("complete -c myrt -n \"__myrt_at {command}\" -l {name}{short}{value} -d {help}\n"));
    }
}

fn fish_what(what: What) -> Option<String> {
    Some(match what {
        What::Unknown => return None,
        What::File => "-F".to_owned(),
        What::Dir => "-f -a '(__fish_complete_directories)'".to_owned(),
        What::Id => "-f -a '(command myrt list -q 2>/dev/null)'".to_owned(),
        What::Box => "-f -a '(command myrt sandbox list -q 2>/dev/null)'".to_owned(),
        What::OneOf(choices) => format!("-f -a '{}'", choices.join(" ")),
    })
}
