//! `docker run -it` and `docker exec -it`, on a terminal of the test: what it shows, its size, Ctrl-C, the exit code.

use super::{Daemon, docker, sleeper};
use crate::util::TestCommand;
use crate::util::command::Running;
use crate::util::tty::Terminal;

/// Starts a client on a new terminal, which is its controlling one: the client hears of new sizes by SIGWINCH.
fn on_a_terminal(client: TestCommand) -> (Terminal, Running) {
    let (terminal, end) = Terminal::open();
    let ends = [end.try_clone().unwrap(), end.try_clone().unwrap(), end].map(Into::into);
    let [stdin, stdout, stderr] = ends;
    let client = client.env("TERM", "dumb").by(["setsid", "--ctty"]);
    let running = client.spawn_with(stdin, stdout, stderr, None);
    (terminal, running)
}

/// Says its terminal's name and size, and the size again whenever it changes; Ctrl-C ends it with 42.
const SCRIPT: &str = "trap 'echo interrupted; exit 42' INT; tty; echo ready; \
    while :; do now=$(stty size); [ \"$now\" = \"$last\" ] || echo \"size $now.\"; last=$now; usleep 20000; done";

#[track_caller]
fn resizes_and_is_interrupted(client: TestCommand) {
    let (mut terminal, client) = on_a_terminal(client);
    terminal.until_seen("/dev/pts/");
    terminal.until_seen("ready");
    terminal.until_seen("size 24 80.");
    terminal.resize(50, 132);
    terminal.until_seen("size 50 132.");
    terminal.type_in("\x03");
    terminal.until_seen("interrupted");
    client.wait().code(42);
}

#[test]
fn run_has_a_terminal_that_resizes_and_takes_ctrl_c() {
    resizes_and_is_interrupted(docker("run --rm -it box sh -c").arg(SCRIPT));
}

#[test]
fn exec_has_one_as_well() {
    let container = sleeper("");
    resizes_and_is_interrupted(docker("exec -it").args([&container.name, "sh", "-c", SCRIPT]));
    // The container itself was not interrupted.
    container.exec("true").run().ok();
}

#[test]
fn a_shell_reads_what_is_typed() {
    let (mut terminal, client) = on_a_terminal(docker("run --rm -it box"));
    terminal.until_seen("# ");
    terminal.type_in("echo $((6 * 7)); test -t 0 && test -t 1 && test -t 2 && echo all three\r");
    terminal.until_seen("42\r\n");
    terminal.until_seen("all three\r\n");
    terminal.type_in("exit 5\r");
    client.wait().code(5);
}

#[test]
fn a_terminal_is_left_and_found_again() {
    let container = Daemon::shared().container();
    let (mut terminal, client) = on_a_terminal(docker("run -it --name").args([&container.name, "box", "sh"]));
    terminal.until_seen("# ");
    // Docker's way out.
    terminal.type_in("\x10\x11");
    client.wait().ok();
    container.until_status("running");
    let (mut terminal, client) = on_a_terminal(container.is_told("attach"));
    terminal.type_in("echo $((40 + 4))\r");
    terminal.until_seen("44\r\n");
    terminal.type_in("exit 6\r");
    client.wait().code(6);
}

#[test]
fn a_detached_container_may_have_one() {
    let container = Daemon::shared().detached("-t", "tty; while :; do sleep 1; done");
    container.until_logs("/dev/pts/0");
    container.exec_sh("echo typed > /dev/pts/0").run().ok();
    container.until_logs("typed");
}
