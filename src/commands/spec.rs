//! `myrt spec`: a config.json to begin with.

use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::cli::{Args as _, Command, Group, Parsed};
use crate::error::{Context, Error, Result};
use crate::plan::example::{example, rootless_example};

crate::args! {
    /// Flags of `spec`.
    pub struct Args {
        /// The bundle: the folder to write into (default: the current one)
        bundle: Option<PathBuf> = "--bundle -b DIR",
        /// For an ordinary user: a user namespace with the own id as root
        rootless: bool = "--rootless",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "spec",
    group: Group::Host,
    about: "Write a config.json to begin with",
    words: "",
    details: "
It runs `sh` in a terminal, with the container's files in the folder rootfs beside it. An
existing config.json stays as it is.

Examples:
  myrt spec --bundle web
  myrt spec --rootless",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let cgroup_v2 = has_single_tree();
    let spec = if args.rootless {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        rootless_example(cgroup_v2, uid, gid)
    } else {
        example(cgroup_v2)
    };
    let text = serde_json::to_string_pretty(&spec).map_err(|error| Error::new(format!("write JSON: {error}")))?;
    write_new(&args.bundle.unwrap_or_default().join("config.json"), &(text + "\n"))?;
    Ok(0)
}

/// Whether /sys/fs/cgroup is a cgroup v2 tree.
pub(super) fn has_single_tree() -> bool {
    rustix::fs::statfs("/sys/fs/cgroup").is_ok_and(|found| found.f_type as u64 == libc::CGROUP2_SUPER_MAGIC as u64)
}

/// Writes a file that is not there yet; half a file does not stay.
fn write_new(path: &Path, text: &str) -> Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::from(0o644));
    let file = file.context(|| format!("make {path:?}")).map_err(|error| match error.errno() {
        Some(Errno::EXIST) => error.hint("it stays as it is: remove it first, or choose another --bundle"),
        Some(Errno::NOENT) => error.hint("make the bundle's folder first"),
        _ => error,
    })?;
    std::io::Write::write_all(&mut std::fs::File::from(file), text.as_bytes())
        .context(|| format!("write {path:?}"))
        .inspect_err(|_| {
            let _ = rustix::fs::unlink(path);
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let folder = std::env::temp_dir().join(format!("myrt-spec-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("config.json");
        write_new(&file, "mine").unwrap();
        let error = write_new(&file, "new").unwrap_err();
        assert_eq!((error.errno(), error.remedy().is_some()), (Some(Errno::EXIST), true));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(write_new(&file, "x").unwrap_err().errno(), Some(Errno::NOENT));
    }
}
