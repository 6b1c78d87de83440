//! What a person sees of layers that come in, on stderr: on a terminal one line that changes, elsewhere a line for each
//! layer. It is drawn by whoever reads, so that no thread is needed for it.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::stdio::stderr;
use rustix::termios::{isatty, tcgetwinsize};

use super::document::Image;
use super::files::{Files, Opened};
use super::source;
use crate::error::Result;
use crate::log;

/// The line on the terminal changes so often and no more.
const EVERY: Duration = Duration::from_millis(100);
/// The rate is that of so much time, so that it follows a line that slows down.
const WINDOW: Duration = Duration::from_secs(3);
/// How many letters the bar has.
const BAR: usize = 24;

/// How it is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// Not at all.
    #[default]
    Nothing,
    /// A line for each layer that has come in.
    Lines,
    /// One line that changes.
    Terminal,
}

impl Show {
    /// What fits the caller's stderr.
    pub fn unless(quiet: bool) -> Self {
        match quiet {
            true => Self::Nothing,
            false if isatty(stderr()) => Self::Terminal,
            false => Self::Lines,
        }
    }
}

/// The same image, whose layers are seen coming in.
pub fn watched(opened: source::Opened, show: Show) -> source::Opened {
    if show == Show::Nothing {
        return opened;
    }
    let meter = Arc::new(Meter { show, state: Mutex::new(State::new(&opened.image)) });
    let sizes = opened.image.layers.iter().map(|layer| (layer.name.clone(), layer.size.unwrap_or(0))).collect();
    source::Opened { image: opened.image, files: Box::new(Watched { files: opened.files, sizes, meter }) }
}

struct Watched {
    files: Box<dyn Files>,
    /// What the manifest says of each layer.
    sizes: BTreeMap<String, u64>,
    meter: Arc<Meter>,
}

impl Files for Watched {
    fn open(&self, name: &str) -> Result<Option<Opened<'_>>> {
        let Some((size, input)) = self.files.open(name)? else { return Ok(None) };
        self.meter.begin(size);
        Ok(Some((size, Box::new(Counted { input, meter: self.meter.clone(), count: 0, ended: false }))))
    }

    fn place(&self) -> String {
        self.files.place()
    }

    fn skipped(&self, name: &str) {
        self.meter.lock().skip(self.sizes.get(name).copied().unwrap_or(0));
        self.files.skipped(name);
    }
}

impl Drop for Watched {
    /// The terminal's line makes room for what is said next.
    fn drop(&mut self) {
        if self.meter.show == Show::Terminal {
            log::show("\r\x1b[K");
        }
    }
}

/// A layer that is being read.
struct Counted<'a> {
    input: Box<dyn Read + Send + 'a>,
    meter: Arc<Meter>,
    count: u64,
    ended: bool,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count += count as u64;
        match count {
            0 if !buffer.is_empty() && !std::mem::replace(&mut self.ended, true) => self.meter.end(self.count),
            _ => self.meter.read(count as u64),
        }
        Ok(count)
    }
}

struct Meter {
    show: Show,
    state: Mutex<State>,
}

impl Meter {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, size: u64) {
        let mut state = self.lock();
        if !state.total_is_known {
            state.total += size;
        }
    }

    fn read(&self, count: u64) {
        let mut state = self.lock();
        state.bytes += count;
        if self.show == Show::Terminal && state.drawn.is_none_or(|drawn| drawn.elapsed() >= EVERY) {
            state.draw();
        }
    }

    fn end(&self, size: u64) {
        let mut state = self.lock();
        state.done += 1;
        match self.show {
            Show::Nothing => {}
            Show::Lines => log::show(&format!("layer {} of {}: {}\n", state.done, state.layers, bytes(size))),
            Show::Terminal => state.draw(),
        }
    }
}

#[derive(Debug)]
struct State {
    layers: usize,
    done: usize,
    bytes: u64,
    total: u64,
    /// Whether the manifest tells all sizes; otherwise each layer adds its own when it begins.
    total_is_known: bool,
    drawn: Option<Instant>,
    /// When, and how many bytes had been read then; the oldest first.
    samples: Vec<(Instant, u64)>,
}

impl State {
    fn new(image: &Image) -> Self {
        let sizes: Option<Vec<u64>> = image.layers.iter().map(|layer| layer.size).collect();
        let total = sizes.as_deref().unwrap_or_default().iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
        Self {
            layers: image.layers.len(),
            done: 0,
            bytes: 0,
            total,
            total_is_known: sizes.is_some(),
            drawn: None,
            samples: vec![(Instant::now(), 0)],
        }
    }

    /// A layer of so many bytes does not come.
    fn skip(&mut self, size: u64) {
        self.layers = self.layers.saturating_sub(1);
        self.total = self.total.saturating_sub(size);
    }

    fn draw(&mut self) {
        let now = Instant::now();
        self.drawn = Some(now);
        let rate = self.rate(now);
        let width = tcgetwinsize(stderr()).map_or(80, |size| usize::from(size.ws_col));
        log::show(&format!("\r{}\x1b[K", self.line(rate, width)));
    }

    /// Bytes a second.
    fn rate(&mut self, now: Instant) -> u64 {
        self.samples.push((now, self.bytes));
        let young = self.samples.iter().position(|(when, _)| now - *when <= WINDOW).unwrap_or(0);
        // One that is older stays, so that there is always something to compare with.
        self.samples.drain(..young.saturating_sub(1));
        let Some((when, bytes)) = self.samples.first() else { return 0 };
        let milliseconds = u64::try_from((now - *when).as_millis()).unwrap_or(u64::MAX).max(1);
        (self.bytes - bytes).saturating_mul(1000) / milliseconds
    }

    fn line(&self, rate: u64, width: usize) -> String {
        let full = usize::try_from(self.bytes.saturating_mul(BAR as u64) / self.total.max(1)).unwrap_or(BAR).min(BAR);
        let bar = format!("[{}{}]", "=".repeat(full), " ".repeat(BAR - full));
        let text = format!(
            "{bar} {} of {}, {}/s, {} of {} layers",
            bytes(self.bytes),
            bytes(self.total),
            bytes(rate),
            self.done,
            self.layers
        );
        // A line that wraps would stay.
        text.chars().take(width.saturating_sub(1)).collect()
    }
}

/// As people read it: 1.2 MiB.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} bytes");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if value < 999.95 {
            break;
        }
        (value, unit) = (value / 1024.0, next);
    }
    format!("{value:.1} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(bytes: u64, total: u64) -> State {
        let samples = vec![(Instant::now(), 0)];
        State { layers: 3, done: 1, bytes, total, total_is_known: true, drawn: None, samples }
    }

    #[test]
    fn a_line_fits_the_terminal() {
        let line = state(1536, 3072).line(2 << 20, 80);
        assert_eq!(line, "[============            ] 1.5 KiB of 3.0 KiB, 2.0 MiB/s, 1 of 3 layers");
        assert_eq!(state(1, 2).line(0, 10).len(), 9);
        assert_eq!(state(1, 2).line(0, 0), "");
        // A manifest that lies about sizes.
        assert!(state(10, 0).line(0, 80).starts_with("[========================] 10 bytes of 0 bytes"));
        assert!(state(u64::MAX, 1).line(u64::MAX, 80).contains("TiB"));
    }

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut state = State { samples: vec![(start, 0)], ..state(0, 0) };
        let mut at = |seconds: u64, bytes: u64| {
            state.bytes = bytes;
            state.rate(start + Duration::from_secs(seconds))
        };
        assert_eq!(at(1, 1000), 1000);
        assert_eq!(at(2, 2000), 1000);
        assert_eq!(at(10, 2000), 0);
        assert_eq!(at(11, 5000), 333);
        assert!(state.samples.len() <= 4);
    }

    #[test]
    fn what_does_not_come_is_not_counted() {
        let mut state = state(0, 100);
        state.skip(60);
        assert_eq!((state.layers, state.total), (2, 40));
        state.skip(60);
        assert_eq!((state.layers, state.total), (1, 0));
    }

    #[test]
    fn sizes_are_readable() {
        for (count, text) in [(0, "0 bytes"), (1023, "1023 bytes"), (1 << 20, "1.0 MiB"), (1_048_575, "1.0 MiB")] {
            assert_eq!(bytes(count), text);
        }
    }
}
