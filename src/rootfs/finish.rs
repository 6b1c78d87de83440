//! What comes last: paths that are hidden or read-only, and the read-only root.
//!
//! Most of the paths are files of /proc and /sys that this kernel may or may not have. A mask looks before it mounts: a
//! file bound over a folder is refused, but only after the kernel has waited for a grace period to take the clone back,
//! which costs more than all the looks. The root has changed, so no path leads out.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::mounts::late_read_only;
use super::pivot::Inside;
use super::{attributes, devices, fd_path, machine};
use crate::error::{Context, Result};
use crate::plan::{Plan, ReadOnlyTree};
use crate::sys::beneath::{Beneath, Leaf};
use crate::sys::mount::{Attributes, Tree, set_attributes, set_attributes_below};
use crate::sys::procfs::ProcFs;

impl Inside {
    /// Hides `linux.maskedPaths`, makes `linux.readonlyPaths`, read-only tmpfs mounts and the root read-only. The working
    /// folder is then the root.
    ///
    /// # Errors
    /// Names the path that cannot be hidden or made read-only. One that does not exist needs neither.
    pub fn finish(&self, plan: &Plan, proc: &ProcFs) -> Result<()> {
        let rootfs = &plan.rootfs;
        if rootfs.machine_read_only {
            machine::protect(&rootfs.masked_paths)?;
        }
        if !rootfs.masked_paths.is_empty() {
            rustix::process::fchdir(proc).context(|| "fchdir /proc")?;
            let mut masks = Masks { null: devices::null(self.dev())?, empty: None, label: mask_data(plan) };
            for path in &rootfs.masked_paths {
                masks.hide(path).context(|| format!("linux.maskedPaths: {path:?}"))?;
            }
            rustix::process::chdir("/").context(|| "chdir /")?;
        }
        for path in &rootfs.readonly_paths {
            read_only(path).context(|| format!("linux.readonlyPaths: {path:?}"))?;
        }
        for tree in &rootfs.read_only_trees {
            read_only_tree(tree).context(|| format!("make {:?} read-only", tree.path))?;
        }
        for mount in rootfs.mounts.iter().filter(|mount| late_read_only(mount)) {
            attributes::read_only(&mount.destination)
                .context(|| format!("mounts[{}]: make {:?} read-only", mount.index, mount.destination))?;
        }
        if rootfs.readonly {
            self.make_working_folder(&plan.process.cwd)?;
            attributes::read_only(Path::new("/")).context(|| "root.readonly")?;
        }
        Ok(())
    }

    /// A working folder that is missing is made while that can still be done. Where it cannot be, entering it says why.
    fn make_working_folder(&self, cwd: &Path) -> Result<()> {
        if rustix::fs::access(cwd, Access::EXISTS) == Err(Errno::NOENT) {
            let _ = Beneath::open(Path::new("/"))?.ensure(cwd, Leaf::Folder);
        }
        Ok(())
    }
}

/// What hides: the null device over a file, an empty read-only tmpfs over a folder, one for all folders.
struct Masks {
    /// Verified; bound by descriptor, so that what a mask is made of is never a name in the image (CVE-2025-31133).
    null: OwnedFd,
    empty: Option<OwnedFd>,
    label: String,
}

impl Masks {
    fn hide(&mut self, path: &Path) -> Result<(), Errno> {
        let found = match rustix::fs::stat(path) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            Err(errno) => return Err(errno),
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::Directory {
            return bind(&self.null, path);
        }
        match &self.empty {
            Some(empty) => bind(empty, path),
            None => self.first_folder(path),
        }
    }

    fn first_folder(&mut self, path: &Path) -> Result<(), Errno> {
        let flags = MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        let data = std::ffi::CString::new(self.label.as_str()).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount("tmpfs", path, "tmpfs", flags, data.as_c_str())?;
        self.empty = Some(rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?);
        Ok(())
    }
}

fn bind(source: &OwnedFd, path: &Path) -> Result<(), Errno> {
    rustix::mount::mount_bind(fd_path(source), path)
}

/// Room for nothing but its own root.
fn mask_data(plan: &Plan) -> String {
    let label = plan.rootfs.mount_label.as_ref().map(|label| format!(",context=\"{label}\""));
    format!("nr_blocks=1,nr_inodes=1{}", label.unwrap_or_default())
}

fn read_only(path: &Path) -> Result<(), Errno> {
    match rustix::mount::mount_bind_recursive(path, path) {
        Ok(()) => attributes::read_only(path),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// One that the box has removed needs no protection. What is to stay as it is, is cloned before and mounted again after: so
/// it keeps the flags that the host gave it, each mount its own.
fn read_only_tree(tree: &ReadOnlyTree) -> Result<(), Errno> {
    let except: Vec<(&PathBuf, Tree)> =
        tree.except.iter().map(|path| Ok((path, Tree::open(path, true)?))).collect::<Result<_, Errno>>()?;
    let read_only = Attributes { set: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() };
    if tree.path == Path::new("/") {
        // Nobody would see what is mounted over their own root.
        set_attributes_below(&tree.path, read_only)?;
    } else {
        let clone = match Tree::open(&tree.path, true) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(()),
            other => other?,
        };
        set_attributes(&clone, true, read_only)?;
        clone.attach_at(&tree.path)?;
    }
    except.iter().try_for_each(|(path, tree)| tree.attach_at(path))
}
