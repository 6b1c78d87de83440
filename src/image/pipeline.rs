//! A packed layer on its way to whoever reads its archive: one thread reads, checks and unpacks, one computes the digest of
//! what came out, and the caller works on it meanwhile.
//!
//! The three share a fixed number of buffers, so that memory stays the same whatever the layer's size.

use std::io::{self, BufRead, Read};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::compression::Decoder;
use super::digest::{Digest, Verified};
use super::limits::Budget;
use crate::bail;
use crate::error::{Context, Error, Result};

/// The size of a buffer, and how many there are.
const BUFFER: usize = 256 << 10;
const BUFFERS: usize = 16;

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

/// Unpacks a stream while `work` reads it. What `work` leaves is unpacked and checked all the same.
///
/// # Errors
/// The first that happened to the stream, a digest or size that differs included; else that of `work`.
pub fn unpack<T>(packed: Packed<'_>, budget: &Budget, work: impl FnOnce(&mut Stream) -> Result<T>) -> Result<T> {
    let (home, pool) = channel();
    for _ in 0..BUFFERS {
        let _ = home.send(Vec::new());
    }
    let (to_work, from_decoder) = channel();
    let (to_hasher, for_hasher) = channel();
    let diff_id = packed.diff_id;
    thread::scope(|scope| {
        let decoder = thread::Builder::new().name("unpack".to_owned()).spawn_scoped(scope, move || {
            let outputs = [Some(to_work), diff_id.map(|_| to_hasher)];
            decode(packed, budget, &pool, &home, &outputs)
        });
        let decoder = decoder.context(|| "start a thread")?;
        let hasher = thread::Builder::new().name("digest".to_owned());
        let hasher = hasher.spawn_scoped(scope, move || diff_id.map_or(Ok(()), |wanted| hash(&for_hasher, wanted)));
        let hasher = hasher.context(|| "start a thread")?;
        let mut stream = Stream { chunks: from_decoder, current: None, used: 0 };
        let result = work(&mut stream);
        if result.is_ok() {
            // The digests are of the whole stream.
            while stream.next_chunk() {}
        }
        drop(stream);
        let join = |thread: thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().unwrap_or_else(|_| Err(Error::new("a thread that unpacks has failed")))
        };
        let (decoded, hashed) = (join(decoder), join(hasher));
        decoded?;
        let result = result?;
        hashed.map(|()| result)
    })
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
    fn what_nobody_reads_is_checked() {
        let content = vec![1; BUFFER * BUFFERS * 4];
        let digest = Digest::of(b"another");
        let packed = Packed { input: Box::new(content.as_slice()), size: None, digest: Some(&digest), diff_id: None };
        let budget = Budget::new(Limits::default());
        assert!(unpack(packed, &budget, |_| Ok(())).is_err());
    }
}
