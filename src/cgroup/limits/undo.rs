//! Putting limits back: an update of which a part fails leaves the container as it was.
//!
//! What is there is read before anything is written. A cgroup's file mostly takes back what it says; the exceptions are
//! files with a line for each device, where a line that was not there has a word that takes it away.

use std::path::PathBuf;

use rustix::io::Errno;

use super::{Write, file};

/// A file and what to write to it.
#[derive(Debug, PartialEq, Eq)]
struct Step {
    folder: PathBuf,
    name: String,
    value: String,
}

/// What holds now, in the order in which it is about to be changed.
#[derive(Debug, Default)]
pub(in crate::cgroup) struct Before(Vec<Step>);

impl Before {
    /// Reads the files that these writes are about to change.
    pub(super) fn of(writes: &[(Write, Option<PathBuf>)]) -> Self {
        let mut before = Self::default();
        for (write, folder) in writes {
            let Some(folder) = folder else { continue };
            for new in &write.files {
                // To come back from idle sets the weight anew.
                for related in ["cpu.weight", "cpu.shares"].into_iter().filter(|_| new.name == "cpu.idle") {
                    before.keep(folder, related, "");
                }
                if before.keep(folder, &new.name, &new.value) {
                    break;
                }
            }
        }
        before
    }

    /// Notes one file; `new` is what it is about to be given. False where there is no such file.
    fn keep(&mut self, folder: &std::path::Path, name: &str, new: &str) -> bool {
        let Ok(mut now) = file::read(folder, name) else { return false };
        // No list of CPUs means those of the cgroup above; once there is a list, processes keep it from being emptied again.
        if name.starts_with("cpuset.") && now.trim().is_empty() {
            now = file::read(folder, &format!("{name}.effective")).unwrap_or(now);
        }
        let value = back(name, &now, new);
        self.0.extend(value.map(|value| Step { folder: folder.to_owned(), name: name.to_owned(), value }));
        true
    }

    /// Puts it all back, last first. Gives back the files that refused.
    pub(in crate::cgroup) fn restore(self) -> Vec<String> {
        let write = |step: &Step| file::write(&step.folder, &step.name, &step.value);
        let mut again: Vec<Step> = self.0.into_iter().rev().filter(|step| write(step).is_err()).collect();
        // Some are checked against each other, so that the order matters; see `Writes::apply`.
        again.retain(|step| write(step).is_err_and(|errno| !is_of_idle(step, errno)));
        again.into_iter().map(|step| step.name).collect()
    }
}

/// An idle cgroup shows a weight of 0, which it does not take, and takes no shares, not even those that it has.
fn is_of_idle(step: &Step, errno: Errno) -> bool {
    matches!((step.name.as_str(), errno), ("cpu.weight", Errno::RANGE) | ("cpu.shares", Errno::INVAL))
}

/// The value that brings a file back to `now` after `new` was written to it; absent where nothing has to be done.
fn back(name: &str, now: &str, new: &str) -> Option<String> {
    let key = new.split(' ').next().unwrap_or_default();
    let line = now.lines().find(|line| line.split_whitespace().next() == Some(key)).map(str::to_owned);
    let without = |word: &str| line.clone().or_else(|| Some(format!("{key} {word}")));
    match name {
        "io.max" => without("rbps=max wbps=max riops=max wiops=max"),
        _ if name.starts_with("blkio.throttle.") => without("0"),
        _ if name.contains("weight") && key.contains(':') => without("default"),
        "io.weight" | "io.bfq.weight" => now.lines().next().map(str::to_owned),
        // Lines for what the machine has, all of them always there; or for nothing that we know how to take away.
        "rdma.max" | "misc.max" | "net_prio.ifpriomap" | "io.latency" => line,
        // The first of several lines is the one that can be set.
        "memory.oom_control" => now.lines().next()?.split(' ').nth(1).map(str::to_owned),
        _ => Some(if now.trim().is_empty() { "\n".to_owned() } else { now.trim().to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_brings_a_file_back() {
        let rows = [
            ("memory.max", "max\n", "100", Some("max")),
            ("cpu.max", "max 100000\n", "5000", Some("max 100000")),
            ("cpuset.cpus", "\n", "0-1", Some("\n")),
            (
                "io.max",
                "8:0 rbps=5 wbps=max riops=max wiops=max\n",
                "8:0 wbps=7",
                Some("8:0 rbps=5 wbps=max riops=max wiops=max"),
            ),
            (
                "io.max",
                "8:0 rbps=5 wbps=max riops=max wiops=max\n",
                "8:16 wbps=7",
                Some("8:16 rbps=max wbps=max riops=max wiops=max"),
            ),
            ("io.weight", "default 100\n8:0 50\n", "300", Some("default 100")),
            ("io.weight", "default 100\n8:0 50\n", "8:0 60", Some("8:0 50")),
            ("io.bfq.weight", "default 100\n", "8:0 60", Some("8:0 default")),
            ("blkio.throttle.read_bps_device", "", "8:0 60", Some("8:0 0")),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", "1", Some("0")),
            (
                "rdma.max",
                "mlx hca_handle=max hca_object=5\n",
                "mlx hca_handle=1",
                Some("mlx hca_handle=max hca_object=5"),
            ),
            ("rdma.max", "", "mlx hca_handle=1", None),
        ];
        for (name, now, new, expected) in rows {
            assert_eq!(back(name, now, new).as_deref(), expected, "{name} {now:?} {new:?}");
        }
    }

    #[test]
    fn what_was_read_is_written_back_last_first() {
        let folder = std::env::temp_dir().join(format!("myrt-undo-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, value: &str| std::fs::write(folder.join(name), value).unwrap();
        write("pids.max", "12\n");
        write("cpu.idle", "0\n");
        write("cpu.weight", "174\n");
        let one = |name: &'static str, value: &str| {
            let file = super::super::File::new(name, value.to_owned());
            (
                Write::new("field", "pids", vec![super::super::File::new("no.such", String::new()), file]),
                Some(folder.clone()),
            )
        };
        let before = Before::of(&[one("pids.max", "77"), one("cpu.idle", "1")]);
        let steps: Vec<_> = before.0.iter().map(|step| (step.name.as_str(), step.value.as_str())).collect();
        assert_eq!(steps, [("pids.max", "12"), ("cpu.weight", "174"), ("cpu.idle", "0")]);
        // Fewer digits than the files of a test, which are no cgroup's: these are not cut by a write.
        assert!(before.restore().is_empty());
        std::fs::remove_file(folder.join("pids.max")).unwrap();
        let gone = Before(vec![Step { folder: folder.clone(), name: "pids.max".into(), value: "1".into() }]);
        assert_eq!(gone.restore(), ["pids.max"]);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
