//! systemd's private socket, where no bus daemon is in between.
//!
//! systemd signs what it sends there with its well-known name, which is no unique name, and D-Bus libraries refuse such a
//! message. Here the name is replaced, on its way in, by a unique one of the same length.

use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::Poll;

use rustix::event::{PollFd, PollFlags, Timespec};
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};

/// The header field SENDER of a little-endian message (D-Bus specification, "Message Format"): its code, its signature,
/// the length of the name, the name.
const SIGNED: &[u8] = b"\x07\x01s\0\x18\0\0\0org.freedesktop.systemd1\0";
const UNIQUE: &[u8] = b"\x07\x01s\0\x18\0\0\0:org.freedesktop.systemd\0";

type Later<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// A connection to the private socket.
#[derive(Debug)]
pub(super) struct Private {
    read: Half,
    write: Half,
}

/// One direction of it.
#[derive(Debug)]
pub(super) struct Half(UnixStream);

impl Private {
    /// Connects.
    pub(super) fn connect(path: &str) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_nonblocking(true)?;
        Ok(Self { write: Half(stream.try_clone()?), read: Half(stream) })
    }
}

impl Socket for Private {
    type ReadHalf = Half;
    type WriteHalf = Half;

    fn split(self) -> Split<Half, Half> {
        Split::new(self.read, self.write)
    }
}

impl Half {
    /// Tries again and again, a millisecond of poll(2) in between: there is one thread, and what is to be sent must get
    /// its turn while an answer is waited for.
    fn attempt<'a, T>(
        &'a mut self,
        ready: PollFlags,
        mut call: impl FnMut(&mut UnixStream) -> io::Result<T> + Send + 'a,
    ) -> Later<'a, T> {
        Box::pin(poll_fn(move |context| match call(&mut self.0) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                let moment = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
                let _ = rustix::event::poll(&mut [PollFd::new(&self.0, ready)], Some(&moment));
                context.waker().wake_by_ref();
                Poll::Pending
            }
            done => Poll::Ready(done),
        }))
    }
}

impl ReadHalf for Half {
    fn recvmsg<'a, 'b, 'c>(&'a mut self, buffer: &'b mut [u8]) -> Later<'c, (usize, Vec<OwnedFd>)>
    where
        'a: 'c,
        'b: 'c,
    {
        self.attempt(PollFlags::IN, move |stream| {
            let count = stream.read(buffer)?;
            rename(&mut buffer[..count]);
            Ok((count, Vec::new()))
        })
    }
}

impl WriteHalf for Half {
    fn sendmsg<'a, 'b, 'd, 'e, 'c>(&'a mut self, buffer: &'b [u8], _: &'d [BorrowedFd<'e>]) -> Later<'c, usize>
    where
        'a: 'c,
        'b: 'c,
        'd: 'c,
        'e: 'c,
    {
        self.attempt(PollFlags::OUT, move |stream| stream.write(buffer))
    }

    fn close<'a, 'c>(&'a mut self) -> Later<'c, ()>
    where
        'a: 'c,
    {
        Box::pin(async { self.0.shutdown(std::net::Shutdown::Both) })
    }
}

/// Gives the sender its unique name. All fields of a header are read at once, so none is cut in two.
fn rename(bytes: &mut [u8]) {
    if let Some(start) = bytes.windows(SIGNED.len()).position(|window| window == SIGNED) {
        bytes[start..start + SIGNED.len()].copy_from_slice(UNIQUE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sender_becomes_a_unique_name() {
        let mut bytes = [b"ab".as_slice(), SIGNED, b"cd".as_slice()].concat();
        rename(&mut bytes);
        assert_eq!(bytes, [b"ab".as_slice(), UNIQUE, b"cd".as_slice()].concat());
        let name = &UNIQUE[8..UNIQUE.len() - 1];
        assert!(zbus::names::UniqueName::try_from(std::str::from_utf8(name).unwrap()).is_ok());
    }
}
