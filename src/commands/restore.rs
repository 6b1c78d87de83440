//! `myrt restore`: its flags stand already, since callers pass them; what it does is still to come.

use std::path::PathBuf;

use super::checkpoint::not_yet;
use crate::cli::{Args as _, Command, Group};

crate::args! {
    /// Flags of `restore`.
    pub struct Args {
        /// The bundle: a folder with config.json (default: the current one)
        bundle: Option<PathBuf> = "--bundle -b DIR",
        /// Folder of CRIU's image files
        image_path: Option<PathBuf> = "--image-path DIR",
        /// Folder for CRIU's log and work files
        work_path: Option<PathBuf> = "--work-path DIR",
        /// Socket that gets the terminal's descriptor
        console_socket: Option<PathBuf> = "--console-socket SOCKET",
        /// Return once the container runs
        detach: bool = "--detach -d",
        /// Write the process id to this file
        pid_file: Option<PathBuf> = "--pid-file FILE",
        /// Restore open TCP connections
        tcp_established: bool = "--tcp-established",
        /// Restore connected unix sockets of outside
        ext_unix_sk: bool = "--ext-unix-sk",
        /// Restore a terminal that is shared with the caller
        shell_job: bool = "--shell-job",
        /// Restore file locks
        file_locks: bool = "--file-locks",
        /// What of cgroups is restored: soft, full, strict or ignore
        manage_cgroups_mode: Option<String> = "--manage-cgroups-mode MODE",
        /// Do not adopt orphans of the container
        no_subreaper: bool = "--no-subreaper",
        /// Do not use pivot_root
        no_pivot: bool = "--no-pivot",
        /// Namespaces that are made anew, without their properties
        empty_ns: Vec<String> = "--empty-ns NAME",
        /// Remove pages from the images as they are read
        auto_dedup: bool = "--auto-dedup",
        /// Restore memory on demand (userfaultfd)
        lazy_pages: bool = "--lazy-pages",
        /// Security label of the processes, as TYPE:NAME
        lsm_profile: Option<String> = "--lsm-profile LABEL",
        /// Security label of the mounts
        lsm_mount_context: Option<String> = "--lsm-mount-context LABEL",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "restore",
    group: Group::LifeCycle,
    about: "Bring a saved container back to life (not built yet)",
    words: "ID",
    details: "",
    flags: Args::FLAGS,
    run: |_, _| not_yet("restore"),
};
