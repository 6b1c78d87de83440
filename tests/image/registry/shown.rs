//! What a person sees while an image comes in.

use std::process::Stdio;

use serde_json::json;

use super::image;
use super::server::Server;
use crate::make::{Layout, Pack, Place, Tar};
use crate::util::tty::Terminal;

fn two_layers(place: &Place) -> Server {
    let mut layout = Layout::new(&place.path("oci"));
    let layer = |name: &str| (Tar::default().file(name, "x".repeat(3000)).done(), Pack::Plain);
    layout.image("latest", &json!({ "Cmd": ["true"] }), &[layer("one"), layer("two")]);
    layout.image("more", &json!({ "Cmd": ["true"] }), &[layer("one"), layer("three")]);
    Server::of(place, |_| None)
}

#[test]
fn elsewhere_than_on_a_terminal_each_layer_is_a_line() {
    let place = Place::new("lines");
    let server = two_layers(&place);
    let output = image(&place, &["unpack", &server.image(), "box"]).run();
    assert_eq!(output.ok().err(), "layer 1 of 2: 4.5 KiB\nlayer 2 of 2: 4.5 KiB\n");
    let output = image(&place, &["unpack", "--format", "json", &server.image(), "json"]).run();
    assert_eq!(output.ok().json()["layers"], 2);
    let output = image(&place, &["unpack", "--quiet", &server.image(), "quiet"]).run();
    assert_eq!((output.ok().err(), output.out()), (String::new(), String::new()));
    // A layer that is there already does not come in.
    let store = place.text("store");
    image(&place, &["pull", "--quiet", "--store", &store, &server.image()]).run().ok();
    let output = image(&place, &["pull", "--store", &store, "oci:oci:more"]).run();
    assert_eq!(output.ok().err(), "layer 1 of 1: 4.5 KiB\n");
}

#[test]
fn on_a_terminal_one_line_changes_and_makes_room() {
    let place = Place::new("bar");
    let server = two_layers(&place);
    let (mut terminal, other) = Terminal::open();
    let (out, kept) = (std::fs::File::create(place.path("out")).unwrap(), None);
    let command = image(&place, &["unpack", &server.image(), "box"]);
    command.spawn_with(Stdio::null(), out.into(), other.into(), kept).wait();
    let seen = terminal.seen().to_owned();
    assert!(
        seen.contains("\r[") && seen.contains(" of 9.0 KiB, ") && seen.contains(" 2 of 2 layers\x1b[K"),
        "{seen:?}"
    );
    // Wiped at the end, and never a second line.
    assert!(seen.ends_with("\r\x1b[K") && !seen.contains('\n'), "{seen:?}");
    assert!(std::fs::read_to_string(place.path("out")).unwrap().starts_with("box: 2 files"));
}
