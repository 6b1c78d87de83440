//! What a process may do: identity, capabilities, limits, labels, scheduling, and the seccomp filter.
//!
//! Every function here is a step of a container's init, or of exec; `container` decides when. The names in config.json
//! were resolved by `plan`, so that each step is a few system calls.
//!
//! | step | function | why here |
//! |---|---|---|
//! | 1 | [`schedule::apply`], [`schedule::apply_shared`] | priorities need CAP_SYS_NICE |
//! | 2 | [`keyring::label`], [`keyring::join`] | the label is that of the keyring which is made next |
//! | 3 | [`oom::apply`], [`rlimits::apply`] | going beyond what is inherited needs CAP_SYS_RESOURCE |
//! | 4 | [`labels::apparmor`], [`labels::selinux`] | they are in force from the exec on; their files are closed to other users |
//! | 5 | [`capabilities::drop_bounding`] | needs CAP_SETPCAP |
//! | 6 | [`user::apply`] | groups, group, user, umask; the permitted capabilities survive |
//! | 7 | [`capabilities::prepare`] | all sets, and CAP_SYS_ADMIN for step 9 where there is no no_new_privs |
//! | 8 | no_new_privs | from here on loading a filter needs no right |
//! | 9 | [`seccomp::Program::install`] | as late as can be: all that follows must pass the filter |
//! | 10 | [`capabilities::finish`] | one capset(2), only where step 7 gave CAP_SYS_ADMIN for the moment |
//!
//! After the filter come that capset(2), with no_new_privs not even that, and the execve(2).

pub mod capabilities;
pub mod keyring;
pub mod labels;
pub mod notify;
pub mod oom;
pub mod rdt;
pub mod rlimits;
pub mod schedule;
pub mod seccomp;
pub mod user;
