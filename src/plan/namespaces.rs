//! `linux.namespaces`, the id mappings and the time offsets: which namespaces are new, which are joined, which are the
//! caller's, and whether what the bundle says goes together.

use std::path::{Path, PathBuf};

use super::{IdMap, NamespaceKind, Namespaces, spec};
use crate::bail;
use crate::error::{Error, Result};

/// The kernel takes at most this many lines in one map (user_namespaces(7)).
const MAX_MAP_LINES: usize = 340;

/// The clocks that a time namespace shifts, as /proc/PID/timens_offsets names them.
const CLOCKS: [&str; 2] = ["monotonic", "boottime"];

impl Namespaces {
    /// Checks and resolves everything that `linux` says about namespaces.
    ///
    /// # Errors
    /// Names the field: unknown or repeated kinds, relative paths, a user namespace without mappings or mappings
    /// without one, overlapping mappings, offsets without a new time namespace or of unknown clocks.
    pub fn new(linux: &spec::Linux) -> Result<Self> {
        let mut namespaces = Self {
            uid_map: id_map(&linux.uid_mappings, "linux.uidMappings")?,
            gid_map: id_map(&linux.gid_mappings, "linux.gidMappings")?,
            ..Self::default()
        };
        for (index, namespace) in linux.namespaces.iter().enumerate() {
            namespaces.add(namespace, index)?;
        }
        namespaces.join.sort_unstable_by_key(|(kind, _)| NamespaceKind::ALL.iter().position(|other| other == kind));
        namespaces.check_user()?;
        namespaces.time_offsets = time_offsets(linux, &namespaces)?;
        Ok(namespaces)
    }

    fn add(&mut self, namespace: &spec::Namespace, index: usize) -> Result<()> {
        let field = format!("linux.namespaces[{index}]");
        let name = &namespace.r#type;
        let Some(kind) = NamespaceKind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let known = NamespaceKind::ALL.map(NamespaceKind::name).join(", ");
            bail!("{field}.type: {name:?} is not a kind of namespace; known are {known}");
        };
        if self.separate(kind) {
            bail!("{field}.type: {name:?} is there already: each kind of namespace may appear once");
        }
        match namespace.path.as_deref() {
            None | Some("") => self.new.push(kind),
            Some(path) if !Path::new(path).is_absolute() => bail!("{field}.path: {path:?} is not an absolute path"),
            Some(path) => self.join.push((kind, PathBuf::from(path))),
        }
        Ok(())
    }

    /// A joined user namespace may come with mappings: containerd and CRI-O send both. They are compared with the real
    /// ones at the join.
    fn check_user(&self) -> Result<()> {
        let maps = [("linux.uidMappings", &self.uid_map), ("linux.gidMappings", &self.gid_map)];
        for (field, map) in maps {
            if self.creates(NamespaceKind::User) && map.is_empty() {
                return Err(Error::new(format!("{field}: a new user namespace needs mappings, and there are none"))
                    .hint("map at least one id, such as {\"containerID\": 0, \"hostID\": 1000, \"size\": 1}"));
            }
            if !self.separate(NamespaceKind::User) && !map.is_empty() {
                return Err(Error::new(format!("{field}: mappings need a user namespace"))
                    .hint("add {\"type\": \"user\"} to linux.namespaces, or remove the mappings"));
            }
        }
        Ok(())
    }
}

/// Resolves mappings and refuses what the kernel would refuse with a bare EINVAL.
pub(super) fn id_map(mappings: &[spec::IdMapping], field: &str) -> Result<Vec<IdMap>> {
    if mappings.len() > MAX_MAP_LINES {
        bail!("{field}: {} mappings, but the kernel takes at most {MAX_MAP_LINES}", mappings.len());
    }
    let mut map: Vec<IdMap> = Vec::with_capacity(mappings.len());
    for (index, mapping) in mappings.iter().enumerate() {
        let line = IdMap { inside: mapping.container_id, outside: mapping.host_id, count: mapping.size };
        if line.count == 0 {
            bail!("{field}[{index}].size: 0 ids are no mapping");
        }
        // The id 4294967295 is "no id" to the kernel.
        for (first, name) in [(line.inside, "containerID"), (line.outside, "hostID")] {
            if first.checked_add(line.count).is_none() {
                bail!("{field}[{index}].{name}: {first} and {} ids from it go beyond the last id", line.count);
            }
        }
        let overlap = |a: u32, b: u32, count: u32| a < b + count && b < a + line.count;
        for (earlier_index, earlier) in map.iter().enumerate() {
            if overlap(line.inside, earlier.inside, earlier.count) {
                bail!("{field}[{index}].containerID: its range overlaps that of {field}[{earlier_index}]");
            }
            if overlap(line.outside, earlier.outside, earlier.count) {
                bail!("{field}[{index}].hostID: its range overlaps that of {field}[{earlier_index}]");
            }
        }
        map.push(line);
    }
    Ok(map)
}

/// `linux.timeOffsets`: a namespace that is joined has its offsets, and the kernel lets nobody change them.
fn time_offsets(linux: &spec::Linux, namespaces: &Namespaces) -> Result<Vec<(String, i64, u32)>> {
    if linux.time_offsets.is_empty() {
        return Ok(Vec::new());
    }
    if !namespaces.creates(NamespaceKind::Time) {
        return Err(Error::new("linux.timeOffsets: offsets need a new time namespace")
            .hint("add {\"type\": \"time\"} without a path to linux.namespaces, or remove the offsets"));
    }
    let mut offsets = Vec::with_capacity(CLOCKS.len());
    for (clock, offset) in &linux.time_offsets {
        if !CLOCKS.contains(&clock.as_str()) {
            bail!("linux.timeOffsets.{clock}: not a clock that can be shifted; those are {}", CLOCKS.join(" and "));
        }
        if offset.nanosecs >= 1_000_000_000 {
            bail!("linux.timeOffsets.{clock}.nanosecs: {} is not below one second", offset.nanosecs);
        }
        offsets.push((clock.clone(), offset.secs, offset.nanosecs));
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux(json: &str) -> spec::Linux {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn new_and_joined() {
        let linux = linux(
            r#"{"namespaces": [{"type": "mount"}, {"type": "network", "path": "/n"}, {"type": "pid", "path": ""},
                {"type": "user", "path": "/u"}], "uidMappings": [{"containerID": 0, "hostID": 5, "size": 1}]}"#,
        );
        let namespaces = Namespaces::new(&linux).unwrap();
        assert_eq!(namespaces.new, [NamespaceKind::Mount, NamespaceKind::Pid]);
        let joined = [(NamespaceKind::User, PathBuf::from("/u")), (NamespaceKind::Network, PathBuf::from("/n"))];
        assert_eq!(namespaces.join, joined);
        assert!(namespaces.separate(NamespaceKind::Network) && !namespaces.separate(NamespaceKind::Uts));
        assert_eq!(namespaces.uid_map, [IdMap { inside: 0, outside: 5, count: 1 }]);
        assert_eq!(namespaces.root_outside(), None, "root has no group");
    }

    #[test]
    fn refusals_name_the_field() {
        let user = r#""namespaces": [{"type": "user"}]"#;
        let one = r#"[{"containerID": 0, "hostID": 1000, "size": 1}]"#;
        let time = r#""namespaces": [{"type": "time"}]"#;
        for (json, words) in [
            (r#""namespaces": [{"type": "nets"}]"#, "linux.namespaces[0].type: \"nets\" is not a kind"),
            (
                r#""namespaces": [{"type": "pid"}, {"type": "pid"}]"#,
                "linux.namespaces[1].type: \"pid\" is there already",
            ),
            (r#""namespaces": [{"type": "pid"}, {"type": "pid", "path": "/x"}]"#, "linux.namespaces[1].type"),
            (r#""namespaces": [{"type": "pid", "path": "x"}]"#, "linux.namespaces[0].path: \"x\" is not an absolute"),
            (user, "linux.uidMappings: a new user namespace needs mappings"),
            (&format!(r#"{user}, "uidMappings": {one}"#), "linux.gidMappings: a new user namespace needs mappings"),
            (&format!(r#""gidMappings": {one}"#), "linux.gidMappings: mappings need a user namespace"),
            (&format!(r#""uidMappings": {}"#, one.replace("1}", "0}")), "linux.uidMappings[0].size: 0 ids"),
            (r#""uidMappings": [{"hostID": 4294967295, "size": 1}]"#, "linux.uidMappings[0].hostID: 4294967295"),
            (
                r#""uidMappings": [{"containerID": 0, "hostID": 10, "size": 10}, {"containerID": 9, "size": 2}]"#,
                "linux.uidMappings[1].containerID: its range overlaps that of linux.uidMappings[0]",
            ),
            (
                r#""gidMappings": [{"containerID": 0, "hostID": 10, "size": 10}, {"containerID": 10, "hostID": 5, "size": 6}]"#,
                "linux.gidMappings[1].hostID: its range overlaps",
            ),
            (r#""timeOffsets": {"monotonic": {"secs": 1}}"#, "linux.timeOffsets: offsets need a new time namespace"),
            (
                r#""namespaces": [{"type": "time", "path": "/t"}], "timeOffsets": {"boottime": {}}"#,
                "linux.timeOffsets: offsets need a new",
            ),
            (&format!(r#"{time}, "timeOffsets": {{"realtime": {{}}}}"#), "linux.timeOffsets.realtime: not a clock"),
            (
                &format!(r#"{time}, "timeOffsets": {{"boottime": {{"nanosecs": 1000000000}}}}"#),
                "linux.timeOffsets.boottime.nanosecs",
            ),
        ] {
            let error = Namespaces::new(&linux(&format!("{{{json}}}"))).unwrap_err().to_string();
            assert!(error.starts_with(words), "{json} gave {error:?}");
        }
    }

    #[test]
    fn adjacent_ranges_do_not_overlap() {
        let linux = linux(
            r#"{"uidMappings": [{"containerID": 0, "hostID": 1000, "size": 1},
                {"containerID": 1, "hostID": 100000, "size": 65536}]}"#,
        );
        assert_eq!(id_map(&linux.uid_mappings, "x").unwrap().len(), 2);
    }
}
