//! The config.json that a test begins with: what a container manager would write for an ordinary container.

use serde_json::{Value, json};

/// A container of its own in five namespaces, with the usual capabilities, mounts and masks.
pub fn default(cgroups_path: &str, marker: &str) -> Value {
    let caps = json!([
        "CAP_AUDIT_WRITE",
        "CAP_CHOWN",
        "CAP_DAC_OVERRIDE",
        "CAP_FOWNER",
        "CAP_FSETID",
        "CAP_KILL",
        "CAP_MKNOD",
        "CAP_NET_BIND_SERVICE",
        "CAP_NET_RAW",
        "CAP_SETFCAP",
        "CAP_SETGID",
        "CAP_SETPCAP",
        "CAP_SETUID",
        "CAP_SYS_CHROOT"
    ]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["true"],
            "env": ["PATH=/bin", marker],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "hostname": "box",
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
              "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
            { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
              "options": ["nosuid", "noexec", "nodev"] },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] },
        ],
        "linux": {
            "cgroupsPath": cgroups_path,
            "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" }, { "type": "mount" },
            ],
            "maskedPaths": ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    })
}

/// Edits that many tests make.
pub trait Edit {
    /// Adds one mount at the end.
    fn mount(&mut self, mount: Value);
    /// Makes this kind of namespace a new one.
    fn namespace(&mut self, kind: &str);
    /// Joins the namespace of this kind at `path`.
    fn join(&mut self, kind: &str, path: &str);
    /// Shares this kind of namespace with the caller.
    fn share(&mut self, kind: &str);
    /// Adds a new user namespace with ids 0 to `size` on `host` and above.
    fn user_namespace(&mut self, host: u32, size: u32);
    /// The capabilities of all sets but ambient and inheritable.
    fn capabilities(&mut self, caps: &[&str]);
}

impl Edit for Value {
    fn mount(&mut self, mount: Value) {
        self["mounts"].as_array_mut().unwrap().push(mount);
    }

    fn namespace(&mut self, kind: &str) {
        self.share(kind);
        self["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": kind }));
    }

    fn join(&mut self, kind: &str, path: &str) {
        self.share(kind);
        self["linux"]["namespaces"].as_array_mut().unwrap().push(json!({ "type": kind, "path": path }));
    }

    fn share(&mut self, kind: &str) {
        self["linux"]["namespaces"].as_array_mut().unwrap().retain(|namespace| namespace["type"] != kind);
    }

    fn user_namespace(&mut self, host: u32, size: u32) {
        self.namespace("user");
        let map = json!([{ "containerID": 0, "hostID": host, "size": size }]);
        self["linux"]["uidMappings"] = map.clone();
        self["linux"]["gidMappings"] = map;
    }

    fn capabilities(&mut self, caps: &[&str]) {
        self["process"]["capabilities"] = json!({ "bounding": caps, "effective": caps, "permitted": caps });
    }
}
