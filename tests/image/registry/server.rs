//! A registry of the test's own on loopback: what it answers is up to the test, byte by byte, and what it was asked is kept.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::Value;

use crate::make::Place;

/// What a client has asked.
#[derive(Clone, Debug)]
pub struct Asked {
    /// With its query.
    pub path: String,
    /// Names in lower-case letters.
    headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// What it gets.
#[derive(Clone)]
pub struct Answer {
    head: String,
    body: Vec<u8>,
    length: bool,
    cut: Option<usize>,
}

impl Answer {
    pub fn new(status: &str, body: impl AsRef<[u8]>) -> Self {
        let head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        Self { head, body: body.as_ref().to_vec(), length: true, cut: None }
    }

    pub fn ok(body: impl AsRef<[u8]>) -> Self {
        Self::new("200 OK", body)
    }

    pub fn redirect(to: impl AsRef<str>) -> Self {
        Self::new("307 Temporary Redirect", "").header("Location", to)
    }

    /// Asks for a token of this server, or for a password.
    pub fn challenge(challenge: impl AsRef<str>) -> Self {
        Self::new("401 Unauthorized", r#"{"errors":[{"code":"UNAUTHORIZED"}]}"#).header("WWW-Authenticate", challenge)
    }

    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.head += &format!("{name}: {}\r\n", value.as_ref());
        self
    }

    /// The connection ends after so many bytes of the body.
    #[must_use]
    pub fn cut(mut self, at: usize) -> Self {
        self.cut = Some(at);
        self
    }

    /// It does not say how long it is.
    #[must_use]
    pub fn without_length(mut self) -> Self {
        self.length = false;
        self
    }

    /// No HTTP, but these bytes.
    pub fn raw(bytes: impl AsRef<[u8]>) -> Self {
        Self { head: String::new(), body: bytes.as_ref().to_vec(), length: false, cut: None }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head.clone().into_bytes();
        if self.length {
            bytes.extend(format!("Content-Length: {}\r\n", self.body.len()).bytes());
        }
        if !self.head.is_empty() {
            bytes.extend(b"\r\n");
        }
        bytes.extend(&self.body[..self.cut.unwrap_or(self.body.len())]);
        bytes
    }
}

/// A server that runs until it is dropped.
pub struct Server {
    pub port: u16,
    asked: Arc<Mutex<Vec<Asked>>>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers as `answer` says.
    pub fn start(answer: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (asked, ends) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (kept, end, answer) = (asked.clone(), ends.clone(), Arc::new(answer));
        let serve = move || {
            for connection in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let (kept, answer) = (kept.clone(), answer.clone());
                let one = move || attend(connection.unwrap(), &kept, &*answer);
                thread::Builder::new().spawn(one).unwrap();
            }
        };
        Self { port, asked, ends, thread: Some(thread::Builder::new().spawn(serve).unwrap()) }
    }

    /// Serves the image with the tag `latest` in the test's layout as `app`, after `first` has had its say.
    pub fn of(place: &Place, first: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let folder = place.path("oci");
        Self::start(move |asked| first(asked).unwrap_or_else(|| from_layout(&folder, asked)))
    }

    /// `docker://…`, the image in it.
    pub fn image(&self) -> String {
        format!("docker://127.0.0.1:{}/app", self.port)
    }

    /// Its address, with a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// All requests whose path has this in it.
    pub fn asked(&self, path: &str) -> Vec<Asked> {
        self.asked.lock().unwrap().iter().filter(|asked| asked.path.contains(path)).cloned().collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn attend(mut connection: TcpStream, kept: &Mutex<Vec<Asked>>, answer: &dyn Fn(&Asked) -> Answer) {
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    loop {
        let Some(asked) = read(&mut reader) else {
            // A client that tries TLS hears at once that there is none.
            let _ = connection.write_all(b"HTTP/1.0 400 Bad Request\r\n\r\n");
            return;
        };
        kept.lock().unwrap().push(asked.clone());
        if asked.path.starts_with('/') {
            let _ = connection.write_all(&answer(&asked).bytes());
            break;
        }
        // A proxy is asked to go on to a host: that is this one, whatever it is called.
        let _ = connection.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    }
    let _ = connection.shutdown(Shutdown::Write);
    // Until the client has read it all: a connection that is closed with unread bytes is reset.
    let _ = connection.read_to_end(&mut Vec::new());
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    // GET, POST, CONNECT.
    if !matches!(reader.fill_buf().ok()?.first(), Some(b'G' | b'P' | b'C')) {
        return None;
    }
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        Some(line.trim_end().to_owned())
    };
    let path = line()?.split(' ').nth(1)?.to_owned();
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let mut asked = Asked { path, headers, body: String::new() };
    let length = asked.header("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    asked.body = String::from_utf8(body).unwrap();
    Some(asked)
}

/// What an honest registry says.
fn from_layout(folder: &std::path::Path, asked: &Asked) -> Answer {
    if asked.path == "/v2/" {
        return Answer::ok("{}");
    }
    let index: Value = serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
    let manifests = index["manifests"].as_array().unwrap();
    let latest = manifests.iter().find(|one| one["annotations"]["org.opencontainers.image.ref.name"] == "latest");
    let digest = match asked.path.strip_prefix("/v2/app/") {
        Some("manifests/latest") => latest.unwrap()["digest"].as_str().unwrap(),
        Some(other) => other.split('/').nth(1).unwrap_or_default(),
        None => "",
    };
    match fs::read(folder.join("blobs").join(digest.replace(':', "/"))) {
        Ok(content) if asked.path.contains("/manifests/") => {
            let kind = "application/vnd.oci.image.manifest.v1+json";
            Answer::ok(content).header("Content-Type", kind).header("Docker-Content-Digest", digest)
        }
        Ok(content) => range(asked, &content).unwrap_or_else(|| Answer::ok(content)),
        Err(_) => Answer::new("404 Not Found", r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"not here"}]}"#),
    }
}

/// A part of a content, where one is asked for.
pub fn range(asked: &Asked, content: &[u8]) -> Option<Answer> {
    let from: usize = asked.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()?;
    let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
    Some(Answer::new("206 Partial Content", &content[from..]).header("Content-Range", range))
}
