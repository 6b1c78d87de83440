//! The flags that stand before the command.

use std::path::PathBuf;

use crate::cgroup::Driver;
use crate::log::{self, Level};
use crate::sys::nsfs;

crate::choices! { Driver {
    "cgroupfs" => Self::Cgroupfs, "systemd" => Self::Systemd, "disabled" => Self::Disabled,
} }

/// Whether failures to set up cgroups are forgiven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rootless {
    /// As the caller's rights suggest.
    Auto,
    /// Yes.
    Yes,
    /// No.
    No,
}

crate::choices! { Rootless { "auto" => Self::Auto, "true" => Self::Yes, "false" => Self::No } }

crate::choices! { log::Format { "text" => Self::Text, "json" => Self::Json } }

crate::choices! { Level {
    "error" => Self::Error, "warning" => Self::Warning, "warn" => Self::Warning, "info" => Self::Info,
    "debug" => Self::Debug,
} }

crate::args! {
    /// The flags that stand before the command.
    pub struct Global {
        /// Where containers are recorded, best on a tmpfs (default: /run/myrt; as an ordinary user
        /// $XDG_RUNTIME_DIR/myrt)
        root: Option<PathBuf> = "--root DIR",
        /// Write warnings and errors to this file
        log: Option<PathBuf> = "--log FILE",
        /// How records in it look: text (default) or json
        log_format: Option<log::Format> = "--log-format FORMAT",
        /// The least grave records to write: error, warning, info (default) or debug
        log_level: Option<Level> = "--log-level LEVEL",
        /// The same as --log-level debug
        debug: bool = "--debug",
        /// Who makes cgroups: cgroupfs (default), systemd, or disabled for none
        cgroup_manager: Option<Driver> = "--cgroup-manager NAME",
        /// The same as --cgroup-manager systemd
        systemd_cgroup: bool = "--systemd-cgroup",
        /// Whether missing rights over cgroups are forgiven: true, false or auto (default)
        rootless: Option<Rootless> = "--rootless WHEN",
        /// Write the steps of a start with their times, as Chrome trace events (also: MYRT_TRACE)
        trace: Option<PathBuf> = "--trace FILE",
        criu: Option<PathBuf> = "--criu FILE",
        /// Print the version
        version: bool = "--version -v",
        /// Print this help, or that of a command
        help: bool = "--help -h",
    }
}

impl Global {
    /// Where records go.
    pub fn log_settings(&self) -> log::Settings {
        let level = if self.debug { Level::Debug } else { self.log_level.unwrap_or_default() };
        log::Settings { file: self.log.clone(), format: self.log_format.unwrap_or_default(), level }
    }

    /// Who makes the cgroups.
    pub fn driver(&self) -> Driver {
        match self.cgroup_manager {
            Some(manager) => manager,
            None if self.systemd_cgroup => Driver::Systemd,
            None => Driver::Cgroupfs,
        }
    }

    /// Whether missing rights over cgroups are forgiven: unless said, to all but root of the host.
    pub fn rootless(&self) -> bool {
        match self.rootless.unwrap_or(Rootless::Auto) {
            Rootless::Yes => true,
            Rootless::No => false,
            Rootless::Auto => !rustix::process::geteuid().is_root() || !nsfs::in_first_user_namespace(),
        }
    }

    /// Where the trace goes, if one is wanted.
    pub fn trace_file(&self) -> Option<PathBuf> {
        self.trace.clone().or_else(|| std::env::var_os("MYRT_TRACE").filter(|file| !file.is_empty()).map(PathBuf::from))
    }
}
