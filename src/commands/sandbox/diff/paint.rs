//! Colours, where somebody sees them.

use std::os::fd::AsFd;

/// Whether to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::commands::sandbox) enum Color {
    /// In a terminal that can.
    #[default]
    Auto,
    Always,
    Never,
}

crate::choices! { Color { "auto" => Self::Auto, "always" => Self::Always, "never" => Self::Never } }

/// How text looks where it goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint {
    coloured: bool,
    /// Whether letters beyond ASCII are understood.
    wide: bool,
}

impl Paint {
    /// For text that goes to `stream`.
    pub(super) fn on(stream: impl AsFd, color: Color) -> Self {
        let coloured = match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => {
                let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
                let dumb = set("TERM").is_none_or(|terminal| terminal == "dumb");
                rustix::termios::isatty(stream) && set("NO_COLOR").is_none() && !dumb
            }
        };
        Self { coloured, wide: is_utf8() }
    }

    /// Text in the colour of what happened.
    pub(super) fn letter(self, letter: char, text: &str) -> String {
        match letter {
            'A' => self.in_colour("32", text),
            'D' => self.in_colour("31", text),
            'R' => self.in_colour("36", text),
            'T' => self.in_colour("35", text),
            'M' => self.in_colour("33", text),
            _ => text.to_owned(),
        }
    }

    /// A folder of which nothing but what is in it has changed.
    pub(super) fn folder(self, text: &str) -> String {
        self.in_colour("1", text)
    }

    fn in_colour(self, code: &str, text: &str) -> String {
        if self.coloured { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Stands for what is not shown.
    pub(super) fn more(self) -> &'static str {
        if self.wide { "…" } else { "..." }
    }

    /// What stands before an entry, by whether it is the last one of its folder, and before what is in it.
    pub(super) fn branch(self, last: bool) -> (&'static str, &'static str) {
        match (self.wide, last) {
            (true, false) => ("├── ", "│   "),
            (true, true) => ("└── ", "    "),
            (false, false) => ("|-- ", "|   "),
            (false, true) => ("`-- ", "    "),
        }
    }
}

/// Whether the caller's locale says so, as setlocale(3) would read it.
fn is_utf8() -> bool {
    let value = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value).unwrap_or_default().to_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
