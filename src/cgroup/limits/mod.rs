//! Limits: which file of a cgroup takes which value of `linux.resources`.
//!
//! [`writes`] is a pure function from the resources to a list of writes, made from the tables of `rows` and `lists`.
//! [`Writes::apply`] does them. Devices are not here: they have a room of their own.

mod convert;
mod lists;
mod rows;
mod undo;

use std::borrow::Cow;
use std::path::Path;

use rustix::io::Errno;

use self::rows::{Form, ROWS};
use self::undo::Before;
use super::file;
use super::record::Record;
use crate::bail;
use crate::error::{Error, Result};
use crate::plan::spec::Resources;

pub(super) use self::convert::{io_weight, swap_alone, weight_of_shares};

/// The two versions of cgroups, for one controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

impl Version {
    fn pick<T>(self, v1: T, v2: T) -> T {
        if self == Self::V1 { v1 } else { v2 }
    }
}

/// A file and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
struct File {
    name: Cow<'static, str>,
    value: String,
    /// The file's first word stays, and the value is the second.
    second_word: bool,
}

impl File {
    fn new(name: impl Into<Cow<'static, str>>, value: String) -> Self {
        Self { name: name.into(), value, second_word: false }
    }
}

/// One limit, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Write {
    /// The field below `linux.resources.`.
    field: String,
    controller: String,
    /// The first of these that exists.
    files: Vec<File>,
    /// Whether it is no loss when the file is missing: the value is what the kernel does by itself.
    lax: bool,
}

impl Write {
    fn new(field: impl Into<String>, controller: &str, files: Vec<File>) -> Self {
        let lax = files.iter().all(is_default);
        Self { field: field.into(), controller: controller.to_owned(), files, lax }
    }
}

/// Whether a value is what holds without the controller: unlimited, or the kernel's default.
fn is_default(file: &File) -> bool {
    let value = file.value.as_str();
    match &*file.name {
        "cpu.weight" => value == "100",
        "cpu.shares" => value == "1024",
        "memory.swap.max" | "cpu.idle" | "cpu.max.burst" | "cpu.cfs_burst_us" | "memory.oom_control"
            if value == "0" =>
        {
            true
        }
        "pids.max" => value == "max",
        "cpu.max" => value.starts_with("max") && !file.second_word,
        name if name.starts_with("memory.") || name.starts_with("cpu.cfs_") => value == "max" || value == "-1",
        "io.max" => value.ends_with("=max"),
        _ => false,
    }
}

/// All limits of a container, checked.
#[derive(Debug, Default)]
pub(super) struct Writes {
    /// In the order of writing, each with the folder of its cgroup; absent where no hierarchy has the controller.
    all: Vec<(Write, Option<std::path::PathBuf>)>,
    /// What was asked for in vain, without harm.
    pub(super) warnings: Vec<String>,
}

/// Turns the resources into writes for the cgroups of this record.
///
/// # Errors
/// Where something is asked for that this host's version of cgroups does not have, or that makes no sense.
pub(super) fn writes(r: &Resources, record: &Record) -> Result<Writes> {
    let mut writes = Vec::new();
    let mut warnings = Vec::new();
    // Without any cgroup nothing can be written, whatever the version; v2 has the better words for that.
    let version = |v1: &str| if record.v1(v1).is_some() || record.v2().is_none() { Version::V1 } else { Version::V2 };
    let version = |v1: &str| if record.trees.is_empty() { Version::V2 } else { version(v1) };
    for row in ROWS {
        let Some(asked) = (row.asked)(r) else { continue };
        let version = version(row.controller.0);
        let files = match version.pick(&row.v1, &row.v2) {
            Form::Same(file) => vec![File::new(*file, asked)],
            Form::Made(file, make) => match make(r)? {
                Some(value) => vec![File::new(*file, value)],
                None => continue,
            },
            Form::First(files) => files.iter().map(|(file, make)| File::new(*file, make(r))).collect(),
            Form::SecondWord(_, covered) if covered(r) => continue,
            Form::SecondWord(file, _) => vec![File { second_word: true, ..File::new(*file, asked) }],
            Form::Refused(_) if asked == "0" && row.field == "memory.disableOOMKiller" => continue,
            Form::Refused(why) => bail!("linux.resources.{}: {why}", row.field),
            Form::Pointless(why) => {
                warnings.push(format!("linux.resources.{} has no effect: {why}", row.field));
                continue;
            }
        };
        writes.push(Write::new(row.field, version.pick(row.controller.0, row.controller.1), files));
    }
    lists::block_io(r, version("blkio"), &mut writes)?;
    lists::huge_pages(r, version("hugetlb"), &mut writes)?;
    lists::network(r, version("net_prio"), &mut writes)?;
    lists::rdma(r, &mut writes);
    let find = |write: &Write| {
        let tree = record.v1(&write.controller).or_else(|| record.v2());
        tree.map(super::record::Tree::folder)
    };
    let mut all: Vec<_> =
        writes.into_iter().map(|write| (find(&write), write)).map(|(dir, write)| (write, dir)).collect();
    let mut unified = Vec::new();
    lists::unified(r, &mut unified)?;
    let v2 = record.v2().map(super::record::Tree::folder);
    if let (Some(write), None, false) = (unified.first(), &v2, record.trees.is_empty()) {
        bail!("linux.resources.{}: this host has cgroup v1, where there are no unified files", write.field);
    }
    all.extend(unified.into_iter().map(|write| (write, v2.clone())));
    Ok(Writes { all, warnings })
}

impl Writes {
    /// The first limit that matters, if any: one that would be missed.
    pub(super) fn matters(&self) -> Option<String> {
        self.all.iter().find(|(write, _)| !write.lax).map(|(write, _)| format!("linux.resources.{}", write.field))
    }

    /// What holds now, to be put back where a part of these cannot be had.
    pub(super) fn before(&self) -> Before {
        Before::of(&self.all)
    }

    /// Writes them all. The kernel checks some values against each other (a limit against memory+swap, a quota against its
    /// period, a burst against its quota), and which has to come first depends on what is there; so what is refused
    /// as invalid is tried once more after the others. So is what has no file, behind `wait`: cgroup.controllers names a
    /// controller an instant before its files are there, and a start beside this one may just be passing it on.
    ///
    /// # Errors
    /// The first limit that cannot be had, with its field.
    pub(super) fn apply(&self, rootless: bool, wait: impl FnOnce()) -> Result<()> {
        let mut again = Vec::new();
        let mut missing = false;
        for (write, folder) in &self.all {
            match self.one(write, folder.as_deref()) {
                Err((_, errno @ (Errno::INVAL | Errno::NOENT))) => {
                    let named = || folder.as_deref().and_then(|folder| names(folder, &write.controller)) == Some(true);
                    missing |= errno == Errno::NOENT && named();
                    again.push((write, folder));
                }
                Err((file, errno)) => return Err(explain(write, folder.as_deref(), file, errno, rootless)),
                Ok(()) => {}
            }
        }
        if missing {
            wait();
        }
        for (write, folder) in again {
            match self.one(write, folder.as_deref()) {
                Err((_, Errno::NOENT)) if write.lax => {}
                Err((file, errno)) => return Err(explain(write, folder.as_deref(), file, errno, rootless)),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Writes one limit, to the first of its files that exists.
    fn one<'a>(&self, write: &'a Write, folder: Option<&Path>) -> Result<(), (Option<&'a File>, Errno)> {
        let mut missing = None;
        for file in &write.files {
            let result = folder.ok_or(Errno::NOENT).and_then(|folder| match file.second_word {
                false => file::write(folder, &file.name, &file.value),
                true => {
                    let now = file::read(folder, &file.name)?;
                    let first = now.split_whitespace().next().unwrap_or("max");
                    file::write(folder, &file.name, &format!("{first} {}", file.value))
                }
            });
            match result {
                Ok(()) => return Ok(()),
                Err(Errno::NOENT) => missing = Some(file),
                Err(errno) => return Err((Some(file), errno)),
            }
        }
        Err((missing, Errno::NOENT))
    }
}

/// Whether a v2 cgroup names a controller as its own; `None` where there is no such list, as on v1.
fn names(folder: &Path, controller: &str) -> Option<bool> {
    let words = file::read_line(folder, "cgroup.controllers").ok()?;
    Some(words.split(' ').any(|word| word == controller))
}

/// Says which limit was refused, where, and what can be done.
fn explain(write: &Write, folder: Option<&Path>, file: Option<&File>, errno: Errno, rootless: bool) -> Error {
    let field = format!("linux.resources.{}", write.field);
    let controller = &write.controller;
    let (Some(folder), Some(file)) = (folder, file) else {
        return Error::new(format!("{field}: the container has no cgroup with the {controller} controller")).hint(
            if rootless {
                NOT_DELEGATED
            } else {
                "take the limit out of config.json, or enable cgroups for this container"
            },
        );
    };
    let path = folder.join(&*file.name);
    // A v1 hierarchy is there for its controllers.
    let kernel_has = || names(folder, controller).unwrap_or_else(|| file::exists(folder));
    if errno == Errno::NOENT && kernel_has() {
        let error = Error::new(format!("{field}: this kernel's {controller} controller has no {}", file.name));
        return if file.name.contains("memsw") || file.name.contains("swap") {
            error.hint("the kernel does not count swap: boot with swapaccount=1, or leave the field out")
        } else {
            error.hint("a newer kernel or another of its build options may have it")
        };
    }
    if errno == Errno::NOENT {
        let error = Error::new(format!(
            "{field}: the {controller} controller is not available in {}: there is no {}",
            folder.display(),
            file.name
        ));
        return match (rootless, withheld(folder, controller)) {
            (true, _) => error.hint(NOT_DELEGATED),
            (false, Some(why)) => error.hint(why),
            (false, None) => error.hint("see cgroup.controllers there and in the folders above: the kernel lacks it"),
        };
    }
    let mut error = Error::call(format!("write {:?} to {}", file.value, path.display()), errno).context(&field);
    // The kernel refuses a limit below what is in use and cannot be reclaimed.
    let usage = ["memory.usage_in_bytes", "memory.current"].iter().find_map(|name| file::read(folder, name).ok());
    if let (true, Errno::BUSY, Some(usage)) = (controller == "memory", errno, usage) {
        error = Error::call(format!("limit {} is below the {} bytes in use", file.value, usage.trim()), errno)
            .context(field);
    }
    match errno {
        Errno::ACCESS | Errno::PERM | Errno::ROFS if rootless => error.hint(NOT_DELEGATED),
        _ => error,
    }
}

/// Names the cgroup above that has a controller and does not pass it on.
fn withheld(folder: &Path, controller: &str) -> Option<String> {
    let has = |folder: &&Path| {
        let words = file::read_line(folder, "cgroup.controllers").unwrap_or_default();
        words.split(' ').any(|word| word == controller)
    };
    let above = folder.ancestors().skip(1).find(has)?;
    let inhabited = file::read(above, "cgroup.procs").is_ok_and(|pids| !pids.is_empty());
    let above = above.display();
    Some(match inhabited {
        true => format!(
            "{above} has processes of its own, so it cannot pass the {controller} controller on: move them to a cgroup \
             below it, or choose another linux.cgroupsPath"
        ),
        false => format!("{above} does not pass the {controller} controller on: see cgroup.subtree_control there"),
    })
}

/// The remedy for an ordinary user who lacks a controller.
pub(super) const NOT_DELEGATED: &str = "this user was not given the controller: let systemd delegate it (Delegate=cpu cpuset io memory \
     pids in user@.service) and start from such a session, for instance by `systemd-run --user --scope`";

/// `memory.checkBeforeUpdate`: refuses a limit below what is in use before it is set, since setting it could kill.
///
/// # Errors
/// Where the limit is too low for what is in use now.
pub(super) fn check_usage(r: &Resources, record: &Record) -> Result<()> {
    let Some(memory) = r.memory.as_ref().filter(|memory| memory.check_before_update == Some(true)) else {
        return Ok(());
    };
    let usage = match (record.v1("memory"), record.v2()) {
        (Some(tree), _) => file::read(&tree.folder(), "memory.usage_in_bytes"),
        (None, Some(tree)) => file::read(&tree.folder(), "memory.current"),
        (None, None) => return Ok(()),
    };
    let Some(usage) = usage.ok().and_then(|text| text.trim().parse::<i64>().ok()) else { return Ok(()) };
    for (name, limit) in [("limit", memory.limit), ("swap", memory.swap)] {
        if let Some(limit) = limit.filter(|limit| *limit > 0 && *limit <= usage) {
            bail!("linux.resources.memory.{name}: {limit} is not above the {usage} bytes in use (checkBeforeUpdate)");
        }
    }
    Ok(())
}

/// Adds to an update what it needs to know of the present: v2 counts swap alone, so a new sum of memory and swap needs the
/// memory limit that stays.
pub(super) fn complete(r: &mut Resources, record: &Record) {
    let (None, Some(tree)) = (record.v1("memory"), record.v2()) else { return };
    let Some(memory) = r.memory.as_mut() else { return };
    if memory.swap.is_some_and(|swap| swap > 0) && memory.limit.unwrap_or(0) == 0 {
        let now = file::read(&tree.folder(), "memory.max").unwrap_or_default();
        memory.limit = Some(now.trim().parse().unwrap_or(-1));
    }
}

#[cfg(test)]
mod tests;
