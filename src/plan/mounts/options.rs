//! The mount options that a container runtime knows, one row each.
//!
//! The names are those of runc's table, which `features` promises to callers: the flags of mount(2) with what undoes
//! them, propagation, the recursive attributes of mount_setattr(2), and the few that no kernel knows (`tmpcopyup`,
//! `idmap`, `ridmap`). What is in no row belongs to the filesystem and goes into the data argument of mount(2).

use rustix::mount::{MountFlags as Ms, MountPropagationFlags as Propagation};

/// What an option does to a mount.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    /// Already so.
    Nothing,
    /// Sets MS_* bits.
    Set(Ms),
    /// Clears MS_* bits, also those that the source of a bind mount brings.
    Clear(Ms),
    /// Sets MOUNT_ATTR_* bits on the whole tree.
    SetTree(u64),
    /// Clears MOUNT_ATTR_* bits on the whole tree.
    ClearTree(u64),
    /// Sets how later mounts spread.
    Propagate(Propagation),
    /// Makes it a bind mount.
    Bind { recursive: bool },
    /// Changes what is mounted there already.
    Remount,
    /// Copies what lies below into the tmpfs.
    CopyUp,
    /// Maps the ids of the files.
    Idmap { recursive: bool },
}

use Effect::{Bind, Clear, ClearTree, CopyUp, Idmap, Nothing, Propagate, Remount, Set, SetTree};

/// The bits of an access-time mode are one number, so leaving one mode means going back to `relatime`, which is 0.
const ATIME: u64 = libc::MOUNT_ATTR__ATIME;

/// In alphabetical order: it is searched by halves.
#[rustfmt::skip]
const OPTIONS: &[(&str, Effect)] = &[
    ("async",          Clear(Ms::SYNCHRONOUS)),
    ("atime",          Clear(Ms::NOATIME)),
    ("bind",           Bind { recursive: false }),
    ("defaults",       Nothing),
    ("dev",            Clear(Ms::NODEV)),
    ("diratime",       Clear(Ms::NODIRATIME)),
    ("dirsync",        Set(Ms::DIRSYNC)),
    ("exec",           Clear(Ms::NOEXEC)),
    ("idmap",          Idmap { recursive: false }),
    ("iversion",       Set(I_VERSION)),
    ("lazytime",       Set(Ms::LAZYTIME)),
    ("loud",           Clear(Ms::SILENT)),
    ("mand",           Set(Ms::PERMIT_MANDATORY_FILE_LOCKING)),
    ("noatime",        Set(Ms::NOATIME)),
    ("nodev",          Set(Ms::NODEV)),
    ("nodiratime",     Set(Ms::NODIRATIME)),
    ("noexec",         Set(Ms::NOEXEC)),
    ("noiversion",     Clear(I_VERSION)),
    ("nolazytime",     Clear(Ms::LAZYTIME)),
    ("nomand",         Clear(Ms::PERMIT_MANDATORY_FILE_LOCKING)),
    ("norelatime",     Clear(Ms::RELATIME)),
    ("nostrictatime",  Clear(Ms::STRICTATIME)),
    ("nosuid",         Set(Ms::NOSUID)),
    ("nosymfollow",    Set(Ms::NOSYMFOLLOW)),
    ("private",        Propagate(Propagation::PRIVATE)),
    ("ratime",         ClearTree(ATIME)),
    ("rbind",          Bind { recursive: true }),
    ("rdev",           ClearTree(libc::MOUNT_ATTR_NODEV)),
    ("rdiratime",      ClearTree(libc::MOUNT_ATTR_NODIRATIME)),
    ("relatime",       Set(Ms::RELATIME)),
    ("remount",        Remount),
    ("rexec",          ClearTree(libc::MOUNT_ATTR_NOEXEC)),
    ("ridmap",         Idmap { recursive: true }),
    ("rnoatime",       SetTree(libc::MOUNT_ATTR_NOATIME)),
    ("rnodev",         SetTree(libc::MOUNT_ATTR_NODEV)),
    ("rnodiratime",    SetTree(libc::MOUNT_ATTR_NODIRATIME)),
    ("rnoexec",        SetTree(libc::MOUNT_ATTR_NOEXEC)),
    ("rnorelatime",    ClearTree(libc::MOUNT_ATTR_RELATIME)),
    ("rnostrictatime", ClearTree(ATIME)),
    ("rnosuid",        SetTree(libc::MOUNT_ATTR_NOSUID)),
    ("rnosymfollow",   SetTree(libc::MOUNT_ATTR_NOSYMFOLLOW)),
    ("ro",             Set(Ms::RDONLY)),
    ("rprivate",       Propagate(Propagation::PRIVATE.union(Propagation::REC))),
    ("rrelatime",      SetTree(libc::MOUNT_ATTR_RELATIME)),
    ("rro",            SetTree(libc::MOUNT_ATTR_RDONLY)),
    ("rrw",            ClearTree(libc::MOUNT_ATTR_RDONLY)),
    ("rshared",        Propagate(Propagation::SHARED.union(Propagation::REC))),
    ("rslave",         Propagate(Propagation::DOWNSTREAM.union(Propagation::REC))),
    ("rstrictatime",   SetTree(libc::MOUNT_ATTR_STRICTATIME)),
    ("rsuid",          ClearTree(libc::MOUNT_ATTR_NOSUID)),
    ("rsymfollow",     ClearTree(libc::MOUNT_ATTR_NOSYMFOLLOW)),
    ("runbindable",    Propagate(Propagation::UNBINDABLE.union(Propagation::REC))),
    ("rw",             Clear(Ms::RDONLY)),
    ("shared",         Propagate(Propagation::SHARED)),
    ("silent",         Set(Ms::SILENT)),
    ("slave",          Propagate(Propagation::DOWNSTREAM)),
    ("strictatime",    Set(Ms::STRICTATIME)),
    ("suid",           Clear(Ms::NOSUID)),
    ("symfollow",      Clear(Ms::NOSYMFOLLOW)),
    ("sync",           Set(Ms::SYNCHRONOUS)),
    ("tmpcopyup",      CopyUp),
    ("unbindable",     Propagate(Propagation::UNBINDABLE)),
];

/// MS_I_VERSION, which rustix has no name for.
const I_VERSION: Ms = Ms::from_bits_retain(libc::MS_I_VERSION as u32);

/// The row of an option, if a row knows it.
pub(super) fn effect(option: &str) -> Option<Effect> {
    let row = OPTIONS.binary_search_by_key(&option, |(name, _)| name).ok()?;
    Some(OPTIONS[row].1)
}

/// Whether a MOUNT_ATTR_* value to be set is an access-time mode: these share bits, so the old mode must be cleared.
pub(super) fn is_access_time(attribute: u64) -> bool {
    attribute & ATIME == attribute
}

/// The names of all options that are understood, in alphabetical order, as `features` lists them.
pub fn mount_option_names() -> Vec<&'static str> {
    OPTIONS.iter().map(|(name, _)| *name).collect()
}

/// The propagation that a name such as `rslave` asks for, if it is one: `linux.rootfsPropagation` takes these as well.
pub fn propagation(name: &str) -> Option<Propagation> {
    match effect(name)? {
        Propagate(flags) => Some(flags),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_can_be_searched_by_halves() {
        assert!(OPTIONS.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(OPTIONS.iter().all(|(name, _)| effect(name).is_some()));
    }

    #[test]
    fn what_callers_look_for_is_listed() {
        for name in ["rro", "rbind", "tmpcopyup", "idmap", "nosymfollow", "rslave", "lazytime"] {
            assert!(mount_option_names().contains(&name), "{name}");
        }
    }
}
