//! `linux.personality` and `linux.memoryPolicy`: names to the arguments of personality(2) and set_mempolicy(2).

use crate::bail;
use crate::error::Result;

use super::{MemoryPolicy, cpulist, spec};

/// Domains (include/uapi/linux/personality.h).
const DOMAINS: [(&str, u64); 2] = [("LINUX", 0), ("LINUX32", 0x0008)];

/// Modes (include/uapi/linux/mempolicy.h), and whether they take nodes: `None` where both ways are fine.
pub const MODES: [(&str, u32, Option<bool>); 7] = [
    ("MPOL_DEFAULT", 0, Some(false)),
    ("MPOL_PREFERRED", 1, None),
    ("MPOL_BIND", 2, Some(true)),
    ("MPOL_INTERLEAVE", 3, Some(true)),
    ("MPOL_LOCAL", 4, Some(false)),
    ("MPOL_PREFERRED_MANY", 5, Some(true)),
    ("MPOL_WEIGHTED_INTERLEAVE", 6, Some(true)),
];

const STATIC_NODES: u32 = 1 << 15;
const RELATIVE_NODES: u32 = 1 << 14;
/// Mode flags, as bits beside the mode.
pub const MODE_FLAGS: [(&str, u32); 3] = [
    ("MPOL_F_NUMA_BALANCING", 1 << 13),
    ("MPOL_F_RELATIVE_NODES", RELATIVE_NODES),
    ("MPOL_F_STATIC_NODES", STATIC_NODES),
];

/// The argument of personality(2).
///
/// # Errors
/// For an unknown domain, and for any flag: the specification has none yet.
pub fn personality(personality: &spec::Personality) -> Result<u64> {
    if let Some(flag) = personality.flags.first() {
        bail!("linux.personality.flags[0]: the specification knows no flag such as {flag:?}");
    }
    match DOMAINS.iter().find(|(name, _)| *name == personality.domain) {
        Some((_, domain)) => Ok(*domain),
        None => bail!("linux.personality.domain: {:?} is neither LINUX nor LINUX32", personality.domain),
    }
}

/// The arguments of set_mempolicy(2).
///
/// # Errors
/// For unknown names, for nodes where the mode takes none and the other way round, and for flags that exclude each other.
pub fn memory_policy(policy: &spec::MemoryPolicy) -> Result<MemoryPolicy> {
    let Some(&(name, number, takes_nodes)) = MODES.iter().find(|(name, ..)| *name == policy.mode) else {
        bail!("linux.memoryPolicy.mode: {:?} is no mode of set_mempolicy(2)", policy.mode);
    };
    let mut mode = number;
    for (index, wanted) in policy.flags.iter().enumerate() {
        let Some((_, bit)) = MODE_FLAGS.iter().find(|(name, _)| name == wanted) else {
            bail!("linux.memoryPolicy.flags[{index}]: {wanted:?} is no mode flag of set_mempolicy(2)");
        };
        mode |= bit;
    }
    if mode & STATIC_NODES != 0 && mode & RELATIVE_NODES != 0 {
        bail!("linux.memoryPolicy.flags: MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other");
    }
    let nodes = match policy.nodes.trim() {
        "" => Vec::new(),
        list => cpulist::parse(list, "linux.memoryPolicy.nodes")?,
    };
    match takes_nodes {
        Some(true) if nodes.is_empty() => bail!("linux.memoryPolicy.nodes: {name} needs at least one node"),
        Some(false) if !nodes.is_empty() => bail!("linux.memoryPolicy.nodes: {name} takes no nodes"),
        _ => Ok(MemoryPolicy { mode, nodes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(mode: &str, nodes: &str, flags: &[&str]) -> Result<MemoryPolicy> {
        let flags = flags.iter().map(ToString::to_string).collect();
        memory_policy(&spec::MemoryPolicy { mode: mode.into(), nodes: nodes.into(), flags })
    }

    #[test]
    fn modes_and_flags_become_one_number() {
        let bind = policy("MPOL_BIND", "0-1", &["MPOL_F_STATIC_NODES"]).unwrap();
        assert_eq!(bind, MemoryPolicy { mode: 2 | 1 << 15, nodes: vec![0, 1] });
        assert!(policy("MPOL_DEFAULT", "0", &[]).is_err());
        assert!(policy("MPOL_BIND", "", &[]).is_err());
        assert!(policy("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]).is_err());
        assert!(policy("MPOL_PREFERRED", "", &[]).is_ok());
    }

    #[test]
    fn personality_knows_two_domains() {
        let of = |domain: &str| personality(&spec::Personality { domain: domain.into(), flags: vec![] });
        assert_eq!(of("LINUX32").unwrap(), 8);
        assert!(of("BSD").unwrap_err().to_string().contains("linux.personality.domain"));
    }
}
