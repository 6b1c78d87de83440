//! What a run is expected to change: a list that is kept beside a script and held against a box.
//!
//! A line is a letter, words, and a path: `A file /usr/bin/hello`. What is compared is what happened to a path, its kind
//! and its setuid bits where it is new, and which of content, mode, owner and attributes differ; times and sizes are another
//! matter every day. A renaming is what it is made of, a path that goes and another that comes: whether it can be told
//! depends on the filesystem.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::changes::{Aspect, Change, Kind};
use super::pattern::Pattern;
use super::text;
use crate::bail;
use crate::error::{Context, Result};

/// The beginning of a list that is written.
const HEAD: &str = "\
# What a box is expected to change: `myrt sandbox diff BOX --expect THIS-FILE`.
# A letter (A added, M modified, D deleted, T another kind of file; several: any of them), ? before it where it need not
# happen; what the path is now or what of it differs, without which anything goes; the path. In it * stands for any
# letters of a name, ? for one, a name ** for any number of names, \\xNN for a byte.
";

/// A list.
#[derive(Debug)]
pub struct Expectation {
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    number: usize,
    /// As it stands in the file.
    text: String,
    /// Whether it must be met.
    required: bool,
    letters: String,
    /// Sorted; empty: anything goes.
    words: Vec<String>,
    path: Pattern,
}

/// What is not as expected.
#[derive(Debug)]
pub struct Verdict<'a> {
    /// Lines that no change meets: number and text.
    pub missing: Vec<(usize, &'a str)>,
    /// Changes that no line means, by their place.
    pub unexpected: Vec<usize>,
}

impl Verdict<'_> {
    /// Whether all is as expected.
    pub fn is_same(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty()
    }
}

/// The letter of what happened.
pub fn letter(kind: Kind) -> char {
    match kind {
        Kind::Added => 'A',
        Kind::Modified => 'M',
        Kind::Deleted => 'D',
        Kind::TypeChanged => 'T',
    }
}

/// What of a change counts, sorted. `None`: nothing of it does.
fn words(change: &Change) -> Option<Vec<String>> {
    let mut words: Vec<String> = match (change.kind, &change.after) {
        (Kind::Modified, _) => change.aspects.iter().filter_map(|aspect| aspect_word(*aspect)).collect(),
        (Kind::Added | Kind::TypeChanged, Some(after)) => {
            let mut words = vec![after.kind.word()];
            words.extend(change.rights());
            words.into_iter().map(str::to_owned).collect()
        }
        _ => return Some(Vec::new()),
    };
    words.sort_unstable();
    (!words.is_empty()).then_some(words)
}

fn aspect_word(aspect: Aspect) -> Option<String> {
    let word = match aspect {
        Aspect::Content => "content",
        Aspect::Mode => "mode",
        Aspect::Owner => "owner",
        Aspect::Xattr => "xattr",
        Aspect::Times => return None,
    };
    Some(word.to_owned())
}

/// Every word that a line may have.
const WORDS: [&str; 13] = [
    "content",
    "mode",
    "owner",
    "xattr",
    "file",
    "folder",
    "link",
    "fifo",
    "socket",
    "device",
    "setuid",
    "setgid",
    "capabilities",
];

/// Writes down what a box changed.
pub fn record(changes: &[Change]) -> String {
    let mut text = HEAD.to_owned();
    for change in changes {
        if let Some(line) = line(change) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text
}

/// The line of a change that means it alone. `None`: nothing of it counts.
pub fn line(change: &Change) -> Option<String> {
    let words = words(change)?.join(",");
    let mut line = String::from(letter(change.kind));
    if !words.is_empty() {
        let _ = write!(line, " {words}");
    }
    let literal = |letter| match letter {
        '*' => "\\x2a".to_owned(),
        '?' => "\\x3f".to_owned(),
        other => other.to_string(),
    };
    let mut path: String = text::shown(&change.path).chars().map(literal).collect();
    // A blank at the end of a line is easily lost.
    if path.ends_with(' ') {
        path.pop();
        path.push_str("\\x20");
    }
    let _ = write!(line, " {path}");
    Some(line)
}

impl Expectation {
    /// Reads a list.
    ///
    /// # Errors
    /// Names the file, and the line that means nothing.
    pub fn read(file: &Path) -> Result<Self> {
        let what = || format!("the expectation {file:?}");
        let content = std::fs::read_to_string(file).context(what)?;
        Self::parse(&content).context(what)
    }

    fn parse(content: &str) -> Result<Self> {
        let mut lines = Vec::new();
        for (index, text) in content.lines().enumerate() {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            lines.push(Line::parse(index + 1, text).context(|| format!("line {}", index + 1))?);
        }
        Ok(Self { lines })
    }

    /// What of it has to be met by changes that the patterns mean: lines whose paths all lie there. The others may be met.
    #[must_use]
    pub fn within(mut self, patterns: &[Pattern]) -> Self {
        for line in &mut self.lines {
            let start = line.path.start();
            line.required &= patterns.is_empty() || patterns.iter().any(|pattern| pattern.means(&start));
        }
        self
    }

    /// Holds it against what a box changed.
    pub fn compare(&self, changes: &[Change]) -> Verdict<'_> {
        let mut by_path: HashMap<PathBuf, Vec<usize>> = HashMap::new();
        let mut globs = Vec::new();
        for (place, line) in self.lines.iter().enumerate() {
            match line.path.literal() {
                Some(path) => by_path.entry(path).or_default().push(place),
                None => globs.push(place),
            }
        }
        let mut met = vec![false; self.lines.len()];
        let mut unexpected = Vec::new();
        for (place, change) in changes.iter().enumerate() {
            let Some(words) = words(change) else { continue };
            let own = by_path.get(&change.path).into_iter().flatten();
            let wide = globs.iter().filter(|line| self.lines[**line].path.fits(&change.path));
            let meant: Vec<usize> =
                own.chain(wide).copied().filter(|line| self.lines[*line].takes(letter(change.kind), &words)).collect();
            if meant.is_empty() {
                unexpected.push(place);
            }
            meant.into_iter().for_each(|line| met[line] = true);
        }
        let missing = self.lines.iter().zip(&met).filter(|(line, met)| line.required && !**met);
        Verdict { missing: missing.map(|(line, _)| (line.number, line.text.as_str())).collect(), unexpected }
    }
}

impl Line {
    fn parse(number: usize, text: &str) -> Result<Self> {
        let (required, rest) = match text.strip_prefix('?') {
            Some(rest) => (false, rest),
            None => (true, text),
        };
        let Some((letters, rest)) = rest.split_once(' ') else { bail!("a letter and a path are expected") };
        if letters.is_empty() || !letters.chars().all(|letter| "AMDT".contains(letter)) {
            bail!("{letters:?} is none of the letters A, M, D, T");
        }
        let rest = rest.trim_start();
        let (words, path) = match rest.split_once(' ') {
            Some((words, path)) if !rest.starts_with('/') => (words, path.trim_start()),
            _ => ("", rest),
        };
        if !path.starts_with('/') {
            bail!("the path {path:?} does not begin with /");
        }
        let mut words: Vec<String> = words.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        if let Some(unknown) = words.iter().find(|word| !WORDS.contains(&word.as_str())) {
            bail!("{unknown:?} is none of the words {}", WORDS.join(", "));
        }
        words.sort_unstable();
        let path = Pattern::new(Path::new(path));
        Ok(Self { number, text: text.to_owned(), required, letters: letters.to_owned(), words, path })
    }

    fn takes(&self, letter: char, words: &[String]) -> bool {
        self.letters.contains(letter) && (self.words.is_empty() || self.words == words)
    }
}

#[cfg(test)]
mod tests {
    use super::super::changes::{FileKind, Meta};
    use super::*;

    fn meta(kind: FileKind, mode: u32) -> Meta {
        Meta { kind, mode, uid: 0, gid: 0, size: 1, modified: (0, 0), target: None, device: None }
    }

    fn change(path: &str, kind: Kind, aspects: &[Aspect], mode: u32) -> Change {
        let (before, after) = match kind {
            Kind::Added => (None, Some(meta(FileKind::File, mode))),
            Kind::Deleted => (Some(meta(FileKind::File, mode)), None),
            _ => (Some(meta(FileKind::File, 0o644)), Some(meta(FileKind::File, mode))),
        };
        Change { aspects: aspects.to_vec(), ..Change::new(path.into(), kind, before, after) }
    }

    #[test]
    fn what_was_recorded_is_as_expected() {
        let changes = [
            change("/a b", Kind::Added, &[], 0o4755),
            change("/new\nline*", Kind::Deleted, &[], 0o644),
            change("/end ", Kind::Modified, &[Aspect::Content, Aspect::Mode, Aspect::Times], 0o600),
            change("/touched", Kind::Modified, &[Aspect::Times], 0o644),
        ];
        let text = record(&changes);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["A file,setuid /a b", "D /new\\x0aline\\x2a", "M content,mode /end\\x20"]);
        let expectation = Expectation::parse(&text).unwrap();
        assert!(expectation.compare(&changes).is_same());
        assert_eq!(expectation.compare(&changes[1..]).missing, [(5, "A file,setuid /a b")]);
    }

    #[test]
    fn lines_may_mean_many_or_need_not_happen() {
        let changes =
            [change("/log/a/b", Kind::Added, &[], 0o644), change("/x", Kind::Modified, &[Aspect::Mode], 0o600)];
        for (text, missing, unexpected) in [
            ("A /log/**\nM /x", vec![], vec![]),
            ("AM /**", vec![], vec![]),
            ("A /log/*\nM mode /x", vec![1], vec![0]),
            ("?D /gone\n# note\n\nA file /log/a/b\nM content /x", vec![5], vec![1]),
            ("", vec![], vec![0, 1]),
        ] {
            let expectation = Expectation::parse(text).unwrap();
            let verdict = expectation.compare(&changes);
            let lines: Vec<usize> = verdict.missing.iter().map(|(number, _)| *number).collect();
            assert_eq!((lines, &verdict.unexpected), (missing, &unexpected), "{text}");
        }
    }

    #[test]
    fn a_line_that_means_nothing_is_refused() {
        for text in ["A", "X /path", "A path", "M contents /path", " /path", "A file", "AX /p"] {
            let error = Expectation::parse(&format!("# head\n{text}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2: "), "{text}: {error}");
        }
    }
}
