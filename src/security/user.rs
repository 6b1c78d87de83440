//! Who the program is: groups, group, user, umask, and its HOME.

use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::thread::{Gid, Uid};

use crate::error::{Context, Error, Result};
use crate::plan::Process;
use crate::sys::beneath::Beneath;

/// No honest /etc/passwd is longer; the container wrote it.
const PASSWD_LIMIT: usize = 1 << 20;

/// Becomes the user. The permitted capabilities survive (PR_SET_KEEPCAPS, which the exec clears); the effective ones do
/// not when root becomes somebody else.
///
/// # Errors
/// Where an id is not mapped in the container's user namespace, or the right is missing.
pub fn apply(process: &Process) -> Result<()> {
    if !process.keep_groups {
        set_groups(&process.additional_gids)?;
    }
    let gid = Gid::from_raw(process.gid);
    rustix::thread::set_thread_res_gid(gid, gid, gid)
        .map_err(|errno| unmapped("process.user.gid", process.gid, errno))?;
    if process.uid != 0 {
        rustix::thread::set_keep_capabilities(true).context(|| "keep the capabilities (PR_SET_KEEPCAPS)")?;
    }
    let uid = Uid::from_raw(process.uid);
    rustix::thread::set_thread_res_uid(uid, uid, uid)
        .map_err(|errno| unmapped("process.user.uid", process.uid, errno))?;
    // What is not said is 0022, whatever the caller's own is: a bundle behaves the same from everywhere.
    rustix::process::umask(Mode::from_raw_mode(process.umask.unwrap_or(0o022)));
    Ok(())
}

fn set_groups(gids: &[u32]) -> Result<()> {
    let groups: Vec<Gid> = gids.iter().map(|gid| Gid::from_raw(*gid)).collect();
    match rustix::thread::set_thread_groups(&groups) {
        // An ordinary user's namespace forbids setgroups(2): the caller's own groups stay, as they must.
        Err(Errno::PERM) if gids.is_empty() => Ok(()),
        Err(Errno::PERM) => Err(Error::call(format!("process.user.additionalGids: setgroups {gids:?}"), Errno::PERM)
            .hint("this user namespace forbids it: map a range of group ids (/etc/subgid), or leave the groups out")),
        Err(errno) => Err(unmapped("process.user.additionalGids", gids, errno)),
        Ok(()) => Ok(()),
    }
}

fn unmapped(field: &str, id: impl std::fmt::Debug, errno: Errno) -> Error {
    let error = Error::call(format!("{field}: become {id:?}"), errno);
    match errno {
        Errno::INVAL => error.hint("the id is not mapped: add it to linux.uidMappings and linux.gidMappings"),
        _ => error,
    }
}

/// The home folder of a user by the container's /etc/passwd, `/` where it has none. The file is the container's: it is
/// read beneath its root, at most 1 MiB of it, and nothing of it is believed but a path.
pub fn home(root: &Beneath, uid: u32) -> String {
    let text = read_passwd(root).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let home = text.lines().find_map(|line| {
        let mut fields = line.split(':').skip(2);
        let matches = fields.next()?.parse() == Ok(uid);
        // A zero byte in the environment would stop the exec.
        fields.nth(2).filter(|home| matches && home.starts_with('/') && !home.contains('\0')).map(str::to_owned)
    });
    home.unwrap_or_else(|| "/".to_owned())
}

fn read_passwd(root: &Beneath) -> Result<Vec<u8>, Errno> {
    // NONBLOCK: a fifo of that name must not make us wait.
    let file = root.openat(Path::new("/etc/passwd"), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let mut text = Vec::with_capacity(4096);
    while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut text))? > 0 && text.len() < PASSWD_LIMIT {
        text.reserve(4096);
    }
    Ok(text)
}
