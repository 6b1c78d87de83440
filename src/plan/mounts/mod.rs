//! `mounts`: each entry of config.json becomes one [`Mount`] with every option resolved, or is refused with its field.
//!
//! Owns the meaning of mount options. Nothing is looked at on disk here: whether a source exists is the kernel's to say,
//! when the mount is made.

use std::path::{Component, Path, PathBuf};

use rustix::mount::{MountFlags, MountPropagationFlags};

use super::{IdMap, IdmappedMount, Mount, MountKind, spec};
use crate::error::{Error, Result};

mod options;

pub use options::{mount_option_names, propagation};

use options::Effect;

/// mount(2) takes one page of data, its closing zero included.
const LONGEST_DATA: usize = 4095;

/// What the options of one mount add up to.
struct Options<'a> {
    flags: MountFlags,
    cleared: MountFlags,
    recursive_set: u64,
    recursive_clear: u64,
    propagation: Vec<MountPropagationFlags>,
    bind: Option<bool>,
    remount: bool,
    copy_up: bool,
    idmap: Option<bool>,
    data: Vec<&'a str>,
}

impl<'a> Options<'a> {
    /// Later options win over earlier ones.
    fn parse(options: &'a [String]) -> Self {
        let mut sum = Self {
            flags: MountFlags::empty(),
            cleared: MountFlags::empty(),
            recursive_set: 0,
            recursive_clear: 0,
            propagation: Vec::new(),
            bind: None,
            remount: false,
            copy_up: false,
            idmap: None,
            data: Vec::new(),
        };
        for option in options {
            match options::effect(option) {
                Some(effect) => sum.apply(effect),
                None => sum.data.push(option),
            }
        }
        sum
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Set(flags) => {
                self.flags |= flags;
                self.cleared -= flags;
            }
            Effect::Clear(flags) => {
                self.flags -= flags;
                self.cleared |= flags;
            }
            Effect::SetTree(bits) => {
                self.recursive_set |= bits;
                self.recursive_clear &= !bits;
                if options::is_access_time(bits) {
                    self.recursive_set = self.recursive_set & !libc::MOUNT_ATTR__ATIME | bits;
                    self.recursive_clear |= libc::MOUNT_ATTR__ATIME;
                }
            }
            Effect::ClearTree(bits) => {
                self.recursive_set &= !bits;
                self.recursive_clear |= bits;
            }
            Effect::Propagate(flags) => self.propagation.push(flags),
            Effect::Bind { recursive } => self.bind = Some(recursive),
            Effect::Remount => self.remount = true,
            Effect::CopyUp => self.copy_up = true,
            Effect::Idmap { recursive } => self.idmap = Some(recursive),
        }
    }
}

/// Resolves `mounts`. `user_namespace` says whether the container has one of its own.
///
/// # Errors
/// Names the field that is missing, contradicts another, or cannot be.
pub fn resolve(
    mounts: &[spec::Mount],
    bundle: &Path,
    user_namespace: bool,
    warnings: &mut Vec<String>,
) -> Result<Vec<Mount>> {
    let one = |(index, mount)| Entry { index, mount }.resolve(bundle, user_namespace, warnings);
    mounts.iter().enumerate().map(one).collect()
}

/// One entry of `mounts` and its place, which every refusal names.
struct Entry<'a> {
    index: usize,
    mount: &'a spec::Mount,
}

impl Entry<'_> {
    fn resolve(&self, bundle: &Path, user_namespace: bool, warnings: &mut Vec<String>) -> Result<Mount> {
        let Self { index, mount } = *self;
        self.refuse_zero_bytes()?;
        if mount.destination.is_empty() {
            return Err(self.refusal("destination", "missing"));
        }
        if !mount.destination.starts_with('/') {
            warnings.push(format!("mounts[{index}].destination: {:?} is taken as relative to /", mount.destination));
        }
        let options = Options::parse(&mount.options);
        let kind = self.kind(&options, bundle)?;
        if options.copy_up && !matches!(&kind, MountKind::Filesystem { kind, .. } if kind == "tmpfs") {
            return Err(self.option_refusal("tmpcopyup", "only a tmpfs can be filled from what it covers"));
        }
        let idmap = self.idmap(&options, &kind, user_namespace)?;
        let data = options.data.join(",");
        if data.len() > LONGEST_DATA {
            let why = format!("{} bytes for the filesystem, but mount(2) takes at most {LONGEST_DATA}", data.len());
            return Err(self.refusal("options", &why));
        }
        let mut flags = options.flags;
        if kind == MountKind::Remount && options.bind.is_some() {
            flags |= MountFlags::BIND;
        }
        Ok(Mount {
            index,
            destination: clean(Path::new(&mount.destination)),
            kind,
            flags,
            cleared: options.cleared,
            recursive_set: options.recursive_set,
            recursive_clear: options.recursive_clear,
            propagation: options.propagation,
            data,
            copy_up: options.copy_up,
            idmap,
        })
    }

    /// A zero byte would end the string in the kernel, and another path or option than the one we checked be used.
    fn refuse_zero_bytes(&self) -> Result<()> {
        let mount = self.mount;
        let named = [
            ("destination", Some(mount.destination.as_str())),
            ("type", mount.r#type.as_deref()),
            ("source", mount.source.as_deref()),
        ];
        let options = mount.options.iter().map(|option| ("options", Some(option.as_str())));
        for (field, value) in named.into_iter().chain(options) {
            if value.is_some_and(|value| value.contains('\0')) {
                return Err(self.refusal(field, "holds a zero byte"));
            }
        }
        Ok(())
    }

    /// What kind of mount this is. An option `bind` makes the type meaningless; type `bind`, or none with a path as the
    /// source, means the same, as callers write it.
    fn kind(&self, options: &Options<'_>, bundle: &Path) -> Result<MountKind> {
        let source = self.mount.source.as_deref().unwrap_or_default();
        let name = self.mount.r#type.as_deref().unwrap_or_default();
        if options.remount {
            return Ok(MountKind::Remount);
        }
        let implied = name == "bind" || (matches!(name, "" | "none") && source.starts_with('/'));
        if options.bind.is_some() || implied {
            if source.is_empty() {
                return Err(self.refusal("source", "missing").hint("a bind mount needs the path of what it brings"));
            }
            return Ok(MountKind::Bind { source: bundle.join(source), recursive: options.bind.unwrap_or_default() });
        }
        Ok(match name {
            "" | "none" => {
                let hint = "name a filesystem, or add the option bind or rbind";
                return Err(self.refusal("type", "missing").hint(hint));
            }
            "cgroup" | "cgroup2" => MountKind::Cgroup,
            _ => MountKind::Filesystem {
                kind: name.to_owned(),
                source: if source.is_empty() { name.to_owned() } else { source.to_owned() },
            },
        })
    }

    /// The id mapping. Mappings without the option `idmap` mean it as well: older callers write them so.
    fn idmap(&self, options: &Options<'_>, kind: &MountKind, user_namespace: bool) -> Result<Option<IdmappedMount>> {
        let mount = self.mount;
        let mapped = !mount.uid_mappings.is_empty() || !mount.gid_mappings.is_empty();
        let Some(recursive) = options.idmap.or(mapped.then_some(false)) else { return Ok(None) };
        let option = if recursive { "ridmap" } else { "idmap" };
        if !matches!(kind, MountKind::Bind { .. }) {
            return Err(self
                .option_refusal(option, "only a bind mount can map ids")
                .hint("add the option bind or rbind, or leave the mapping out"));
        }
        if !mapped && !user_namespace {
            return Err(self
                .option_refusal(option, "there is neither a mapping nor a user namespace to take it from")
                .hint("add uidMappings and gidMappings to the mount"));
        }
        if mount.uid_mappings.is_empty() != mount.gid_mappings.is_empty() {
            let missing = if mount.uid_mappings.is_empty() { "uidMappings" } else { "gidMappings" };
            return Err(self.refusal(missing, "missing: user and group ids can only be mapped together"));
        }
        Ok(Some(IdmappedMount {
            recursive,
            uid_map: self.id_map(&mount.uid_mappings, "uidMappings")?,
            gid_map: self.id_map(&mount.gid_mappings, "gidMappings")?,
        }))
    }

    fn id_map(&self, mappings: &[spec::IdMapping], field: &str) -> Result<Vec<IdMap>> {
        let one = |(place, mapping): (usize, &spec::IdMapping)| match mapping.size {
            0 => Err(self.refusal(&format!("{field}[{place}].size"), "must be at least 1")),
            size => Ok(IdMap { inside: mapping.container_id, outside: mapping.host_id, count: size }),
        };
        mappings.iter().enumerate().map(one).collect()
    }

    fn refusal(&self, field: &str, why: &str) -> Error {
        Error::new(format!("mounts[{}].{field}: {why}", self.index))
    }

    /// A refusal that names the place of an option; a mapping that stands without its option is named itself.
    fn option_refusal(&self, option: &str, why: &str) -> Error {
        match self.mount.options.iter().position(|other| other == option) {
            Some(place) => self.refusal(&format!("options[{place}]"), &format!("{option}: {why}")),
            None => self.refusal("uidMappings", why),
        }
    }
}

/// Makes a path inside the container absolute and takes out `.` and `..` by the letter, as every runtime does: links
/// are not looked at, and nothing climbs above the root.
pub fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> Result<Mount> {
        let mount: spec::Mount = serde_json::from_str(json).unwrap();
        let mut warnings = Vec::new();
        Ok(resolve(&[mount], Path::new("/bundle"), false, &mut warnings)?.remove(0))
    }

    #[track_caller]
    fn refused(json: &str, field: &str) {
        let message = parse(json).unwrap_err().to_string();
        assert!(message.starts_with(field), "{message}");
    }

    #[test]
    fn later_options_win() {
        let mount =
            parse(r#"{"destination":"/x","type":"tmpfs","options":["ro","nosuid","rw","suid","nosuid"]}"#).unwrap();
        assert_eq!(mount.flags, MountFlags::NOSUID);
        assert_eq!(mount.cleared, MountFlags::RDONLY);
    }

    #[test]
    fn what_no_row_knows_is_data() {
        let mount = parse(r#"{"destination":"/x","type":"tmpfs","options":["mode=755","noexec","size=64k"]}"#).unwrap();
        assert_eq!(mount.data, "mode=755,size=64k");
        assert_eq!(mount.kind, MountKind::Filesystem { kind: "tmpfs".into(), source: "tmpfs".into() });
    }

    #[test]
    fn a_bind_mount_is_told_by_option_or_by_type() {
        for json in [
            r#"{"destination":"/x","source":"data","type":"ext4","options":["bind"]}"#,
            r#"{"destination":"/x","source":"data","type":"bind"}"#,
            r#"{"destination":"/x","source":"/bundle/data","type":"none"}"#,
            r#"{"destination":"/x","source":"/bundle/data"}"#,
        ] {
            let kind = MountKind::Bind { source: "/bundle/data".into(), recursive: false };
            assert_eq!(parse(json).unwrap().kind, kind, "{json}");
        }
        refused(r#"{"destination":"/x","options":["bind"]}"#, "mounts[0].source");
        refused(r#"{"destination":"/x","type":"none"}"#, "mounts[0].type");
    }

    #[test]
    fn propagation_keeps_its_order() {
        let mount = parse(r#"{"destination":"/x","source":"/y","options":["rbind","rslave","shared"]}"#).unwrap();
        let rslave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        assert_eq!(mount.propagation, [rslave, MountPropagationFlags::SHARED]);
    }

    #[test]
    fn one_access_time_mode_replaces_another() {
        let mount = parse(r#"{"destination":"/x","source":"/y","options":["rbind","rnoatime","rstrictatime","rro"]}"#);
        let mount = mount.unwrap();
        assert_eq!(mount.recursive_set, libc::MOUNT_ATTR_STRICTATIME | libc::MOUNT_ATTR_RDONLY);
        assert_eq!(mount.recursive_clear, libc::MOUNT_ATTR__ATIME);
        let mount = parse(r#"{"destination":"/x","source":"/y","options":["rbind","rro","rrw"]}"#).unwrap();
        assert_eq!((mount.recursive_set, mount.recursive_clear), (0, libc::MOUNT_ATTR_RDONLY));
    }

    #[test]
    fn an_id_mapping_needs_a_bind_mount_and_ids() {
        refused(r#"{"destination":"/x","type":"tmpfs","options":["ro","idmap"]}"#, "mounts[0].options[1]");
        refused(r#"{"destination":"/x","source":"/y","options":["bind","idmap"]}"#, "mounts[0].options[1]");
        let ids = r#"[{"containerID":0,"hostID":1000,"size":1}]"#;
        refused(
            &format!(r#"{{"destination":"/x","source":"/y","options":["bind","idmap"],"uidMappings":{ids}}}"#),
            "mounts[0].gidMappings",
        );
        let json = format!(
            r#"{{"destination":"/x","source":"/y","options":["bind"],"uidMappings":{ids},"gidMappings":{ids}}}"#
        );
        let idmap = parse(&json).unwrap().idmap.unwrap();
        assert_eq!(idmap.uid_map, [IdMap { inside: 0, outside: 1000, count: 1 }]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_field() {
        refused(r#"{"type":"tmpfs"}"#, "mounts[0].destination");
        refused(r#"{"destination":"/x\u0000y","type":"tmpfs"}"#, "mounts[0].destination");
        refused(r#"{"destination":"/x","type":"tmpfs","options":["ro","a\u0000b"]}"#, "mounts[0].options");
        refused(r#"{"destination":"/x","type":"proc","options":["tmpcopyup"]}"#, "mounts[0].options[0]");
        let long = "x".repeat(5000);
        refused(&format!(r#"{{"destination":"/x","type":"tmpfs","options":["{long}"]}}"#), "mounts[0].options");
    }

    #[test]
    fn a_relative_destination_starts_at_the_root() {
        let mount = spec::Mount { destination: "a/../../b".into(), r#type: Some("tmpfs".into()), ..Default::default() };
        let mut warnings = Vec::new();
        let mounts = resolve(&[mount], Path::new("/bundle"), false, &mut warnings).unwrap();
        assert_eq!(mounts[0].destination, Path::new("/b"));
        assert_eq!(warnings.len(), 1);
    }
}
