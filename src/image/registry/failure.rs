//! What can go wrong on the way to a registry: what may pass, what lasts, and what a person can do about it.

use std::thread;
use std::time::Duration;

use ureq::http::{HeaderMap, StatusCode};

use super::url::{Url, shortened};
use crate::error::{Error, Result};
use crate::log;

/// How long to wait before each further attempt.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// A registry that wants to be left alone for longer has its way: the command ends.
const LONGEST_PAUSE: u64 = 60;
/// Answers that another attempt may change.
const PASSING: [u16; 6] = [408, 429, 500, 502, 503, 504];

/// A request that failed.
#[derive(Debug)]
pub enum Failure {
    /// It may succeed later; the registry may have said when.
    Passing(Error, Duration),
    /// It will not.
    Lasting(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Lasting(error)
    }
}

/// Works until it succeeds, fails for good, or has failed too often.
///
/// # Errors
/// The last failure.
pub fn patiently<T>(mut work: impl FnMut() -> Result<T, Failure>) -> Result<T> {
    let mut pauses = PAUSES.iter();
    loop {
        match (work(), pauses.next()) {
            (Ok(done), _) => return Ok(done),
            (Err(Failure::Lasting(error)), _) | (Err(Failure::Passing(error, _)), None) => return Err(error),
            (Err(Failure::Passing(error, wish)), Some(pause)) => {
                log::debug(|| format!("{error}; trying again"));
                thread::sleep(wish.max(*pause));
            }
        }
    }
}

/// Waits before the attempt of this number, counted from 0; says whether there is to be one.
pub fn pause(attempt: usize) -> bool {
    PAUSES.get(attempt).map(|pause| thread::sleep(*pause)).is_some()
}

/// Who asks whom, as far as a remedy depends on it.
#[derive(Clone, Debug)]
pub struct Asker {
    /// The registry, as a person logs in to it.
    pub registry: String,
    /// Whether the caller has given credentials.
    pub known: bool,
}

/// An answer that is no success.
pub fn of_status(url: &Url, status: StatusCode, headers: &HeaderMap, said: &[u8], asker: &Asker) -> Failure {
    let reason = status.canonical_reason().map(|reason| format!(" {reason}")).unwrap_or_default();
    let mut error = Error::new(format!("{url}: {}{reason}{}", status.as_u16(), in_words(said)));
    if let Some(remedy) = remedy(status.as_u16(), asker) {
        error = error.hint(remedy);
    }
    let wish = headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0);
    if !PASSING.contains(&status.as_u16()) || wish > LONGEST_PAUSE {
        return Failure::Lasting(error);
    }
    Failure::Passing(error, Duration::from_secs(wish))
}

fn remedy(status: u16, asker: &Asker) -> Option<String> {
    let host = &asker.registry;
    Some(match (status, asker.known) {
        (401 | 403, false) => format!(
            "is the name right? Many registries say so of what is not there. If it is: `podman login {host}` or \
             `docker login {host}`, or give --authfile FILE or --creds USER:PASSWORD"
        ),
        (401 | 403, true) => format!(
            "these credentials do not open it: is the name right, and the password (`podman login {host}`, --creds)?"
        ),
        (404, _) => {
            "there is no such image or tag: `skopeo list-tags docker://HOST/NAME` lists those that are there".to_owned()
        }
        (429, false) => {
            "the registry's rate limit: wait, or log in (--creds, --authfile), for whom it may be higher".to_owned()
        }
        (429, true) => "the registry's rate limit: wait".to_owned(),
        (500..=599, _) => "the registry is in trouble: try again later, or tell who runs it".to_owned(),
        _ => return None,
    })
}

/// The registry's own words, where it answers as the specification says.
fn in_words(said: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Answer {
        errors: Vec<Entry>,
    }
    #[derive(serde::Deserialize)]
    struct Entry {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let Ok(answer) = serde_json::from_slice::<Answer>(said) else { return String::new() };
    let words = answer.errors.first().map(|entry| format!("{} {}", entry.code, entry.message));
    words.map(|words| format!(" ({})", shortened(words.trim()))).unwrap_or_default()
}

/// A request without an answer.
pub fn of_transport(url: &Url, error: ureq::Error) -> Failure {
    let lasting = |what: &str, why: &dyn std::fmt::Display, hint: &'static str| {
        Failure::Lasting(Error::new(format!("{url}: {what}: {why}")).hint(hint))
    };
    let passing = |why: &dyn std::fmt::Display| {
        let hint = "is the host's name right, and the network there? Names are looked up in /etc/hosts and by DNS alone; \
                    HTTPS_PROXY names a proxy";
        Failure::Passing(Error::new(format!("{url}: {why}")).hint(hint), Duration::ZERO)
    };
    if let Some(tls) = tls_error(&error) {
        if is_about_certificate(tls) {
            let hint = "put the CA that signs for it into the registry's folder, /etc/docker/certs.d/HOST:PORT/ca.crt, or \
                        name a file of CAs by SSL_CERT_FILE";
            return lasting("its certificate is not believed", tls, hint);
        }
        if let rustls::Error::AlertReceived(_) = tls {
            let hint = "if it is the registry and wants to see a certificate: put it and its key into \
                        /etc/docker/certs.d/HOST:PORT/ as client.cert and client.key, or name their folder by --cert-dir";
            return lasting("it refuses", tls, hint);
        }
        return lasting("no TLS", tls, "does it speak https? If it does not: --plain-http");
    }
    match error {
        ureq::Error::Io(error) => passing(&error),
        error @ (ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed) => {
            passing(&error)
        }
        error => lasting("no answer that could be understood", &error, "is this a registry?"),
    }
}

/// Whether TLS failed between two who both speak it, which no other scheme mends.
pub fn is_of_tls(error: &ureq::Error) -> bool {
    tls_error(error).is_some_and(|tls| is_about_certificate(tls) || matches!(tls, rustls::Error::AlertReceived(_)))
}

fn is_about_certificate(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented)
}

fn tls_error(error: &ureq::Error) -> Option<&rustls::Error> {
    match error {
        ureq::Error::Rustls(error) => Some(error),
        ureq::Error::Io(error) => error.get_ref().and_then(|inner| inner.downcast_ref()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, said: &str, known: bool) -> Failure {
        let url = Url::parse("https://r.example/v2/app/manifests/1").unwrap();
        let asker = Asker { registry: "r.example".to_owned(), known };
        of_status(&url, StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), said.as_bytes(), &asker)
    }

    #[test]
    fn a_refusal_names_host_path_status_and_remedy() {
        for (status, known, remedy) in [(401, false, "--creds"), (403, true, "credentials"), (404, false, "list-tags")]
        {
            let Failure::Lasting(error) = failure(status, "<html>", known) else { panic!("{status} passes") };
            assert!(error.to_string().starts_with("https://r.example/v2/app/manifests/1: 40"), "{error}");
            assert!(error.remedy().unwrap().contains(remedy), "{error}");
        }
        for status in [429, 500, 503] {
            assert!(matches!(failure(status, "", false), Failure::Passing(..)), "{status}");
        }
        let said = r#"{"errors":[{"code":"DENIED","message":"no\u001b[31m"}]}"#;
        let Failure::Lasting(error) = failure(403, said, true) else { panic!() };
        assert!(error.to_string().ends_with("403 Forbidden (DENIED no\u{fffd}[31m)"), "{error}");
    }

    #[test]
    fn who_wants_to_be_left_alone_for_long_is() {
        let url = Url::parse("https://r.example/").unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("retry-after", "3600".parse().unwrap());
        let asker = Asker { registry: "r.example".to_owned(), known: false };
        let failure = of_status(&url, StatusCode::TOO_MANY_REQUESTS, &headers, b"", &asker);
        assert!(matches!(failure, Failure::Lasting(_)), "{failure:?}");
    }
}
