//! `process.rlimits`: names to numbers, and what setrlimit(2) would refuse.

use crate::bail;
use crate::error::Result;

use super::{Rlimit, spec};

/// Resources by name (getrlimit(2)).
const RESOURCES: [(&str, u32); 16] = [
    ("RLIMIT_AS", libc::RLIMIT_AS),
    ("RLIMIT_CORE", libc::RLIMIT_CORE),
    ("RLIMIT_CPU", libc::RLIMIT_CPU),
    ("RLIMIT_DATA", libc::RLIMIT_DATA),
    ("RLIMIT_FSIZE", libc::RLIMIT_FSIZE),
    ("RLIMIT_LOCKS", libc::RLIMIT_LOCKS),
    ("RLIMIT_MEMLOCK", libc::RLIMIT_MEMLOCK),
    ("RLIMIT_MSGQUEUE", libc::RLIMIT_MSGQUEUE),
    ("RLIMIT_NICE", libc::RLIMIT_NICE),
    ("RLIMIT_NOFILE", libc::RLIMIT_NOFILE),
    ("RLIMIT_NPROC", libc::RLIMIT_NPROC),
    ("RLIMIT_RSS", libc::RLIMIT_RSS),
    ("RLIMIT_RTPRIO", libc::RLIMIT_RTPRIO),
    ("RLIMIT_RTTIME", libc::RLIMIT_RTTIME),
    ("RLIMIT_SIGPENDING", libc::RLIMIT_SIGPENDING),
    ("RLIMIT_STACK", libc::RLIMIT_STACK),
];

/// Resolves `rlimits`; `field` is the path of `process`.
pub(super) fn resolve(rlimits: &[spec::Rlimit], field: &str) -> Result<Vec<Rlimit>> {
    let mut resolved: Vec<Rlimit> = Vec::with_capacity(rlimits.len());
    for (index, rlimit) in rlimits.iter().enumerate() {
        let Some(&(name, resource)) = RESOURCES.iter().find(|(name, _)| *name == rlimit.r#type) else {
            bail!("{field}.rlimits[{index}].type: {:?} is no resource limit of Linux", rlimit.r#type);
        };
        if resolved.iter().any(|earlier| earlier.resource == resource) {
            bail!("{field}.rlimits[{index}].type: {name} is there twice");
        }
        if rlimit.soft > rlimit.hard {
            bail!("{field}.rlimits[{index}].soft: {} is above the hard limit of {}", rlimit.soft, rlimit.hard);
        }
        resolved.push(Rlimit { resource, name, soft: rlimit.soft, hard: rlimit.hard });
    }
    Ok(resolved)
}
