//! Tokens: who gets one, for what, from whom, and what happens when it has expired.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::image;
use super::server::{Answer, Asked, Server};
use crate::make::{Layout, Place, Tar};

/// `myrt:secret`, as it goes into a header.
const BASIC: &str = "Basic bXlydDpzZWNyZXQ=";

fn small(place: &Place) {
    Layout::of(place, &[Tar::default().file("one", "1"), Tar::default().file("two", "2")]);
}

/// A registry that wants a token that it gives itself, valid for so many requests; the port is known once it runs.
fn with_tokens(place: &Place, valid: usize) -> Server {
    let port = Arc::new(Mutex::new(0));
    let (own, given, used) = (port.clone(), AtomicUsize::new(0), AtomicUsize::new(0));
    let server = Server::of(place, move |asked| {
        if asked.path.starts_with("/token") {
            used.store(0, Ordering::SeqCst);
            let token = format!("token-{}", given.fetch_add(1, Ordering::SeqCst));
            return Some(Answer::ok(json!({ "token": token, "expires_in": 300 }).to_string()));
        }
        let latest = format!("Bearer token-{}", given.load(Ordering::SeqCst).wrapping_sub(1));
        let fits = asked.header("authorization") == Some(&latest) && used.fetch_add(1, Ordering::SeqCst) < valid;
        let realm = format!("http://127.0.0.1:{}/token?own=1", own.lock().unwrap());
        let asks =
            format!(r#"Basic realm="x", Bearer realm="{realm}",service="the registry",scope="repository:app:push""#);
        (!fits && asked.path != "/v2/").then(|| Answer::challenge(asks))
    });
    *port.lock().unwrap() = server.port;
    server
}

#[test]
fn anybody_gets_a_token_for_reading_alone() {
    let place = Place::new("token");
    small(&place);
    let server = with_tokens(&place, usize::MAX);
    image(&place, &["unpack", &server.image(), "box"]).run().ok();
    let [token] = &server.asked("/token")[..] else { panic!("{:?}", server.asked("/token")) };
    // Not what the registry would like.
    assert_eq!(token.path, "/token?own=1&service=the%20registry&scope=repository%3Aapp%3Apull");
    assert_eq!(token.header("authorization"), None);
}

#[test]
fn a_password_goes_to_the_token_server_and_the_token_to_the_registry() {
    let place = Place::new("token-password");
    small(&place);
    let server = with_tokens(&place, usize::MAX);
    image(&place, &["unpack", "--creds", "myrt:secret", &server.image(), "box"]).run().ok();
    let [token] = &server.asked("/token")[..] else { panic!("{:?}", server.asked("/token")) };
    assert_eq!(token.header("authorization"), Some(BASIC));
    assert!(token.path.contains("account=myrt"), "{}", token.path);
    for asked in server.asked("/v2/app") {
        assert_ne!(asked.header("authorization"), Some(BASIC), "{asked:?}");
    }
}

#[test]
fn a_token_that_has_expired_is_got_anew() {
    let place = Place::new("token-expired");
    small(&place);
    let server = with_tokens(&place, 1);
    image(&place, &["unpack", &server.image(), "box"]).run().ok();
    // One for the manifest, one for the configuration, one for each layer.
    assert_eq!(server.asked("/token").len(), 4);
    let server = with_tokens(&place, 0);
    image(&place, &["unpack", &server.image(), "x"]).run().fails().err_has("401").err_has("--creds");
    assert_eq!(server.asked("/token").len(), 2);
}

#[test]
fn an_identity_is_exchanged_for_tokens() {
    let place = Place::new("token-identity");
    small(&place);
    let server = with_tokens(&place, usize::MAX);
    let host = format!("127.0.0.1:{}", server.port);
    let logins = json!({ "auths": { host: { "identitytoken": "an identity" } } });
    fs::write(place.path("auth.json"), logins.to_string()).unwrap();
    image(&place, &["unpack", "--authfile", "auth.json", &server.image(), "box"]).run().ok();
    let [token] = &server.asked("/token")[..] else { panic!("{:?}", server.asked("/token")) };
    for part in ["grant_type=refresh_token", "refresh_token=an", "client_id=myrt", "scope=repository%3Aapp%3Apull"] {
        assert!(token.body.contains(part), "{}", token.body);
    }
    assert!(!token.path.contains("identity"), "{}", token.path);
}

/// Runs a pull with credentials against a registry that answers everything with this challenge.
fn challenged(place: &Place, challenge: &str) -> (crate::util::command::Output, Server) {
    let challenge = challenge.to_owned();
    let server = Server::start(move |asked: &Asked| match &*asked.path {
        path if path.starts_with("/v2/app") => Answer::challenge(&challenge),
        _ => Answer::ok("{}"),
    });
    (image(place, &["unpack", "--creds", "myrt:secret", &server.image(), "x"]).run(), server)
}

#[test]
fn a_password_goes_to_no_token_server_over_plain_http() {
    let place = Place::new("token-plain");
    for (realm, why) in [
        ("http://token.test/", "plain http"),
        ("ftp://token.test/", "neither http nor https"),
        ("https://user:pw@token.test/", "a host alone"),
        ("", "not an address"),
    ] {
        let (output, _) = challenged(&place, &format!(r#"Bearer realm="{realm}""#));
        output.fails().err_has("the token server").err_has(why);
    }
    for challenge in ["Negotiate", "Digest realm=\"x\"", ",,,=", "Bearer=\"\"", "\u{e9}"] {
        let (output, server) = challenged(&place, challenge);
        output.fails().err_has("401");
        assert!(server.asked("").iter().all(|asked| asked.header("authorization").is_none()), "{challenge}");
    }
}

#[test]
fn a_password_is_sent_once_and_not_after_it_was_refused() {
    let place = Place::new("basic-once");
    let (output, server) = challenged(&place, "Basic realm=\"x\"");
    output.fails().err_has("401").err_has("these credentials");
    assert_eq!(server.asked("/v2/app").len(), 2);
}

#[test]
fn a_token_server_that_lies_is_refused() {
    let place = Place::new("token-hostile");
    for (answer, why) in [
        (Answer::ok("no json, but a secret"), "not the JSON"),
        (Answer::ok("{}"), "no token"),
        (Answer::ok(json!({ "token": "a\r\nX-Injected: 1" }).to_string()), "something else"),
        (Answer::ok(json!({ "token": "" }).to_string()), "something else"),
        (Answer::ok(vec![b' '; 2 << 20]), "more than 1048576 bytes"),
        (Answer::ok(vec![b' '; 2 << 20]).without_length(), "more than 1048576 bytes"),
        (Answer::redirect("http://127.0.0.1:1/"), "307"),
        (Answer::new("403 Forbidden", ""), "403"),
    ] {
        let port = Arc::new(Mutex::new(0));
        let own = port.clone();
        let server = Server::start(move |asked| match &*asked.path {
            path if path.starts_with("/token") => answer.clone(),
            path if path.starts_with("/v2/app") => {
                Answer::challenge(format!("Bearer realm=\"http://127.0.0.1:{}/token\"", own.lock().unwrap()))
            }
            _ => Answer::ok("{}"),
        });
        *port.lock().unwrap() = server.port;
        let output = image(&place, &["unpack", "--creds", "myrt:secret", &server.image(), "x"]).run();
        output.fails().err_has(&format!("http://127.0.0.1:{}/token", server.port)).err_has(why);
        assert!(!output.err().contains("secret"), "{output}");
        assert_eq!(server.asked("/token").len(), 1);
        assert!(server.asked("").iter().all(|asked| asked.header("x-injected").is_none()));
    }
}
