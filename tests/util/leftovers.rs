//! What a container must not leave behind on the host: mounts, cgroups, processes.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

/// The cgroup folders with this path (such as `/myrt-test/x`) in every hierarchy of the host.
pub fn cgroups(path: &str) -> Vec<PathBuf> {
    let path = path.trim_start_matches('/');
    let hierarchies = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten().map(|entry| entry.path());
    let roots = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
    roots.map(|root| root.join(path)).filter(|folder| folder.is_dir()).collect()
}

/// Mount points of this process at or below `folder`.
pub fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = mountinfo.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(folder)).collect()
}

/// Living processes whose environment holds `marker`, with their command lines.
pub fn processes(marker: &str) -> Vec<(Pid, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw) else {
            continue;
        };
        let Ok(environ) = fs::read(entry.path().join("environ")) else { continue };
        let is_it = environ.split(|byte| *byte == 0).any(|variable| variable == marker.as_bytes());
        if is_it && pid.as_raw_nonzero().get().unsigned_abs() != std::process::id() {
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            found.push((pid, String::from_utf8_lossy(&line).replace('\0', " ")));
        }
    }
    found
}

/// Takes down by force what a failed test left, so that the next one begins on a clean host.
pub fn sweep(marker: &str, cgroup: &str, folder: &Path) {
    assert!(marker.contains('='), "{marker:?} is no variable: an environment's empty end would match on every process");
    for (pid, _) in processes(marker) {
        let _ = kill_process(pid, Signal::KILL);
    }
    // A frozen process cannot die in any hierarchy, so all are thawed before the first is emptied.
    for folder in cgroups(cgroup) {
        let _ = fs::write(folder.join("freezer.state"), "THAWED");
        let _ = fs::write(folder.join("cgroup.freeze"), "0");
    }
    for folder in cgroups(cgroup) {
        sweep_cgroup(&folder);
    }
    for point in mounts_below(folder).iter().rev() {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
}

fn sweep_cgroup(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| entry.path().is_dir()) {
        sweep_cgroup(&entry.path());
    }
    for pid in fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default().lines() {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    for _ in 0..200 {
        if fs::remove_dir(folder).is_ok() || !folder.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
