//! `root`, `linux.devices`, `linux.maskedPaths`, `linux.readonlyPaths`, `linux.rootfsPropagation`: with `mounts`, all
//! that makes the container's filesystem.

use std::path::{Path, PathBuf};

use rustix::mount::MountPropagationFlags;

use super::mounts::{self, clean};
use super::{Device, DeviceKind, Rootfs, spec};
use crate::bail;
use crate::error::{Error, Result};

/// The devices that every container has (config-linux.md, "Default Devices"): name, major, minor. /dev/console comes
/// with a terminal, /dev/ptmx is a link.
const DEFAULT_DEVICES: [(&str, u32, u32); 6] = [
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Read and write for all, which also is what a device of config.json has that names no mode.
const DEFAULT_MODE: u32 = 0o666;

/// The kernel's device numbers have 12 and 20 bits (linux/kdev_t.h).
const HIGHEST_MAJOR: u32 = (1 << 12) - 1;
const HIGHEST_MINOR: u32 = (1 << 20) - 1;

impl Rootfs {
    /// Checks and resolves everything that config.json says about the filesystem.
    ///
    /// # Errors
    /// Names the field that is missing, contradicts another, or cannot be.
    pub fn new(spec: &spec::Spec, bundle: &Path, warnings: &mut Vec<String>) -> Result<Self> {
        let Some(root) = spec.root.as_ref().filter(|root| !root.path.is_empty()) else {
            return Err(Error::new("root.path: missing").hint("name the folder with the container's files"));
        };
        let linux = &spec.linux;
        let user_namespace = linux.namespaces.iter().any(|namespace| namespace.r#type == "user");
        Ok(Self {
            path: clean(&bundle.join(&root.path)),
            overlay: None,
            readonly: root.readonly,
            propagation: propagation(linux.rootfs_propagation.as_deref().unwrap_or_default())?,
            mounts: mounts::resolve(&spec.mounts, bundle, user_namespace, warnings)?,
            devices: devices(&linux.devices)?,
            masked_paths: paths(&linux.masked_paths, "linux.maskedPaths")?,
            readonly_paths: paths(&linux.readonly_paths, "linux.readonlyPaths")?,
            read_only_trees: Vec::new(),
            machine_read_only: false,
            mount_label: linux.mount_label.clone().filter(|label| !label.is_empty()),
        })
    }
}

fn propagation(name: &str) -> Result<MountPropagationFlags> {
    if name.is_empty() {
        return Ok(MountPropagationFlags::PRIVATE | MountPropagationFlags::REC);
    }
    mounts::propagation(name).ok_or_else(|| {
        Error::new(format!("linux.rootfsPropagation: {name:?} is unknown"))
            .hint("one of private, slave, shared, unbindable, each also with an r before it")
    })
}

fn paths(paths: &[String], field: &str) -> Result<Vec<PathBuf>> {
    let one = |(index, path): (usize, &String)| match path.starts_with('/') && !path.contains('\0') {
        true => Ok(PathBuf::from(path)),
        false => bail!("{field}[{index}]: {path:?} is not an absolute path"),
    };
    paths.iter().enumerate().map(one).collect()
}

/// The default devices, each unless the bundle says something else of its path, and then the bundle's own.
fn devices(own: &[spec::Device]) -> Result<Vec<Device>> {
    let own = own.iter().enumerate().map(|(index, found)| device(found, index));
    let own = own.collect::<Result<Vec<_>>>()?;
    let standard = DEFAULT_DEVICES.iter().map(|&(path, major, minor)| Device {
        path: path.into(),
        kind: DeviceKind::Char,
        major,
        minor,
        mode: DEFAULT_MODE,
        uid: 0,
        gid: 0,
    });
    let mut all: Vec<Device> = standard.filter(|device| own.iter().all(|other| other.path != device.path)).collect();
    all.extend(own);
    Ok(all)
}

fn device(device: &spec::Device, index: usize) -> Result<Device> {
    if !device.path.starts_with('/') || device.path.contains('\0') {
        bail!("linux.devices[{index}].path: {:?} is not an absolute path", device.path);
    }
    let kind = match device.r#type.as_str() {
        "c" | "u" => DeviceKind::Char,
        "b" => DeviceKind::Block,
        "p" => DeviceKind::Fifo,
        other => {
            return Err(
                Error::new(format!("linux.devices[{index}].type: {other:?} is unknown")).hint("one of c, u, b and p")
            );
        }
    };
    let number = |field, value: Option<i64>, highest: u32| match value {
        // A pipe has no numbers, whatever is written there.
        _ if kind == DeviceKind::Fifo => Ok(0),
        None => bail!("linux.devices[{index}].{field}: missing"),
        Some(value) => match u32::try_from(value).ok().filter(|value| *value <= highest) {
            Some(value) => Ok(value),
            None => bail!("linux.devices[{index}].{field}: {value} is not between 0 and {highest}"),
        },
    };
    Ok(Device {
        path: clean(Path::new(&device.path)),
        kind,
        major: number("major", device.major, HIGHEST_MAJOR)?,
        minor: number("minor", device.minor, HIGHEST_MINOR)?,
        // Some callers leave the file type in the mode.
        mode: device.file_mode.unwrap_or(DEFAULT_MODE) & 0o7777,
        uid: device.uid.unwrap_or(0),
        gid: device.gid.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rootfs(json: &str) -> Result<Rootfs> {
        let linux = serde_json::from_str(json).unwrap();
        let root = Some(spec::Root { path: "rootfs".into(), readonly: true });
        Rootfs::new(&spec::Spec { root, linux, ..Default::default() }, Path::new("/bundle"), &mut Vec::new())
    }

    #[track_caller]
    fn refused(json: &str, field: &str) {
        let message = rootfs(json).unwrap_err().to_string();
        assert!(message.starts_with(field), "{message}");
    }

    #[test]
    fn silence_means_the_default_devices_and_a_private_tree() {
        let rootfs = rootfs("{}").unwrap();
        assert_eq!(rootfs.path, Path::new("/bundle/rootfs"));
        assert_eq!(rootfs.devices.len(), 6);
        assert_eq!(rootfs.propagation, MountPropagationFlags::PRIVATE | MountPropagationFlags::REC);
    }

    #[test]
    fn a_device_of_the_bundle_replaces_a_default_one() {
        let json = r#"{"devices":[{"path":"/dev/./null","type":"c","major":1,"minor":3,"fileMode":8624,"gid":7}]}"#;
        let devices = rootfs(json).unwrap().devices;
        assert_eq!(devices.len(), 6);
        assert_eq!((devices[5].mode, devices[5].gid), (0o660, 7));
    }

    #[test]
    fn a_device_that_cannot_be_is_refused() {
        refused(r#"{"devices":[{"path":"dev/x","type":"c","major":1,"minor":1}]}"#, "linux.devices[0].path");
        refused(r#"{"devices":[{"path":"/dev/x","type":"d"}]}"#, "linux.devices[0].type");
        refused(r#"{"devices":[{"path":"/dev/x","type":"b","minor":1}]}"#, "linux.devices[0].major");
        refused(r#"{"devices":[{"path":"/dev/x","type":"b","major":1,"minor":-1}]}"#, "linux.devices[0].minor");
        assert!(rootfs(r#"{"devices":[{"path":"/dev/x","type":"p"}]}"#).is_ok());
    }

    #[test]
    fn names_and_paths_are_checked() {
        refused(r#"{"rootfsPropagation":"ro"}"#, "linux.rootfsPropagation");
        refused(r#"{"maskedPaths":["/proc/kcore","proc"]}"#, "linux.maskedPaths[1]");
        refused(r#"{"readonlyPaths":[""]}"#, "linux.readonlyPaths[0]");
    }
}
