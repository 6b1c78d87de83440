//! Forwarding of the host's own devices: answers come in by them, so the kernel must forward what they bring.
//!
//! Where it did not, it is switched on for the devices of the default routes alone, and off again with the last private
//! network. Which devices these are stands in a file that all runs share, written before the kernel is told; its folder is
//! locked while a network is made or removed.

use std::os::fd::OwnedFd;

use rustix::fs::{CWD, FlockOperation, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::sys::procfs::ProcFs;

/// Gone with the machine's run, as the settings are.
const FOLDER: &str = "/run/myrt-network";
const FILE: &str = "forwarding.json";

/// A device that was switched on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Switched {
    /// Of which network namespace: its inode number.
    namespace: u64,
    /// Its name.
    device: String,
}

/// The file, locked.
#[derive(Debug)]
pub(super) struct Forwarding {
    folder: OwnedFd,
    namespace: u64,
    all: Vec<Switched>,
}

impl Forwarding {
    /// Waits for the lock and reads the file.
    ///
    /// # Errors
    /// Where the folder is not root's alone, or the file is broken.
    pub(super) fn lock() -> Result<Self> {
        let what = || format!("use {FOLDER:?}");
        match rustix::fs::mkdirat(CWD, FOLDER, Mode::from(0o700)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).context(what),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = rustix::fs::openat(CWD, FOLDER, flags, Mode::empty()).context(what)?;
        let found = rustix::fs::fstat(&folder).context(what)?;
        if found.st_uid != rustix::process::geteuid().as_raw() || found.st_mode & 0o022 != 0 {
            return Err(Error::new(format!("{FOLDER:?} is not yours alone")).hint("remove it"));
        }
        rustix::io::retry_on_intr(|| rustix::fs::flock(&folder, FlockOperation::LockExclusive)).context(what)?;
        let namespace = rustix::fs::stat("/proc/self/ns/net").context(|| "look at the network namespace")?.st_ino;
        let all = match rustix::fs::openat(&folder, FILE, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => Vec::new(),
            file => {
                let mut text = Vec::new();
                let mut file = std::fs::File::from(file.context(what)?);
                std::io::Read::read_to_end(&mut file, &mut text).context(what)?;
                serde_json::from_slice(&text)
                    .map_err(|error| Error::new(format!("{FOLDER}/{FILE}: {error}")).hint("remove this file"))?
            }
        };
        Ok(Self { folder, namespace, all })
    }

    /// Sees to it that what a device brings is forwarded.
    ///
    /// # Errors
    /// Where it cannot be written down or switched on.
    pub(super) fn switch_on(&mut self, proc: &ProcFs, device: &str) -> Result<()> {
        let file = setting(device);
        let now = proc.read(&file).context(|| format!("read /proc/{file}"))?;
        if now.starts_with(b"0") {
            if !self.is_ours(device) {
                self.all.push(Switched { namespace: self.namespace, device: device.to_owned() });
                self.save()?;
            }
            proc.write(&file, b"1").context(|| format!("write \"1\" to /proc/{file}"))?;
        }
        Ok(())
    }

    /// Whether a device forwards for our sake alone.
    pub(super) fn is_ours(&self, device: &str) -> bool {
        self.all.iter().any(|one| one.namespace == self.namespace && one.device == device)
    }

    /// Switches off what was switched on. A device that is gone is fine.
    ///
    /// # Errors
    /// Where one stays on.
    pub(super) fn restore(&mut self, proc: &ProcFs) -> Result<()> {
        let (ours, others) = std::mem::take(&mut self.all).into_iter().partition(|one| one.namespace == self.namespace);
        let ours: Vec<Switched> = ours;
        self.all = others;
        if ours.is_empty() {
            return Ok(());
        }
        for one in &ours {
            let file = setting(&one.device);
            match proc.write(&file, b"0") {
                Err(Errno::NOENT) => {}
                other => other.context(|| format!("write \"0\" to /proc/{file}"))?,
            }
        }
        self.save()
    }

    fn save(&self) -> Result<()> {
        let what = || format!("write {FOLDER}/{FILE}");
        let text = serde_json::to_vec(&self.all).map_err(|error| Error::new(format!("{}: {error}", what())))?;
        let next = "next";
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.folder, next, flags, Mode::from(0o600)).context(what)?;
        if rustix::io::write(&file, &text).context(what)? != text.len() {
            return Err(Error::new(what()).hint("/run is full"));
        }
        rustix::fs::renameat(&self.folder, next, &self.folder, FILE).context(what)
    }
}

fn setting(device: &str) -> String {
    format!("sys/net/ipv4/conf/{device}/forwarding")
}
