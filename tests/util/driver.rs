//! The cgroup driver of a container: cgroupfs, or that of systemd, where it is a scope named `test-ID.scope`. The suite runs
//! with the first; `MYRT_TEST_DRIVER=systemd` asks for the second.

use std::path::PathBuf;

use rustix::process::geteuid;

/// Whether the suite's containers are scopes of systemd.
pub fn is_systemd() -> bool {
    match std::env::var("MYRT_TEST_DRIVER").as_deref() {
        Ok("systemd") => true,
        Ok("cgroupfs") | Err(_) => false,
        Ok(other) => panic!("MYRT_TEST_DRIVER is {other:?}; it is systemd or cgroupfs"),
    }
}

/// A driver, and whose.
#[derive(Clone, Copy, Debug)]
pub struct Driver {
    /// Whether containers are scopes.
    pub systemd: bool,
    /// The user whose manager makes them; that of the system is root's.
    pub uid: u32,
}

impl Driver {
    /// What the suite asks for.
    pub fn of_the_suite() -> Self {
        Self { systemd: is_systemd(), uid: geteuid().as_raw() }
    }

    /// The runtime's global flags.
    pub fn flags(self) -> &'static [&'static str] {
        if self.systemd { &["--systemd-cgroup"] } else { &[] }
    }

    /// `linux.cgroupsPath` of a container.
    pub fn cgroups_path(self, id: &str) -> String {
        if self.systemd { format!("{}:test:{id}", self.slice()) } else { format!("/myrt-test/{id}") }
    }

    /// The container's cgroup, below the root of a hierarchy.
    pub fn cgroup(self, id: &str) -> String {
        if self.systemd {
            format!("{}/{}/test-{id}.scope", self.manager(), self.slice())
        } else {
            format!("/myrt-test/{id}")
        }
    }

    /// systemd's file of the container's unit, which is there as long as systemd knows it.
    pub fn unit_file(self, id: &str) -> PathBuf {
        let run = if self.uid == 0 { "/run/systemd".to_owned() } else { format!("/run/user/{}/systemd", self.uid) };
        PathBuf::from(format!("{run}/transient/test-{id}.scope"))
    }

    /// The cgroup of the service manager.
    fn manager(self) -> String {
        let uid = self.uid;
        if uid == 0 { String::new() } else { format!("/user.slice/user-{uid}.slice/user@{uid}.service") }
    }

    /// A slice that is always there, or that the manager of a user keeps, so that a test leaves none behind.
    fn slice(self) -> &'static str {
        if self.uid == 0 { "system.slice" } else { "user.slice" }
    }
}
