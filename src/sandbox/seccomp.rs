//! Which system calls a box's program may make.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::error::{Context, Result};
use crate::plan::{self, default_seccomp};

/// A choice of system calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seccomp {
    /// All but those that no installer needs and attackers do.
    #[default]
    Default,
    /// All.
    Unconfined,
    /// What a file says.
    File(PathBuf),
}

impl Seccomp {
    /// By its name, which is a file's where it is none of ours.
    pub fn named(name: &OsStr) -> Self {
        match name.to_str() {
            Some("default") => Self::Default,
            Some("unconfined") => Self::Unconfined,
            _ => Self::File(name.into()),
        }
    }

    /// The filter, checked; `None`: no filter.
    ///
    /// # Errors
    /// Where the file cannot be read, or says what no filter can do.
    pub(super) fn resolved(&self) -> Result<Option<plan::Seccomp>> {
        let profile = match self {
            Self::Unconfined => return Ok(None),
            Self::Default => return Ok(Some(default_seccomp::filter())),
            Self::File(path) => {
                let what = || format!("--seccomp {path:?}");
                plan::parse_seccomp(&plan::read_file(path).context(what)?, &path.display().to_string())
                    .context(|| "--seccomp")?
            }
        };
        plan::Seccomp::new(&profile).context(|| "--seccomp").map(Some)
    }
}
