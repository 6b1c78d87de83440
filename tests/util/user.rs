//! An ordinary user for the rootless tests: `myrt-test` with ranges of subordinate ids, or whoever runs the tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::command::TestCommand;

/// Who runs the runtime in a rootless test.
pub struct Ordinary {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// First subordinate id, of 65,536, if there is a range and the helpers that use it.
    pub range: Option<u32>,
    /// What stands before a command to run it as that user; nothing when that is who runs the tests.
    pub prefix: Vec<String>,
}

const NAME: &str = "myrt-test";

impl Ordinary {
    /// As root: the user `myrt-test`, made if there is none. Otherwise: who runs the tests.
    pub fn get() -> Self {
        if rustix::process::geteuid().is_root() {
            make_user();
        }
        let (uid, gid, name) = if rustix::process::geteuid().is_root() {
            let (uid, gid) = ids_of(NAME).expect("useradd made the user");
            (uid, gid, NAME.to_owned())
        } else {
            let uid = rustix::process::geteuid().as_raw();
            (uid, rustix::process::getegid().as_raw(), name_of(uid).unwrap_or_default())
        };
        let helpers = ["newuidmap", "newgidmap"].iter().all(|helper| which(helper).is_some());
        let range = helpers.then(|| range_of("/etc/subuid", &name, uid)).flatten();
        let range = range.filter(|start| range_of("/etc/subgid", &name, uid) == Some(*start));
        let mut prefix = Vec::new();
        if rustix::process::geteuid().is_root() {
            let (uid, gid) = (uid.to_string(), gid.to_string());
            prefix = ["setpriv", "--reuid", &uid, "--regid", &gid, "--clear-groups"].map(str::to_owned).to_vec();
        }
        Self { uid, gid, range, prefix }
    }
}

/// Several tests and several test processes may come here at once.
fn make_user() {
    let lock = File::create(Path::new(env!("CARGO_TARGET_TMPDIR")).join("user.lock")).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    if ids_of(NAME).is_none() {
        TestCommand::new(["useradd", "--create-home", "--shell", "/bin/sh", NAME]).run().ok();
    }
    for file in ["/etc/subuid", "/etc/subgid"] {
        if range_of(file, NAME, u32::MAX).is_none() {
            let text = fs::read_to_string(file).unwrap_or_default();
            let free = text.lines().filter_map(|line| {
                let mut fields = line.split(':').skip(1).map(|field| field.parse::<u32>().unwrap_or(0));
                Some(fields.next()? + fields.next()?)
            });
            let start = free.max().unwrap_or(0).max(300_000);
            fs::write(file, format!("{text}{NAME}:{start}:65536\n")).unwrap();
        }
    }
}

fn ids_of(name: &str) -> Option<(u32, u32)> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    Some((fields.next()?, fields.next()?))
}

fn name_of(uid: u32) -> Option<String> {
    let passwd = fs::read_to_string("/etc/passwd").unwrap();
    let line = passwd.lines().find(|line| line.split(':').nth(2) == Some(&uid.to_string()))?;
    line.split(':').next().map(str::to_owned)
}

fn range_of(file: &str, name: &str, uid: u32) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (start, count) = (fields.next()?.parse().ok()?, fields.next()?.parse::<u32>().ok()?);
        ((owner == name || owner == uid.to_string()) && count >= 65_536).then_some(start)
    })
}

fn which(program: &str) -> Option<PathBuf> {
    ["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"]
        .map(|dir| PathBuf::from(dir).join(program))
        .into_iter()
        .find(|path| path.exists())
}
