//! Pseudo-terminals of a container: the console socket, a terminal in the foreground, sizes, ownership.

use std::fs::File;

use crate::util::command::{Running, TestCommand};
use crate::util::tty::{FdSocket, Terminal};
use crate::util::{Bundle, json, until};

/// A bundle that asks for a terminal.
fn bundle(name: &str, script: &str) -> Bundle {
    let bundle = Bundle::busybox(name);
    bundle.sh(script).config(|config| config["process"]["terminal"] = json!(true));
    bundle
}

/// Runs a command with all three streams on a terminal that also controls it.
fn on(slave: &File, command: TestCommand) -> Running {
    let end = || slave.try_clone().unwrap().into();
    command.by(["setsid", "--ctty", "--wait"]).spawn_with(end(), end(), end(), None)
}

#[test]
fn the_console_socket_receives_the_master() {
    let bundle = bundle("console", "tty; test -t 0 && test -t 1 && test -t 2 && echo three; read line; echo got $line");
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    let create = bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).spawn();
    let (_, mut fds) = listener.receive();
    assert_eq!(fds.len(), 1, "one descriptor comes");
    create.wait().ok();
    let mut terminal = Terminal::from(fds.remove(0));
    bundle.start().ok();
    terminal.until_seen("three");
    terminal.until_seen("/dev/pts/0");
    terminal.type_in("a line\n");
    terminal.until_seen("got a line");
    bundle.until_status("stopped");
}

#[test]
fn the_console_size_of_config_json_is_set() {
    let bundle = bundle("console_size", "stty size; read line");
    bundle.config(|config| config["process"]["consoleSize"] = json!({ "height": 41, "width": 123 }));
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    let create = bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).spawn();
    let mut terminal = Terminal::from(listener.receive().1.remove(0));
    create.wait().ok();
    assert_eq!(terminal.size(), (41, 123));
    bundle.start().ok();
    terminal.until_seen("41 123");
    terminal.type_in("\n");
}

#[test]
fn the_terminal_controls_its_session() {
    let bundle = bundle(
        "controlling",
        "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 1000 & wait $!; done",
    );
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    let create = bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).spawn();
    let mut terminal = Terminal::from(listener.receive().1.remove(0));
    create.wait().ok();
    bundle.start().ok();
    terminal.until_seen("ready");
    // What Ctrl-C types becomes a signal only on a controlling terminal.
    terminal.type_in("\x03");
    terminal.until_seen("interrupted");
    bundle.until_status("stopped");
}

#[test]
fn dev_console_is_the_terminal_of_the_containers_own_devpts() {
    let bundle = bundle("dev_console", "stat -c '%F %t' /dev/console; ls /dev/pts; read line");
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    let create = bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).spawn();
    let mut terminal = Terminal::from(listener.receive().1.remove(0));
    create.wait().ok();
    bundle.start().ok();
    // 0x88 is the major number of pseudo-terminals.
    terminal.until_seen("character special file 88");
    terminal.until_seen("ptmx");
    terminal.until_seen("0");
    terminal.type_in("\n");
}

#[test]
fn the_terminal_belongs_to_the_containers_user() {
    let bundle = bundle("tty_owner", "stat -c 'owner %u' $(readlink /proc/self/fd/0); read line");
    bundle.config(|config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 }));
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    let create = bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).spawn();
    let mut terminal = Terminal::from(listener.receive().1.remove(0));
    create.wait().ok();
    bundle.start().ok();
    terminal.until_seen("owner 1000");
    terminal.type_in("\n");
}

#[test]
fn a_console_socket_without_a_terminal_is_refused_and_the_other_way_round() {
    let bundle = Bundle::busybox("console_mismatch");
    let socket = bundle.outside("console.sock");
    let _listener = FdSocket::listen(&socket);
    bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).run().fails().err_has("console");
    bundle.config(|config| config["process"]["terminal"] = json!(true));
    bundle.create().fails().err_has("console");
    bundle.create_command_with(["--console-socket", "/no/such/socket"]).run().fails();
    bundle.assert_clean();
}

#[test]
fn in_the_foreground_input_output_and_exit_code_pass() {
    let bundle = bundle("foreground", "tty; read line; echo \"got $line\"; exit 5");
    let (mut terminal, slave) = Terminal::open();
    let run = on(&slave, bundle.run_command());
    terminal.until_seen("/dev/pts/0");
    terminal.type_in("a line\n");
    terminal.until_seen("got a line");
    run.wait().code(5);
    bundle.assert_clean();
}

#[test]
fn in_the_foreground_a_resize_is_passed_on() {
    let script = "echo first $(stty size); while :; do echo now $(stty size); read -t 1 line && exit 0; done";
    let bundle = bundle("resize", script);
    let (mut terminal, slave) = Terminal::open();
    terminal.resize(30, 100);
    let run = on(&slave, bundle.run_command());
    terminal.until_seen("first 30 100");
    terminal.resize(44, 111);
    terminal.until_seen("now 44 111");
    terminal.type_in("end\n");
    run.wait().ok();
}

#[test]
fn in_the_foreground_ctrl_c_reaches_the_program() {
    let bundle =
        bundle("ctrl_c", "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 1000 & wait $!; done");
    let (mut terminal, slave) = Terminal::open();
    let run = on(&slave, bundle.run_command());
    terminal.until_seen("ready");
    terminal.type_in("\x03");
    terminal.until_seen("interrupted");
    run.wait().code(9);
}

#[test]
fn the_callers_terminal_is_as_before_afterwards() {
    let bundle = bundle("restored", "stty -echo; echo bye");
    let (mut terminal, slave) = Terminal::open();
    let modes = |slave: &File| {
        let modes = rustix::termios::tcgetattr(slave).unwrap();
        (modes.input_modes, modes.output_modes, modes.local_modes)
    };
    let before = modes(&slave);
    let run = on(&slave, bundle.run_command());
    terminal.until_seen("bye");
    run.wait().ok();
    until("the modes are restored", || (modes(&slave) == before).then_some(()));
}

#[test]
fn a_terminal_without_one_on_stdin_still_runs() {
    let bundle = bundle("no_tty", "echo to the pipe; exit 4");
    let output = bundle.run();
    // A runtime may refuse a terminal without one, but then in words and with nothing left.
    if output.exit_code() == 4 {
        output.out_has("to the pipe");
    } else {
        output.fails();
        assert!(!output.err().is_empty());
    }
    bundle.assert_clean();
}
