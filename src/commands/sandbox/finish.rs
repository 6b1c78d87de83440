//! What becomes of a box without a name once its program has ended.

use rustix::io::Errno;
use rustix::process::Signal;
use rustix::termios::QueueSelector;

use super::interrupts::Interrupts;
use crate::commands::output;
use crate::error::{Context, Result};
use crate::log;
use crate::sandbox::changes::{self, Changes};
use crate::sandbox::commit::{self, Outcome, Winner};
use crate::sandbox::{Ended, Store};

/// How many lines of changes stand before the question.
const GLANCE: usize = 16;

/// What was answered.
pub(super) enum Answer {
    /// This, in small letters.
    Line(String),
    /// Nothing, and nothing will be: the terminal is at its end, or gone.
    End,
    /// Nothing: this came instead.
    Signal(Signal),
}

/// Throws it away where nothing was changed; asks in a terminal; keeps it elsewhere. Gives the program's exit code, or, where a
/// signal ended the question, that of the signal.
pub(super) fn decide(store: &Store, ended: Ended, interrupts: &mut Interrupts) -> Result<u8> {
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
    let diff = store.command("diff", &name);
    let told = changes.told(&(0..changes.all.len()).collect())?;
    drop(changes);
    let count = super::diff::count(&told);
    if !in_a_terminal() {
        output::note(&format!("myrt: {count}, kept in the box {name}: `{diff}` shows them\n"));
        return Ok(code);
    }
    output::note(&format!("\n{}", super::diff::glance(&told, GLANCE)));
    // Nobody has been asked yet: what is there already was typed for the program, or by it, by way of a terminal that
    // replies to what is written to it.
    let _ = rustix::termios::tcflush(rustix::stdio::stdin(), QueueSelector::IFlush);
    let kept = || format!("myrt: kept: `{diff}` shows them\n");
    loop {
        output::note(&format!(
            "myrt: {count}. Commit them to the host, keep them in the box {name}, discard them, or show them? [c/k/d/s] "
        ));
        let answer = match answer(Some(&mut *interrupts))? {
            Answer::Line(answer) => answer,
            Answer::End => "keep".to_owned(),
            Answer::Signal(signal) => {
                // Behind what was asked.
                output::note(&format!("\n{}", kept()));
                return Ok(128 + signal.as_raw() as u8);
            }
        };
        match answer.as_str() {
            "k" | "keep" => {
                output::note(&kept());
                return Ok(code);
            }
            "c" | "commit" => match commit::commit(&mut held, &[], Winner::Nobody) {
                Ok(Outcome::Conflicts(paths)) => {
                    let lines = super::outcome::lines(&paths);
                    output::note(&format!("myrt: nothing was written, the host has changed these since:\n{lines}"));
                }
                Ok(_) => {
                    output::note(&format!("myrt: committed: `{}` takes it back\n", store.command("undo", &name)));
                    return Ok(code);
                }
                Err(error) => log::warn(error),
            },
            "d" | "discard" => {
                store.remove(held)?;
                return Ok(code);
            }
            "s" | "show" => output::note(&super::diff::glance(&told, usize::MAX)),
            _ => {}
        }
    }
}

/// Whether [`decide`] may ask.
pub(super) fn asks(ended: &Ended) -> bool {
    ended.unnamed && in_a_terminal()
}

pub(super) fn in_a_terminal() -> bool {
    [rustix::stdio::stdin(), rustix::stdio::stderr()].into_iter().all(rustix::termios::isatty)
}

/// One line from the terminal, unless one of the interrupts comes first.
pub(super) fn answer(mut interrupts: Option<&mut Interrupts>) -> Result<Answer> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        if let Some(signal) = interrupts.as_mut().map(|interrupts| interrupts.or_input()).transpose()?.flatten() {
            return Ok(Answer::Signal(signal));
        }
        match rustix::io::retry_on_intr(|| rustix::io::read(rustix::stdio::stdin(), &mut byte)) {
            // The second is how a terminal that is gone says it.
            Ok(0) | Err(Errno::IO) => return Ok(Answer::End),
            Ok(_) if byte[0] == b'\n' => {
                return Ok(Answer::Line(String::from_utf8_lossy(&line).trim().to_lowercase()));
            }
            Ok(_) => line.push(byte[0]),
            Err(errno) => return Err(errno).context(|| "read an answer"),
        }
    }
}
