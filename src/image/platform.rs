//! What an image runs on, and which of several images is the one for here.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::spec::Descriptor;

/// Operating system, architecture and, where an architecture has several, its variant; in Go's names.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// Such as `amd64`.
    pub architecture: String,
    /// Such as `v8`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Rust's name, Go's name, the variant that is the whole of the architecture.
const ARCHITECTURES: [(&str, &str, Option<&str>); 7] = [
    ("x86_64", "amd64", None),
    ("aarch64", "arm64", Some("v8")),
    ("x86", "386", None),
    ("arm", "arm", Some("v7")),
    ("riscv64", "riscv64", None),
    ("loongarch64", "loong64", None),
    ("powerpc64", if cfg!(target_endian = "little") { "ppc64le" } else { "ppc64" }, None),
];

impl Platform {
    /// That of this binary.
    pub fn host() -> Self {
        let own = std::env::consts::ARCH;
        let known = ARCHITECTURES.iter().find(|(rust, ..)| *rust == own);
        let (architecture, variant) = known.map_or((own, None), |(_, go, variant)| (*go, *variant));
        Self { os: "linux".to_owned(), architecture: architecture.to_owned(), variant: variant.map(str::to_owned) }
    }

    /// How well an image for `other` serves one who wants this platform: less is better, nothing means not at all. An
    /// image without a variant serves every variant, and a 32-bit ARM serves older variants too.
    fn distance(&self, other: &Self) -> Option<u32> {
        if (&*self.os, &*self.architecture) != (&*other.os, &*other.architecture) {
            return None;
        }
        let number = |variant: &str| variant.trim_start_matches('v').parse::<u32>().ok();
        match (&self.variant, &other.variant) {
            (_, None) => Some(100),
            (None, Some(_)) => Some(50),
            (Some(wanted), Some(found)) if wanted == found => Some(0),
            (Some(wanted), Some(found)) if self.architecture == "arm" => number(wanted)?.checked_sub(number(found)?),
            _ => None,
        }
    }

    /// The best of an index's entries; the first of equals. What says nothing about its platform is taken last.
    pub fn choose<'a>(&self, manifests: impl IntoIterator<Item = &'a Descriptor>) -> Option<&'a Descriptor> {
        let distance = |found: &&Descriptor| match &found.platform {
            Some(platform) => self.distance(platform),
            None => Some(1000),
        };
        let known = manifests.into_iter().filter_map(|found| Some((distance(&found)?, found)));
        known.min_by_key(|(distance, _)| *distance).map(|(_, found)| found)
    }
}

impl Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/').map(str::to_owned);
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(os), Some(architecture), variant, None) if !os.is_empty() && !architecture.is_empty() => {
                Ok(Self { os, architecture, variant })
            }
            _ => Err("OS/ARCHITECTURE[/VARIANT] is expected, such as linux/arm64".to_owned()),
        }
    }
}

impl crate::cli::values::FromText for Platform {
    fn from_text(text: &std::ffi::OsStr) -> Result<Self, String> {
        text.to_str().unwrap_or_default().parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::digest::Digest;

    fn entry(platform: &str) -> Descriptor {
        Descriptor {
            media_type: platform.to_owned(),
            digest: Digest::of(b""),
            size: 0,
            annotations: Default::default(),
            platform: platform.parse().ok(),
        }
    }

    fn chosen(wanted: &str, there: &[&str]) -> Option<String> {
        let entries: Vec<_> = there.iter().map(|platform| entry(platform)).collect();
        wanted.parse::<Platform>().unwrap().choose(&entries).map(|found| found.media_type.clone())
    }

    #[test]
    fn the_nearest_platform_is_chosen() {
        let all = ["linux/amd64", "linux/arm/v5", "linux/arm/v6", "linux/arm64/v8", "windows/amd64", "-"];
        assert_eq!(chosen("linux/amd64", &all).as_deref(), Some("linux/amd64"));
        assert_eq!(chosen("linux/arm/v7", &all).as_deref(), Some("linux/arm/v6"));
        assert_eq!(chosen("linux/arm64", &all).as_deref(), Some("linux/arm64/v8"));
        assert_eq!(chosen("linux/s390x", &all).as_deref(), Some("-"));
        assert_eq!(chosen("linux/s390x", &all[..5]), None);
        assert_eq!(chosen("linux/arm64/v9", &["linux/arm64/v8"]), None);
        assert!("linux".parse::<Platform>().is_err());
    }
}
