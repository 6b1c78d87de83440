//! Being told when the kernel kills a container's process for want of memory.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::event::EventfdFlags;
use rustix::fs::inotify::{CreateFlags, WatchFlags};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use super::file;
use super::record::Record;
use crate::error::{Context, Error, Result};

/// A source of such news: poll the descriptor for reading, then ask [`OomEvents::read`].
#[derive(Debug)]
pub struct OomEvents {
    fd: OwnedFd,
    folder: PathBuf,
    /// On v2 the count of kills that are known already; absent on v1, where each event is one.
    known: Option<u64>,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oom {
    /// Something else changed.
    Nothing,
    /// Memory ran out, this many times since the last question.
    Happened(u64),
    /// The cgroup is empty or gone: nothing more will come.
    Gone,
}

impl OomEvents {
    /// Begins to listen.
    pub(super) fn open(record: &Record) -> Result<Self> {
        match (record.v1("memory"), record.v2()) {
            (Some(tree), _) => Self::open_v1(tree.folder()),
            (None, Some(tree)) => Self::open_v2(tree.folder()),
            (None, None) => Err(Error::new("the container has no memory cgroup to watch")),
        }
    }

    /// An eventfd, registered with the memory controller (the kernel's cgroup-v1/memory.rst).
    fn open_v1(folder: PathBuf) -> Result<Self> {
        let what = || format!("watch {}/memory.oom_control", folder.display());
        let fd = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).context(what)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let control = rustix::fs::openat(CWD, folder.join("memory.oom_control"), flags, Mode::empty()).context(what)?;
        let line = format!("{} {}", fd.as_raw_fd(), control.as_raw_fd());
        file::write(&folder, "cgroup.event_control", &line).context(what)?;
        Ok(Self { fd, folder, known: None })
    }

    fn open_v2(folder: PathBuf) -> Result<Self> {
        let what = || format!("watch {}/memory.events", folder.display());
        let fd = rustix::fs::inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context(what)?;
        // Without the memory controller there is no such file, and never any news from it.
        match rustix::fs::inotify::add_watch(&fd, folder.join("memory.events"), WatchFlags::MODIFY) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno).context(what),
        }
        rustix::fs::inotify::add_watch(&fd, folder.join("cgroup.events"), WatchFlags::MODIFY).context(what)?;
        let known = Some(kills(&folder));
        Ok(Self { fd, folder, known })
    }

    /// Takes what the descriptor has and says what it means. Does not block.
    ///
    /// # Errors
    /// Where the descriptor cannot be read.
    pub fn read(&mut self) -> Result<Oom> {
        let mut events = [0u8; 4096];
        let count = match rustix::io::read(&self.fd, &mut events) {
            Ok(_) if self.known.is_none() => u64::from_ne_bytes(events[..8].try_into().unwrap_or_default()),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(errno) => return Err(errno).context(|| "read events of the memory cgroup"),
        };
        let Some(known) = self.known else {
            // The kernel signals the eventfd once more when the cgroup is removed: its files go before that, its folder
            // may still be there.
            return Ok(match count {
                _ if !file::exists(&self.folder.join("memory.oom_control")) => Oom::Gone,
                0 => Oom::Nothing,
                count => Oom::Happened(count),
            });
        };
        let now = kills(&self.folder).max(known);
        self.known = Some(now);
        if now > known {
            return Ok(Oom::Happened(now - known));
        }
        let populated = file::read(&self.folder, "cgroup.events").unwrap_or_default().contains("populated 1");
        Ok(if populated { Oom::Nothing } else { Oom::Gone })
    }
}

impl AsFd for OomEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// How many processes were killed so far for want of memory; none where nothing counts them.
pub(super) fn kills_of(record: &Record) -> u64 {
    match (record.v1("memory"), record.v2()) {
        (Some(tree), _) => count(&tree.folder(), "memory.oom_control"),
        (None, Some(tree)) => kills(&tree.folder()),
        (None, None) => 0,
    }
}

fn kills(folder: &std::path::Path) -> u64 {
    count(folder, "memory.events")
}

fn count(folder: &std::path::Path, name: &str) -> u64 {
    let text = file::read(folder, name).unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.and_then(|count| count.parse().ok()).unwrap_or(0)
}
