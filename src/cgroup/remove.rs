//! Taking a container's cgroups down, so that the host is as it was.

use super::record::Record;
use super::{systemd, tree};
use crate::error::{Error, Result};

/// Removes the cgroups of a container, those that it made inside, and the folders above that were made for it, if nobody
/// else uses them by now. What is missing is fine. Waits for processes that are killed already; with the systemd driver the
/// unit is stopped and forgotten.
///
/// # Errors
/// Where processes still live there after ten seconds, or the right is missing.
pub fn remove_record(record: &Record) -> Result<()> {
    let told = record.unit.as_ref().is_none_or(|unit| systemd::stop(unit).is_ok());
    // systemd looks into cgroup.events when it is woken, and a folder that is gone by then tells it nothing: the unit would
    // stay for ever, and its name be taken. So it removes the folder itself, unless it lets us wait too long.
    if let (false, Some(tree)) = (told, record.v2()) {
        tree::wait_until_gone(&tree.folder());
    }
    // v2 first: it tells when the last process has gone, and then v1 has none either.
    for tree in record.trees.iter().rev() {
        let folder = tree.folder();
        tree::remove(&folder).map_err(|errno| {
            let error = Error::call(format!("remove the cgroup {}", folder.display()), errno);
            match tree::pids(&folder) {
                Ok(pids) if !pids.is_empty() => error.hint(format!("these processes still live in it: {pids:?}")),
                _ => error,
            }
        })?;
        // Slices are systemd's to remove.
        let names = if record.unit.is_some() { 0 } else { tree.path.split('/').skip(1).count() };
        for above in folder.ancestors().skip(1).take(names.saturating_sub(tree.kept + 1)) {
            // Another container may have come to use it.
            if rustix::fs::rmdir(above).is_err() {
                break;
            }
        }
    }
    // The folders are gone, and so is the unit, but where systemd let us wait too long.
    Ok(())
}
