//! Addresses: where a request goes, and where an answer wants it to go instead.

use std::fmt::{self, Display};

use ureq::http::Uri;
use ureq::http::uri::Scheme;

use super::reference::is_loopback;
use crate::error::{Error, Result};

/// An address of http or https.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    /// Whether it is https.
    pub tls: bool,
    /// Host and port.
    pub authority: String,
    /// Path and query.
    path: String,
}

impl Url {
    /// An address of our own making.
    pub fn new(tls: bool, authority: &str, path: String) -> Self {
        Self { tls, authority: authority.to_owned(), path }
    }

    /// Reads an address that an answer names.
    ///
    /// # Errors
    /// Where it is none of http or https, or has a name and a password in it.
    pub fn parse(text: &str) -> Result<Self> {
        let shown = shortened(text.split('?').next().unwrap_or_default());
        let refused = |why: &str| Error::new(format!("{shown:?}: {why}"));
        let uri: Uri = text.parse().map_err(|_| refused("not an address"))?;
        let tls = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(refused("neither http nor https")),
        };
        let authority = uri.authority().map(|authority| authority.as_str()).unwrap_or_default();
        if authority.contains('@') || authority.is_empty() {
            return Err(refused("a host alone is expected before the path"));
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self::new(tls, authority, path.to_owned()))
    }

    /// Where a `Location` leads from here.
    ///
    /// # Errors
    /// As [`Url::parse`].
    pub fn join(&self, location: &str) -> Result<Self> {
        let scheme = if self.tls { "https" } else { "http" };
        let whole = match location {
            _ if location.contains("://") && !location.starts_with(['/', '?']) => location.to_owned(),
            _ if location.starts_with("//") => format!("{scheme}:{location}"),
            _ if location.starts_with('/') => format!("{scheme}://{}{location}", self.authority),
            _ => {
                let path = self.path.split('?').next().unwrap_or_default();
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                format!("{scheme}://{}{folder}/{location}", self.authority)
            }
        };
        Self::parse(&whole)
    }

    /// Whether both are served by the same host, at the same port, in the same way.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.tls == other.tls && self.host_and_port() == other.host_and_port()
    }

    /// Whether the way there stays on this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.authority)
    }

    /// All of it, for a request.
    pub fn whole(&self) -> String {
        format!("{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path)
    }

    fn host_and_port(&self) -> (String, u16) {
        let default = if self.tls { 443 } else { 80 };
        let authority = self.authority.to_ascii_lowercase();
        match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host.to_owned(), port.parse().unwrap_or(default)),
            _ => (authority, default),
        }
    }
}

/// Without its query: storage behind a registry signs addresses there, and a signature is as good as a password.
impl Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, shortened(self.path.split('?').next().unwrap_or_default()))
    }
}

/// As much of a text from outside as a person should see, without what would move the cursor.
pub fn shortened(text: &str) -> String {
    let mut letters = text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter });
    let mut short: String = letters.by_ref().take(200).collect();
    if letters.next().is_some() {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_joined() {
        let from = Url::parse("https://r.example:5000/v2/a/blobs/x?y=z").unwrap();
        let to = |location: &str| from.join(location).unwrap().whole();
        assert_eq!(to("http://s.example/b?c=d#e"), "http://s.example/b?c=d");
        assert_eq!(to("//s.example/b"), "https://s.example/b");
        assert_eq!(to("/b"), "https://r.example:5000/b");
        assert_eq!(to("b?c"), "https://r.example:5000/v2/a/blobs/b?c");
        assert_eq!(from.join("/b?secret").unwrap().to_string(), "https://r.example:5000/b");
        assert!(!from.join("ftp://x/b?secret").unwrap_err().to_string().contains("secret"));
        for hostile in ["ftp://x/", "https://", "https://me:secret@x/", "file:///etc/passwd", "https://a b/", "\r\n"] {
            assert!(from.join(hostile).is_err(), "{hostile}");
        }
    }

    #[test]
    fn origins_are_compared_whole() {
        let same = |one: &str, other: &str| Url::parse(one).unwrap().same_origin(&Url::parse(other).unwrap());
        assert!(same("https://R.example/a", "https://r.example:443/b"));
        for other in ["http://r.example/a", "https://r.example:444/a", "https://x.r.example/a", "https://r.example.x/"]
        {
            assert!(!same("https://r.example/a", other), "{other}");
        }
    }
}
