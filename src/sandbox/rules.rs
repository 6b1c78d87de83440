//! What a caller asks for beyond the whole host: paths that are hidden, read-only, written through, or empty.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::bail;
use crate::error::{Context, Result};
use crate::plan::ReadOnlyTree;

/// The rules of a run. Paths are the host's.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Files and folders that are empty inside, and can be neither read nor written.
    pub hide: Vec<PathBuf>,
    /// Files and folders that can only be read.
    pub read_only: Vec<PathBuf>,
    /// Files and folders that are the host's own: what is written there is written on the host.
    pub write_through: Vec<PathBuf>,
    /// Folders that are empty and forgotten at the end.
    pub tmpfs: Vec<PathBuf>,
    /// Whether setuid programs and file capabilities give nothing.
    pub no_new_privileges: bool,
}

/// What is made anew for each run: nothing of the host's stands there.
const FRESH: [&str; 3] = ["/dev", "/proc", "/sys"];

/// A flag, and where it would be empty words, or leave nothing to run: at these folders, and below them as well.
struct Limit {
    flag: &'static str,
    at: &'static [&'static str],
    below: &'static [&'static str],
}

const HIDE: Limit = Limit { flag: "--hide", at: &["/", "/dev"], below: &[] };
const READ_ONLY: Limit = Limit { flag: "--read-only", at: &[], below: &[] };
const WRITE_THROUGH: Limit = Limit { flag: "--write-through", at: &["/"], below: &FRESH };
const TMPFS: Limit = Limit { flag: "--tmpfs", at: &["/", "/dev"], below: &["/proc", "/sys"] };

impl Rules {
    /// The same with true paths: a link is followed here, on the host, and not inside.
    ///
    /// # Errors
    /// Names the flag whose path is not there, or cannot be treated so.
    pub(super) fn resolved(&self) -> Result<Self> {
        let tmpfs = TMPFS.resolved(&self.tmpfs)?;
        if let Some(file) = tmpfs.iter().find(|path| !path.is_dir()) {
            bail!("--tmpfs {file:?}: this is no folder");
        }
        Ok(Self {
            hide: HIDE.resolved(&self.hide)?,
            read_only: READ_ONLY.resolved(&self.read_only)?,
            write_through: WRITE_THROUGH.resolved(&self.write_through)?,
            tmpfs,
            no_new_privileges: self.no_new_privileges,
        })
    }
}

impl Rules {
    /// What is read-only, those around others first. Of two rules the one for less holds: what is written through, or a tmpfs,
    /// below a folder that is read-only stays as it is.
    pub(super) fn read_only_trees(&self) -> Vec<ReadOnlyTree> {
        let paths: BTreeSet<&PathBuf> = self.read_only.iter().collect();
        let tree = |path: &PathBuf| {
            let own = FRESH.iter().map(Path::new).filter(|_| path == Path::new("/"));
            let others = self.write_through.iter().chain(&self.tmpfs).map(PathBuf::as_path);
            let except = own.chain(others).filter(|inner| *inner != path && inner.starts_with(path));
            ReadOnlyTree { path: path.clone(), except: except.map(Path::to_owned).collect() }
        };
        paths.into_iter().map(tree).collect()
    }

    /// The folders of the host itself that are to be mounts, those around others first: what is written through, and what lies
    /// between that and a path that is protected in it, one of `hidden` or of these rules. The kernel lets nobody rename or
    /// remove what is a mount point, and asks for nothing else: with a folder around it moved away, another one with the
    /// program's own files could take the place.
    pub(super) fn through(&self, hidden: &[PathBuf]) -> BTreeSet<PathBuf> {
        let around = |path: &Path| self.write_through.iter().any(|top| path != top && path.starts_with(top));
        let protected = self.hide.iter().chain(&self.read_only).chain(hidden);
        let between = protected.flat_map(|path| path.ancestors().skip(1).take_while(|path| around(path)));
        between.map(Path::to_owned).chain(self.write_through.iter().cloned()).collect()
    }
}

impl Limit {
    fn resolved(&self, paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
        paths.iter().map(|path| self.real(path)).collect()
    }

    fn real(&self, path: &Path) -> Result<PathBuf> {
        let what = || format!("{} {path:?}", self.flag);
        let real = path.canonicalize().context(what)?;
        if let Some(fresh) = self.below.iter().find(|fresh| real.starts_with(fresh)) {
            bail!("{}: inside, {fresh} is the box's own: nothing of the host's is there", what());
        }
        match self.at.iter().find(|at| real == Path::new(at)) {
            Some(&"/") => bail!("{}: this is the whole host", what()),
            Some(_) => bail!("{}: no program runs without it", what()),
            None => Ok(real),
        }
    }
}
