//! The last stretch, the same for a container's first process and for `exec`: attributes, rights, user, and the door
//! behind which the program begins.
//!
//! The order is a chain of rights: each step needs what a later one takes away. Behind the seccomp filter only one
//! capset(2), where no_new_privs is not set, and the execve(2) remain.

use std::convert::Infallible;
use std::path::Path;

use super::handover::Announcement;
use super::state::Status;
use super::wire::{Message, Wire};
use super::{hooks, program};
use crate::error::{Context, Error, Result};
use crate::plan::{Plan, Process, spec};
use crate::sys::beneath::Beneath;
use crate::sys::exec::{self, Image};
use crate::sys::procfs::ProcFs;
use crate::{log, security};

/// What the program is to wear.
pub struct Dress<'a> {
    /// Who and what it is.
    pub process: &'a Process,
    /// The container's plan: filter, personality, memory policy.
    pub plan: &'a Plan,
    /// The compiled filter.
    pub filter: Option<&'a security::seccomp::Program>,
    /// The container's id, where it gets a session keyring of its own.
    pub keyring: Option<&'a str>,
    /// Whether the parent has set the resource limits and the oom score already.
    pub limits_are_set: bool,
    /// How many descriptors from 3 on it gets.
    pub preserve_fds: u32,
    /// The container's root.
    pub root: &'a Beneath,
}

/// The process, ready for its exec.
pub struct Door<'a> {
    dress: &'a Dress<'a>,
    image: Image,
    rights: security::capabilities::Last,
}
