//! Changes with what differs in them: for plain text a patch that `patch -p1` and `git apply` understand, for the rest words.
//!
//! What the box wrote is hostile. Text that a terminal would take for a command is shown with a mark before each line, and
//! is no patch: applied, it would write something else.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::listing;
use super::paint::Paint;
use crate::commands::output;
use crate::error::{Context, Result};
use crate::sandbox::changes::{Aspect, Change, Changes, Content, FileKind, Kind, Meta};
use crate::sandbox::lines::{Hunk, Mark, hunks};
use crate::sandbox::text;

/// How many lines stand around what differs.
const AROUND: usize = 3;

/// Prints them one after the other: nobody knows how much there is.
pub(super) fn print(all: &Changes, told: &[Change], paint: Paint) -> Result<()> {
    for change in told {
        for change in all.within(change)?.iter().chain([change]) {
            let text = one(all, change, paint).context(|| format!("{:?}", change.path))?;
            output::print(&text)?;
        }
    }
    output::print(&(listing::count(told) + "\n"))
}

fn one(all: &Changes, change: &Change, paint: Paint) -> Result<String> {
    let head = listing::line(change, &change.path, paint) + "\n";
    let old_path = change.from.as_ref().map_or(change.path.as_path(), |from| &from.path);
    let side = |path, meta, content| Side { path, meta, content };
    let sides =
        |(old, new)| (side(old_path, change.before.as_ref(), old), side(&change.path, change.after.as_ref(), new));
    let is_same = change.from.is_some() || change.kind == Kind::Modified;
    if is_same && !change.aspects.contains(&Aspect::Content) {
        let (old, new) = sides((Content::Other, Content::Other));
        return Ok(head + &renamed(&old, &new));
    }
    let (old, new) = sides(all.contents(change)?);
    Ok(head + &body(old, new, paint))
}

/// One side of a change.
struct Side<'a> {
    path: &'a Path,
    meta: Option<&'a Meta>,
    content: Content,
}

impl Side<'_> {
    /// The same path, without anything there.
    fn nothing(path: &Path) -> Side<'_> {
        Side { path, meta: None, content: Content::Nothing }
    }

    /// The bytes that are compared line by line. `None`: there are none that a person could read.
    fn text(&self) -> Option<&[u8]> {
        match &self.content {
            Content::Nothing => Some(&[]),
            Content::Text(bytes) | Content::Link(bytes) => Some(bytes),
            Content::Binary(_) | Content::Large(_) | Content::Other => None,
        }
    }

    fn is_plain(&self) -> bool {
        self.text().is_some_and(text::is_plain)
    }

    fn is_there(&self) -> bool {
        self.content != Content::Nothing
    }

    /// As git writes it: the kind, then permission bits.
    fn mode(&self) -> String {
        match self.meta {
            Some(meta) if meta.kind == FileKind::Link => "120000".to_owned(),
            meta => format!("100{:03o}", meta.map_or(0, |meta| meta.mode & 0o777)),
        }
    }

    /// Its size, where it is a file.
    fn size(&self) -> Option<String> {
        match &self.content {
            Content::Text(text) => Some(text::size(text.len() as u64)),
            Content::Binary(size) | Content::Large(size) => Some(text::size(*size)),
            Content::Nothing | Content::Link(_) | Content::Other => None,
        }
    }
}

fn body(old: Side<'_>, new: Side<'_>, paint: Paint) -> String {
    let kinds = (old.meta.map(|meta| meta.kind), new.meta.map(|meta| meta.kind));
    if let (Some(before), Some(after)) = kinds
        && (before != after || after == FileKind::Link)
    {
        // A patch knows no change of kind, and patch(1) refuses to change a link.
        let (old_path, new_path) = (old.path, new.path);
        return body(old, Side::nothing(old_path), paint) + &body(Side::nothing(new_path), new, paint);
    }
    if old.content == Content::Other || new.content == Content::Other {
        return String::new();
    }
    let (Some(before), Some(after)) = (old.text(), new.text()) else { return unreadable(&old, &new) };
    let hunks = hunks(before, after, AROUND);
    if !old.is_plain() || !new.is_plain() {
        return marked(&hunks, paint);
    }
    let head = header(&old, &new);
    if hunks.is_empty() {
        return head;
    }
    let name = |side: &Side<'_>, letter| if side.is_there() { name(letter, side.path) } else { "/dev/null".to_owned() };
    let names = format!("--- {}\n+++ {}\n", name(&old, "a/"), name(&new, "b/"));
    head + &names + &hunks.iter().map(|hunk| shown(hunk, paint)).collect::<String>()
}

fn unreadable(old: &Side<'_>, new: &Side<'_>) -> String {
    let large = [old, new].iter().any(|side| matches!(side.content, Content::Large(_)));
    let what = if large { "large" } else { "binary" };
    match (old.size(), new.size()) {
        (Some(before), Some(after)) => format!("{what} files differ ({before}, {after})\n"),
        (before, after) => format!("{what} file ({})\n", before.or(after).unwrap_or_default()),
    }
}

/// What a patch says of a file whose content is the same.
fn renamed(old: &Side<'_>, new: &Side<'_>) -> String {
    let has_content = new.meta.is_some_and(|meta| matches!(meta.kind, FileKind::File | FileKind::Link));
    if !has_content || (old.path, old.mode()) == (new.path, new.mode()) {
        return String::new();
    }
    header(old, new)
}

/// What git says before the lines.
fn header(old: &Side<'_>, new: &Side<'_>) -> String {
    let mut head = format!("diff --git {} {}\n", name("a/", old.path), name("b/", new.path));
    match (old.is_there(), new.is_there()) {
        (false, _) => head.push_str(&format!("new file mode {}\n{}", new.mode(), index(new, "0000000..e69de29"))),
        (_, false) => head.push_str(&format!("deleted file mode {}\n{}", old.mode(), index(old, "e69de29..0000000"))),
        _ if old.mode() != new.mode() => {
            head.push_str(&format!("old mode {}\nnew mode {}\n", old.mode(), new.mode()));
        }
        _ => {}
    }
    if old.path != new.path {
        head.push_str(&format!("rename from {}\nrename to {}\n", name("", old.path), name("", new.path)));
    }
    head
}

/// By the name that git has for nothing, patch(1) understands that an empty file comes or goes.
fn index(side: &Side<'_>, names: &str) -> String {
    if side.text() == Some(&[]) { format!("index {names}\n") } else { String::new() }
}

/// A path as patches write it: below the folder `letter`, in quotes where it holds a blank or something odd.
fn name(letter: &str, path: &Path) -> String {
    let path = path.strip_prefix("/").unwrap_or(path).as_os_str().as_bytes();
    let plain = text::shown(Path::new(std::ffi::OsStr::from_bytes(path)));
    if plain.as_bytes() == path && !plain.contains([' ', '"']) {
        return format!("{letter}{plain}");
    }
    let quoted = path.iter().map(|byte| match byte {
        b'"' | b'\\' => format!("\\{}", char::from(*byte)),
        b' '..=b'~' => char::from(*byte).to_string(),
        other => format!("\\{other:03o}"),
    });
    format!("\"{letter}{}\"", quoted.collect::<String>())
}

/// A hunk of plain text.
fn shown(hunk: &Hunk<'_>, paint: Paint) -> String {
    let lines = hunk.lines.iter().map(|(mark, line)| {
        let line = String::from_utf8_lossy(line);
        match line.strip_suffix('\n') {
            Some(line) => marked_line(*mark, line, paint),
            None => marked_line(*mark, &line, paint) + "\\ No newline at end of file\n",
        }
    });
    title(hunk) + &lines.collect::<String>()
}

/// Hunks of text that is not plain.
fn marked(hunks: &[Hunk<'_>], paint: Paint) -> String {
    let mut text = "| no plain text: bytes are written as \\xNN, and this is no patch\n".to_owned();
    for hunk in hunks {
        text.push_str(&format!("| {}", title(hunk)));
        for (mark, line) in &hunk.lines {
            let line = text::shown_line(line.strip_suffix(b"\n").unwrap_or(line));
            text.push_str(&format!("| {}", marked_line(*mark, &line, paint)));
        }
    }
    text
}

fn marked_line(mark: Mark, line: &str, paint: Paint) -> String {
    let text = match mark {
        Mark::Same => return format!(" {line}\n"),
        Mark::Removed => paint.letter('D', &format!("-{line}")),
        Mark::Added => paint.letter('A', &format!("+{line}")),
    };
    text + "\n"
}

fn title(hunk: &Hunk<'_>) -> String {
    // An empty part is named by the line before it, and one line by its number alone.
    let part = |range: &std::ops::Range<usize>| match range.len() {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        many => format!("{},{many}", range.start + 1),
    };
    format!("@@ -{} +{} @@\n", part(&hunk.old), part(&hunk.new))
}
