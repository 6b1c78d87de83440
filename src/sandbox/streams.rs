//! The caller's standard streams, as a hostile program may have them.
//!
//! A program can open a descriptor again through /proc/self/fd with other rights, change its mode, and walk up from a
//! folder: a descriptor brings its mount along. So a file that was opened for reading, every device, terminals among them,
//! and every pipe that has a name is opened once more through a mount that is read-only and leads nowhere else; a file opened
//! for writing is the caller's gift ([`super::lent`]); a folder or a disk is refused. Sockets and pipes without a name are what
//! they are.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::sys::mount::{Attributes, Tree, set_attributes};

/// Refuses streams that no program in a box may have, before anything is made.
///
/// # Errors
/// Where one is a folder or a disk, or the terminal of another user.
pub(super) fn check(terminal: bool) -> Result<()> {
    for (stream, name) in streams(terminal) {
        let Some(Stream { found, flags, .. }) = look(stream, name)? else { continue };
        if rustix::termios::isatty(stream) && !can_open(stream, flags) {
            return Err(of_another_user(name, &found));
        }
    }
    Ok(())
}

/// Makes the streams of this process harmless. Gives the mounts that they lie on: the kernel waits for all CPUs before it lets
/// go of one, which is better done when nobody waits for us.
///
/// # Errors
/// Where one is a folder or a disk, or cannot be opened anew.
pub(super) fn confine(terminal: bool) -> Result<Vec<OwnedFd>> {
    let mut trees = Vec::new();
    for (stream, name) in streams(terminal) {
        confine_one(stream, name, &mut trees)?;
    }
    Ok(trees.into_iter().map(|(_, tree)| tree.into_fd()).collect())
}

/// The streams that the program gets from its caller. Of one whose terminal is relayed that is standard error alone, and not
/// where it is a terminal: its own stands in for that as well.
fn streams(terminal: bool) -> Vec<(BorrowedFd<'static>, &'static str)> {
    let error = (rustix::stdio::stderr(), "standard error");
    match terminal {
        true if rustix::termios::isatty(error.0) => Vec::new(),
        true => vec![error],
        false => {
            vec![(rustix::stdio::stdin(), "standard input"), (rustix::stdio::stdout(), "standard output"), error]
        }
    }
}

/// A stream that has to be opened anew.
struct Stream {
    found: Stat,
    flags: OFlags,
    kind: FileType,
}

/// Looks at a stream; `None`: it can stay as it is.
fn look(stream: BorrowedFd<'_>, name: &str) -> Result<Option<Stream>> {
    let found = rustix::fs::fstat(stream).context(|| format!("look at {name}"))?;
    let flags = rustix::fs::fcntl_getfl(stream).context(|| format!("look at {name}"))?;
    let kind = FileType::from_raw_mode(found.st_mode);
    match kind {
        FileType::Directory | FileType::BlockDevice => {
            return Err(Error::new(format!(
                "{name} is {}: the program would reach the host through it",
                kind_name(kind)
            ))
            .hint("give it a file or a pipe: `cat FILE | myrt sandbox run …`"));
        }
        FileType::RegularFile if flags & OFlags::RWMODE != OFlags::RDONLY => return Ok(None),
        FileType::RegularFile | FileType::CharacterDevice | FileType::Fifo => {}
        _ => return Ok(None),
    }
    if flags.contains(OFlags::PATH) {
        return Err(Error::new(format!("{name} is not open for reading or writing")));
    }
    Ok(Some(Stream { found, flags, kind }))
}

/// `trees`: which files were opened anew, and through which mount each. Several streams often are one file.
fn confine_one(stream: BorrowedFd<'_>, name: &str, trees: &mut Vec<((u64, u64), Tree)>) -> Result<()> {
    let Some(Stream { found, flags, kind }) = look(stream, name)? else { return Ok(()) };
    let what = || format!("open {name} anew");
    let which = (found.st_dev, found.st_ino);
    let place = match trees.iter().position(|(known, _)| *known == which) {
        Some(place) => place,
        None => match Tree::open_fd(stream).or_else(|errno| in_this_namespace(stream, &found).ok_or(errno)) {
            // A file of memory lies on no mount of ours, and no name leads to it: what is done to it, only who has it open
            // sees.
            Err(Errno::INVAL) if found.st_nlink == 0 => return Ok(()),
            // Nor does a pipe without a name.
            Err(Errno::INVAL) if kind == FileType::Fifo => return Ok(()),
            other => {
                let tree = other.context(what).map_err(|error| {
                    error
                        .hint(format!("{name} comes from another mount namespace: put a pipe between, such as `cat |`"))
                })?;
                let set = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID;
                set_attributes(&tree, false, Attributes { set, ..Attributes::default() }).context(what)?;
                trees.push((which, tree));
                trees.len() - 1
            }
        },
    };
    let path = format!("/proc/self/fd/{}", trees[place].1.as_fd().as_raw_fd());
    let kept = OFlags::APPEND | OFlags::NONBLOCK | OFlags::DIRECT | OFlags::SYNC | OFlags::DSYNC;
    let flags = flags & (OFlags::RWMODE | kept) | OFlags::NOCTTY | OFlags::CLOEXEC;
    let again = match kind {
        FileType::Fifo => match pipe(&path, flags) {
            // Who may not open it is not its owner, and changes nothing of it.
            Err(Errno::ACCESS) if found.st_uid != rustix::process::geteuid().as_raw() => return Ok(()),
            other => other,
        },
        _ => rustix::fs::openat(CWD, &path, flags, Mode::empty()),
    };
    let again = again.context(what)?;
    if kind == FileType::RegularFile {
        let place = rustix::fs::seek(stream, SeekFrom::Current(0)).context(what)?;
        rustix::fs::seek(&again, SeekFrom::Start(place)).context(what)?;
    }
    match stream.as_raw_fd() {
        0 => rustix::stdio::dup2_stdin(again),
        1 => rustix::stdio::dup2_stdout(again),
        _ => rustix::stdio::dup2_stderr(again),
    }
    .context(what)
}

/// Opens a pipe, and does not wait for who is at its other end.
fn pipe(path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let open = |flags| rustix::fs::openat(CWD, path, flags | OFlags::NONBLOCK, Mode::empty());
    let pipe = match open(flags) {
        // Nobody reads any more: somebody does while it is opened.
        Err(Errno::NXIO) => {
            let _reader = open(OFlags::RDONLY | OFlags::NOCTTY | OFlags::CLOEXEC)?;
            open(flags)?
        }
        other => other?,
    };
    rustix::fs::fcntl_setfl(&pipe, flags)?;
    Ok(pipe)
}

/// Whether a file may be opened anew as it is open.
fn can_open(stream: BorrowedFd<'_>, flags: OFlags) -> bool {
    let access = match flags & OFlags::RWMODE {
        OFlags::RDONLY => Access::READ_OK,
        OFlags::WRONLY => Access::WRITE_OK,
        _ => Access::READ_OK | Access::WRITE_OK,
    };
    let path = format!("/proc/self/fd/{}", stream.as_raw_fd());
    rustix::fs::accessat(CWD, path, access, AtFlags::EACCESS) != Err(Errno::ACCESS)
}

/// After su(1) and its kin the terminal is still that of whoever logged in. Handed in as it is, the program could change it
/// and read what is typed there. Told before this process has a user namespace, in which other users have no number.
fn of_another_user(name: &str, found: &Stat) -> Error {
    let owner = if found.st_uid == 0 { "root".to_owned() } else { format!("another user ({})", found.st_uid) };
    Error::new(format!("{name} is a terminal that belongs to {owner}: it cannot be opened anew for the program"))
        .hint("run it in a terminal of your own: script -qc 'myrt sandbox run …' /dev/null")
}

/// The same file by its name: an ordinary user has a mount namespace of its own by now, and the stream is of the one before.
fn in_this_namespace(stream: BorrowedFd<'_>, found: &Stat) -> Option<Tree> {
    let path = std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).ok()?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let again = rustix::fs::openat(CWD, path, flags, Mode::empty()).ok()?;
    let same = rustix::fs::fstat(&again).ok()?;
    let is_same = (same.st_dev, same.st_ino) == (found.st_dev, found.st_ino);
    is_same.then(|| Tree::open_fd(&again).ok())?
}

fn kind_name(kind: FileType) -> &'static str {
    if kind == FileType::Directory { "a folder" } else { "a disk" }
}
