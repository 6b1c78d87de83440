//! Manual pages in roff (man(7)): one for the program and one for each command, made from the tables.

use super::help::sentence;
use super::{Args, Command, Flag, Global, Group};

/// The page myrt(1).
pub fn main_page(commands: &[Command]) -> String {
    let mut page = Page::new("myrt", "run OCI containers in milliseconds");
    page.section("SYNOPSIS");
    page.roff(r"\fBmyrt\fR [\fIFLAGS\fR] \fICOMMAND\fR ...");
    page.section("DESCRIPTION");
    page.text(
        "myrt makes containers out of bundles: folders with a config.json and a root filesystem, as the runtime \
         specification of the Open Container Initiative has them. Engines call it, and so can you.",
    );
    for (group, title) in Group::ALL {
        page.section(&title.to_uppercase());
        for command in commands.iter().filter(|command| command.group == group) {
            page.entry(&reference(command.name), command.about);
        }
    }
    page.options(Global::FLAGS);
    page.section("EXIT STATUS");
    page.text(
        "0 when it is done, 1 when it failed; the reason is on the standard error stream. `myrt run` and `myrt exec` \
         end as the program in the container did: with its exit code, or 128+n after signal n.",
    );
    page.files();
    page.section("SEE ALSO");
    let names: Vec<String> = commands.iter().map(|command| reference(command.name)).collect();
    page.roff(&names.join(",\n"));
    page.0
}

/// What the page of a command is called, without its section: `myrt-sandbox-run`.
pub fn file_name(command: &Command) -> String {
    format!("myrt-{}", command.name.replace(' ', "-"))
}

/// The page myrt-NAME(1).
pub fn command_page(command: &Command) -> String {
    let mut page = Page::new(&file_name(command), command.about);
    page.section("SYNOPSIS");
    let flags = if command.flags.is_empty() { "" } else { r" [\fIFLAGS\fR]" };
    page.roff(&format!(r"\fBmyrt {}\fR{flags} {}", escaped(command.name), escaped(command.words)));
    let start = command.details.find("\nExample").unwrap_or(command.details.len());
    let (rules, examples) = command.details.split_at(start);
    page.section("DESCRIPTION");
    page.text(&format!("{}.", command.about));
    page.paragraphs(rules.trim_start_matches('\n'));
    if !command.flags.is_empty() {
        page.options(command.flags);
    }
    if !examples.is_empty() {
        page.section("EXAMPLES");
        // Less the heading.
        page.paragraphs(examples.trim_start().split_once('\n').map_or("", |(_, lines)| lines));
    }
    page.section("EXIT STATUS");
    page.text("0 when it is done, 1 when it failed, unless the description says more.");
    page.files();
    page.section("SEE ALSO");
    page.roff(r"\fBmyrt\fR(1)");
    page.0
}

/// A page that grows.
struct Page(String);

impl Page {
    fn new(name: &str, about: &str) -> Self {
        let title = escaped(&name.to_uppercase());
        let mut page = Self(format!(".TH {title} 1 \"\" \"myrt {}\" \"\"\n", env!("CARGO_PKG_VERSION")));
        page.section("NAME");
        page.roff(&format!(r"{} \- {}", escaped(name), escaped(about)));
        page
    }

    /// A line that is roff already.
    fn roff(&mut self, line: &str) {
        self.0.push_str(line.trim_end());
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.0.push_str(&format!(".SH {title}\n"));
    }

    fn text(&mut self, line: &str) {
        self.roff(&escaped(line));
    }

    /// A term, as roff, and what it means.
    fn entry(&mut self, term: &str, meaning: &str) {
        self.roff(".TP");
        self.roff(term);
        self.text(meaning);
    }

    /// Text of a help: an empty line ends a paragraph, and lines that are indented stay as they are.
    fn paragraphs(&mut self, text: &str) {
        let (mut kept, mut gap) = (false, true);
        for line in text.trim_end().lines() {
            if line.is_empty() {
                gap = true;
                continue;
            }
            let keep = line.starts_with(' ');
            match (kept, keep) {
                (false, true) => self.roff(".RS 2\n.nf"),
                (true, false) => self.roff(".fi\n.RE\n.PP"),
                (false, false) if gap => self.roff(".PP"),
                _ => {}
            }
            self.text(line.trim_start());
            (kept, gap) = (keep, false);
        }
        if kept {
            self.roff(".fi\n.RE");
        }
    }

    fn options(&mut self, flags: &[Flag]) {
        self.section("OPTIONS");
        for flag in flags.iter().filter(|flag| !flag.hidden()) {
            let short = flag.short().map_or(String::new(), |letter| format!(r"\fB\-{letter}\fR, "));
            let value = flag.value_name().map_or(String::new(), |name| format!(r" \fI{}\fR", escaped(name)));
            self.entry(&format!(r"{short}\fB\-\-{}\fR{value}", escaped(flag.long())), sentence(flag.help));
        }
    }

    fn files(&mut self) {
        self.section("FILES");
        self.entry(r"\fIconfig.json\fR", "In a bundle: what its container is to be.");
        self.entry(r"\fI/run/myrt\fR", "A folder for each container; for an ordinary user $XDG_RUNTIME_DIR/myrt.");
    }
}

/// The name of a command's page.
fn reference(command: &str) -> String {
    format!(r"\fBmyrt\-{}\fR(1)", escaped(command))
}

/// Text that roff shows as it is, to be copied into a shell: no dash becomes a hyphen and no quote a curly one. A line
/// that begins with a dot would be a request.
fn escaped(text: &str) -> String {
    let mut roff = String::with_capacity(text.len() + 16);
    for (index, letter) in text.char_indices() {
        match letter {
            '\\' => roff.push_str(r"\e"),
            '-' => roff.push_str(r"\-"),
            '\'' => roff.push_str(r"\(aq"),
            '"' => roff.push_str(r"\(dq"),
            '`' => roff.push_str(r"\(ga"),
            '^' => roff.push_str(r"\(ha"),
            '~' => roff.push_str(r"\(ti"),
            '.' if index == 0 => roff.push_str(r"\&."),
            other => roff.push(other),
        }
    }
    roff
}
