//! AppArmor profile and SELinux label of the program: written now, in force from the exec on.
//!
//! Both go through the host's /proc by a verified descriptor: a container that mounts over its own /proc, or shares one
//! that somebody mounts over, would otherwise run unconfined (CVE-2019-16884, CVE-2025-52881).

use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::procfs::ProcFs;

/// Enters an AppArmor profile at the exec.
///
/// # Errors
/// Where the kernel has no AppArmor, or not this profile.
pub fn apparmor(profile: Option<&str>, proc: &ProcFs) -> Result<()> {
    let Some(profile) = profile.filter(|profile| !profile.is_empty()) else { return Ok(()) };
    let enabled = std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.starts_with(b"Y"));
    if !enabled {
        if profile == "unconfined" {
            return Ok(());
        }
        return Err(Error::new(format!("process.apparmorProfile: {profile:?}: AppArmor is not enabled on this host"))
            .hint("leave the field out, or boot with apparmor=1 security=apparmor"));
    }
    let command = format!("exec {profile}");
    // The first file exists since Linux 5.8; the second belongs to whichever security module comes first.
    let written = match proc.write("self/attr/apparmor/exec", command.as_bytes()) {
        Err(Errno::NOENT) => proc.write("self/attr/exec", command.as_bytes()),
        other => other,
    };
    written.map_err(|errno| {
        let error = Error::call(format!("process.apparmorProfile: enter {profile:?}"), errno);
        match errno {
            Errno::NOENT => {
                error.hint("the profile is not loaded: apparmor_parser -r FILE; `aa-status` lists those that are")
            }
            _ => error,
        }
    })
}

/// Sets the SELinux label of the exec.
///
/// # Errors
/// Where the kernel has no SELinux, or refuses the label.
pub fn selinux(label: Option<&str>, proc: &ProcFs) -> Result<()> {
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(()) };
    proc.write("self/attr/exec", label.as_bytes()).map_err(|errno| {
        Error::call(format!("process.selinuxLabel: set {label:?}"), errno)
            .hint("this needs a host with SELinux, and a label that its policy knows")
    })
}
