//! A registry that lies: each answer is refused in a sentence that says where it came from.

use std::fs;

use serde_json::json;

use super::image;
use super::server::{Answer, Asked, Server};
use crate::make::{Layout, Place, Tar, digest};

/// Asserts that an image of a registry that answers so is refused, with these words.
#[track_caller]
fn refused(place: &Place, first: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static, words: &[&str]) {
    let server = Server::of(place, first);
    let output = image(place, &["unpack", &server.image(), "x"]).run();
    output.fails().err_has(&format!("127.0.0.1:{}", server.port));
    for word in words {
        output.err_has(word);
    }
    assert!(!output.err().contains(['\u{1b}', '\u{7}']), "{output}");
    assert_eq!(output.err().matches("myrt: ").count(), 1, "{output}");
    assert!(!place.path("x").exists());
}

/// An answer to every request for a path with this in it.
fn on(path: &'static str, answer: Answer) -> impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static {
    move |asked| asked.path.contains(path).then(|| answer.clone())
}

fn small(place: &Place) {
    Layout::of(place, &[Tar::default().file("one", "1")]);
}

#[test]
fn manifests_that_lie() {
    let place = Place::new("lies");
    small(&place);
    let manifests = "/manifests/";
    let large = vec![b' '; 5 << 20];
    refused(&place, on(manifests, Answer::ok(&large)), &["more than 4194304 bytes", "/v2/app/manifests/latest"]);
    refused(&place, on(manifests, Answer::ok(&large).without_length()), &["more than 4194304 bytes"]);
    let other = digest(b"other");
    let lies = Answer::ok("{}").header("Docker-Content-Digest", &other);
    refused(&place, on(manifests, lies), &["/v2/app/manifests/latest", &other, "do not use it"]);
    let garbage = Answer::ok("{}").header("Docker-Content-Digest", "sha256:../../x");
    refused(&place, on(manifests, garbage), &["hexadecimal digits"]);
    refused(&place, on(manifests, Answer::ok("no json \u{1b}[2J")), &["not a manifest"]);
    refused(&place, on(manifests, Answer::ok("")), &["not a manifest"]);
    let error = "{\"errors\":[{\"code\":\"\\u001b[2J\",\"message\":\"\\u0007\"}]}";
    refused(&place, on(manifests, Answer::new("403 Forbidden", error)), &["403 Forbidden"]);
    let page = Answer::ok("<html>a portal</html>").header("Content-Type", "text/html");
    refused(&place, on(manifests, page), &["not a manifest"]);
}

#[test]
fn a_digest_is_not_served_as_another_document() {
    let place = Place::new("lies-digest");
    small(&place);
    let server = Server::of(&place, |asked| {
        let path = asked.path.replace(&digest(b"wanted"), "latest");
        let content = fs::read("/dev/null").unwrap();
        (path != asked.path).then(|| Answer::ok(content).header("Docker-Content-Digest", digest(b"wanted")))
    });
    let source = format!("{}@{}", server.image(), digest(b"wanted"));
    let output = image(&place, &["unpack", &source, "x"]).run();
    output.fails().err_has("/v2/app/manifests/sha256:").err_has("its digest is").err_has("do not use it");
}

#[test]
fn layers_and_configurations_that_lie() {
    let place = Place::new("lies-layers");
    let layout = Layout::of(&place, &[Tar::default().file("one", "1")]);
    drop(layout);
    let index: serde_json::Value = serde_json::from_slice(&fs::read(place.path("oci/index.json")).unwrap()).unwrap();
    let blob = |digest: &serde_json::Value| {
        let path = place.path("oci/blobs").join(digest.as_str().unwrap().replace(':', "/"));
        fs::read(path).unwrap()
    };
    let manifest: serde_json::Value = serde_json::from_slice(&blob(&index["manifests"][0]["digest"])).unwrap();
    let (config, layer) = (&manifest["config"]["digest"], &manifest["layers"][0]["digest"]);
    let changed = |content: Vec<u8>| content.iter().map(|byte| byte ^ 1).collect::<Vec<u8>>();
    for (name, lie, words) in [
        (config, changed(blob(config)), &["/v2/app/blobs/", "its digest is", "do not use it"][..]),
        (config, [blob(config), b" ".to_vec()].concat(), &["bytes where", "announced"]),
        (config, vec![b' '; 5 << 20], &["more than 4194304 bytes"]),
        (layer, b"short".to_vec(), &["/v2/app/blobs/", "5 bytes where"]),
        (layer, [blob(layer), vec![0; 100]].concat(), &["/v2/app/blobs/", "bytes where"]),
    ] {
        let name = name.as_str().unwrap().to_owned();
        refused(&place, move |asked| asked.path.ends_with(&name).then(|| Answer::ok(&lie)), words);
    }
    // The same length, and longer without saying so. The last byte of gzip is the length's, so that it unpacks to its end.
    let mut other = blob(layer);
    other[9] ^= 1;
    let name = layer.as_str().unwrap().to_owned();
    let path = name.clone();
    refused(
        &place,
        move |asked| asked.path.ends_with(&path).then(|| Answer::ok(&other)),
        &["app@sha256:", "digest is"],
    );
    let long = [blob(layer), vec![0; 100_000]].concat();
    let answer = move |asked: &Asked| asked.path.ends_with(&name).then(|| Answer::ok(&long).without_length());
    refused(&place, answer, &["app@sha256:", "more than the"]);
}

#[test]
fn what_is_no_http_is_refused() {
    let place = Place::new("lies-http");
    small(&place);
    let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(100_000));
    for garbage in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 9999 \u{1b}[31m\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzzzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nno colon \u{1b}[2J\r\n\r\n",
        &long,
        &many,
    ] {
        let words = ["/v2/app/manifests/latest"];
        refused(&place, on("/manifests/", Answer::raw(garbage)), &words);
    }
}

#[test]
fn names_in_a_manifest_stay_names() {
    let place = Place::new("lies-names");
    let mut layout = Layout::new(&place.path("oci"));
    let huge =
        json!({ "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(b"x"), "size": 1_u64 << 60 });
    let manifest = json!({ "schemaVersion": 2, "config": huge, "layers": [] });
    let mut entry = layout.blob("application/vnd.oci.image.manifest.v1+json", manifest.to_string().as_bytes());
    entry["annotations"] = json!({ "org.opencontainers.image.ref.name": "latest" });
    layout.add(entry);
    refused(&place, |_| None, &["1152921504606846976 bytes"]);
    let outside =
        json!({ "schemaVersion": 2, "config": { "digest": "sha256:../../../etc/passwd", "size": 1 }, "layers": [] });
    refused(&place, on("/manifests/", Answer::ok(outside.to_string())), &["not a manifest"]);
}
