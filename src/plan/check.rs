//! The door: config.json becomes a [`Plan`], or is refused with the name of a field.
//!
//! Owns the checks of what does not belong to one field alone; each other file of this folder checks its own.

use std::path::{Path, PathBuf};

use super::{
    NamespaceKind, Namespaces, Plan, Process, Rootfs, Seccomp, hooks, memory, net, process, rdt, spec, sysctl,
};
use crate::bail;
use crate::error::{Context, Error, Result};

/// The longest name that sethostname(2) takes (__NEW_UTS_LEN).
const LONGEST_HOSTNAME: usize = 64;

impl Plan {
    /// Checks everything and resolves every default. `bundle` is absolute and without links.
    ///
    /// # Errors
    /// Names the field that is wrong, missing, or does not go with another.
    pub fn new(spec: spec::Spec, bundle: &Path) -> Result<Self> {
        let mut warnings = Vec::new();
        let linux = &spec.linux;
        let namespaces = Namespaces::new(linux)?;
        check_root(&spec, bundle)?;
        check_mount_namespace(&namespaces)?;
        check_uts(&spec, &namespaces)?;
        check_cgroups_path(linux.cgroups_path.as_deref())?;
        hooks::check(&spec.hooks)?;
        if let Some(rdt) = &linux.intel_rdt {
            rdt::check(rdt)?;
        }
        let Some(process) = &spec.process else {
            return Err(Error::new("process: missing").hint("say what runs: at least process.args and process.cwd"));
        };
        let mut process = Process::new(process, "process")?;
        process.keep_groups = process::keeps_groups(&spec.annotations);
        warnings.append(&mut process.warnings);
        let rootfs = Rootfs::new(&spec, bundle, &mut warnings)?;
        let sysctl = sysctl::resolve(&linux.sysctl, &namespaces)?;
        let net_devices = net::resolve(&linux.net_devices, &namespaces)?;
        Ok(Self {
            bundle: bundle.to_owned(),
            process,
            rootfs,
            sysctl,
            net_devices,
            namespaces,
            seccomp: linux.seccomp.as_ref().map(Seccomp::new).transpose()?,
            personality: linux.personality.as_ref().map(memory::personality).transpose()?,
            memory_policy: linux.memory_policy.as_ref().map(memory::memory_policy).transpose()?,
            oci_version: spec.oci_version,
            annotations: spec.annotations,
            hostname: spec.hostname.filter(|name| !name.is_empty()),
            domainname: spec.domainname.filter(|name| !name.is_empty()),
            cgroups_path: spec.linux.cgroups_path.filter(|path| !path.is_empty()),
            resources: spec.linux.resources,
            intel_rdt: spec.linux.intel_rdt,
            hooks: spec.hooks,
            own_first_process: false,
            connected: false,
            warnings,
        })
    }
}

/// The rootfs must be there before anything is made: a mistyped path is the commonest mistake of all.
fn check_root(spec: &spec::Spec, bundle: &Path) -> Result<()> {
    let Some(root) = spec.root.as_ref().filter(|root| !root.path.is_empty()) else {
        return Err(
            Error::new("root.path: missing").hint("name the folder with the container's files, such as \"rootfs\"")
        );
    };
    let path: PathBuf = bundle.join(&root.path);
    let found = std::fs::metadata(&path).context(|| format!("root.path: stat {path:?}")).map_err(|error| {
        error.hint("put the container's files there, or correct root.path (it is relative to the bundle)")
    })?;
    if !found.is_dir() {
        bail!("root.path: {path:?} is not a folder");
    }
    Ok(())
}

/// Without a mount namespace every mount of the container would be the host's, and so would the change of root.
fn check_mount_namespace(namespaces: &Namespaces) -> Result<()> {
    if namespaces.separate(NamespaceKind::Mount) {
        return Ok(());
    }
    Err(Error::new("linux.namespaces: without a mount namespace the container's mounts would change the host's")
        .hint("add {\"type\": \"mount\"} to linux.namespaces"))
}

fn check_uts(spec: &spec::Spec, namespaces: &Namespaces) -> Result<()> {
    for (field, name) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { continue };
        if !namespaces.separate(NamespaceKind::Uts) {
            return Err(Error::new(format!("{field}: without a uts namespace this would change the host's"))
                .hint(format!("add {{\"type\": \"uts\"}} to linux.namespaces, or remove {field}")));
        }
        if name.len() > LONGEST_HOSTNAME {
            bail!("{field}: {name:?} is longer than {LONGEST_HOSTNAME} bytes");
        }
    }
    Ok(())
}

/// The path is joined to a cgroup hierarchy, so it may not climb out of one. Its other forms (`slice:prefix:name`)
/// depend on the manager, which the cgroup room knows.
fn check_cgroups_path(path: Option<&str>) -> Result<()> {
    let path = path.unwrap_or_default();
    if path.split('/').any(|part| part == "..") {
        bail!("linux.cgroupsPath: {path:?} climbs out of the hierarchy with \"..\"");
    }
    if path.contains(['\0', '\n']) {
        bail!("linux.cgroupsPath: {path:?} holds a letter that no cgroup can have");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The smallest config.json, with `more` merged over it.
    fn plan(more: serde_json::Value) -> Result<Plan> {
        let mut config = serde_json::json!({
            "ociVersion": "1.3.0",
            "root": {"path": "usr"},
            "process": {"args": ["sh"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}, {"type": "uts"}]},
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            config[key] = value.clone();
        }
        Plan::new(serde_json::from_value(config).unwrap(), Path::new("/"))
    }

    #[test]
    fn the_smallest_is_taken() {
        let plan = plan(serde_json::json!({"hostname": "h", "domainname": ""})).unwrap();
        assert_eq!(plan.rootfs.path, Path::new("/usr"));
        assert_eq!(plan.hostname.as_deref(), Some("h"));
        assert_eq!(plan.domainname, None);
        assert!(plan.warnings.is_empty());
    }

    #[test]
    fn refusals_name_the_field() {
        let mount = serde_json::json!([{"type": "mount"}]);
        for (more, words) in [
            (serde_json::json!({"process": null}), "process: missing"),
            (serde_json::json!({"root": null}), "root.path: missing"),
            (serde_json::json!({"root": {"path": ""}}), "root.path: missing"),
            (
                serde_json::json!({"root": {"path": "nowhere"}}),
                "root.path: stat \"/nowhere\": no such file or directory",
            ),
            (serde_json::json!({"root": {"path": "etc/passwd"}}), "root.path: \"/etc/passwd\" is not a folder"),
            (serde_json::json!({"linux": {}}), "linux.namespaces: without a mount namespace"),
            (serde_json::json!({"hostname": "h", "linux": {"namespaces": mount}}), "hostname: without a uts namespace"),
            (
                serde_json::json!({"domainname": "d", "linux": {"namespaces": mount}}),
                "domainname: without a uts namespace",
            ),
            (serde_json::json!({"hostname": "x".repeat(65)}), "hostname: "),
            (serde_json::json!({"linux": {"namespaces": mount, "cgroupsPath": "/a/../../b"}}), "linux.cgroupsPath: "),
            (serde_json::json!({"hooks": {"prestart": [{"path": "x"}]}}), "hooks.prestart[0].path: "),
            (
                serde_json::json!({"linux": {"namespaces": mount, "intelRdt": {"closID": ".."}}}),
                "linux.intelRdt.closID: ",
            ),
            (serde_json::json!({"linux": {"namespaces": mount, "sysctl": {"net.x.y": "1"}}}), "linux.sysctl.net.x.y: "),
            (serde_json::json!({"linux": {"namespaces": mount, "netDevices": {"eth0": {}}}}), "linux.netDevices: "),
            (serde_json::json!({"process": {"cwd": "/"}}), "process.args: "),
        ] {
            let error = plan(more.clone()).unwrap_err().to_string();
            assert!(error.starts_with(words), "{more} gave {error:?}");
        }
    }
}
