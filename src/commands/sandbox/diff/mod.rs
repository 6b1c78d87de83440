//! `myrt sandbox diff`: what a box changed, for people and for programs, and whether that was expected.

mod json;
mod listing;
mod paint;
mod patch;
mod tree;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

pub(super) use self::listing::count;

pub(super) use self::json::lossless;
use self::json::{Document, Report};
use self::paint::{Color, Paint};
use self::tree::tree;
use super::store;
use crate::bail;
use crate::cli::{Args as _, Command, Global, Group, Parsed};
use crate::commands::{Format, output};
use crate::error::{Context, Result};
use crate::sandbox::changes::{Change, Changes};
use crate::sandbox::commit;
use crate::sandbox::expect::{self, Expectation, Verdict};
use crate::sandbox::{self, BoxName, Pattern};

crate::args! {
    /// Flags of `sandbox diff`.
    pub struct Args {
        /// Show folders as a tree, which a terminal gets anyway; those with very much in them are counted
        tree: bool = "--tree",
        /// Show a line for each path, which a file or a pipe gets anyway
        list: bool = "--list",
        /// Show what differs in texts and links, as a patch
        content: bool = "--content -c",
        /// Show all of a tree; the other forms leave nothing out anyway
        all: bool = "--all -a",
        /// auto (default), always or never
        color: Option<Color> = "--color WHEN",
        /// Compare with this list, and exit with 4 where it differs
        expect: Option<PathBuf> = "--expect FILE",
        /// Write such a list
        record: Option<PathBuf> = "--record FILE",
        /// table (default) or json
        format: Option<Format> = "--format -f FORMAT",
        /// Where boxes are kept
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The exit code where a box is not as expected.
const DIFFERENT: u8 = 4;

/// How many lines of a tree a person reads.
const LINES: usize = 200;

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox diff",
    group: Group::Sandbox,
    about: "Show what a box changed",
    words: "NAME [PATTERN...]",
    details: "
Everything that differs from the host as it is now, or what a PATTERN means: a path, absolute or
from the current folder, in which * stands for any letters but /, ? for one, and a name ** for any
number of names; it means all below as well. A added, M modified (with what differs: content, mode,
owner, xattr, times), D deleted, R renamed, T another kind of file. Bytes that a terminal should not
see are written as \\xNN. Colours are left out where NO_COLOR is set.

With --content each path is followed by what differs: texts and links as a patch for
`patch -p1 -d /` or `git apply`, binary files by their sizes. Text with bytes that a terminal should
not see has | before each line, and is no patch.

A list for --expect has lines such as `A file /usr/bin/hello`, `M content /etc/passwd`, `AM /var/**`
and `?D /tmp/x` (need not happen); # begins a comment. --record writes one. Times and sizes do not
count. The exit code is 0 where all is as expected, and 4 where it is not: then it is shown what is
missing and what was not expected. With a PATTERN, lines about other paths need not be met.

The JSON has one object: `changes`, each with path, change, what, before and after, and `summary`.
A path that is not UTF-8 has its bytes in `pathHex` as well. docs/diff.md describes both forms.

Examples:
  sudo myrt sandbox diff try
  sudo myrt sandbox diff try /etc '/usr/**/*.so'
  sudo myrt sandbox diff try --content >try.patch
  sudo myrt sandbox diff --format json try | jq -r '.changes[].path'
  sudo myrt sandbox diff try --record expected.txt
  sudo myrt sandbox diff try --expect expected.txt",
    flags: Args::FLAGS,
    run,
};

fn run(_: &Global, parsed: Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    if args.tree && args.list {
        bail!("--tree and --list contradict each other");
    }
    if args.content && args.tree {
        bail!("--content is a list for people and for patch(1): no --tree");
    }
    let forms = [(args.tree, "--tree"), (args.list, "--list"), (args.content, "--content")];
    if let Some((_, form)) = forms.into_iter().find(|(asked, _)| *asked && args.format == Some(Format::Json)) {
        bail!("{form} is a form for people: --format json has one of its own, with all of it");
    }
    let Some((name, patterns)) = parsed.words.split_first() else { bail!("diff: the name of a box is expected") };
    let name = BoxName::new(&name.to_string_lossy())?;
    let patterns = patterns.iter().map(|pattern| Pattern::typed(pattern)).collect::<Result<Vec<_>>>()?;
    // A list that cannot be read is no reason to wait.
    let expectation = args.expect.as_deref().map(Expectation::read).transpose()?.map(|list| list.within(&patterns));
    let held = store(args.store.clone())?.hold(&name)?;
    // Half of it may be the host's already.
    commit::require_finished(&held)?;
    super::warn_of_unmounted(&held)?;
    let changes = Changes::of(&held)?;
    let selected = sandbox::select(&held, &changes.all, &patterns)?;
    if expectation.is_none() && args.record.is_none() {
        return show(&args, &name, &changes, &changes.told(&selected)?).map(|()| 0);
    }
    let chosen = chosen(&changes.all, &selected);
    if let Some(file) = &args.record {
        record(file, &chosen)?;
    }
    match expectation {
        Some(expectation) => judge(&args, &name, &expectation.compare(&chosen), &chosen),
        None if args.format == Some(Format::Json) => {
            show(&args, &name, &changes, &changes.told(&selected)?).map(|()| 0)
        }
        None => Ok(0),
    }
}

fn chosen(changes: &[Change], selected: &BTreeSet<usize>) -> Vec<Change> {
    selected.iter().map(|place| changes[*place].clone()).collect()
}

fn show(args: &Args, name: &BoxName, all: &Changes, changes: &[Change]) -> Result<()> {
    if args.format.unwrap_or_default() == Format::Json {
        return output::json(&Document::of(name.as_str(), changes));
    }
    let stdout = rustix::stdio::stdout();
    let paint = Paint::on(stdout, args.color.unwrap_or_default());
    if args.content {
        return patch::print(all, changes, paint);
    }
    let as_tree = args.tree || !args.list && rustix::termios::isatty(stdout);
    let lines = if args.all { usize::MAX } else { LINES };
    output::print(&if as_tree { tree(changes, lines, paint) } else { listing::list(changes, paint) })
}

fn record(file: &Path, changes: &[Change]) -> Result<()> {
    std::fs::write(file, expect::record(changes)).context(|| format!("write {file:?}"))?;
    output::note(&format!("myrt: {} noted in {file:?}\n", count(changes)));
    Ok(())
}

fn judge(args: &Args, name: &BoxName, verdict: &Verdict<'_>, changes: &[Change]) -> Result<u8> {
    let code = if verdict.is_same() { 0 } else { DIFFERENT };
    if args.format.unwrap_or_default() == Format::Json {
        return output::json(&Report::of(name.as_str(), verdict, changes)).map(|()| code);
    }
    let paint = Paint::on(rustix::stdio::stdout(), args.color.unwrap_or_default());
    let missing = verdict.missing.iter().map(|(number, line)| {
        let line = format!("missing     {}", crate::sandbox::text::shown_line(line.as_bytes()));
        format!("{}  (line {number})\n", paint.letter('D', &line))
    });
    let unexpected = verdict.unexpected.iter().map(|place| {
        let line = expect::line(&changes[*place]).unwrap_or_default();
        paint.letter('A', &format!("unexpected  {line}")) + "\n"
    });
    let lines: String = missing.chain(unexpected).collect();
    let last = match code {
        0 => format!("as expected: {}\n", count(changes)),
        _ => format!("{} missing, {} unexpected\n", verdict.missing.len(), verdict.unexpected.len()),
    };
    output::print(&(lines + &last)).map(|()| code)
}

/// A tree for somebody who is asked about it, of so many lines.
pub(super) fn glance(changes: &[Change], lines: usize) -> String {
    tree(changes, lines, Paint::on(rustix::stdio::stderr(), Color::Auto))
}
