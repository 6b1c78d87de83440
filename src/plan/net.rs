//! `linux.netDevices`: names that the kernel will take, and a network namespace to move the devices into.

use std::collections::BTreeMap;

use super::{NamespaceKind, Namespaces, NetDevice, spec};
use crate::bail;
use crate::error::{Error, Result};

/// Longest name of a network device, without the final zero byte (IFNAMSIZ).
const LONGEST: usize = 15;

/// Checks the devices that move into the container, in the order of their names on the host.
///
/// # Errors
/// Names the field: no network namespace, a name that the kernel refuses, two devices with one name inside.
pub(super) fn resolve(devices: &BTreeMap<String, spec::NetDevice>, namespaces: &Namespaces) -> Result<Vec<NetDevice>> {
    if devices.is_empty() {
        return Ok(Vec::new());
    }
    if !namespaces.separate(NamespaceKind::Network) {
        return Err(Error::new("linux.netDevices: devices need a network namespace to move into")
            .hint("add {\"type\": \"network\"} to linux.namespaces, or remove the devices"));
    }
    let mut resolved: Vec<NetDevice> = Vec::with_capacity(devices.len());
    for (host_name, device) in devices {
        check_name(host_name, &format!("linux.netDevices.{host_name}"))?;
        let name = if device.name.is_empty() { host_name } else { &device.name };
        check_name(name, &format!("linux.netDevices.{host_name}.name"))?;
        if let Some(other) = resolved.iter().find(|other| other.name == *name) {
            bail!("linux.netDevices.{host_name}.name: {name:?} is also the name of {:?} inside", other.host_name);
        }
        resolved.push(NetDevice { host_name: host_name.clone(), name: name.clone() });
    }
    Ok(resolved)
}

/// The kernel's rule (dev_valid_name), and no `%`, which would make the kernel choose a number.
fn check_name(name: &str, field: &str) -> Result<()> {
    let forbidden = |letter: char| letter == '/' || letter == ':' || letter == '%' || letter.is_whitespace();
    let control = |letter: char| letter.is_control();
    if matches!(name, "" | "." | "..") || name.len() > LONGEST || name.contains(forbidden) || name.contains(control) {
        return Err(Error::new(format!("{field}: {name:?} is not a valid name of a network device"))
            .hint("a name has 1 to 15 bytes, without '/', ':', '%' and spaces"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve_json(json: &str, kinds: &[NamespaceKind]) -> Result<Vec<NetDevice>> {
        let namespaces = Namespaces { new: kinds.to_vec(), ..Namespaces::default() };
        resolve(&serde_json::from_str(json).unwrap(), &namespaces)
    }

    #[test]
    fn names_are_kept_or_changed() {
        let devices = resolve_json(r#"{"eth0": {}, "eth1": {"name": "lan"}}"#, &[NamespaceKind::Network]).unwrap();
        let names: Vec<_> = devices.iter().map(|device| (&*device.host_name, &*device.name)).collect();
        assert_eq!(names, [("eth0", "eth0"), ("eth1", "lan")]);
    }

    #[test]
    fn refusals_name_the_field() {
        assert!(resolve_json(r#"{"eth0": {}}"#, &[]).unwrap_err().to_string().starts_with("linux.netDevices: "));
        for (json, words) in [
            (r#"{"sixteen-letters!": {}}"#, "linux.netDevices.sixteen-letters!: "),
            (r#"{"a": {"name": "b c"}}"#, "linux.netDevices.a.name: \"b c\""),
            (r#"{"a": {"name": ".."}}"#, "linux.netDevices.a.name: "),
            (r#"{"a": {"name": "eth%d"}}"#, "linux.netDevices.a.name: "),
            (r#"{"a": {"name": "b"}, "b": {}}"#, "linux.netDevices.b.name: \"b\" is also the name of \"a\" inside"),
        ] {
            let error = resolve_json(json, &[NamespaceKind::Network]).unwrap_err().to_string();
            assert!(error.starts_with(words), "{json} gave {error:?}");
        }
    }
}
