//! `image run`: an image becomes a container in one go, and nothing stays.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::make::{Layout, Pack, Place, Tar};
use crate::unpack::busybox;
use crate::util::tty::Terminal;
use crate::util::{TestCommand, runtime, until};

/// `myrt image run` with a state root, a folder for bundles and these words.
fn run<'a>(place: &Place, words: impl IntoIterator<Item = &'a str>) -> TestCommand {
    fs::create_dir_all(place.path("bundles")).unwrap();
    TestCommand::new([runtime(), "--root".to_owned(), place.text("state"), "image".to_owned(), "run".to_owned()])
        .args(words)
        .env("TMPDIR", place.text("bundles"))
        .cwd(&place.0)
}

/// An image with busybox, whose command is this script.
fn image(place: &Place, script: &str) {
    let mut layout = Layout::new(&place.path("oci"));
    let config = json!({ "Entrypoint": ["/bin/sh", "-c"], "Cmd": [script] });
    layout.image("latest", &config, &[(busybox(place), Pack::Gzip)]);
}

#[track_caller]
fn nothing_is_left(place: &Place) {
    assert_eq!(fs::read_dir(place.path("bundles")).unwrap().count(), 0);
    let list =
        TestCommand::new([runtime(), "--root".to_owned(), place.text("state"), "list".to_owned(), "-q".to_owned()]);
    list.run().ok().stdout("");
}

#[test]
fn it_runs_and_takes_everything_away() {
    let place = Place::new("run");
    image(&place, "echo image; exit 7");
    run(&place, ["oci:oci"]).run().code(7).stdout("image");
    nothing_is_left(&place);
    run(&place, ["--name", "mine", "oci:oci", "echo --tty; hostname; cat"])
        .stdin("in")
        .run()
        .ok()
        .stdout("--tty\ncontainer\nin");
    nothing_is_left(&place);
    run(&place, ["oci:oci", "sh -c 'kill -9 $$'; exit $?"]).run().code(137);
    run(&place, ["oci:oci:none"]).run().fails().err_has("none");
    run(&place, ["--max-entries", "3", "oci:oci"]).run().code(1).err_has("--max-entries");
    run(&place, ["--name", "a/b", "oci:oci"]).run().fails().err_has("a/b");
    nothing_is_left(&place);
    let hostile = Place::new("run-hostile");
    Layout::of(&hostile, &[Tar::default().folder("d").file("../x", "")]);
    run(&hostile, ["oci:oci"]).run().code(1).err_has("has .. in it");
    nothing_is_left(&hostile);
}

#[test]
fn a_signal_ends_it_and_takes_everything_away() {
    let place = Place::new("run-signal");
    image(&place, "trap 'echo ended; exit 3' TERM; echo ready; while :; do sleep 1000 & wait $!; done");
    let mut running = run(&place, ["oci:oci"]).spawn();
    running.until_stdout("ready");
    running.signal(Signal::TERM);
    running.wait().code(3).stdout("ready\nended");
    nothing_is_left(&place);
}

#[test]
fn a_signal_while_it_unpacks_takes_everything_away() {
    let place = Place::new("run-early");
    image(&place, "echo started");
    // The archive never ends.
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let running = run(&place, ["-"]).spawn_on(reader.into());
    rustix::io::write(&writer, &Tar::default().file("x", "y").0).unwrap();
    let children = format!("/proc/{0}/task/{0}/children", running.pid());
    until("it begins to unpack", || fs::read_to_string(&children).ok().filter(|children| !children.is_empty()));
    running.signal(Signal::TERM);
    running.wait().code(128 + 15);
    nothing_is_left(&place);
}

#[test]
fn on_a_terminal_it_has_one() {
    let place = Place::new("run-tty");
    image(&place, "tty; echo $TERM");
    let (mut terminal, slave) = Terminal::open();
    let stream = || slave.try_clone().unwrap().into();
    let running = run(&place, ["oci:oci"]).spawn_with(stream(), stream(), stream(), None);
    terminal.until_seen("/dev/pts/0");
    terminal.until_seen("xterm");
    running.wait().ok();
    nothing_is_left(&place);
}
