//! A packed layer on its way to whoever reads its archive: one thread reads, checks and unpacks, one computes the digest of
//! what came out, and the caller works on it meanwhile.
//!
//! The three share a fixed number of buffers, so that memory stays the same whatever the layer's size. Of several layers that
//! are needed in their order the next ones are unpacked meanwhile, each by threads and with buffers of its own.

use std::collections::VecDeque;
use std::io::{self, BufRead, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, Scope, ScopedJoinHandle};

use super::compression::Decoder;
use super::digest::{Digest, Verified};
use super::document::Layer;
use super::files::Files;
use super::limits::Budget;
use crate::bail;
use crate::error::{Context, Error, Result};

/// The size of a buffer, and how many there are.
const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 16;
/// How many streams are under way at once, at most: each has its own buffers.
const AHEAD: usize = 4;

/// A packed stream and what is known of it.
pub struct Packed<'a> {
    /// Where its bytes come from.
    pub input: Box<dyn Read + Send + 'a>,
    /// How many there are.
    pub size: Option<u64>,
    /// Their digest.
    pub digest: Option<&'a Digest>,
    /// The digest of what they unpack to.
    pub diff_id: Option<&'a Digest>,
}

impl<'a> Packed<'a> {
    /// A layer that is in these files.
    ///
    /// # Errors
    /// Where it is missing.
    pub fn of(layer: &'a Layer, files: &'a dyn Files) -> Result<Self> {
        let (size, input) = files.need(&layer.name)?;
        // What is written while it is read has no size before.
        let size = layer.size.or(Some(size)).filter(|size| *size > 0);
        Ok(Self { input, size, digest: layer.digest.as_ref(), diff_id: layer.diff_id.as_ref() })
    }
}

/// Unpacks a stream while `work` reads it. What `work` leaves is unpacked and checked all the same.
///
/// # Errors
/// The first that happened to the stream, a digest or size that differs included; else that of `work`.
pub fn unpack<T>(packed: Packed<'_>, budget: &Budget, work: impl FnOnce(&mut Stream) -> Result<T>) -> Result<T> {
    thread::scope(|scope| Flow::start(scope, packed, budget)?.finish(work))
}

/// The same for several streams, one after the other in this order; those that follow are read, checked and unpacked ahead,
/// as far as their buffers reach. `open` gives a stream when it begins, `what` what an error
/// says of it.
///
/// # Errors
/// As [`unpack`]: that of the first stream with one.
pub fn unpack_in_order<'a>(
    count: usize,
    budget: &Budget,
    open: impl Fn(usize) -> Result<Packed<'a>>,
    what: impl Fn(usize) -> String,
    mut work: impl FnMut(usize, &mut Stream) -> Result<()>,
) -> Result<()> {
    let ahead = thread::available_parallelism().map_or(1, usize::from).clamp(2, AHEAD);
    thread::scope(|scope| {
        let mut flows = VecDeque::new();
        let mut next = 0..count;
        for index in 0..count {
            // A failure of a later one is told when it is its turn.
            flows.extend(next.by_ref().take(ahead - flows.len()).map(|index| Flow::start(scope, open(index)?, budget)));
            let flow = flows.pop_front().unwrap_or_else(|| Err(Error::new("no stream")));
            flow.and_then(|flow| flow.finish(|stream| work(index, stream))).context(|| what(index))?;
        }
        Ok(())
    })
}

/// A stream and the two threads behind it. Dropped before its end, it stops them.
struct Flow<'scope> {
    stream: Stream,
    threads: [ScopedJoinHandle<'scope, Result<()>>; 2],
}

impl<'scope> Flow<'scope> {
    fn start<'a: 'scope>(scope: &'scope Scope<'scope, '_>, packed: Packed<'a>, budget: &'scope Budget) -> Result<Self> {
        let (home, pool) = channel();
        for _ in 0..BUFFERS {
            let _ = home.send(Vec::new());
        }
        let (to_work, chunks) = channel();
        let (to_hasher, for_hasher) = channel();
        let diff_id = packed.diff_id;
        let hasher = thread::Builder::new().name("digest".to_owned());
        let hasher = hasher.spawn_scoped(scope, move || diff_id.map_or(Ok(()), |wanted| hash(&for_hasher, wanted)));
        let hasher = hasher.context(|| "start a thread")?;
        let decoder = thread::Builder::new().name("unpack".to_owned()).spawn_scoped(scope, move || {
            let outputs = [Some(to_work), diff_id.map(|_| to_hasher)];
            decode(packed, budget, &pool, &home, &outputs)
        });
        let threads = [decoder.context(|| "start a thread")?, hasher];
        Ok(Self { stream: Stream { chunks, current: None, used: 0 }, threads })
    }

    fn finish<T>(mut self, work: impl FnOnce(&mut Stream) -> Result<T>) -> Result<T> {
        let result = work(&mut self.stream);
        if result.is_ok() {
            // The digests are of the whole stream.
            while self.stream.next_chunk() {}
        }
        drop(self.stream);
        let join = |thread: ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(Error::new("a thread that unpacks has failed")))
        };
        let [decoded, hashed] = self.threads.map(join);
        decoded?;
        let result = result?;
        hashed.map(|()| result)
    }
}

/// Reads and unpacks until the end, or until nobody wants more.
fn decode(
    packed: Packed<'_>,
    budget: &Budget,
    pool: &Receiver<Vec<u8>>,
    home: &Sender<Vec<u8>>,
    outputs: &[Option<Sender<Arc<Chunk>>>; 2],
) -> Result<()> {
    let mut input = Verified::new(packed.input, packed.size, packed.digest);
    let mut decoder = Decoder::new(&mut input)?;
    loop {
        let Ok(mut bytes) = pool.recv() else { return Ok(()) };
        bytes.resize(BUFFER, 0);
        let count = decoder.fill(&mut bytes)?;
        if count == 0 {
            break;
        }
        budget.archive(count as u64)?;
        bytes.truncate(count);
        let chunk = Arc::new(Chunk { bytes, home: home.clone() });
        for output in outputs.iter().flatten() {
            if output.send(chunk.clone()).is_err() {
                return Ok(());
            }
        }
    }
    drop(decoder);
    // What stands behind the last frame belongs to the blob's digest as well.
    io::copy(&mut input, &mut io::sink()).map(drop).map_err(Error::of_io)
}

fn hash(chunks: &Receiver<Arc<Chunk>>, wanted: &Digest) -> Result<()> {
    let mut hasher = wanted.hasher();
    for chunk in chunks {
        hasher.update(&chunk.bytes);
    }
    let found = hasher.finish();
    if found != *wanted {
        bail!("it unpacks to {found} and not to {wanted}, as the image's configuration says");
    }
    Ok(())
}

/// A buffer that goes back to the pool when its last user drops it.
struct Chunk {
    bytes: Vec<u8>,
    home: Sender<Vec<u8>>,
}

impl Deref for Chunk {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        let _ = self.home.send(std::mem::take(&mut self.bytes));
    }
}

/// The unpacked stream.
pub struct Stream {
    chunks: Receiver<Arc<Chunk>>,
    current: Option<Arc<Chunk>>,
    used: usize,
}

impl Stream {
    fn next_chunk(&mut self) -> bool {
        // Given back before the next one is waited for.
        self.current = None;
        self.current = self.chunks.recv().ok();
        self.used = 0;
        self.current.is_some()
    }
}

impl BufRead for Stream {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let length = self.current.as_deref().map_or(0, |chunk| chunk.len());
        if self.used == length {
            self.next_chunk();
        }
        Ok(self.current.as_deref().map_or(&[], |chunk| &chunk[self.used..]))
    }

    fn consume(&mut self, count: usize) {
        self.used += count;
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::limits::Limits;

    fn read(content: &[u8], diff_id: &Digest, most: u64) -> Result<usize> {
        let packed = zstd::encode_all(content, 1).unwrap();
        let digest = Digest::of(&packed);
        let budget = Budget::new(Limits { bytes: most, ..Limits::default() });
        let size = Some(packed.len() as u64);
        let packed = Packed { input: Box::new(packed.as_slice()), size, digest: Some(&digest), diff_id: Some(diff_id) };
        unpack(packed, &budget, |stream| {
            let mut all = Vec::new();
            stream.read_to_end(&mut all).unwrap();
            Ok(all.len())
        })
    }

    #[test]
    fn all_of_it_arrives_and_is_checked() {
        let content: Vec<u8> = (0..BUFFER * BUFFERS * 3 + 17).map(|index| (index * 7 % 251) as u8).collect();
        let digest = Digest::of(&content);
        assert_eq!(read(&content, &digest, u64::MAX).unwrap(), content.len());
        let error = read(&content, &Digest::of(b"another"), u64::MAX).unwrap_err();
        assert!(error.to_string().contains("unpacks to"), "{error}");
        assert!(read(&content, &digest, content.len() as u64 - 1).unwrap_err().remedy().is_some());
    }

    #[test]
    fn who_stops_early_stops_all() {
        let content = vec![0; BUFFER * BUFFERS * 4];
        let packed = Packed { input: Box::new(content.as_slice()), size: None, digest: None, diff_id: None };
        let budget = Budget::new(Limits::default());
        let result: Result<()> = unpack(packed, &budget, |_| Err(Error::new("enough")));
        assert_eq!(result.unwrap_err().to_string(), "enough");
    }

    #[test]
    fn several_come_in_their_order_and_the_first_failure_is_told() {
        let contents: Vec<Vec<u8>> = (0..9).map(|index| vec![index; BUFFER * BUFFERS / 2 + index as usize]).collect();
        let digests: Vec<Digest> = contents.iter().map(|content| Digest::of(content)).collect();
        let budget = Budget::new(Limits::default());
        let run = |broken: usize| {
            let mut seen = Vec::new();
            let open = |index: usize| {
                let input = Box::new(contents[index].as_slice());
                let digest = Some(&digests[if index >= broken { 0 } else { index }]);
                Ok(Packed { input, size: None, digest, diff_id: digest })
            };
            let result = unpack_in_order(
                contents.len(),
                &budget,
                open,
                |index| index.to_string(),
                |index, stream| {
                    let mut all = Vec::new();
                    stream.read_to_end(&mut all).unwrap();
                    seen.push((index, all == contents[index]));
                    Ok(())
                },
            );
            (result.is_ok(), seen)
        };
        let wanted = |count: usize| (0..count).map(|index| (index, true)).collect::<Vec<_>>();
        assert_eq!(run(9), (true, wanted(9)));
        assert!(!run(5).0);
        // The stream of the broken one may have been read to its end; none behind it was.
        assert_eq!(run(5).1.len(), 6);
        let result = unpack_in_order(3, &budget, |_| Err(Error::new("not there")), |_| "one".to_owned(), |_, _| Ok(()));
        assert_eq!(result.unwrap_err().to_string(), "one: not there");
    }

    #[test]
    fn what_nobody_reads_is_checked() {
        let content = vec![1; BUFFER * BUFFERS * 4];
        let digest = Digest::of(b"another");
        let packed = Packed { input: Box::new(content.as_slice()), size: None, digest: Some(&digest), diff_id: None };
        let budget = Budget::new(Limits::default());
        assert!(unpack(packed, &budget, |_| Ok(())).is_err());
    }
}
