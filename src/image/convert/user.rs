//! `Config.User`: names looked up in the image's own /etc/passwd and /etc/group.

use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::plan::spec::User;
use crate::sys::beneath::Beneath;

/// No honest file is longer; the image wrote it.
const LONGEST: usize = 1 << 20;

/// Who the program is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The groups that the user is a member of.
    pub groups: Vec<u32>,
}

impl Found {
    /// As config.json has it. One id alone means that the kernel forbids further groups.
    pub fn as_process(&self, single: bool) -> User {
        // The own group is among them: a file that denies it must not be open to who has left it (CVE-2022-36109).
        let own = [self.gid].into_iter().filter(|_| self.gid != 0 || !self.groups.is_empty());
        let groups = own.chain(self.groups.iter().copied().filter(|group| *group != self.gid));
        let additional_gids = if single { Vec::new() } else { groups.collect() };
        User { uid: self.uid, gid: self.gid, additional_gids, ..User::default() }
    }
}

/// Understands `USER[:GROUP]`, each a name or a number. A name wins over a number that is written the same.
///
/// # Errors
/// A name that the image does not have.
pub fn find(rootfs: &Beneath, wanted: &str) -> Result<Found> {
    if wanted.is_empty() {
        return Ok(Found::default());
    }
    let (user, group) = wanted.split_once(':').map_or((wanted, None), |(user, group)| (user, Some(group)));
    let passwd = read(rootfs, "/etc/passwd")?;
    let entry = entry(&passwd, user);
    let number = |text: &str| text.parse::<u32>().ok().filter(|id| *id != u32::MAX);
    let (name, uid, mut gid) = match entry {
        Some(found) => found,
        None if user.is_empty() => (String::new(), 0, 0),
        None => match number(user) {
            Some(uid) => (String::new(), uid, 0),
            None => return Err(missing("user", user, "/etc/passwd")),
        },
    };
    let groups = read(rootfs, "/etc/group")?;
    if let Some(group) = group.filter(|group| !group.is_empty()) {
        gid = match group_id(&groups, group).or_else(|| number(group)) {
            Some(gid) => gid,
            None => return Err(missing("group", group, "/etc/group")),
        };
        return Ok(Found { uid, gid, groups: Vec::new() });
    }
    Ok(Found { uid, gid, groups: memberships(&groups, &name) })
}

fn missing(what: &str, name: &str, file: &str) -> Error {
    Error::new(format!("the image runs as {what} {name:?}, which its {file} does not have"))
}

/// Name, user and group of the line that has this name, or else this number.
fn entry(passwd: &str, wanted: &str) -> Option<(String, u32, u32)> {
    let entries = || {
        passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            Some((name.to_owned(), fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
        })
    };
    let by_number = || entries().find(|(_, uid, _): &(String, u32, u32)| uid.to_string() == wanted);
    entries().find(|(name, ..)| name == wanted && !name.is_empty()).or_else(by_number)
}

fn group_id(groups: &str, wanted: &str) -> Option<u32> {
    let line = groups.lines().find(|line| line.split(':').next() == Some(wanted))?;
    line.split(':').nth(2)?.parse().ok()
}

/// The groups whose line lists the user.
fn memberships(groups: &str, user: &str) -> Vec<u32> {
    let of_line = |line: &str| {
        let mut fields = line.split(':').skip(2);
        let gid = fields.next()?.parse().ok()?;
        fields.next()?.split(',').any(|member| member == user && !user.is_empty()).then_some(gid)
    };
    groups.lines().filter_map(of_line).collect()
}

/// A file of the image, read beneath its root: at most 1 MiB of it, and nothing where it is missing.
fn read(rootfs: &Beneath, name: &str) -> Result<String> {
    let what = || format!("read {name} of the image");
    // NONBLOCK: a fifo of that name must not make us wait.
    let file = match rootfs.openat(Path::new(name), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(String::new()),
        other => other.context(what)?,
    };
    let is_file = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&file).context(what)?.st_mode);
    if is_file != rustix::fs::FileType::RegularFile {
        return Ok(String::new());
    }
    let mut text = Vec::new();
    let mut input = std::io::Read::take(std::fs::File::from(file), LONGEST as u64);
    std::io::Read::read_to_end(&mut input, &mut text).context(what)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_names_or_numbers() {
        let path = std::env::temp_dir().join(format!("myrt-user-{}", std::process::id()));
        std::fs::create_dir_all(path.join("etc")).unwrap();
        std::fs::write(path.join("etc/passwd"), "broken\nroot:x:0:0:\nweb:x:33:34:\n77:x:5:6:\n").unwrap();
        std::fs::write(path.join("etc/group"), "web:x:34:\nlogs:x:40:web\nmore:x:41:a,web,b\n").unwrap();
        let rootfs = Beneath::open(&path).unwrap();
        let found = |wanted: &str| find(&rootfs, wanted).map(|found| (found.uid, found.gid, found.groups));
        assert_eq!(found("").unwrap(), (0, 0, vec![]));
        assert_eq!(found("web").unwrap(), (33, 34, vec![40, 41]));
        assert_eq!(found("33").unwrap(), (33, 34, vec![40, 41]));
        assert_eq!(found("1000").unwrap(), (1000, 0, vec![]));
        assert_eq!(found("77").unwrap(), (5, 6, vec![]));
        assert_eq!(found("web:logs").unwrap(), (33, 40, vec![]));
        assert_eq!(found("1000:1001").unwrap(), (1000, 1001, vec![]));
        assert_eq!(found(":logs").unwrap(), (0, 40, vec![]));
        for wrong in ["nobody", "web:none", "4294967295", "-1"] {
            assert!(found(wrong).is_err(), "{wrong}");
        }
        std::fs::remove_dir_all(&path).unwrap();
    }
}
