//! What of an image could not be kept on this filesystem or with these rights, told once and not a thousand times.

use std::collections::BTreeMap;

/// Counts of what was left out.
#[derive(Debug, Default)]
pub struct Lost {
    devices: Option<(u64, String)>,
    attributes: BTreeMap<String, u64>,
}

impl Lost {
    /// A device that may not be made.
    pub fn device(&mut self, path: &[u8]) {
        let (count, _) = self.devices.get_or_insert_with(|| (0, String::from_utf8_lossy(path).into_owned()));
        *count += 1;
    }

    /// An extended attribute that may not be set, or that the filesystem does not have.
    pub fn attribute(&mut self, name: &[u8]) {
        // Hostile names must not fill the memory.
        let kind = name.split(|byte| *byte == b'.').next().unwrap_or_default();
        let kind = String::from_utf8_lossy(&kind[..kind.len().min(16)]).into_owned();
        if self.attributes.len() < 16 || self.attributes.contains_key(&kind) {
            *self.attributes.entry(kind).or_default() += 1;
        }
    }

    /// What a person should know, a sentence each.
    pub fn sentences(&self) -> Vec<String> {
        let devices = self.devices.as_ref().map(|(count, first)| {
            format!(
                "{count} devices of the image were left out (the first is /{first}): a user namespace cannot make them"
            )
        });
        let attributes = self.attributes.iter().map(|(kind, count)| {
            format!(
                "{count} extended attributes {kind}.* were left out: this filesystem or these rights cannot hold them"
            )
        });
        devices.into_iter().chain(attributes).collect()
    }
}
