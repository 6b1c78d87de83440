//! What becomes of a box without a name once its program has ended.

use rustix::termios::QueueSelector;

use crate::commands::output;
use crate::error::{Context, Result};
use crate::log;
use crate::sandbox::changes::{self, Changes};
use crate::sandbox::commit::{self, Outcome, Winner};
use crate::sandbox::{Ended, Store};

/// How many lines of changes stand before the question.
const GLANCE: usize = 16;

/// Throws it away where nothing was changed; asks in a terminal; keeps it elsewhere. Gives the program's exit code.
pub(super) fn decide(store: &Store, ended: Ended) -> Result<u8> {
    let Ended { code, mut held, unnamed, .. } = ended;
    if !unnamed {
        return Ok(code);
    }
    let changes = Changes::of(&held)?;
    super::warn_of_unmounted(&held)?;
    if changes.all.is_empty() && changes::unmounted(&held)?.is_empty() {
        store.remove(held)?;
        return Ok(code);
    }
    let name = held.name().clone();
    let told = changes.told(&(0..changes.all.len()).collect())?;
    drop(changes);
    let count = super::diff::count(&told);
    if !in_a_terminal() {
        output::note(&format!("myrt: {count}, kept in the box {name}: `myrt sandbox diff {name}` shows them\n"));
        return Ok(code);
    }
    output::note(&format!("\n{}", super::diff::glance(&told, GLANCE)));
    // Nobody has been asked yet: what is there already was typed for the program, or by it, by way of a terminal that
    // replies to what is written to it.
    let _ = rustix::termios::tcflush(rustix::stdio::stdin(), QueueSelector::IFlush);
    loop {
        output::note(&format!(
            "myrt: {count}. Commit them to the host, keep them in the box {name}, discard them, or show them? [c/k/d/s] "
        ));
        match answer()?.as_deref() {
            Some("k" | "keep") | None => {
                output::note(&format!("myrt: kept: `myrt sandbox diff {name}` shows them\n"));
                return Ok(code);
            }
            Some("c" | "commit") => match commit::commit(&mut held, &[], Winner::Nobody) {
                Ok(Outcome::Conflicts(paths)) => {
                    let lines = super::outcome::lines(&paths);
                    output::note(&format!("myrt: nothing was written, the host has changed these since:\n{lines}"));
                }
                Ok(_) => {
                    output::note(&format!("myrt: committed: `myrt sandbox undo {name}` takes it back\n"));
                    return Ok(code);
                }
                Err(error) => log::warn(error),
            },
            Some("d" | "discard") => {
                store.remove(held)?;
                return Ok(code);
            }
            Some("s" | "show") => output::note(&super::diff::glance(&told, usize::MAX)),
            Some(_) => {}
        }
    }
}

pub(super) fn in_a_terminal() -> bool {
    [rustix::stdio::stdin(), rustix::stdio::stderr()].into_iter().all(rustix::termios::isatty)
}

/// One line from the terminal; `None` at its end.
pub(super) fn answer() -> Result<Option<String>> {
    let mut line = Vec::new();
    let mut byte = [0];
    while rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut byte))
        .context(|| "read an answer")?
        == 1
    {
        if byte[0] == b'\n' {
            return Ok(Some(String::from_utf8_lossy(&line).trim().to_lowercase()));
        }
        line.push(byte[0]);
    }
    Ok(None)
}
