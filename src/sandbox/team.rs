//! Many folders are worked on by several threads, where what is in one depends on no other.

use std::num::NonZero;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::error::Result;

/// From how many files on other threads are worth the while: fewer are done before they had begun.
pub(super) const WORTH: usize = 500;
/// How many threads at most: they work on one filesystem.
const MOST: usize = 4;

/// What is still to be done, and by whom.
struct Work<T> {
    left: Vec<T>,
    /// How many threads are at something that may make more of it.
    busy: usize,
    failed: bool,
}

struct Team<T> {
    work: Mutex<Work<T>>,
    changed: Condvar,
}

/// Does all of `left` and what that leads to, in no order: `each` does one, adds what it leads to, and what it found. Gives
/// what was found. `worth`: whether other threads are to help.
///
/// # Errors
/// One of those that `each` gave; then not all has been done.
pub(super) fn all<T: Send, F: Send>(
    left: Vec<T>,
    worth: bool,
    each: impl Fn(&T, &mut Vec<T>, &mut Vec<F>) -> Result<()> + Sync,
) -> Result<Vec<F>> {
    all_with(left, worth, &(), || Ok(()), |(), one, more, found| each(one, more, found))
}

/// Likewise, where each thread needs a tool of its own: `mine` is this one's, `anew` makes that of another.
///
/// # Errors
/// Those of `anew` as well.
pub(super) fn all_with<S, T: Send, F: Send>(
    left: Vec<T>,
    worth: bool,
    mine: &S,
    anew: impl Fn() -> Result<S> + Sync,
    each: impl Fn(&S, &T, &mut Vec<T>, &mut Vec<F>) -> Result<()> + Sync,
) -> Result<Vec<F>> {
    let team = Team { work: Mutex::new(Work { left, busy: 0, failed: false }), changed: Condvar::new() };
    let processors = || thread::available_parallelism().map_or(1, NonZero::get);
    let others = if worth { processors().min(MOST) - 1 } else { 0 };
    let member = |tool: &S| {
        let mut found = Vec::new();
        while let Some(one) = team.next() {
            let mut more = Vec::new();
            let done = each(tool, &one, &mut more, &mut found);
            team.finished(more, done.is_err());
            done?;
        }
        Ok(found)
    };
    let other = || anew().inspect_err(|_| team.fail()).and_then(|tool| member(&tool));
    thread::scope(|scope| {
        let running: Vec<_> = (0..others).map(|_| scope.spawn(other)).collect();
        let mut all = vec![member(mine)];
        all.extend(running.into_iter().filter_map(|one| one.join().ok()));
        all.into_iter().try_fold(Vec::new(), |mut all: Vec<F>, found: Result<Vec<F>>| {
            all.append(&mut found?);
            Ok(all)
        })
    })
}

impl<T> Team<T> {
    fn lock(&self) -> MutexGuard<'_, Work<T>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next one; `None`: there is none, and there will be none.
    fn next(&self) -> Option<T> {
        let mut work = self.lock();
        loop {
            if work.failed {
                return None;
            }
            if let Some(one) = work.left.pop() {
                work.busy += 1;
                return Some(one);
            }
            if work.busy == 0 {
                return None;
            }
            work = self.changed.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn finished(&self, mut more: Vec<T>, failed: bool) {
        let mut work = self.lock();
        work.left.append(&mut more);
        work.busy -= 1;
        work.failed |= failed;
        drop(work);
        self.changed.notify_all();
    }

    fn fail(&self) {
        self.lock().failed = true;
        self.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::error::Error;

    #[test]
    fn what_one_leads_to_is_done_as_well() {
        let each = |one: &u32, more: &mut Vec<u32>, found: &mut Vec<u32>| {
            found.push(*one);
            more.extend([one * 2, one * 2 + 1].into_iter().filter(|next| *next < 5000));
            Ok(())
        };
        let mut found = all(vec![1], true, each).unwrap();
        found.sort_unstable();
        assert_eq!(found, (1..5000).collect::<Vec<_>>());
        assert!(all(Vec::new(), false, each).unwrap().is_empty());
    }

    #[test]
    fn one_failure_ends_all() {
        let each = |one: &u32, more: &mut Vec<u32>, _: &mut Vec<()>| match one {
            700 => Err(Error::new("no 700")),
            _ => {
                more.push(one + 1);
                Ok(())
            }
        };
        assert_eq!(all(vec![1, 2, 3], true, each).unwrap_err().to_string(), "no 700");
    }

    #[test]
    fn each_thread_has_a_tool_of_its_own() {
        let each = |tool: &Cell<u32>, _: &u32, _: &mut Vec<u32>, found: &mut Vec<u32>| {
            tool.set(tool.get() + 1);
            found.push(tool.get());
            Ok(())
        };
        let mine = Cell::new(0);
        let found = all_with((0..1000).collect(), true, &mine, || Ok(Cell::new(0)), each).unwrap();
        // Each has counted what it did itself.
        let counts = found.iter().filter(|count| **count == 1).count();
        assert!(found.len() == 1000 && (1..=MOST).contains(&counts), "{counts}");
    }

    #[test]
    fn a_tool_that_cannot_be_made_ends_all() {
        if thread::available_parallelism().unwrap().get() == 1 {
            return;
        }
        // What leads to itself ends by the failure alone.
        let each = |(): &(), one: &u32, more: &mut Vec<u32>, _: &mut Vec<()>| {
            more.push(*one);
            Ok(())
        };
        let failed = all_with(vec![1], true, &(), || Err(Error::new("no tool")), each);
        assert_eq!(failed.unwrap_err().to_string(), "no tool");
    }
}
