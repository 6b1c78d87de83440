//! AppArmor profile and SELinux label of the program: written now, in force from the exec on.
//!
//! Both go through the host's /proc by a verified descriptor: a container that mounts over its own /proc, or shares one
//! that somebody mounts over, would otherwise run unconfined (CVE-2019-16884, CVE-2025-52881).

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::procfs::ProcFs;

/// Enters an AppArmor profile at the exec. Whether the host has AppArmor is asked from the host's /proc alone: /sys is the
/// container's by now, and often missing.
///
/// # Errors
/// Where the kernel has no AppArmor, or not this profile.
pub fn apparmor(profile: Option<&str>, proc: &ProcFs) -> Result<()> {
    let Some(profile) = profile.filter(|profile| !profile.is_empty()) else { return Ok(()) };
    // The first file exists since Linux 5.8; the second belongs to whichever security module comes first.
    let file = match proc.openat("thread-self/attr/apparmor/exec", OFlags::WRONLY) {
        Err(Errno::NOENT) => proc.openat("thread-self/attr/exec", OFlags::WRONLY),
        other => other,
    };
    let written = match file {
        Err(Errno::NOENT) => Err(Errno::INVAL),
        Err(errno) => Err(errno),
        Ok(file) => rustix::io::write(&file, format!("exec {profile}").as_bytes()),
    };
    match written {
        Ok(_) => Ok(()),
        // No security module took the text. Nothing confines the process, which is what is asked for.
        Err(Errno::INVAL) if profile == "unconfined" => Ok(()),
        Err(errno) => {
            let error = Error::call(format!("process.apparmorProfile: enter {profile:?}"), errno);
            Err(match errno {
                Errno::NOENT => {
                    error.hint("the profile is not loaded: apparmor_parser -r FILE; `aa-status` lists those that are")
                }
                Errno::INVAL => {
                    error.hint("AppArmor is not enabled on this host: leave the field out, or boot with apparmor=1")
                }
                _ => error,
            })
        }
    }
}

/// Sets the SELinux label of the exec.
///
/// # Errors
/// Where the kernel has no SELinux, or refuses the label.
pub fn selinux(label: Option<&str>, proc: &ProcFs) -> Result<()> {
    let Some(label) = label.filter(|label| !label.is_empty()) else { return Ok(()) };
    proc.write("thread-self/attr/exec", label.as_bytes()).map_err(|errno| {
        Error::call(format!("process.selinuxLabel: set {label:?}"), errno)
            .hint("this needs a host with SELinux, and a label that its policy knows")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_asks_for_nothing_and_a_missing_profile_is_named() {
        let proc = ProcFs::open().unwrap();
        apparmor(None, &proc).unwrap();
        apparmor(Some(""), &proc).unwrap();
        selinux(None, &proc).unwrap();
        let error = apparmor(Some("no-such-profile-of-myrt"), &proc).unwrap_err();
        assert!(error.to_string().starts_with("process.apparmorProfile:"), "{error}");
        assert!(error.remedy().is_some());
    }
}
