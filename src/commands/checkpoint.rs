//! `myrt checkpoint`: its flags stand already, since callers probe for them; what it does is still to come.

use std::path::PathBuf;

use crate::cli::{Args as _, Command, Group};
use crate::error::{Error, Result};

crate::args! {
    /// Flags of `checkpoint`.
    pub struct Args {
        /// Folder for CRIU's image files
        image_path: Option<PathBuf> = "--image-path DIR",
        /// Folder for CRIU's log and work files
        work_path: Option<PathBuf> = "--work-path DIR",
        /// Image files of the dump before, with --pre-dump
        parent_path: Option<PathBuf> = "--parent-path DIR",
        /// Let the container run on
        leave_running: bool = "--leave-running",
        /// Keep open TCP connections
        tcp_established: bool = "--tcp-established",
        /// Leave open TCP connections out
        tcp_skip_in_flight: bool = "--tcp-skip-in-flight",
        /// Allow connected unix sockets of outside
        ext_unix_sk: bool = "--ext-unix-sk",
        /// Allow a terminal that is shared with the caller
        shell_job: bool = "--shell-job",
        /// Restore memory on demand (userfaultfd)
        lazy_pages: bool = "--lazy-pages",
        /// Where a null byte is written once lazy pages are served
        status_fd: Option<i64> = "--status-fd FD",
        /// ADDRESS:PORT of the page server
        page_server: Option<String> = "--page-server ADDRESS",
        /// Keep file locks
        file_locks: bool = "--file-locks",
        /// Dump memory only, and let the container run on
        pre_dump: bool = "--pre-dump",
        /// What of cgroups is kept: soft, full, strict or ignore
        manage_cgroups_mode: Option<String> = "--manage-cgroups-mode MODE",
        /// Namespaces that are made anew, without their properties
        empty_ns: Vec<String> = "--empty-ns NAME",
        /// Write no page twice
        auto_dedup: bool = "--auto-dedup",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "checkpoint",
    group: Group::Change,
    about: "Save a running container to files (not built yet)",
    words: "ID",
    details: "",
    flags: Args::FLAGS,
    run: |_, _| not_yet("checkpoint"),
};

/// The clear sentence.
pub(super) fn not_yet(name: &str) -> Result<u8> {
    Err(Error::new(format!("{name}: this version of myrt cannot save and restore containers yet"))
        .hint("let the workload keep its own state on a volume, or use a runtime that drives CRIU for this container"))
}
