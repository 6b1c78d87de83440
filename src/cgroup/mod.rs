//! Cgroups of a container: made, limited, entered, watched, frozen, killed and removed, on v2, v1 and hybrid hosts.
//!
//! The life of one: [`Record::plan`] decides where it will be and touches nothing, so that the state file can say so first;
//! [`Cgroup::create`] makes it; the child is cloned into it ([`Cgroup::clone_target`]) or goes there by itself
//! ([`Cgroup::enter`]); with systemd the parent has it made around the child ([`Cgroup::adopt`]). Every later command opens
//! it again from the record. What is missing at removal is fine.
//!
//! Not here: intelRdt (resctrl is no cgroup), mounting /sys/fs/cgroup inside (`rootfs`, from a [`View`]).

mod devices;
mod events;
mod file;
mod host;
mod layout;
mod limits;
mod make;
mod path;
mod procs;
mod record;
mod remove;
mod stats;
mod systemd;
#[cfg(test)]
mod tests;
mod tree;
mod view;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Gid, Pid, Signal, Uid};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::spec::Resources;

pub use self::events::{Oom, OomEvents};
pub use self::host::{Host, driver_of_user, host};
pub use self::layout::Kind;
pub use self::record::{Driver, OF_BOXES, Record, Request, Tree};
pub use self::remove::remove_record;
pub use self::stats::{NetworkInterface, Stats};
pub use self::view::{View, ViewTree};

/// A container's cgroups.
#[derive(Debug)]
pub struct Cgroup {
    record: Record,
    /// The folder of the v2 tree.
    target: Option<OwnedFd>,
    /// Files that a child writes to move itself, opened with the parent's rights.
    gates: Vec<Gate>,
    warnings: Vec<String>,
}

/// A way into one hierarchy.
#[derive(Debug)]
struct Gate {
    file: OwnedFd,
    folder: PathBuf,
    v2: bool,
}

impl Cgroup {
    /// Makes the cgroups of a record, with their limits and device rules; what was made goes away again on failure. With
    /// the systemd driver nothing is made yet, only checked: [`Cgroup::adopt`] follows. An ordinary user without the right
    /// to make any gets a container without; where a cgroup or a limit was asked for, there is one warning, which names it.
    ///
    /// # Errors
    /// Where a limit cannot be had, or the cgroup is another's.
    pub fn create(record: &Record, resources: &Resources) -> Result<Self> {
        let mut this = Self { record: record.clone(), target: None, gates: Vec::new(), warnings: Vec::new() };
        let mut writes = limits::writes(resources, record)?;
        let rules = devices::Rules::read(&resources.devices)?;
        this.warnings.append(&mut writes.warnings);
        match record.driver {
            Driver::Disabled if record.rootless => {
                this.warnings
                    .extend(writes.matters().map(|field| format!("{field} is not set: there is no cgroup for it")));
            }
            Driver::Disabled => make::refuse_limit(writes.matters(), record)?,
            Driver::Systemd => systemd::check(record, resources)?,
            Driver::Cgroupfs => {
                let mut made = make::Made::default();
                let refused = this.make(&mut made)?;
                match refused {
                    Some(refused) if this.record.trees.is_empty() => {
                        let lost = writes.matters();
                        // Who asked for nothing has lost nothing: an engine would show the warning to its user.
                        if record.named || lost.is_some() {
                            this.warnings.push(make::run_without(lost, &refused));
                        }
                        return Ok(this);
                    }
                    Some(_) => writes = limits::writes(resources, &this.record)?,
                    None => {}
                }
                this.impose(&writes)?;
                this.open_doors()?;
                rules.apply(&this.record, this.clone_target(), true)?;
                made.keep();
            }
        }
        Ok(this)
    }

    /// Makes the folders. Hierarchies that an ordinary user may not write to are left out; the first refusal is given back.
    fn make(&mut self, made: &mut make::Made) -> Result<Option<Error>> {
        let mut refused = None;
        let mut kept = Vec::new();
        for tree in std::mem::take(&mut self.record.trees) {
            match make::folder(&tree, made) {
                Ok(()) => {
                    if tree.is_v2() {
                        make::controllers(&tree);
                    }
                    kept.push(tree);
                }
                Err(error)
                    if self.record.rootless
                        && matches!(error.errno(), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS)) =>
                {
                    refused.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        self.record.trees = kept;
        Ok(refused)
    }

    fn impose(&self, writes: &limits::Writes) -> Result<()> {
        writes.apply(self.record.rootless, || self.record.v2().into_iter().for_each(make::wait_for_controllers))
    }

    /// Opens what a child enters by.
    fn open_doors(&mut self) -> Result<()> {
        for tree in &self.record.trees {
            let folder = tree.folder();
            if tree.is_v2() {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let fd = rustix::fs::openat(CWD, &folder, flags, Mode::empty());
                self.target = Some(fd.context(|| format!("open the cgroup {}", folder.display()))?);
            } else {
                let file = file::open_for_writing(&folder, "tasks");
                let file = file.context(|| format!("open {}/tasks", folder.display()))?;
                self.gates.push(Gate { file, folder, v2: false });
            }
        }
        Ok(())
    }

    /// That of a container without a cgroup of its own.
    pub fn none() -> Self {
        Self::open(&Record::default())
    }

    /// Opens the cgroups of a container that exists, to look at them or to change them. Costs nothing by itself.
    pub fn open(record: &Record) -> Self {
        Self { record: record.clone(), target: None, gates: Vec::new(), warnings: Vec::new() }
    }

    /// Opens the cgroups of a running container for a further process to enter, as [`Cgroup::create`] does for the first.
    ///
    /// # Errors
    /// Where they are gone.
    pub fn join(record: &Record) -> Result<Self> {
        let mut this = Self::open(record);
        this.open_doors()?;
        Ok(this)
    }

    /// Opens, for a further process, cgroups below the container's: `PATH` in every hierarchy, or `CONTROLLER,…:PATH` in
    /// those of v1 that are named (`exec --cgroup`). They have to exist.
    ///
    /// # Errors
    /// Where there is no such cgroup or hierarchy, or a path leads up.
    pub fn sub(record: &Record, paths: &[String]) -> Result<Self> {
        let mut record = record.clone();
        for text in paths {
            let (names, below) = match text.split_once(':') {
                Some((names, below)) => (Some(names), below),
                None => (None, text.as_str()),
            };
            if below.split('/').any(|name| name == "..") {
                bail!("--cgroup {text}: bad sub cgroup path: {below} is not a sub cgroup path of the container's");
            }
            let below = path::clean(below);
            let mut found = names.is_none();
            for tree in &mut record.trees {
                if names.is_none_or(|names| names.split(',').any(|name| tree.has(name))) {
                    found = true;
                    tree.path = path::join(&tree.path, below.trim_end_matches('/'));
                }
            }
            if !found {
                bail!("--cgroup {text}: unknown controller: the container has no such one of cgroup v1");
            }
        }
        Self::join(&record)
    }

    /// Opens, for a further process, the cgroups that a process of the container is in. Where a container has passed its
    /// controllers on, its own cgroup takes no more processes (EBUSY), but that of its first process does; and who may
    /// have moved that elsewhere and removed the cgroup of the container.
    ///
    /// # Errors
    /// Where the process is gone.
    pub fn beside(record: &Record, pid: i32) -> Result<Self> {
        let path = format!("/proc/{pid}/cgroup");
        let text = file::read_path(path.as_ref()).context(|| format!("read {path}"))?;
        let mut record = record.clone();
        for tree in record.trees.iter_mut().filter(|tree| tree.is_v2()) {
            let there = layout::own_v2(&text);
            // Not one that lies beyond what this process sees.
            if !there.starts_with("/..") {
                tree.path = there;
            }
        }
        Self::join(&record)
    }

    /// What the state file keeps; it changes in [`Cgroup::create`] and [`Cgroup::adopt`].
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What a person should be told once.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The v2 cgroup for clone3(2) with CLONE_INTO_CGROUP; absent on v1 hosts, with systemd, and without cgroups.
    pub fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        self.target.as_ref().map(AsFd::as_fd)
    }

    /// The kernel refused to clone into the v2 cgroup: opens what the child needs to go there by [`Cgroup::enter`].
    ///
    /// # Errors
    /// Where that is no use either, with the reason.
    pub fn enter_instead(&mut self, refusal: Errno) -> Result<()> {
        let Some(tree) = self.record.v2() else { return Ok(()) };
        let folder = tree.folder();
        if matches!(refusal, Errno::BUSY | Errno::OPNOTSUPP) {
            return Err(make::explain_refusal(tree, refusal));
        }
        let file = file::open_for_writing(&folder, "cgroup.procs");
        let file = file.context(|| format!("open {}/cgroup.procs", folder.display()))?;
        self.target = None;
        self.gates.push(Gate { file, folder, v2: true });
        Ok(())
    }

    /// Whether it is a unit of an ordinary user's systemd manager. Who stands outside of that manager's cgroups, as in a login
    /// session, may move nothing into it: the manager is asked, by [`Cgroup::attach`].
    pub fn is_of_a_users_manager(&self) -> bool {
        self.record.unit.as_ref().is_some_and(|unit| unit.user)
    }

    /// In the parent: has systemd move a further process into the container's unit.
    ///
    /// # Errors
    /// Where it refuses, or there is no unit.
    pub fn attach(&self, pid: Pid) -> Result<()> {
        let unit = self.record.unit.as_ref().ok_or_else(|| Error::new("the container is no unit of systemd's"))?;
        systemd::attach(unit, pid.as_raw_nonzero().get().unsigned_abs())
    }

    /// Whether [`Cgroup::enter`] has anything to do.
    pub fn must_enter(&self) -> bool {
        !self.gates.is_empty()
    }

    /// In the child: moves itself where the clone did not reach. The child has one thread, so on v1 it may move that by
    /// `tasks`, for which the kernel takes no lock; `cgroup.procs` waits for a grace period.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn enter(&self) -> Result<()> {
        for gate in &self.gates {
            let first = file::write_fd(&gate.file, "0");
            let result = match first {
                Err(errno) if !gate.v2 => file::write(&gate.folder, "cgroup.procs", "0").map_err(|_| errno),
                other => other,
            };
            result.map_err(|errno| match self.record.v2().filter(|_| gate.v2) {
                Some(tree) => make::explain_refusal(tree, errno),
                None => make::explain_v1_refusal(&gate.folder, errno),
            })?;
        }
        Ok(())
    }

    /// Whether the parent has to call [`Cgroup::adopt`] before the child may go on.
    pub fn needs_adoption(&self) -> bool {
        self.record.driver == Driver::Systemd
    }

    /// In the parent, with the systemd driver: has the unit made around the child, then sets what systemd has no property
    /// for. Nothing to do with the other drivers. The record is corrected, so it has to be saved again.
    ///
    /// # Errors
    /// Where systemd refuses, or a limit cannot be had. The unit is the caller's to remove, once the child is killed: to stop
    /// it before would wait for the child, which ignores systemd's signal as every process 1 does. A unit that somebody else
    /// made in the meantime is no longer named by the record then.
    pub fn adopt(&mut self, pid: i32, resources: &Resources) -> Result<()> {
        if !self.needs_adoption() {
            return Ok(());
        }
        systemd::start(&mut self.record, resources, pid).inspect_err(|error| {
            if error.errno() == Some(Errno::EXIST) {
                self.record = Record::default();
            }
        })?;
        self.furnish(pid, resources)
    }

    /// Makes what systemd leaves out: hierarchies that it does not manage, exact limits, devices.
    fn furnish(&mut self, pid: i32, resources: &Resources) -> Result<()> {
        let mut made = make::Made::default();
        for tree in &self.record.trees {
            let folder = tree.folder();
            if !file::exists(&folder) {
                make::folder(tree, &mut made)?;
            }
            if tree.is_v2() {
                // systemd passes on the controllers that it has properties for, and not hugetlb, rdma and misc.
                make::controllers(tree);
            }
        }
        let writes = limits::writes(resources, &self.record)?;
        self.impose(&writes)?;
        self.open_doors()?;
        devices::Rules::read(&resources.devices)?.apply(&self.record, self.clone_target(), true)?;
        // On v1 the child cannot have opened what was not there; the parent moves it.
        for gate in self.gates.drain(..) {
            file::write(&gate.folder, "cgroup.procs", &pid.to_string())
                .context(|| format!("move process {pid} to {}", gate.folder.display()))?;
        }
        self.target = None;
        made.keep();
        Ok(())
    }

    /// Gives the v2 cgroup to the root user of a container's user namespace, as far as the kernel says that is safe
    /// (/sys/kernel/cgroup/delegate): for a container that mounts it writable.
    ///
    /// # Errors
    /// Where the owner cannot be changed.
    pub fn delegate(&self, uid: u32, gid: u32) -> Result<()> {
        let Some(tree) = self.record.v2() else { return Ok(()) };
        let folder = tree.folder();
        let names = file::read_path("/sys/kernel/cgroup/delegate".as_ref())
            .unwrap_or_else(|_| "cgroup.procs\ncgroup.threads\ncgroup.subtree_control\n".to_owned());
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        for name in std::iter::once("").chain(names.lines()) {
            let path = folder.join(name);
            match rustix::fs::chown(&path, uid, gid) {
                Ok(()) | Err(Errno::NOENT) => {}
                // An ordinary user gives away only what it gives to itself.
                Err(Errno::PERM) if self.record.rootless => return Ok(()),
                Err(errno) => return Err(errno).context(|| format!("give {} to the container", path.display())),
            }
        }
        Ok(())
    }

    /// Changes limits while the container runs; what `resources` does not say stays as it is. An empty list of devices
    /// says nothing. Where a part cannot be had, what was set before it is put back; what systemd was told stays told.
    ///
    /// # Errors
    /// The first limit that cannot be had.
    pub fn update(&self, resources: &Resources) -> Result<Vec<String>> {
        limits::check_usage(resources, &self.record)?;
        let mut resources = resources.clone();
        limits::complete(&mut resources, &self.record);
        let writes = limits::writes(&resources, &self.record)?;
        let rules = devices::Rules::read(&resources.devices)?;
        if self.record.trees.is_empty() {
            make::refuse_limit(writes.matters(), &self.record)?;
        }
        if self.record.driver == Driver::Systemd {
            systemd::update(&self.record, &resources)?;
        } else if let Some(tree) = self.record.v2() {
            make::controllers(tree);
        }
        let before = writes.before();
        let result = self.impose(&writes).and_then(|()| match resources.devices.is_empty() {
            true => Ok(()),
            false => {
                let mut open = Self::open(&self.record);
                open.open_doors()?;
                rules.apply(&self.record, open.clone_target(), false)
            }
        });
        result.map_err(|error| match before.restore() {
            refused if refused.is_empty() => error,
            refused => error.context(format!("these limits could not be put back: {}", refused.join(", "))),
        })?;
        Ok(writes.warnings)
    }

    /// Stops all processes of the container where they are, and waits until they stand.
    ///
    /// # Errors
    /// Where there is no freezer, or a process does not freeze within ten seconds.
    pub fn freeze(&self) -> Result<()> {
        procs::set_frozen(&self.record, true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// Where there is no freezer.
    pub fn thaw(&self) -> Result<()> {
        procs::set_frozen(&self.record, false)
    }

    /// Whether they are stopped so. A container without cgroups never is.
    ///
    /// # Errors
    /// Where the state cannot be read.
    pub fn is_frozen(&self) -> Result<bool> {
        procs::is_frozen(&self.record)
    }

    /// The processes of the container, those in cgroups below included, in the caller's numbering.
    ///
    /// # Errors
    /// Where they cannot be read; a cgroup that is gone has none.
    pub fn pids(&self) -> Result<Vec<i32>> {
        procs::pids(&self.record)
    }

    /// Sends a signal to all of them. SIGKILL also reaches the frozen ones.
    ///
    /// # Errors
    /// Where one may not be signalled.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        procs::kill(&self.record, signal)
    }

    /// Statistics, the `data` of `events --stats`.
    ///
    /// # Errors
    /// Where a file cannot be read; missing ones are zero.
    pub fn stats(&self) -> Result<Stats> {
        stats::read(&self.record)
    }

    /// Begins to listen for the kernel running out of memory here.
    ///
    /// # Errors
    /// Where there is no memory cgroup.
    pub fn oom_events(&self) -> Result<OomEvents> {
        OomEvents::open(&self.record)
    }

    /// How many processes the kernel has killed here for want of memory.
    pub fn killed_for_memory(&self) -> u64 {
        events::kills_of(&self.record)
    }

    /// Removes the cgroups, see [`remove_record`].
    ///
    /// # Errors
    /// As there.
    pub fn remove(&self) -> Result<()> {
        remove_record(&self.record)
    }
}
