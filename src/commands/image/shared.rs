//! What several commands of `myrt image` take.

use crate::cli::values::Size;
use crate::error::{Error, Result};
use crate::image::limits::Limits;

/// Whose network the container has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Network {
    /// One of its own, with nothing but the loopback interface.
    #[default]
    None,
    /// The host's.
    Host,
}

crate::choices! { Network { "none" => Self::None, "host" => Self::Host } }

/// The caps that flags ask for, or the usual ones.
pub fn limits(size: Option<Size>, entries: Option<u64>) -> Result<Limits> {
    let mut limits = Limits::default();
    if let Some(Size(size)) = size {
        limits.bytes = u64::try_from(size).map_err(|_| Error::new("--max-size: not below 0"))?;
    }
    limits.entries = entries.unwrap_or(limits.entries);
    Ok(limits)
}
