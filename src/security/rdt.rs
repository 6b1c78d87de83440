//! `linux.intelRdt`: a group of the resctrl filesystem, which shares out cache and memory bandwidth (the kernel's
//! Documentation/filesystems/resctrl.rst).
//!
//! A group that config.json names (`closID`) belongs to whoever runs the host: it is used, never removed, and its values
//! must be those of config.json. Without a name the container gets a group of its own, which ends with it.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::bail;
use crate::error::{Context, Error, Result};
use crate::plan::spec;

/// Where the kernel's interface is mounted.
const ROOT: &str = "/sys/fs/resctrl";

/// The filesystem's number (linux/magic.h, RDTGROUP_SUPER_MAGIC).
const MAGIC: u64 = 0x0765_5821;

/// Folders of the root that are no groups.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];

/// The group of a container, as its state remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// The folder of the group.
    path: PathBuf,
    /// Whether the group ends with the container.
    own: bool,
    /// The monitoring group, which always is the container's.
    monitor: Option<PathBuf>,
}

impl Group {
    /// Works out the group of a container; makes nothing yet, so that the state can be written first.
    ///
    /// # Errors
    /// Where the container's id cannot be a group's name.
    pub fn new(rdt: &spec::IntelRdt, id: &str) -> Result<Self> {
        let root = Path::new(ROOT);
        let path = match rdt.clos_id.as_deref() {
            Some("/") => root.to_owned(),
            Some(name) => root.join(name),
            None if RESERVED.contains(&id) => bail!("linux.intelRdt: {id:?} cannot be the name of a group; set closID"),
            None => root.join(id),
        };
        let monitor = rdt.enable_monitoring.then(|| path.join("mon_groups").join(id));
        Ok(Self { path, own: rdt.clos_id.is_none(), monitor })
    }

    /// Makes the group where it is missing, writes its shares, and puts a process into it; children follow their parent.
    ///
    /// # Errors
    /// Names the field: resctrl is not mounted, a named group does not exist or has other shares, or the kernel refuses
    /// a value.
    pub fn apply(&self, rdt: &spec::IntelRdt, pid: i32) -> Result<()> {
        check_mounted()?;
        let schemata = schemata(rdt);
        if !self.own && self.path.is_dir() {
            self.compare(&schemata)?;
        } else if !self.own && schemata.is_empty() {
            return Err(Error::new(format!("linux.intelRdt.closID: there is no group {:?}", self.path))
                .hint("make it, or say what it shares: l3CacheSchema, memBwSchema or schemata"));
        } else {
            make(&self.path)?;
            self.write_schemata(&schemata)?;
        }
        write(&self.path.join("tasks"), pid.to_string().as_bytes())?;
        if let Some(monitor) = &self.monitor {
            make(monitor).context(|| "linux.intelRdt.enableMonitoring")?;
            write(&monitor.join("tasks"), pid.to_string().as_bytes())?;
        }
        Ok(())
    }

    /// Writes new shares, as `update` asks.
    ///
    /// # Errors
    /// Where the kernel refuses a value.
    pub fn update(&self, rdt: &spec::IntelRdt) -> Result<()> {
        check_mounted()?;
        self.write_schemata(&schemata(rdt))
    }

    /// Removes what is the container's own. The processes must have ended; what is gone already is no failure.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub fn remove(&self) -> Result<()> {
        let own = self.own.then_some(&self.path);
        for path in self.monitor.iter().chain(own) {
            match rustix::fs::rmdir(path) {
                Err(Errno::NOENT) => {}
                other => other.context(|| format!("rmdir {path:?}"))?,
            }
        }
        Ok(())
    }

    /// The shares as the kernel has them, for `events`.
    ///
    /// # Errors
    /// Where the group has gone.
    pub fn schemata(&self) -> Result<String> {
        let file = self.path.join("schemata");
        std::fs::read_to_string(&file).context(|| format!("read {file:?}"))
    }

    fn write_schemata(&self, schemata: &str) -> Result<()> {
        if schemata.is_empty() {
            return Ok(());
        }
        write(&self.path.join("schemata"), schemata.as_bytes()).map_err(|error| {
            let status = std::fs::read_to_string(Path::new(ROOT).join("info/last_cmd_status")).unwrap_or_default();
            match status.trim() {
                "" | "ok" => error,
                said => error.hint(format!("the kernel says: {}", said.replace('\n', "; "))),
            }
        })
    }

    /// A group that others use too is not changed behind their backs.
    fn compare(&self, wanted: &str) -> Result<()> {
        let real = if wanted.is_empty() { String::new() } else { self.schemata()? };
        match differing(wanted, &real) {
            None => Ok(()),
            Some(line) => Err(Error::new(format!("linux.intelRdt: the group {:?} exists without {line:?}", self.path))
                .hint("several containers may share it: give the values it has, or another closID")),
        }
    }
}

/// The text for the file `schemata`: the cache lines, the bandwidth line (which replaces those among the cache lines),
/// then the free lines (config-linux.md, "Intel RDT").
fn schemata(rdt: &spec::IntelRdt) -> String {
    let bandwidth = rdt.mem_bw_schema.as_deref().unwrap_or_default();
    let cache = rdt.l3_cache_schema.as_deref().unwrap_or_default().lines();
    let cache = cache.filter(|line| bandwidth.is_empty() || !line.trim_start().starts_with("MB:"));
    let free = rdt.schemata.iter().flatten().map(String::as_str);
    let mut text = String::new();
    for line in cache.chain(bandwidth.lines()).chain(free).map(str::trim).filter(|line| !line.is_empty()) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The first wanted line that the group does not have.
fn differing<'a>(wanted: &'a str, real: &str) -> Option<&'a str> {
    let real: Vec<(&str, &str, u64)> = real.lines().flat_map(shares).collect();
    wanted.lines().find(|line| shares(line).any(|share| !real.contains(&share)))
}

/// `L3:0=ff;1=f0` as resource, domain and value. Masks are hexadecimal, the bandwidth is decimal.
fn shares(line: &str) -> impl Iterator<Item = (&str, &str, u64)> {
    let (resource, rest) = line.trim().split_once(':').unwrap_or((line, ""));
    let radix = if resource == "MB" { 10 } else { 16 };
    rest.split(';').filter_map(move |share| {
        let (domain, value) = share.split_once('=')?;
        Some((resource, domain.trim(), u64::from_str_radix(value.trim(), radix).ok()?))
    })
}

fn check_mounted() -> Result<()> {
    match rustix::fs::statfs(ROOT) {
        Ok(found) if found.f_type as u64 == MAGIC => Ok(()),
        _ => Err(Error::new(format!("linux.intelRdt: resctrl is not mounted at {ROOT}"))
            .hint(format!("where the processor has it: mount -t resctrl resctrl {ROOT}"))),
    }
}

fn make(path: &Path) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => {
            let error = Error::call(format!("linux.intelRdt: mkdir {path:?}"), errno);
            Err(if errno == Errno::NOSPC { error.hint("the processor has no more groups: remove one") } else { error })
        }
    }
}

/// One open, one write: the files of resctrl take a whole command at once.
fn write(path: &Path, data: &[u8]) -> Result<()> {
    let what = || format!("linux.intelRdt: write {:?} to {path:?}", String::from_utf8_lossy(data));
    let file = rustix::fs::openat(CWD, path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).context(what)?;
    rustix::io::write(&file, data).map(drop).context(what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(json: &str) -> spec::IntelRdt {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn whose_group_it_is() {
        let group = |json: &str| Group::new(&rdt(json), "web").unwrap();
        let own = group(r#"{"enableMonitoring": true}"#);
        assert_eq!((own.path.to_str(), own.own), (Some("/sys/fs/resctrl/web"), true));
        assert_eq!(own.monitor.as_deref(), Some(Path::new("/sys/fs/resctrl/web/mon_groups/web")));
        let named = group(r#"{"closID": "gold"}"#);
        assert_eq!((named.path.to_str(), named.own, named.monitor), (Some("/sys/fs/resctrl/gold"), false, None));
        assert_eq!(group(r#"{"closID": "/"}"#).path, Path::new("/sys/fs/resctrl"));
        assert!(Group::new(&rdt("{}"), "info").is_err());
    }

    #[test]
    fn the_lines_of_the_three_fields() {
        for (json, text) in [
            ("{}", ""),
            (r#"{"l3CacheSchema": "L3:0=f;1=f0"}"#, "L3:0=f;1=f0\n"),
            (r#"{"l3CacheSchema": "L3:0=f\nMB:0=10", "memBwSchema": "MB:0=20"}"#, "L3:0=f\nMB:0=20\n"),
            (r#"{"l3CacheSchema": "L3:0=f\nMB:0=10\n"}"#, "L3:0=f\nMB:0=10\n"),
            (r#"{"memBwSchema": "MB:0=20", "schemata": ["L2:0=3", ""]}"#, "MB:0=20\nL2:0=3\n"),
        ] {
            assert_eq!(schemata(&rdt(json)), text);
        }
    }

    #[test]
    fn shares_are_compared_by_value() {
        let real = "    MB:0= 70;1= 20\n    L3:0=000ff;1=00f0\n";
        assert_eq!(differing("L3:0=ff\nMB:1=20\n", real), None);
        assert_eq!(differing("", real), None);
        assert_eq!(differing("L3:0=ff;1=ff\n", real), Some("L3:0=ff;1=ff"));
        assert_eq!(differing("L2:0=ff\n", real), Some("L2:0=ff"));
    }

    #[test]
    fn without_resctrl_the_field_is_named() {
        if check_mounted().is_ok() {
            return;
        }
        let json = rdt(r#"{"l3CacheSchema": "L3:0=f"}"#);
        let error = Group::new(&json, "web").unwrap().apply(&json, 1).unwrap_err();
        assert_eq!(error.to_string(), "linux.intelRdt: resctrl is not mounted at /sys/fs/resctrl");
        assert!(error.remedy().unwrap().contains("mount -t resctrl"));
    }
}
