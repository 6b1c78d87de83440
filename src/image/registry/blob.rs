//! A layer on its way from a registry: a reader that goes on where a connection broke off, so that whoever computes its
//! digest never notices.

use std::io::{self, Read};

use ureq::BodyReader;
use ureq::http::StatusCode;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};

use super::client::{Client, Wanted};
use super::failure::pause;
use super::url::shortened;
use crate::error::{Error, Result};
use crate::log;

/// A connection that brought so much was worth it: patience begins anew. Less, and it counts as one more failure, so that
/// a registry that yields a byte at a time ends.
const WORTH: u64 = 64 << 10;

/// The bytes of a blob, in order, whatever happens to connections.
pub struct Blob<'a> {
    client: &'a Client,
    path: String,
    size: u64,
    body: Option<BodyReader<'static>>,
    /// How many bytes were given to the caller.
    offset: u64,
    /// How many had been when this connection began.
    since: u64,
    failures: usize,
}

impl<'a> Blob<'a> {
    /// Begins with a blob of so many bytes.
    ///
    /// # Errors
    /// Where it is not there, or has another size.
    pub fn open(client: &'a Client, path: String, size: u64) -> Result<Self> {
        let mut blob = Self { client, path, size, body: None, offset: 0, since: 0, failures: 0 };
        blob.connect()?;
        Ok(blob)
    }

    /// Asks for what is left.
    fn connect(&mut self) -> Result<()> {
        let wanted = Wanted { path: self.path.clone(), accept: None, from: self.offset };
        let (parts, body) = self.client.get(&wanted)?.into_parts();
        let header = |name| parts.headers.get(name).and_then(|value: &ureq::http::HeaderValue| value.to_str().ok());
        let refused = |why: String| Error::new(format!("{}: {why}", self.client.url(&self.path)));
        let from = match (parts.status, header(CONTENT_RANGE)) {
            // A registry that knows no ranges begins again.
            (StatusCode::OK, _) => 0,
            (_, Some(range)) if self.offset > 0 && range.starts_with(&format!("bytes {}-", self.offset)) => self.offset,
            (_, range) => {
                let range = shortened(range.unwrap_or("none"));
                return Err(refused(format!("206 with the range {range:?}, and from {} was asked for", self.offset)));
            }
        };
        let length = header(CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
        if let Some(length) = length.filter(|length| from.checked_add(*length) != Some(self.size)) {
            let error = refused(format!("it answers with {length} bytes where {} are announced", self.size - from));
            return Err(error.hint("what it serves is not what its manifest names: tell who runs it"));
        }
        let mut body = body.into_reader();
        if from < self.offset {
            let skipped = io::copy(&mut body.by_ref().take(self.offset), &mut io::sink());
            if !skipped.is_ok_and(|skipped| skipped == self.offset) {
                // Not even as far as before: without a body, the next read counts it as a failure.
                return Ok(());
            }
        }
        self.body = Some(body);
        Ok(())
    }

    /// Goes on after an interruption, or does not.
    fn resume(&mut self, why: &str) -> Result<()> {
        if self.offset - self.since >= WORTH {
            self.failures = 0;
        }
        let url = self.client.url(&self.path);
        log::debug(|| format!("{url}: {why} after {} of {} bytes; going on", self.offset, self.size));
        self.body = None;
        self.since = self.offset;
        if !pause(self.failures) {
            let error =
                Error::new(format!("{url}: {why} after {} of {} bytes, again and again", self.offset, self.size));
            return Err(error.hint("try again later: `image pull` keeps the layers that are whole"));
        }
        self.failures += 1;
        self.connect()
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let why = match self.body.as_mut().map(|body| body.read(buffer)) {
                Some(Ok(0)) if buffer.is_empty() => return Ok(0),
                Some(Ok(count @ 1..)) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                // However the connection ended, all of it is here.
                _ if self.offset >= self.size => return Ok(0),
                Some(Ok(_)) => "the connection ended".to_owned(),
                Some(Err(error)) => error.to_string(),
                None => "the registry did not go on".to_owned(),
            };
            self.resume(&why).map_err(io::Error::other)?;
        }
    }
}
