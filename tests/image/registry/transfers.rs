//! Layers on their way: redirects, interruptions, registries in trouble, pulls that are taken up again.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::image;
use super::server::{Answer, Asked, Server, range};
use crate::make::{Layout, Pack, Place, Tar, digest, packed};
use crate::util::until;

/// A file that does not pack well.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(next).collect()
}

/// An image with one layer, given with its digest.
fn one_layer(place: &Place) -> (Vec<u8>, String) {
    let archive = Tar::default().file("noise", noise(1_000_000)).done();
    let mut layout = Layout::new(&place.path("oci"));
    layout.image("latest", &json!({ "Cmd": ["true"] }), &[(archive.clone(), Pack::Gzip)]);
    let layer = packed(&archive, Pack::Gzip);
    let digest = digest(&layer);
    (layer, digest)
}

#[track_caller]
fn has_noise(place: &Place) {
    assert!(fs::read(place.path("box/rootfs/noise")).unwrap() == noise(1_000_000));
}

#[test]
fn a_redirect_takes_no_credentials_to_another_host() {
    let place = Place::new("redirect");
    let (layer, digest) = one_layer(&place);
    let storage = Server::start(move |asked| range(asked, &layer).unwrap_or_else(|| Answer::ok(&layer)));
    let to = storage.url("/storage/blob?signature=private");
    let blob = format!("/v2/app/blobs/{digest}");
    let server = Server::of(&place, move |asked| match asked.header("authorization") {
        None if asked.path != "/v2/" => Some(Answer::challenge("Basic realm=\"x\"")),
        // First to another path of its own, then elsewhere.
        _ if asked.path == blob => Some(Answer::redirect("/v2/app/moved")),
        _ if asked.path == "/v2/app/moved" => Some(Answer::redirect(&to)),
        _ => None,
    });
    image(&place, &["unpack", "--creds", "myrt:secret", &server.image(), "box"]).run().ok();
    has_noise(&place);
    assert!(server.asked("moved")[0].header("authorization").is_some());
    let [asked] = &storage.asked("/storage/blob")[..] else { panic!("{:?}", storage.asked("")) };
    assert_eq!(asked.header("authorization"), None);
    assert_eq!(asked.path, "/storage/blob?signature=private");
}

#[test]
fn a_storage_that_asks_for_credentials_gets_none() {
    let place = Place::new("redirect-asks");
    one_layer(&place);
    let storage = Server::start(|_| Answer::challenge("Basic realm=\"give me\""));
    let to = storage.url("/x?signature=private");
    let server = Server::of(&place, move |asked| asked.path.contains("/blobs/").then(|| Answer::redirect(&to)));
    let output = image(&place, &["unpack", "--creds", "myrt:secret", &server.image(), "x"]).run();
    output.fails().err_has(&storage.url("/x: 401"));
    assert!(!output.err().contains("private"), "{output}");
    assert!(storage.asked("").iter().all(|asked| asked.header("authorization").is_none()));
}

#[test]
fn redirects_that_lead_astray_are_refused() {
    let place = Place::new("redirect-hostile");
    one_layer(&place);
    for (to, why) in [
        ("http://elsewhere.test/x", "plain http"),
        ("ftp://elsewhere.test/", "neither http nor https"),
        ("https://me:pw@elsewhere.test/", "a host alone"),
        ("http://[broken/", "not an address"),
        ("/v2/app/round", "redirects more than 5 times"),
    ] {
        let server = Server::of(&place, move |asked| {
            (asked.path.contains("/blobs/") || asked.path.contains("round")).then(|| Answer::redirect(to))
        });
        let output = image(&place, &["unpack", &server.image(), "x"]).run();
        output.fails().err_has(&server.url("/v2/app/")).err_has(why);
        assert!(server.asked("").len() < 10);
    }
    let server = Server::of(&place, |asked| asked.path.contains("/blobs/").then(|| Answer::new("302 Found", "")));
    image(&place, &["unpack", &server.image(), "x"]).run().fails().err_has("no Location");
    assert!(!place.path("x").exists());
}

/// A registry whose layer breaks off after so many bytes of each answer, with or without ranges.
fn cutting(place: &Place, ranges: bool, cut: impl Fn(usize) -> Option<usize> + Send + Sync + 'static) -> Server {
    let (layer, digest) = one_layer(place);
    let count = AtomicUsize::new(0);
    Server::of(place, move |asked| {
        if !asked.path.ends_with(&digest) {
            return None;
        }
        let answer = if ranges { range(asked, &layer) } else { None };
        let answer = answer.unwrap_or_else(|| Answer::ok(&layer));
        Some(match cut(count.fetch_add(1, Ordering::SeqCst)) {
            Some(at) => answer.cut(at),
            None => answer,
        })
    })
}

fn ranges(server: &Server) -> Vec<String> {
    let asked = server.asked("/blobs/").into_iter().filter_map(|asked| asked.header("range").map(str::to_owned));
    asked.collect()
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let place = Place::new("resume");
    let server = cutting(&place, true, |count| [Some(300_000), Some(200_000), None][count.min(2)]);
    image(&place, &["unpack", &server.image(), "box"]).run().ok();
    has_noise(&place);
    assert_eq!(ranges(&server), ["bytes=300000-", "bytes=500000-"]);
}

#[test]
fn a_registry_without_ranges_begins_again() {
    let place = Place::new("resume-whole");
    let server = cutting(&place, false, |count| [Some(300_000), Some(100), Some(500_000), None][count.min(3)]);
    image(&place, &["unpack", &server.image(), "box"]).run().ok();
    has_noise(&place);
}

#[test]
fn a_transfer_that_never_gets_far_ends() {
    let place = Place::new("resume-never");
    let server = cutting(&place, true, |_| Some(1));
    let output = image(&place, &["unpack", &server.image(), "x"]).run();
    output.fails().err_has(&server.url("/v2/app/blobs/sha256:")).err_has("again and again").err_has("image pull");
    assert_eq!(server.asked("/blobs/").len(), 6);
    assert!(!place.path("x").exists());
}

#[test]
fn a_range_that_was_not_asked_for_is_refused() {
    let place = Place::new("resume-other");
    let (layer, digest) = one_layer(&place);
    let server = Server::of(&place, move |asked| match asked.header("range") {
        Some(_) => Some(Answer::new("206 Partial Content", &layer[1..]).header("Content-Range", "bytes 1-2/3")),
        None => asked.path.ends_with(&digest).then(|| Answer::ok(&layer).cut(100_000)),
    });
    let output = image(&place, &["unpack", &server.image(), "x"]).run();
    output.fails().err_has("bytes 1-2/3").err_has("100000");
}

/// A registry that answers the first requests for each path in this way.
fn troubled(place: &Place, times: usize, answer: Answer) -> (Server, String) {
    let (_, digest) = one_layer(place);
    let count = Arc::new(AtomicUsize::new(0));
    let path = digest.clone();
    let server = Server::of(place, move |asked: &Asked| {
        let hit = asked.path.ends_with(&path) && count.fetch_add(1, Ordering::SeqCst) < times;
        hit.then(|| answer.clone())
    });
    (server, digest)
}

#[test]
fn trouble_that_passes_is_waited_for() {
    let place = Place::new("trouble");
    for (round, answer) in [
        Answer::new("503 Service Unavailable", ""),
        Answer::new("500 Internal Server Error", "{}"),
        Answer::new("429 Too Many Requests", "").header("Retry-After", "1"),
        Answer::raw(""),
        Answer::raw("HTTP/1.1 200"),
    ]
    .into_iter()
    .enumerate()
    {
        let _ = fs::remove_dir_all(place.path("oci"));
        let (server, digest) = troubled(&place, 2, answer);
        let output = image(&place, &["unpack", &server.image(), &format!("box{round}")]).run();
        output.ok();
        assert_eq!(server.asked(&digest).len(), 3, "{round}");
    }
}

#[test]
fn trouble_that_lasts_is_told() {
    let place = Place::new("trouble-lasts");
    let limited = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}"#;
    for (answer, times, why, remedy) in [
        (Answer::new("502 Bad Gateway", ""), 5, "502 Bad Gateway", "try again later"),
        (
            Answer::new("429 Too Many Requests", limited).header("Retry-After", "21600"),
            1,
            "reached your limit",
            "--creds",
        ),
        (Answer::new("404 Not Found", ""), 1, "404", "list-tags"),
        (Answer::new("418 I'm a teapot", ""), 1, "418", ""),
    ] {
        let _ = fs::remove_dir_all(place.path("oci"));
        let (server, digest) = troubled(&place, usize::MAX, answer);
        let output = image(&place, &["unpack", &server.image(), "x"]).run();
        output.fails().err_has(&server.url(&format!("/v2/app/blobs/{digest}"))).err_has(why).err_has(remedy);
        assert_eq!(server.asked(&digest).len(), times, "{output}");
    }
}

#[test]
fn nobody_there_is_told() {
    let place = Place::new("nobody");
    let output = image(&place, &["unpack", "docker://127.0.0.1:1/app", "x"]).run();
    output.fails().err_has("http://127.0.0.1:1/v2/app/manifests/latest: ").err_has("refused");
}

/// An image with three layers, and the digests of their blobs.
fn three_layers(place: &Place) -> Vec<String> {
    let mut layout = Layout::new(&place.path("oci"));
    let layer = |name: &str| (Tar::default().file(name, noise(50_000)).done(), Pack::Gzip);
    let layers = ["one", "two", "three"].map(layer);
    layout.image("latest", &json!({}), &layers);
    layers.iter().map(|(archive, pack)| digest(&packed(archive, *pack))).collect()
}

#[test]
fn a_pull_that_was_killed_brings_no_layer_twice() {
    let place = Place::new("pull-killed");
    let digests = three_layers(&place);
    // The last layer does not come while the first pull lives: its answer breaks off again and again.
    let (last, healthy) = (digests[2].clone(), Arc::new(AtomicUsize::new(0)));
    let heals = healthy.clone();
    let server = Server::of(&place, move |asked| {
        let sick = asked.path.ends_with(&last) && heals.load(Ordering::SeqCst) == 0;
        sick.then(|| Answer::new("503 Service Unavailable", "").header("Retry-After", "60"))
    });
    let store = place.text("store");
    let pull = || image(&place, &["pull", "--quiet", "--store", &store, "--name", "app", &server.image()]);
    let running = pull().spawn();
    until("two layers are in the store", || {
        let layers = fs::read_dir(place.path("store/layers")).ok()?.count();
        (layers == 2 && server.asked(&digests[2]).len() == 1).then_some(())
    });
    running.signal(Signal::KILL);
    running.wait();
    healthy.store(1, Ordering::SeqCst);
    pull().run().ok();
    let asked: Vec<usize> = digests.iter().map(|digest| server.asked(digest).len()).collect();
    assert_eq!(asked, [1, 1, 2]);
    let inspected: Value = image(&place, &["inspect", "--store", &store, "app"]).run().ok().json();
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 3);
}
