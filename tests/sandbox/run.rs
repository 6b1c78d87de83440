//! What a program in a box sees of its caller and leaves on the host.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use rustix::process::Signal;

use crate::place::Place;
use crate::util::tty::Terminal;
use crate::util::{TestCommand, until};

#[test]
fn what_a_program_changes_stays_in_the_box() {
    let place = Place::new();
    let host = place.host();
    std::fs::write(host.join("old"), "old").unwrap();
    std::fs::write(host.join("gone"), "gone").unwrap();
    let before = place.picture();
    place
        .script("echo new >new; echo more >>old; rm gone; mkdir d; ls; cat old")
        .run()
        .ok()
        .stdout("d\nnew\nold\noldmore");
    assert_eq!(place.picture(), before);
    // A later run goes on with it.
    place.script("ls; cat old").run().ok().stdout("d\nnew\nold\noldmore");
    assert_eq!(place.picture(), before);
}

#[test]
fn the_exit_code_is_the_programs() {
    let place = Place::new();
    place.script("exit 7").run().code(7);
    place.script("kill -TERM $$").run().code(143);
    place.sandbox("run", ["--name", "b", "no-such-program"]).run().code(127).err_has("executable file not found");
    place.sandbox("run", ["--name", "b", "./nowhere"]).run().code(127);
    std::fs::write(place.host().join("plain"), "x").unwrap();
    place.sandbox("run", ["--name", "b", "./plain"]).run().code(126);
    place.sandbox("run", ["--name", "b/c", "true"]).run().code(125);
    // A command line that cannot be understood is no program's failure either.
    place.sandbox("run", ["--nmae", "b", "true"]).run().code(125).err_has("--nmae");
    place.sandbox("run", ["--cpus", "many", "true"]).run().code(125).err_has("--cpus");
    place.sandbox("run", ["--name", "b"]).run().code(125).err_has("PROGRAM");
    place.sandbox("shell", ["--memory="]).run().code(125).err_has("--memory");
}

#[test]
fn a_shell_gets_arguments() {
    let place = Place::new();
    let shell = |words: &[&str]| place.sandbox("shell", [&["--name", "b"], words].concat());
    shell(&["--", "-c", "echo $0 $1; exit 3", "a", "b"]).env("SHELL", "/bin/sh").run().code(3).stdout("a b");
    shell(&[]).stdin("echo typed").env("SHELL", "/bin/sh").run().ok().stdout("typed");
}

#[test]
fn words_variables_and_folders_are_handed_on_byte_by_byte() {
    let place = Place::new();
    std::fs::create_dir(place.host().join(OsStr::from_bytes(b"f\xff"))).unwrap();
    std::fs::write(place.host().join(OsStr::from_bytes(b"f\xff/hidden\xfe")), "secret").unwrap();
    // The last word of the command line is the script's $0; sed writes its bytes as \NNN.
    let caller = r#"f=$(printf 'f\377'); w=$(printf 'w\376'); cd "$f"; V=$w exec "$@" "$w""#;
    let script = r#"echo "$0" "$V" | LC_ALL=C sed -n l; pwd | LC_ALL=C sed -n 's/.*\///; l'; echo new >"$0""#;
    let run = place.script(script).by(["sh", "-c", caller, "sh"]).run();
    run.ok().stdout("w\\376 w\\376$\nf\\377$");
    // Rules as well.
    let caller =
        r#"cd "$(printf 'f\377')"; exec "$@" --hide "$(printf 'hidden\376')" -- sh -c 'cat hidden*; ls | cat'"#;
    let run = place.sandbox("run", ["--name", "b"]).by(["sh", "-c", caller, "sh"]).run();
    run.ok().stdout("hidden\u{fffd}\nw\u{fffd}");
}

#[test]
fn a_root_that_may_trace_nobody_has_boxes() {
    // The program is forked twice then, and the first process keeps its rights until it is in its root.
    let place = Place::new();
    let by = ["setpriv", "--bounding-set", "-sys_ptrace"];
    std::fs::write(place.host().join("old"), "old").unwrap();
    let before = place.picture();
    let script =
        "grep -q '^CapEff:.0000000000000000' /proc/1/status; ! readlink /proc/1/root; cat old; echo new >old; exit 7";
    place.script(script).by(by).run().code(7).stdout("old");
    place.script("kill -TERM $$").by(by).run().code(143);
    place.sandbox("run", ["--name", "b", "no-such-program"]).by(by).run().code(127);
    for flags in [["--memory", "64m"], ["--net", "private"], ["--seccomp", "unconfined"]] {
        let words = ["--name", "b"].iter().chain(&flags).copied().chain(["cat", "old"]);
        place.sandbox("run", words).by(by).run().ok().stdout("new");
    }
    assert_eq!(place.picture(), before);
}

#[test]
fn streams_folder_environment_and_user_are_the_callers() {
    let place = Place::new();
    let command = |script: &str| {
        place
            .script(script)
            .env("GREETING", "hello  there")
            .by(["setpriv", "--groups", "7,4242", "--regid", "99", "--"])
    };
    command("cat; echo err >&2").stdin("in").run().ok().stdout("in").err_has("err");
    command("pwd").run().ok().stdout(place.host().to_str().unwrap());
    command("printf %s \"$GREETING\"; env | grep -c '^HOME=' || true").run().ok().out_has("hello  there");
    command("id -u; id -g; id -G").run().ok().stdout("0\n99\n99 7 4242");
    place.script("umask").by(["sh", "-c", "umask 027; exec \"$@\"", "sh"]).run().ok().stdout("0027");
    let hostname = TestCommand::new(["uname", "-n"]).run().out();
    place.script("uname -n").run().ok().stdout(&hostname);
}

#[test]
fn signals_do_to_the_program_what_they_do_to_the_callers_own() {
    let place = Place::new();
    let state = "grep -E '^Sig(Blk|Ign|Cgt)' /proc/self/status";
    let outside = TestCommand::new(["sh", "-c", state]).run().ok().out();
    place.script(state).run().ok().stdout(&outside);
    // nohup's way.
    let ignoring = format!("trap '' HUP PIPE; {state}");
    let outside = TestCommand::new(["sh", "-c", &ignoring]).run().ok().out();
    place.script(state).by(["sh", "-c", "trap '' HUP PIPE; exec \"$@\"", "sh"]).run().ok().stdout(&outside);
}

#[test]
fn all_processes_end_with_the_program() {
    let place = Place::new();
    let mark = place.path("mark");
    // The background process would write to the host's own folder through a pipe, if it lived.
    place.script(&format!("(setsid sleep 1000 </dev/null >/dev/null 2>&1 &); echo {mark}")).run().ok();
    let alive = TestCommand::new(["pgrep", "-f", "^sleep 1000$"]).run();
    let held = alive.lines().into_iter().any(|pid| {
        std::fs::read_to_string(format!("/proc/{pid}/mountinfo"))
            .is_ok_and(|table| table.contains(" / / ") && table.contains("overlay"))
    });
    assert!(!held, "a process of the box lives on: {alive}");
}

/// Sleeps until a signal ends it. No shell: dash may miss an interrupt right before it forks, in a box and outside.
const SLEEPER: &str = "import signal, time
signal.signal(signal.SIGINT, signal.SIG_DFL); print('ready', flush=True); time.sleep(1000)";

#[test]
fn a_signal_to_the_caller_reaches_the_program() {
    let place = Place::new();
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = place.script(script).spawn();
    running.until_stdout("ready");
    running.signal(Signal::TERM);
    running.wait().code(9).out_has("got it");
    // One without a handler ends it, as it would outside, though it is alone in its pid namespace.
    let mut running = place.python(SLEEPER).spawn();
    running.until_stdout("ready");
    running.signal(Signal::INT);
    running.wait().code(130);
}

#[test]
fn orphans_are_reaped_and_pid_one_is_not_the_program() {
    let place = Place::new();
    let script = "test $$ != 1; (sh -c 'exit 0' &); sleep 0.1; ps -o stat= -A | grep -c Z || true";
    place.script(script).run().ok().stdout("0");
}

#[test]
fn a_program_in_a_terminal_has_one_of_its_own() {
    let place = Place::new();
    let (mut terminal, slave) = Terminal::open();
    terminal.resize(33, 77);
    let command = place.sandbox(
        "run",
        ["--name", "b", "sh", "-c", "tty; stty size; echo x >/dev/tty; read line; echo got:$line; exit 5"],
    );
    let copy = || slave.try_clone().unwrap().into();
    let running = command.spawn_with(copy(), copy(), copy(), None);
    terminal.until_seen("/dev/pts/0");
    terminal.until_seen("33 77");
    terminal.type_in("word\n");
    terminal.until_seen("got:word");
    running.wait().code(5);
}

#[test]
fn an_interrupt_typed_in_a_terminal_reaches_the_program() {
    let place = Place::new();
    let (mut terminal, slave) = Terminal::open();
    let command = place.python(SLEEPER);
    let copy = || slave.try_clone().unwrap().into();
    let running = command.spawn_with(copy(), copy(), copy(), None);
    terminal.until_seen("ready");
    terminal.type_in("\x03");
    running.wait().code(130);
}

#[test]
fn the_network_is_none_or_the_hosts() {
    let place = Place::new();
    let host = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let script = "readlink /proc/self/ns/net; ls /sys/class/net";
    let alone = place.sandbox("run", ["--name", "b", "sh", "-c", script]).run();
    alone.ok().out_lacks(&host);
    assert_eq!(alone.lines()[1..], ["lo"]);
    let shared = place.sandbox("run", ["--name", "b", "--net", "host", "sh", "-c", script]).run();
    shared.ok().out_has(&host).err_has("the network is the host's");
    place.sandbox("run", ["--name", "b", "--net", "some", "true"]).run().fails().err_has("one of none, private, host");
}

#[test]
fn a_run_ends_as_it_should_though_nobody_reads_what_it_tells() {
    let place = Place::new();
    let closed = "exec 2> >(:); wait $!; exec \"$@\"";
    let run = place.sandbox("run", ["sh", "-c", "umount /proc; umount /proc; exit 7"]);
    run.by(["bash", "-c", closed, "bash"]).run().code(7);
    place.sandbox("list", ["-q"]).run().ok().stdout("");
}

#[test]
fn a_first_process_that_gives_up_says_why() {
    let place = Place::new();
    // It makes its namespaces while the runtime is at its plan.
    let strace = ["strace", "-f", "-o", "/dev/null", "-e", "trace=unshare", "-e", "inject=unshare:error=ENOSPC:when=1"];
    for _ in 0..5 {
        let run = place.sandbox("run", ["true"]).by(strace).run();
        run.code(125)
            .err_has("clone with new namespaces (ipc, uts, network, mount): no space left on device")
            .err_has("too many namespaces");
    }
    place.sandbox("list", ["-q"]).run().ok().stdout("");
}

#[test]
fn an_unnamed_box_is_kept_only_when_something_changed() {
    let place = Place::new();
    place.sandbox("run", ["true"]).run().ok();
    place.sandbox("list", ["-q"]).run().ok().stdout("");
    let kept = place.sandbox("run", ["sh", "-c", "echo >made; exit 3"]).run();
    kept.code(3).err_has("1 added, kept in the box box-");
    let name = place.sandbox("list", ["-q"]).run().ok().out().trim().to_owned();
    assert!(kept.err().contains(&name), "{kept}");
    place.sandbox("diff", [&name]).run().ok().out_has("A ").out_has("/host/made  1 B\n1 added");
    // One that could not be started leaves nothing.
    place.sandbox("run", ["no-such-program"]).run().code(127);
    place.sandbox("list", ["-q"]).run().ok().stdout(&name);
}

#[test]
fn an_unnamed_box_is_asked_about_in_a_terminal() {
    let place = Place::new();
    let (mut terminal, slave) = Terminal::open();
    let copy = || slave.try_clone().unwrap().into();
    let start = || place.sandbox("run", ["sh", "-c", "echo >made"]).spawn_with(copy(), copy(), copy(), None);
    let running = start();
    terminal.until_seen("[c/k/d/s]");
    terminal.type_in("s\n");
    terminal.until_seen("/host/made  1 B");
    terminal.type_in("d\n");
    running.wait().ok();
    place.sandbox("list", ["-q"]).run().ok().stdout("");
    let running = start();
    until("the second question", || (terminal.seen().matches("[c/k/d/s]").count() == 3).then_some(()));
    terminal.type_in("keep\n");
    running.wait().ok();
    place.sandbox("list", ["-q"]).run().ok().out_has("box-");
    assert!(!place.host().join("made").exists());
    let running = start();
    until("the fourth question", || (terminal.seen().matches("[c/k/d/s]").count() == 4).then_some(()));
    terminal.type_in("c\n");
    running.wait().ok();
    assert!(place.host().join("made").exists());
}

#[test]
fn a_signal_at_the_question_keeps_the_box_and_says_so() {
    let place = Place::new();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP, Signal::QUIT] {
        let (mut terminal, slave) = Terminal::open();
        let copy = || slave.try_clone().unwrap().into();
        let running = place.sandbox("run", ["sh", "-c", "echo >made"]).spawn_with(copy(), copy(), copy(), None);
        terminal.until_seen("[c/k/d/s]");
        running.signal(signal);
        terminal.until_seen("myrt: kept: `myrt sandbox diff ");
        running.wait().code(128 + signal.as_raw());
        let name = place.sandbox("list", ["-q"]).run().ok().out();
        place.sandbox("discard", [name.trim()]).run().ok();
    }
    // The terminal goes away.
    let (mut terminal, slave) = Terminal::open();
    let copy = || slave.try_clone().unwrap().into();
    let running = place.sandbox("run", ["sh", "-c", "echo >made; exit 3"]).spawn_with(copy(), copy(), copy(), None);
    terminal.until_seen("[c/k/d/s]");
    drop((terminal, slave));
    running.wait().code(3);
    place.sandbox("list", ["-q"]).run().ok().out_has("box-");
}

#[test]
fn what_a_message_quotes_is_no_program_that_is_missing() {
    let place = Place::new();
    place.sandbox("run", ["--seccomp", "./exec x", "true"]).run().code(125);
    place.sandbox("run", ["--allow-socket", "exec nosuch", "true"]).run().code(125);
    std::fs::write(place.path("exec y"), "").unwrap();
    for program in ["./none", "none", "./exec none"] {
        place.sandbox("run", [program]).run().code(127);
    }
    place.sandbox("run", ["./exec y"]).run().code(126);
    place.sandbox("run", ["/etc"]).run().code(126);
}
