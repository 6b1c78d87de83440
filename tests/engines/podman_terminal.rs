//! Podman: terminals of run, exec and attach.

use std::process::Stdio;

use crate::podman::machine;
use crate::util::tty::Terminal;
use crate::util::{TestCommand, until};

/// Types `line` again and again until `answer` is seen: a program that has just been asked to may not read yet.
fn ask(terminal: &mut Terminal, line: &str, answer: &str) {
    terminal.type_in(line);
    terminal.until_seen(answer);
}

#[test]
fn run_on_a_terminal_has_its_size_follows_it_and_ends_with_the_exit_code() {
    let (mut terminal, run) = machine().on_terminal(["run", "-it", "--rm", "--network", "none", "box", "sh"]);
    ask(&mut terminal, "echo a$((1+1))b\n", "a2b");
    ask(&mut terminal, "tty\n", "/dev/pts/0");
    ask(&mut terminal, "echo [$(stty size)]\n", "[24 80]");
    terminal.resize(33, 101);
    let mut round = 0;
    until("the new size has arrived inside", || {
        round += 1;
        ask(&mut terminal, &format!("echo $(stty size) round-{round}-$((7*7))\n"), &format!("round-{round}-49"));
        terminal.seen().contains(&format!("33 101 round-{round}-49")).then_some(())
    });
    terminal.type_in("exit 42\n");
    run.wait().code(42);
}

#[test]
fn control_c_reaches_the_program_and_not_podman() {
    let script = "trap 'echo caught; exit 6' INT; echo waiting; while :; do sleep 0.05; done";
    let args = ["run", "-it", "--rm", "--network", "none", "box", "sh", "-c", script];
    let (mut terminal, run) = machine().on_terminal(args);
    terminal.until_seen("waiting");
    ask(&mut terminal, "\x03", "caught");
    run.wait().code(6);
}

#[test]
fn exec_on_a_terminal_is_one_of_its_own() {
    let _container = machine().start("exec-tty", &[], "sleep 1000");
    let (mut terminal, exec) = machine().on_terminal(["exec", "-it", "exec-tty", "sh"]);
    ask(&mut terminal, "tty\n", "/dev/pts/0");
    ask(&mut terminal, "echo [$(stty size)]\n", "[24 80]");
    ask(&mut terminal, "trap 'echo caught' INT; echo se''t\n", "set");
    ask(&mut terminal, "\x03", "caught");
    terminal.type_in("exit 43\n");
    exec.wait().code(43);
}

#[test]
fn a_container_is_left_by_the_detach_keys_and_attached_to_again() {
    let args = ["run", "-it", "--name", "attach", "--detach-keys", "ctrl-x", "--network", "none", "box", "sh"];
    let (mut terminal, run) = machine().on_terminal(args);
    ask(&mut terminal, "echo fir''st\n", "first");
    terminal.type_in("\x18");
    run.wait().ok();
    let (mut terminal, attach) = machine().on_terminal(["attach", "attach"]);
    // Whether attach listens yet cannot be seen: it shows nothing of what was there before.
    until("the shell answers", || {
        terminal.type_in("echo sec''ond\n");
        std::thread::sleep(std::time::Duration::from_millis(100));
        terminal.seen().contains("second").then_some(())
    });
    terminal.type_in("exit 44\n");
    attach.wait().ok();
    machine().podman(["wait", "attach"]).run().ok().stdout("44");
    machine().podman(["rm", "attach"]).run().ok();
}

#[test]
fn a_terminal_for_the_container_alone_makes_its_lines() {
    // -t without -i and without a terminal here: what a script does that wants coloured output.
    let command: TestCommand =
        machine().podman(["run", "-t", "--rm", "--network", "none", "box", "sh", "-c", "tty; [ -t 1 ]"]);
    let output = command.spawn_on(Stdio::null()).wait();
    output.ok().stdout("/dev/pts/0");
    assert!(output.out().ends_with("\r\n"), "{output}");
}
