//! What is told at the end of a run: what the program tried in vain, and what was not kept apart.

use std::os::unix::net::UnixListener;

use crate::place::Place;
use crate::util::{Value, json};

/// Runs a Python program in the box `b` with flags; gives its report and what was said on stderr.
#[track_caller]
fn report_of(place: &Place, flags: &[&str], program: &str) -> (Value, String) {
    let file = place.path("report.json");
    let words = [&["--name", "b", "--report", &file], flags, &["/usr/bin/python3", "-c", program]].concat();
    let run = place.sandbox("run", words).run();
    run.ok();
    (serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap(), run.err())
}

/// `call argument count` of each attempt.
fn denied(report: &Value) -> Vec<String> {
    let line = |one: &Value| {
        let argument = one["argument"].as_str().unwrap_or("-");
        format!("{} {argument} {}", one["call"].as_str().unwrap(), one["count"])
    };
    report["denied"].as_array().unwrap().iter().map(line).collect()
}

const ATTEMPTS: &str = r"
import ctypes, errno, os, socket, stat
libc = ctypes.CDLL(None, use_errno=True)
def tried(result): print(errno.errorcode.get(ctypes.get_errno()) if result else 'done')
for _ in range(3): tried(libc.mount(b'none', b'/mnt', b'tmpfs', 0, None))
tried(libc.umount2(b'/proc', 2))
tried(libc.sethostname(b'mine', 4))
for kind in stat.S_IFCHR, stat.S_IFIFO:
    try: os.mknod('node%d' % kind, kind | 0o600, os.makedev(1, 5) if kind == stat.S_IFCHR else 0)
    except OSError as e: print(errno.errorcode[e.errno])
os.unlink('node%d' % stat.S_IFIFO)
";

#[test]
fn what_a_program_tried_in_vain_is_told() {
    attempts_are_told(&Place::new());
}

#[test]
fn what_an_ordinary_users_program_tried_in_vain_is_told() {
    if let Some(place) = Place::ordinary() {
        attempts_are_told(&place);
    }
}

fn attempts_are_told(place: &Place) {
    let (report, said) = report_of(place, &[], ATTEMPTS);
    let wanted = [
        "mount /mnt 3".to_owned(),
        "umount2 /proc 1".to_owned(),
        "sethostname - 1".to_owned(),
        format!("mknodat node{} 1", 0o020000),
    ];
    assert_eq!(denied(&report), wanted);
    assert!(said.contains("myrt: denied: mount        /mnt      by python3, 3 times"), "{said}");
    assert!(said.contains("myrt: denied: sethostname            by python3"), "{said}");
    // The box remembers it.
    let list = place.sandbox("list", ["--format", "json"]).run().json();
    assert_eq!(list[0]["runs"][0]["report"], report);
    // One that does nothing of the kind says nothing.
    let (report, said) = report_of(place, &[], "print('fine')");
    assert_eq!((denied(&report).len(), said.as_str()), (0, ""));
    assert_eq!(report["network"], "none");
    let (_, said) = report_of(place, &["--quiet", "--net", "host"], ATTEMPTS);
    assert_eq!(said, "");
}

#[test]
fn what_is_answered_is_what_the_box_would_answer_unwatched() {
    let place = Place::new();
    // Refused by the profile, and by the kernel alone.
    for flags in [&[][..], &["--seccomp", "unconfined"]] {
        let words = [&["--name", "b"], flags, &["/usr/bin/python3", "-c", ATTEMPTS]].concat();
        let run = place.sandbox("run", words).run();
        // The fifo is made; nothing else is.
        run.ok().stdout(&["EPERM"; 6].join("\n"));
        run.err_has("myrt: denied: mount ");
    }
    // A profile with an errno of its own for the call keeps it.
    std::fs::write(
        place.host().join("profile"),
        json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
            {"names": ["mount"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOTTY},
            {"names": ["umount2"], "action": "SCMP_ACT_ERRNO"},
        ]})
        .to_string(),
    )
    .unwrap();
    let (report, _) = report_of(&place, &["--seccomp", "profile"], ATTEMPTS);
    assert_eq!(denied(&report)[0], "umount2 /proc 1");
}

#[test]
fn sockets_of_the_host_are_told_and_the_boxs_own_are_not() {
    sockets_are_told(&Place::new());
    if let Some(place) = Place::ordinary() {
        sockets_are_told(&place);
    }
}

fn sockets_are_told(place: &Place) {
    let (hidden, allowed) = (place.path("hidden"), place.path("allowed"));
    let listeners = [&hidden, &allowed].map(|path| UnixListener::bind(path).unwrap());
    for path in [&hidden, &allowed] {
        crate::util::command::set_mode(path, 0o666);
    }
    let program = format!(
        r"
import os, socket
def connect(path):
    s = socket.socket(socket.AF_UNIX)
    try: s.connect(path); print('connected')
    except OSError as e: print(e.errno)
connect({hidden:?}); connect({allowed:?}); connect('/nowhere/at/all'); connect('\0abstract')
own = socket.socket(socket.AF_UNIX); os.unlink({hidden:?}); own.bind({hidden:?}); own.listen(); connect({hidden:?})
t = socket.socket(); t.settimeout(1)
try: t.connect(('127.0.0.1', 9))
except OSError: pass
"
    );
    let (report, _) = report_of(place, &["--allow-socket", "allowed"], &program);
    assert_eq!(denied(&report), [format!("connect {hidden} 1")]);
    assert_eq!(report["sockets"], json!([allowed]));
    drop(listeners);
}

#[test]
fn what_is_shared_is_told() {
    let place = Place::new();
    let (report, said) = report_of(&place, &["--net", "host", "--write-through", "."], "pass");
    assert_eq!((&report["network"], &report["writtenThrough"]), (&json!("host"), &json!([place.host()])));
    let note = report["notes"][0].as_str().unwrap();
    assert!(note.starts_with("the network is the host's"), "{note}");
    assert!(said.contains(&format!("myrt: warning: {note}")), "{said}");
}

#[test]
fn names_that_a_program_chose_move_no_cursor() {
    let place = Place::new();
    let program = "import ctypes; libc = ctypes.CDLL(None); libc.prctl(15, b'\\x1b[2Jevil'); libc.umount2(b'/x\\x1b[31m\\n\\xff', 0)";
    let (report, said) = report_of(&place, &[], program);
    assert_eq!(report["denied"][0]["program"], "\\x1b[2Jevil");
    assert_eq!(report["denied"][0]["argument"], "/x\\x1b[31m\\x0a\\xff");
    assert!(!said.contains('\u{1b}'), "{said:?}");
}

/// Many threads and processes call at once, with signals in between; each gets its own answer.
const STORM: &str = r"
import ctypes, os, signal, socket, threading
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGALRM, lambda *_: None)
wrong = []
def work():
    for _ in range(200):
        # A signal may come first.
        while (result := libc.umount2(b'/storm', 0)) == -1 and ctypes.get_errno() == 4: pass
        if result != -1 or ctypes.get_errno() != 1: wrong.append(1)
        s = socket.socket(socket.AF_UNIX)
        try: s.connect('/nowhere')
        except FileNotFoundError: pass
        else: wrong.append(2)
        s.close()
def process():
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    threads = [threading.Thread(target=work) for _ in range(8)]
    [t.start() for t in threads]; [t.join() for t in threads]
    return len(wrong)
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0: os._exit(process())
    children.append(pid)
# Some are killed while they wait for an answer.
for _ in range(20):
    pid = os.fork()
    if pid == 0:
        while True: libc.umount2(b'/killed', 0)
    os.kill(pid, 9); os.waitpid(pid, 0)
print(sum(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children))
";

#[test]
fn many_at_once_get_their_answers() {
    storm(&Place::new());
    if let Some(place) = Place::ordinary() {
        storm(&place);
    }
}

fn storm(place: &Place) {
    place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", STORM]).run().ok().stdout("0");
    let report = &place.sandbox("list", ["--format", "json"]).run().json()[0]["runs"][0]["report"];
    let count = |path: &str| {
        let all = report["denied"].as_array().unwrap().iter();
        all.filter(|one| one["argument"] == path).map(|one| one["count"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(count("/storm"), 3 * 8 * 200);
}

#[test]
fn a_killed_runtime_leaves_nobody_waiting() {
    let place = Place::new();
    let program = "import ctypes, socket, time
libc = ctypes.CDLL(None); print('ready', flush=True)
while True: libc.umount2(b'/54324', 0)";
    let mut running = place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", program]).spawn();
    running.until_stdout("ready");
    running.signal(rustix::process::Signal::KILL);
    running.wait().code(137);
    crate::util::until("the program has ended", || {
        crate::util::TestCommand::new(["pgrep", "-f", "b'/54324'"]).run().out().is_empty().then_some(())
    });
    place.script("true").run().ok();
}

#[test]
fn a_report_that_cannot_be_written_is_refused_before_the_program_runs() {
    let place = Place::new();
    crate::util::TestCommand::new(["mkfifo", &place.path("fifo")]).run().ok();
    std::os::unix::fs::symlink("elsewhere", place.path("link")).unwrap();
    for (file, why) in [
        ("missing/report", "no such file or directory"),
        ("exec missing/report", "no such file or directory"),
        (".", "is a directory"),
        ("link", "it is a link"),
        ("/dev/null", "no regular file"),
        ("-", "the standard output is the program's"),
        // Nobody reads it: whoever opens it to write would wait.
        ("fifo", "no regular file"),
    ] {
        let run = place.sandbox("run", ["--report", file, "sh", "-c", "echo ran; echo x >made"]);
        run.by(["timeout", "-s", "KILL", "20"]).run().code(125).stdout("").err_has("--report").err_has(why);
        assert!(!place.store().exists());
    }
    assert!(!place.host().join("elsewhere").exists() && !place.host().join("-").exists());
}

#[test]
fn a_report_is_written_to_the_file_that_was_there_before_the_program() {
    let place = Place::new();
    for folder in ["shared/sub", "elsewhere"] {
        std::fs::create_dir_all(place.host().join(folder)).unwrap();
    }
    std::fs::write(place.path("shared/sub/report"), "older and longer ".repeat(1000)).unwrap();
    let script = "mv shared/sub shared/gone; ln -s ../elsewhere shared/sub; ls /proc/self/fd";
    let words = ["--write-through", "shared", "--report", "shared/sub/report", "sh", "-ec", script];
    // The program has the streams, and what ls itself opens.
    place.sandbox("run", words).run().ok().stdout("0\n1\n2\n3");
    assert_eq!(std::fs::read_dir(place.path("elsewhere")).unwrap().count(), 0);
    let report = std::fs::read_to_string(place.path("shared/gone/report")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&report).unwrap()["network"], "none");
}
