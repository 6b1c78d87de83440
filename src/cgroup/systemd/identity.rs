//! Who the caller is to systemd: a bus compares what a caller says of itself with what the kernel says, and the kernel
//! speaks of the user outside of the caller's user namespace.

use std::path::Path;

use rustix::process::geteuid;

use crate::cgroup::file;

/// The caller's user id one user namespace further out, which is the host's for podman's kind of root; without such a
/// namespace the plain one.
pub(in crate::cgroup) fn outer_uid() -> u32 {
    let own = geteuid().as_raw();
    file::read_path(Path::new("/proc/self/uid_map")).ok().and_then(|map| translate(&map, own)).unwrap_or(own)
}

/// The ids to introduce oneself by, best first: a bus may live inside of the namespace or outside.
pub(super) fn names() -> Vec<u32> {
    let mut all = vec![outer_uid(), geteuid().as_raw()];
    all.dedup();
    all
}

/// Reads a map of user_namespaces(7): lines of the first id inside, the first outside, and how many.
fn translate(map: &str, inside: u32) -> Option<u32> {
    map.lines().find_map(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u32>);
        let (first, outside, count) = (numbers.next()?.ok()?, numbers.next()?.ok()?, numbers.next()?.ok()?);
        let offset = inside.checked_sub(first).filter(|offset| *offset < count)?;
        outside.checked_add(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_translated_outwards() {
        let podman = "         0       1000          1\n         1     100000      65536\n";
        let rows = [(0, Some(1000)), (1, Some(100_000)), (65_536, Some(165_535)), (65_537, None)];
        for (inside, outside) in rows {
            assert_eq!(translate(podman, inside), outside);
        }
        assert_eq!(translate("0 0 4294967295\n", 1000), Some(1000));
        assert_eq!(translate("nonsense", 0), None);
    }
}
