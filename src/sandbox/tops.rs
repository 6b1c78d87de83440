//! The top folders of a box's layers before and after a run: the quick way to see that it changed nothing.

use rustix::fs::{CWD, Mode, OFlags, RawDir, Stat};

use super::layers::UPPER;
use super::store::Box;

/// What each layer's top folder was.
#[derive(Debug)]
pub(super) struct Tops(Vec<Option<Top>>);

/// Whatever is done to a folder, it is another one then or has another time of change.
#[derive(Debug, PartialEq)]
struct Top {
    inode: u64,
    changed: (i64, u32),
}

impl Top {
    fn of(stat: &Stat) -> Self {
        Self { inode: stat.st_ino, changed: (stat.st_ctime, stat.st_ctime_nsec as u32) }
    }
}

impl Tops {
    /// Looks.
    pub(super) fn of(held: &Box) -> Self {
        let top = |place| rustix::fs::stat(held.layer_folder(place).join(UPPER)).ok().map(|stat| Top::of(&stat));
        Self((0..held.record.layers.len()).map(top).collect())
    }

    /// Whether all layers are empty, and were so all the time since. Where that cannot be told, they were not.
    pub(super) fn stayed_empty(&self, held: &Box) -> bool {
        let is_empty = |(place, before): (usize, &Option<Top>)| {
            let before = before.as_ref()?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let folder = rustix::fs::openat(CWD, held.layer_folder(place).join(UPPER), flags, Mode::empty()).ok()?;
            let mut room = [std::mem::MaybeUninit::uninit(); 512];
            let mut entries = RawDir::new(&folder, &mut room);
            while let Some(entry) = entries.next() {
                if !matches!(entry.ok()?.file_name().to_bytes(), b"." | b"..") {
                    return None;
                }
            }
            let now = rustix::fs::fstat(&folder).ok()?;
            (Top::of(&now) == *before).then_some(())
        };
        self.0.len() == held.record.layers.len() && self.0.iter().enumerate().all(|layer| is_empty(layer).is_some())
    }
}
