//! The host's mounts, and what each becomes inside: the text of mountinfo (proc_pid_mountinfo(5)), read.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};
use crate::rootfs::{unescape, words};

/// What a mount of the host becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Treatment {
    /// An overlay; of a mount that is read-only, a read-only one. Where the kernel takes none of this filesystem, which it
    /// says when the overlay is made, a read-only bind.
    Overlay {
        /// Whether nothing can be written there on the host either.
        read_only: bool,
    },
    /// An overlay without a layer: the filesystem itself is read-only. A bind would show the host's own sockets and named
    /// pipes, which whoever has no right to write can still connect to and write into.
    Unchanging,
    /// Bound read-only: the filesystem is one that is made once and never written to, so that nobody can have made a socket
    /// there on which somebody listens. A bind takes a fraction of the time of an overlay, and some hosts have dozens of them.
    Bind,
    /// Not there: fresh ones of the container stand in its place, or nothing does.
    Fresh,
}

/// One mount that can be seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostMount {
    /// Where.
    pub(super) path: PathBuf,
    /// The part of its filesystem that is mounted.
    pub(super) root: PathBuf,
    /// The filesystem's type.
    pub(super) kind: String,
    /// What it becomes.
    pub(super) treatment: Treatment,
    /// Whether setuid programs of it have no effect on the host.
    pub(super) nosuid: bool,
    /// Whether none of its programs may run on the host.
    pub(super) noexec: bool,
    /// Whether it notes access times as the host has been told.
    pub(super) noatime: bool,
}

/// Filesystems that are windows into the kernel: the container has its own, or needs none.
const PSEUDO: [&str; 23] = [
    "autofs",
    "binder",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nfsd",
    "nsfs",
    "proc",
    "pstore",
    "resctrl",
    "rpc_pipefs",
    "securityfs",
    "sysfs",
    "tracefs",
];

/// Below these everything is fresh, whatever the host has mounted there.
const FRESH: [&str; 3] = ["/proc", "/sys", "/dev"];

/// How much of the table is read at once.
const TABLE: usize = 16 << 10;

/// One line of mountinfo.
struct Line<'a> {
    id: u32,
    parent: u32,
    /// As the kernel wrote it.
    root: &'a [u8],
    path: PathBuf,
    options: &'a [u8],
    kind: &'a [u8],
    super_options: &'a [u8],
}

impl<'a> Line<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let number = |word: &[u8]| std::str::from_utf8(word).ok()?.parse().ok();
        let mut words = words(line);
        let (id, parent) = (number(words.next()?)?, number(words.next()?)?);
        let (root, path, options) = (words.nth(1)?, words.next()?, words.next()?);
        let mut words = words.skip_while(|word| *word != b"-").skip(1);
        let (kind, super_options) = (words.next()?, words.nth(1).unwrap_or_default());
        Some(Self { id, parent, root, path: unescape(path), options, kind, super_options })
    }
}

/// What lies right at a mount's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Top {
    /// What an overlay can stand on.
    Folder,
    /// A file of its own, as containers have an /etc/hosts.
    File,
    /// A socket or another thing that is not for the box, or nothing that the caller may see.
    Other,
}

impl HostMount {
    /// Looks.
    pub(super) fn top(&self) -> Top {
        match self.path.symlink_metadata() {
            Ok(found) if found.is_dir() => Top::Folder,
            Ok(found) if found.is_file() => Top::File,
            _ => Top::Other,
        }
    }
}

/// Those of this process.
///
/// # Errors
/// Where they cannot be read.
pub(super) fn read() -> Result<Vec<HostMount>> {
    let what = || "read /proc/self/mountinfo";
    let file = std::fs::File::open("/proc/self/mountinfo").context(what)?;
    // Its size is not known before: each read is an answer that the kernel has to write anew.
    let mut table = Vec::with_capacity(TABLE);
    while rustix::io::read(&file, rustix::buffer::spare_capacity(&mut table)).context(what)? > 0 {
        table.reserve(TABLE);
    }
    Ok(mounts(&table))
}

/// All mounts that a path leads to, parents before what is mounted in them: the first is `/`.
///
/// One that another was mounted over, or over a folder on the way to it, cannot be seen and is left out.
fn mounts(table: &[u8]) -> Vec<HostMount> {
    // Whoever may mount, with fusermount anybody, chooses the bytes of a name.
    let mut lines: Vec<Line<'_>> = table.split(|byte| *byte == b'\n').filter_map(Line::parse).collect();
    let mut ids: Vec<u32> = lines.iter().map(|line| line.id).collect();
    ids.sort_unstable();
    // The bottom is the mount whose parent is not in the table: it lies outside of what this process can see.
    let is_bottom = |line: &Line<'_>| line.path == Path::new("/") && ids.binary_search(&line.parent).is_err();
    let Some(bottom) = lines.iter().position(is_bottom) else { return Vec::new() };
    let mut next = vec![lines.remove(bottom)];
    // Those of one parent side by side, in the order of the table.
    lines.retain(|line| line.parent != line.id);
    lines.sort_by_key(|line| line.parent);
    let mut seen = Vec::with_capacity(lines.len() + 1);
    while let Some(line) = next.pop() {
        let first = lines.partition_point(|other| other.parent < line.id);
        let last = lines.partition_point(|other| other.parent <= line.id);
        let mut below: Vec<Line<'_>> = lines.drain(first..last).collect();
        // One right on its root covers it whole.
        if let Some(cover) = below.iter().position(|other| other.path == line.path) {
            next.push(below.swap_remove(cover));
            continue;
        }
        // One covers those that are mounted below it by the same parent; in order they come right after it.
        below.sort_by(|one, other| in_order(&one.path, &other.path));
        below.dedup_by(|inner, outer| inner.path != outer.path && inner.path.starts_with(&outer.path));
        next.append(&mut below);
        seen.push(treated(line));
    }
    seen.sort_by(|one: &HostMount, other| in_order(&one.path, &other.path));
    seen
}

/// By the names on the way, as paths are ordered, letter by letter: nothing of what the kernel writes is to be skipped.
fn in_order(one: &Path, other: &Path) -> Ordering {
    fn letters(path: &Path) -> impl Iterator<Item = u8> {
        path.as_os_str().as_encoded_bytes().iter().map(|byte| if *byte == b'/' { 0 } else { *byte })
    }
    letters(one).cmp(letters(other))
}

/// Filesystems that the kernel can only read.
const MADE_ONCE: [&str; 5] = ["cramfs", "erofs", "iso9660", "romfs", "squashfs"];

fn treated(line: Line<'_>) -> HostMount {
    let has = |options: &[u8], name: &str| options.split(|byte| *byte == b',').any(|option| option == name.as_bytes());
    let kind = String::from_utf8_lossy(line.kind).into_owned();
    let pseudo = PSEUDO.contains(&kind.as_str()) || FRESH.iter().any(|fresh| line.path.starts_with(fresh));
    let treatment = if pseudo {
        Treatment::Fresh
    } else if has(line.super_options, "ro") && line.path != Path::new("/") {
        if MADE_ONCE.contains(&kind.as_str()) { Treatment::Bind } else { Treatment::Unchanging }
    } else {
        let read_only = has(line.options, "ro") || has(line.super_options, "ro");
        Treatment::Overlay { read_only }
    };
    HostMount {
        path: line.path,
        root: unescape(line.root),
        kind,
        treatment,
        nosuid: has(line.options, "nosuid"),
        noexec: has(line.options, "noexec"),
        noatime: has(line.options, "noatime"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(table: &str) -> Vec<String> {
        mounts(table.as_bytes()).iter().map(|mount| mount.path.display().to_string()).collect()
    }

    const HOST: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
24 27 0:6 / /dev rw,relatime - devtmpfs devtmpfs rw
26 24 0:24 / /dev/pts rw - devpts devpts rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
28 27 0:25 / /mnt/with\\040space ro,nosuid,nodev - tmpfs none rw,size=4k
29 27 0:26 / /snap/core/1 ro,nodev - squashfs /dev/loop0 ro
30 27 0:27 / /home rw,nosuid,noexec - ext4 /dev/vdb rw
31 30 0:28 / /home/me/remote rw - fuse.sshfs x:/ rw
32 27 0:29 net:[4026] /run/netns/a rw - nsfs nsfs rw";

    #[test]
    fn each_kind_is_treated() {
        let found = mounts(HOST.as_bytes());
        let of = |path: &str| found.iter().find(|mount| mount.path == Path::new(path)).unwrap();
        assert_eq!(found[0].path, Path::new("/"));
        assert_eq!(of("/").treatment, Treatment::Overlay { read_only: false });
        assert_eq!(of("/proc").treatment, Treatment::Fresh);
        assert_eq!(of("/dev/pts").treatment, Treatment::Fresh);
        assert_eq!(of("/mnt/with space").treatment, Treatment::Overlay { read_only: true });
        assert_eq!(of("/snap/core/1").treatment, Treatment::Bind);
        assert!(of("/home").nosuid && of("/home").noexec && !of("/").nosuid);
        assert_eq!(of("/home/me/remote").treatment, Treatment::Overlay { read_only: false });
        assert_eq!(of("/run/netns/a").treatment, Treatment::Fresh);
    }

    #[test]
    fn a_read_only_root_is_an_overlay_as_well() {
        let found = mounts(b"1 0 8:1 / / ro - ext4 /dev/sda ro");
        assert_eq!(found[0].treatment, Treatment::Overlay { read_only: true });
    }

    #[test]
    fn what_is_covered_is_not_seen() {
        let root = "1 0 8:1 / / rw - ext4 a rw\n";
        // The same place twice: the later one was mounted on the root of the first.
        let twice = format!("{root}2 1 0:1 / /a rw - tmpfs first rw\n3 2 0:2 / /a rw - xfs second rw");
        assert_eq!(paths(&twice), ["/", "/a"]);
        assert_eq!(mounts(twice.as_bytes())[1].kind, "xfs");
        // Below a folder that was covered later.
        let below = format!(
            "{root}2 1 0:1 / /a/b rw - tmpfs b rw\n3 1 0:2 / /a rw - tmpfs a rw\n4 3 0:3 / /a/c rw - tmpfs c rw"
        );
        assert_eq!(paths(&below), ["/", "/a", "/a/c"]);
        // A root that was mounted over.
        let root_twice = format!(
            "{root}2 1 0:1 / / rw - overlay o rw\n3 1 0:2 / /old rw - tmpfs t rw\n4 2 0:3 / /new rw - tmpfs t rw"
        );
        assert_eq!(paths(&root_twice), ["/", "/new"]);
    }

    #[test]
    fn the_order_is_that_of_paths() {
        let all = ["/", "/a", "/a/b", "/a/b/c", "/a-b", "/a.b/c", "/a b", "/ab", "/b/\u{1}", "/b"];
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (Path::new(one), Path::new(other)))) {
            assert_eq!(in_order(one, other), one.cmp(other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn nonsense_is_left_out() {
        assert!(mounts(b"").is_empty());
        assert!(mounts(b"1 0 8:1 / / rw\n-\n- - -\n").is_empty());
    }
}
