//! The top folders of a box's layers before and after a run: the quick way to see that it changed nothing.

use rustix::fs::{CWD, Mode, OFlags, RawDir, Stat};

use super::base::{self, Clock};
use super::layers::UPPER;
use super::store::Box;

/// Of each layer's top folder its number and when it changed last: whatever is done to it, one of both is another one then.
#[derive(Debug)]
pub(super) struct Tops(Vec<Option<(u64, Clock)>>);

fn top(stat: &Stat) -> (u64, Clock) {
    (stat.st_ino, base::changed(stat))
}

impl Tops {
    /// Looks.
    pub(super) fn of(held: &Box) -> Self {
        let look = |place| rustix::fs::stat(held.layer_folder(place).join(UPPER)).ok().map(|stat| top(&stat));
        Self((0..held.record.layers.len()).map(look).collect())
    }

    /// Whether all layers are empty, and were so all the time since. Where that cannot be told, they were not.
    pub(super) fn stayed_empty(&self, held: &Box) -> bool {
        let is_empty = |(place, before): (usize, &Option<(u64, Clock)>)| {
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
            (top(&now) == *before).then_some(())
        };
        self.0.len() == held.record.layers.len() && self.0.iter().enumerate().all(|layer| is_empty(layer).is_some())
    }
}
