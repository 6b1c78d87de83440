//! Who calls a runtime with what: the table of contracts, held against what the engines were seen to call.
//!
//! It looks at the calls below `MYRT_CALLS`, so it comes after the other tests of this suite, which write them down:
//! `scripts/test.sh engines` runs both. A row that nobody called fails, for then no test stands behind it; a call that
//! is in no row is printed, for then the table is behind its time.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::PathBuf;

use crate::calls;

/// Who calls, and the rows of the table that are theirs.
struct Caller {
    name: &'static str,
    /// What the tests call it, by [`calls::wrapper`].
    wrappers: &'static [&'static str],
    /// One shape a line, as [`shape`] writes them. Each is called by one of the wrappers.
    rows: &'static str,
    /// Shapes that Debian's engines cannot be brought to call here, each with the reason behind a colon.
    absent: &'static str,
}

const CALLERS: &[Caller] = &[
    Caller {
        name: "containerd's shim",
        wrappers: &["docker", "containerd", "cri", "cri-handler", "swarm"],
        rows: "
            --log --log-format=json --root create --bundle --pid-file ID
            --log --log-format=json --root create --bundle --console-socket --pid-file ID
            --log --log-format=json --root create --bundle --no-pivot --pid-file ID
            --log --log-format=json --root create --bundle --no-new-keyring --pid-file ID
            --log --log-format=json --root --systemd-cgroup create --bundle --pid-file ID
            --log --log-format=json --root start ID
            --log --log-format=json --root exec --detach --pid-file --process ID
            --log --log-format=json --root exec --console-socket --detach --pid-file --process ID
            --log --log-format=json --root kill ID N
            --log --log-format=json --root kill --all ID N
            --log --log-format=json --root delete ID
            --log --log-format=json --root delete --force ID
            --log --log-format=json --root pause ID
            --log --log-format=json --root resume ID
            --log --log-format=json --root update --resources=- ID
            --log --log-format=json --root ps --format=json ID
            --log --log-format=json --root checkpoint --image-path --leave-running --work-path ID",
        absent: "
            features: containerd asks from 1.7 on, Kubernetes by it; tests/formats.rs looks at the answer
            --log --log-format=json --root restore -no-subreaper ID: there is no checkpoint to restore",
    },
    Caller {
        name: "dockerd",
        wrappers: &["docker"],
        rows: "
            --version",
        absent: "
            features: dockerd asks from 25 on; tests/formats.rs looks at the answer",
    },
    Caller {
        name: "BuildKit",
        wrappers: &["buildkit"],
        rows: "
            --log --log-format=json run --bundle ID
            --log --log-format=json kill ID N",
        absent: "
            run --bundle --keep ID: BuildKit from 0.11 on, dockerd 20.10 has 0.8; tests/run.rs has --keep
            state ID: as --keep
            exec --pid-file --process ID: only by frontends that are images themselves, which must be pulled
            delete ID: as --keep",
    },
    Caller {
        name: "Podman and conmon",
        wrappers: &["podman", "podman-rootless"],
        rows: "
            --log --log-format=json create --bundle --pid-file ID
            --log --log-format=json create --bundle --console-socket --pid-file ID
            --log --log-format=json create --bundle --pid-file --preserve-fds ID
            --cgroup-manager --log --log-format=json create --bundle --pid-file ID
            --log --log-format=json exec --detach --pid-file --process ID
            --log --log-format=json exec --console-socket --detach --pid-file --process --tty ID
            --log --log-format=json exec --detach --pid-file --preserve-fds --process ID
            create --bundle --pid-file ID
            start ID
            state ID
            kill ID N
            delete --force ID
            update --resources ID
            pause ID
            resume ID",
        absent: "
            --systemd-cgroup create --bundle --pid-file ID: where systemd runs; tests/cgroups_v2.rs has it in the machine
            checkpoint --help: Podman looks for CRIU before it asks the runtime",
    },
    Caller {
        name: "Buildah, for podman build",
        wrappers: &["podman", "podman-rootless"],
        rows: "
            create --bundle --no-new-keyring --pid-file ID
            start ID
            state ID
            delete ID",
        absent: "",
    },
    Caller {
        name: "CRI-O",
        wrappers: &["crio"],
        rows: "",
        absent: "
            --root start ID: Debian 12 has no package of CRI-O; the flags of all its rows are those of the shim's
            --root exec --process ID: as start
            --root kill ID SIGNAL: as start; tests/lifecycle.rs has signals by name
            --root delete --force ID: as start
            --root state ID: as start
            --root update --resources=- ID: as start",
    },
];

/// Flags that stand alone; all others take a value.
const ALONE: &[&str] = &[
    "--all",
    "--debug",
    "--detach",
    "--force",
    "--help",
    "--ignore-paused",
    "--keep",
    "--leave-running",
    "--no-new-keyring",
    "--no-pivot",
    "--no-subreaper",
    "--systemd-cgroup",
    "--tty",
    "--version",
];
/// Values that belong to the contract.
const TOLD: &[&str] = &["json", "-"];

/// The words of a line that bash's `${*@Q}` has written.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = None::<String>;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match char {
            '\'' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if !quoted => word.get_or_insert_default().extend(chars.next()),
            ' ' if !quoted => words.extend(word.take()),
            char => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

/// What a call looks like whatever its names and paths are: global flags, command, its flags, its operands. Flags are
/// sorted; of their values only those that belong to the contract are told.
fn shape(words: &[String]) -> String {
    let (mut flags, mut before) = (BTreeSet::new(), Vec::new());
    let (mut command, mut operands) = (None, Vec::new());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word.starts_with('-') && word != "-" {
            let (name, inline) = word.split_once('=').map_or((&**word, None), |(name, value)| (name, Some(value)));
            let alone = inline.is_none() && (ALONE.contains(&name) || !name.starts_with("--"));
            let value = if alone { None } else { inline.or_else(|| words.next().map(String::as_str)) };
            let told = value.filter(|value| TOLD.contains(value));
            flags.insert(told.map_or_else(|| name.to_owned(), |value| format!("{name}={value}")));
        } else if command.is_none() {
            command = Some(word.clone());
            before = std::mem::take(&mut flags).into_iter().collect();
        } else if word.parse::<u8>().is_ok() && !operands.is_empty() {
            operands.push("N");
        } else {
            operands.push(if operands.is_empty() { "ID" } else { "WORD" });
        }
    }
    let operands = operands.into_iter().map(str::to_owned);
    before.into_iter().chain(command).chain(flags).chain(operands).collect::<Vec<_>>().join(" ")
}

/// The trimmed lines of a table's cell.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Rows that nobody called, as `CALLER: SHAPE`.
fn uncalled(seen: &BTreeMap<(String, String), usize>) -> Vec<String> {
    let called = |caller: &Caller, row: &str| {
        caller.wrappers.iter().any(|wrapper| seen.contains_key(&((*wrapper).to_owned(), row.to_owned())))
    };
    let rows = CALLERS.iter().flat_map(|caller| lines(caller.rows).map(move |row| (caller, row)));
    rows.filter(|(caller, row)| !called(caller, row)).map(|(caller, row)| format!("{}: {row}", caller.name)).collect()
}

/// Calls that are in no row, as `WRAPPER: SHAPE`.
fn unknown(seen: &BTreeMap<(String, String), usize>) -> Vec<String> {
    let known = |wrapper: &str, shape: &str| {
        let mut callers = CALLERS.iter().filter(|caller| caller.wrappers.contains(&wrapper));
        callers.any(|caller| {
            let absent = lines(caller.absent).filter_map(|line| line.split_once(": ")).map(|(row, _)| row);
            lines(caller.rows).chain(absent).any(|row| row == shape)
        })
    };
    let unknown = seen.keys().filter(|(wrapper, shape)| !known(wrapper, shape));
    unknown.map(|(wrapper, shape)| format!("{wrapper}: {shape}")).collect()
}

fn count(calls: &[String]) -> BTreeMap<(String, String), usize> {
    let mut seen = BTreeMap::new();
    for (caller, line) in calls.iter().filter_map(|call| call.split_once('\t')) {
        *seen.entry((caller.to_owned(), shape(&words(line)))).or_default() += 1;
    }
    seen
}

#[test]
fn every_row_of_the_table_was_called() {
    let folder = std::env::var_os("MYRT_CALLS").map(PathBuf::from);
    let folder = folder.expect("MYRT_CALLS names no folder: `scripts/test.sh engines` runs the engines and then this");
    let seen = count(&calls::read(&folder));
    // Not by println: a test that passes says nothing.
    let mut report = std::io::stderr().lock();
    for call in unknown(&seen) {
        writeln!(report, "in no row of the contracts: {call}").unwrap();
    }
    for caller in CALLERS {
        for line in lines(caller.absent) {
            writeln!(report, "not to be had here: {}: {line}", caller.name).unwrap();
        }
    }
    let missing = uncalled(&seen);
    assert!(missing.is_empty(), "nobody called\n  {}", missing.join("\n  "));
}

#[test]
fn a_call_is_known_by_its_shape() {
    let shape = |line: &str| shape(&words(line));
    let shim = "'--root' '/r/n s' '--log' '/l' '--log-format' 'json' ";
    let create = shape(&format!("{shim}'create' '--pid-file' '/p' '--no-pivot' '--bundle' '/b' 'abc'"));
    assert_eq!(create, "--log --log-format=json --root create --bundle --no-pivot --pid-file ID");
    assert_eq!(shape("'kill' '--all' '12' '9'"), "kill --all ID N");
    assert_eq!(shape("'kill' 'it'\\''s' 'TERM'"), "kill ID WORD");
    assert_eq!(shape("'update' '--resources=-' 'x'"), shape("'update' '--resources' '-' 'x'"));
    assert_eq!(shape("'--version'"), "--version");
    assert_eq!(words("'it'\\''s' '' 'a b'"), ["it's", "", "a b"]);
}

#[test]
fn what_is_missing_and_what_is_too_much_is_found() {
    let mut calls: Vec<String> = Vec::new();
    for caller in CALLERS {
        for row in lines(caller.rows) {
            let words = row.split(' ').map(|word| if ALONE.contains(&word) { word.to_owned() } else { filled(word) });
            calls.push(format!("{}\t{}", caller.wrappers[0], words.collect::<Vec<_>>().join(" ")));
        }
    }
    let all = count(&calls);
    assert_eq!((uncalled(&all), unknown(&all)), (vec![], vec![]));
    let other = count(&["docker\t'start' 'x'".to_owned(), "stranger\t'--version'".to_owned()]);
    assert_eq!(unknown(&other), ["docker: start ID", "stranger: --version"]);
    calls.retain(|call| !call.contains("pause"));
    let missing = uncalled(&count(&calls));
    assert_eq!(missing, ["containerd's shim: --log --log-format=json --root pause ID", "Podman and conmon: pause ID"]);
}

/// A word of a row as a caller may have written it.
fn filled(word: &str) -> String {
    match word {
        "N" => "'15'".to_owned(),
        flag if flag.starts_with("--") && !flag.contains('=') => format!("'{flag}' '/path'"),
        other => format!("'{other}'"),
    }
}
