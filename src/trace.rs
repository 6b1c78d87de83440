//! `--trace FILE`: the steps of a start with their times, parent and child side by side, in the Chrome trace-event format
//! (open it in about:tracing, Perfetto, or draw it with scripts/bench.sh).
//!
//! Off, a step costs one load from memory. On, it takes two readings of the clock and goes into memory that the child
//! shares with its parent; the parent writes the file at its end. What a created container does behind its gate belongs
//! to nobody's file.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::error::{Context, Result};
use crate::sys::shared::Shared;

/// Room for that many steps; later ones are dropped.
const STEPS: usize = 256;
/// Words of a step: process, start, end (nanoseconds of CLOCK_MONOTONIC), then the name.
const HEAD: usize = 3;
/// Words of a name: 40 bytes.
const NAME: usize = 5;
/// Words of a step in all.
const WORDS: usize = HEAD + NAME;

/// Where the steps go; empty when there is no trace.
static TRACE: OnceLock<Trace> = OnceLock::new();

struct Trace {
    file: PathBuf,
    /// How many steps are taken, then the steps.
    cells: Shared<AtomicU64>,
}

/// Begins a trace for this process and all that it forks.
///
/// # Errors
/// Where no memory can be had.
pub fn begin(file: PathBuf) -> Result<()> {
    let cells = Shared::new(1 + STEPS * WORDS).context(|| "map memory for the trace")?;
    let _ = TRACE.set(Trace { file, cells });
    Ok(())
}

/// A step that lasts until it is dropped.
#[must_use]
pub struct Step(Option<(&'static Trace, &'static str, u64)>);

/// Begins a step. Names are short; what is beyond 40 bytes is cut.
pub fn step(name: &'static str) -> Step {
    Step(TRACE.get().map(|trace| (trace, name, now())))
}

impl Drop for Step {
    fn drop(&mut self) {
        let Some((trace, name, start)) = self.0 else { return };
        let cells = trace.cells.get();
        let index = cells[0].fetch_add(1, Ordering::Relaxed) as usize;
        let Some(row) = (index < STEPS).then(|| &cells[1 + index * WORDS..][..WORDS]) else { return };
        let process = rustix::process::getpid().as_raw_nonzero().get() as u64;
        for (cell, word) in row.iter().zip([process, start, now()].into_iter().chain(words(name))) {
            cell.store(word, Ordering::Release);
        }
    }
}

/// Writes the file, where a trace was begun.
///
/// # Errors
/// Where the file cannot be written.
pub fn finish() -> Result<()> {
    let Some(trace) = TRACE.get() else { return Ok(()) };
    let cells = trace.cells.get();
    let taken = (cells[0].load(Ordering::Acquire) as usize).min(STEPS);
    let parent = u64::from(std::process::id());
    let rows: Vec<Vec<u64>> = (cells[1..].chunks(WORDS).take(taken))
        .map(|row| row.iter().map(|cell| cell.load(Ordering::Acquire)).collect())
        .collect();
    let origin = rows.iter().map(|row| row[1]).min().unwrap_or(0);
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    // The child sees itself as process 1 of its namespace; a trace has two rows, whatever their numbers.
    let row_of = |process: u64| if process == parent { 1 } else { 2 };
    let names = [(1, "parent: myrt"), (2, "child: the container's first process")]
        .map(|(row, name)| json!({"name": "thread_name", "ph": "M", "pid": 1, "tid": row, "args": {"name": name}}));
    let steps = rows.iter().map(|row| {
        json!({
            "name": text(&row[HEAD..]), "cat": "start", "ph": "X", "pid": 1, "tid": row_of(row[0]),
            "ts": micros(row[1] - origin), "dur": micros(row[2].saturating_sub(row[1])),
        })
    });
    let events: Vec<_> = names.into_iter().chain(steps).collect();
    let what = || format!("write the trace {:?}", trace.file);
    std::fs::write(&trace.file, json!({"displayTimeUnit": "ms", "traceEvents": events}).to_string()).context(what)
}

fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A name as words, padded with zeros.
fn words(name: &str) -> impl Iterator<Item = u64> {
    let mut bytes = [0; NAME * 8];
    let length = name.len().min(bytes.len());
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    (0..NAME).map(move |word| {
        let mut part = [0; 8];
        part.copy_from_slice(&bytes[word * 8..][..8]);
        u64::from_le_bytes(part)
    })
}

/// A name out of its words.
fn text(words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_survives_its_words() {
        assert_eq!(text(&words("mounts").collect::<Vec<_>>()), "mounts");
        assert_eq!(text(&words(&"x".repeat(99)).collect::<Vec<_>>()), "x".repeat(NAME * 8));
    }
}
