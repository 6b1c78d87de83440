//! What an image in a registry is called: `HOST/NAME[:TAG][@DIGEST]`, with Docker's defaults where a part is missing.

use std::fmt::{self, Display};
use std::net::IpAddr;

use crate::bail;
use crate::error::{Error, Result};
use crate::image::digest::Digest;

/// The registry of names that say none, and the host that answers for it.
pub const DOCKER: &str = "docker.io";
const DOCKER_HOST: &str = "registry-1.docker.io";
/// A name has at most so many letters, a tag so many.
const LONGEST_NAME: usize = 255;
const LONGEST_TAG: usize = 128;

/// An image's whole name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// The registry, with its port where there is one.
    pub registry: String,
    /// The repository in it.
    pub name: String,
    /// The tag; where there is a digest too, that one decides.
    pub tag: String,
    /// The digest of the manifest.
    pub digest: Option<Digest>,
}

impl Reference {
    /// Reads what was typed.
    ///
    /// # Errors
    /// Where it is no such name.
    pub fn parse(text: &str) -> Result<Self> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(Digest::parse(digest)?)),
            None => (text, None),
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, tag),
            _ => (rest, "latest"),
        };
        // A registry is told from a folder by a dot, a port, or its being this machine.
        let (registry, name) = match rest.split_once('/') {
            Some((first, name)) if first.contains(['.', ':']) || first == "localhost" => (first, name.to_owned()),
            _ => (DOCKER, rest.to_owned()),
        };
        let registry = if registry == "index.docker.io" { DOCKER } else { registry };
        let name = if registry == DOCKER && !name.contains('/') { format!("library/{name}") } else { name };
        let fits = is_host(registry) && is_name(&name) && is_tag(tag);
        if !fits {
            return Err(Error::new(format!("{text:?} is not the name of an image in a registry"))
                .hint("HOST/NAME:TAG is expected, the name in lower-case letters, such as docker://debian:12"));
        }
        Ok(Self { registry: registry.to_owned(), name, tag: tag.to_owned(), digest })
    }

    /// Who is asked.
    pub fn host(&self) -> &str {
        if self.registry == DOCKER { DOCKER_HOST } else { &self.registry }
    }

    /// What stands behind `manifests/`.
    pub fn wanted(&self) -> String {
        self.digest.as_ref().map_or_else(|| self.tag.clone(), Digest::to_string)
    }
}

impl Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// Whether a host, with or without a port, is this machine.
pub fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let address = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let fits = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.split('.').all(|label| {
                    let inner = label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                    inner && !label.is_empty() && !label.starts_with('-') && !label.ends_with('-')
                })
        }
    };
    fits && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0))
}

fn is_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let part = |part: &str| {
        let bytes = part.as_bytes();
        let ends = bytes.first().zip(bytes.last()).is_some_and(|(first, last)| letter(*first) && letter(*last));
        ends && !part.contains("..") && bytes.iter().all(|byte| letter(*byte) || b"._-".contains(byte))
    };
    name.len() <= LONGEST_NAME && name.split('/').all(part)
}

fn is_tag(tag: &str) -> bool {
    let fits = tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    fits && !tag.starts_with(['.', '-']) && (1..=LONGEST_TAG).contains(&tag.len())
}

/// What was typed behind `docker:`, as a name.
///
/// # Errors
/// Where the two slashes are missing, or it is no name.
pub fn typed(text: &[u8]) -> Result<Reference> {
    let Some(name) = text.strip_prefix(b"//") else {
        bail!("docker:{}: two slashes belong behind docker:, as in docker://debian", String::from_utf8_lossy(text));
    };
    Reference::parse(std::str::from_utf8(name).unwrap_or("\u{fffd}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_dockers() {
        let all = |text: &str| {
            let found = Reference::parse(text).unwrap();
            (found.registry.clone(), found.name.clone(), found.wanted())
        };
        let expected = |registry: &str, name: &str, wanted: &str| (registry.into(), name.into(), wanted.into());
        assert_eq!(all("debian"), expected("docker.io", "library/debian", "latest"));
        assert_eq!(all("index.docker.io/me/app:1"), expected("docker.io", "me/app", "1"));
        assert_eq!(all("localhost/app"), expected("localhost", "app", "latest"));
        assert_eq!(all("127.0.0.1:5000/a/b_c.d-e:V1"), expected("127.0.0.1:5000", "a/b_c.d-e", "V1"));
        assert_eq!(all("[::1]:5000/app"), expected("[::1]:5000", "app", "latest"));
        let digest = Digest::of(b"").to_string();
        let (registry, name, wanted) = all(&format!("registry.example/app:1@{digest}"));
        assert_eq!((registry, name, wanted), ("registry.example".into(), "app".into(), digest));
        assert_eq!(Reference::parse("debian").unwrap().host(), "registry-1.docker.io");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let long = "x".repeat(256);
        for text in [
            "",
            "/",
            "a//b",
            "Debian",
            "a/../b",
            "a..b/c",
            "h.example/",
            "h.example:0/a",
            "h.example:99999/a",
            "a:b:c",
            "a@sha256:00",
            "a b",
            "a\n",
            "a?b",
            "-a.example/b",
            "a:.",
            "user@host.example/a",
            "[::1/a",
            "a#b",
            "a%2e",
            &long,
        ] {
            assert!(Reference::parse(text).is_err(), "{text}");
        }
        assert!(typed(b"debian").unwrap_err().to_string().contains("docker://debian"));
        assert!(typed(b"//\xff").is_err());
    }

    #[test]
    fn this_machine_is_known() {
        for host in ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:1", "[::1]", "[::1]:80"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.example", "127.0.0.1.example:5", "10.0.0.1", "[2001:db8::1]", "1270.0.0.1"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
