//! The conversation between a container's first process and whoever stands outside: a handful of typed messages over a
//! packet socket, one packet each.
//!
//! ```text
//! inside (init)                          outside (create, run, exec; after the gate also start)
//!                                   ←    Proceed       id maps are written, systemd has it   [user namespace, systemd]
//! Second(pidfd), and ends           →    goes on with that process                           [second fork]
//!                                   ←    Filter(part)…, Proceed                                   [sandbox]
//! RootReady                         →    createRuntime hooks, network devices                [only with these]
//!                                   ←    Proceed
//! Console(master)                   →    to the console socket, or the caller's terminal     [only with a terminal]
//! AtGate                            →    a create ends here                                  [create]
//!                                   ←    Proceed       the state is saved; `start`
//! Notify(shared memory)             →    fetches the seccomp listener                        [SCMP_ACT_NOTIFY]
//! Listener(listener)                →    has it                                              [sandbox, instead]
//! Log(level, text)                  →    into the log, at any time
//! Failed(error)                     →    reports it and takes everything down
//! end of file: the exec closed it   →    the program runs
//! ```
//!
//! A sandbox's first process has a wire of its own (`first.rs`), whose outer end the runtime shares with the process that
//! becomes the program. Proceed goes over it, or Failed: from outside, the id maps are written; from the first process, its
//! namespaces are there. Without rights over the machine: from the program to be, it has joined; from the first process, it
//! has nothing any more that the program could want. Then EndWith(pidfd) from outside.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::{Errno, IoSlice, IoSliceMut};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType,
};

use crate::error::{Context, Error, Result};
use crate::log::{self, Level};

/// One end of the conversation. CLOEXEC: the exec of the program is its end of file.
#[derive(Debug)]
pub struct Wire(OwnedFd);

/// What is said.
#[derive(Debug)]
pub enum Message {
    /// Outside has done its part.
    Proceed,
    /// The next instructions of the seccomp filter.
    Filter(Vec<u8>),
    /// The namespaces and mounts are there; the old root still is.
    RootReady,
    /// Everything is ready but the exec.
    AtGate,
    /// A second fork was needed: this number and pidfd are the container's process.
    Second(i32, OwnedFd),
    /// The master side of the new terminal.
    Console(OwnedFd),
    /// Where the number of the seccomp listener is going to appear.
    Notify(OwnedFd),
    /// The seccomp listener itself.
    Listener(OwnedFd),
    /// To a sandbox's first process: it ends when this process does.
    EndWith(OwnedFd),
    /// A record for the log.
    Log(Level, String),
    /// It cannot go on.
    Failed(Error),
}

/// Longest packet: an error with a path or two in it, or a part of a filter. Longer ones are cut.
pub(super) const LONGEST: usize = 16 << 10;

impl Wire {
    /// Both ends.
    ///
    /// # Errors
    /// Where no socket can be had.
    pub fn pair() -> Result<(Self, Self)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(rustix::net::AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
                .context(|| "make a socket pair")?;
        Ok((Self(ours), Self(theirs)))
    }

    /// Takes a connected packet socket.
    pub fn from_fd(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Says something.
    ///
    /// # Errors
    /// Where nobody listens any more.
    pub fn send(&self, message: &Message) -> Result<()> {
        let (tag, text, fd) = match message {
            Message::Proceed => (b'p', Vec::new(), None),
            Message::Filter(part) => (b'e', part.clone(), None),
            Message::RootReady => (b'r', Vec::new(), None),
            Message::AtGate => (b'g', Vec::new(), None),
            Message::Second(pid, fd) => (b's', pid.to_le_bytes().to_vec(), Some(fd.as_fd())),
            Message::Console(fd) => (b'c', Vec::new(), Some(fd.as_fd())),
            Message::Notify(fd) => (b'n', Vec::new(), Some(fd.as_fd())),
            Message::Listener(fd) => (b'l', Vec::new(), Some(fd.as_fd())),
            Message::EndWith(fd) => (b'w', Vec::new(), Some(fd.as_fd())),
            Message::Log(level, text) => {
                (log_tag(*level), text.as_bytes()[..text.len().min(LONGEST - 1)].to_vec(), None)
            }
            Message::Failed(error) => (b'f', shortened(error), None),
        };
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let fds = fd.map(|fd| [fd]);
        if let Some(fds) = &fds {
            ancillary.push(SendAncillaryMessage::ScmRights(fds));
        }
        let packet = [IoSlice::new(std::slice::from_ref(&tag)), IoSlice::new(&text)];
        match rustix::net::sendmsg(&self.0, &packet, &mut ancillary, SendFlags::NOSIGNAL) {
            // Whoever is waved through but is gone already has said why: that is still to be heard.
            Err(Errno::PIPE | Errno::CONNRESET) if matches!(message, Message::Proceed) => Ok(()),
            other => other.map(drop).context(|| "send to the other side of the container"),
        }
    }

    /// One more owner of this end.
    ///
    /// # Errors
    /// Where no descriptor is left.
    pub fn duplicate(&self) -> Result<Self> {
        rustix::io::fcntl_dupfd_cloexec(&self.0, 3).map(Self).context(|| "copy a descriptor")
    }

    /// Hears the next message that asks for something; records for the log are passed on at once.
    ///
    /// # Errors
    /// As [`Wire::receive_any`].
    pub fn receive(&self) -> Result<Option<Message>> {
        loop {
            match self.receive_any()? {
                Some(Message::Log(level, text)) => log::relayed(level, &text),
                other => return Ok(other),
            }
        }
    }

    /// Hears the next message; `None` once the other side is gone.
    ///
    /// # Errors
    /// Where the socket fails, or something is said that is not in the table.
    fn receive_any(&self) -> Result<Option<Message>> {
        let mut packet = [0; LONGEST];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let buffer = &mut [IoSliceMut::new(&mut packet)];
            match rustix::net::recvmsg(&self.0, buffer, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                // The other side closed without having read all of ours. That is told once and before its own last
                // words, which are still in the queue; after them comes an ordinary end.
                Err(Errno::INTR | Errno::CONNRESET) => {}
                other => break other.context(|| "receive from the other side of the container")?.bytes,
            }
        };
        let fd = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut fds) => fds.next(),
            _ => None,
        });
        let Some((tag, text)) = packet[..received].split_first() else { return Ok(None) };
        let odd = || Error::new(format!("unexpected message {:?} from the other side of the container", *tag as char));
        Ok(Some(match (tag, fd) {
            (b'p', None) => Message::Proceed,
            (b'e', None) => Message::Filter(text.to_vec()),
            (b'r', None) => Message::RootReady,
            (b'g', None) => Message::AtGate,
            (b's', Some(fd)) => Message::Second(i32::from_le_bytes(text.try_into().map_err(|_| odd())?), fd),
            (b'c', Some(fd)) => Message::Console(fd),
            (b'n', Some(fd)) => Message::Notify(fd),
            (b'l', Some(fd)) => Message::Listener(fd),
            (b'w', Some(fd)) => Message::EndWith(fd),
            (tag, None) if log_level(*tag).is_some() => {
                Message::Log(log_level(*tag).unwrap_or_default(), String::from_utf8_lossy(text).into_owned())
            }
            (b'f', None) => Message::Failed(serde_json::from_slice(text).map_err(|_| odd())?),
            _ => return Err(odd()),
        }))
    }

    /// Waits until the other side says that we may go on.
    ///
    /// # Errors
    /// Where it is gone, which means that it gave up, or says why it gives up.
    pub fn wait_for_proceed(&self) -> Result<()> {
        match self.receive()? {
            Some(Message::Proceed) => Ok(()),
            Some(Message::Failed(error)) => Err(error),
            Some(other) => Err(Error::new(format!("unexpected message {other:?} instead of Proceed"))),
            None => Err(Error::new("the runtime outside is gone")),
        }
    }
}

impl AsFd for Wire {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The tags of records, by their level.
const LOG_TAGS: [(Level, u8); 4] =
    [(Level::Error, b'0'), (Level::Warning, b'1'), (Level::Info, b'2'), (Level::Debug, b'3')];

fn log_tag(level: Level) -> u8 {
    LOG_TAGS.iter().find(|(known, _)| *known == level).map_or(b'2', |(_, tag)| *tag)
}

fn log_level(tag: u8) -> Option<Level> {
    LOG_TAGS.iter().find(|(_, known)| *known == tag).map(|(level, _)| *level)
}

/// An error that fits into a packet.
fn shortened(error: &Error) -> Vec<u8> {
    let whole = serde_json::to_vec(error).unwrap_or_default();
    if whole.len() < LONGEST {
        return whole;
    }
    let start: String = error.to_string().chars().take(LONGEST / 8).collect();
    serde_json::to_vec(&Error::new(start + " …")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_descriptors_cross() {
        let (inside, outside) = Wire::pair().unwrap();
        inside.send(&Message::Failed(Error::call("mount \"/x\"", Errno::PERM).hint("try"))).unwrap();
        let Some(Message::Failed(error)) = outside.receive().unwrap() else { panic!("no error") };
        assert_eq!(
            (error.to_string().as_str(), error.remedy()),
            ("mount \"/x\": operation not permitted", Some("try"))
        );
        inside.send(&Message::Console(std::io::stdin().as_fd().try_clone_to_owned().unwrap())).unwrap();
        assert!(matches!(outside.receive().unwrap(), Some(Message::Console(_))));
        drop(inside);
        assert!(outside.receive().unwrap().is_none());
    }

    #[test]
    fn last_words_are_heard_although_nobody_listened_any_more() {
        for sends_before in [true, false] {
            let (inside, outside) = Wire::pair().unwrap();
            if sends_before {
                outside.send(&Message::Proceed).unwrap();
            }
            inside.send(&Message::Failed(Error::new("why"))).unwrap();
            drop(inside);
            if !sends_before {
                outside.send(&Message::Proceed).unwrap();
            }
            let Some(Message::Failed(error)) = outside.receive().unwrap() else { panic!("not heard") };
            assert_eq!(error.to_string(), "why");
            assert!(outside.receive().unwrap().is_none());
        }
    }

    #[test]
    fn whoever_went_without_reading_all_has_said_why() {
        let (inside, outside) = Wire::pair().unwrap();
        outside.send(&Message::Filter(vec![1])).unwrap();
        inside.send(&Message::Failed(Error::new("why"))).unwrap();
        drop(inside);
        outside.send(&Message::Proceed).unwrap();
        assert_eq!(outside.send(&Message::Filter(vec![2])).unwrap_err().errno(), Some(Errno::PIPE));
        let Some(Message::Failed(error)) = outside.receive().unwrap() else { panic!("not heard") };
        assert_eq!(error.to_string(), "why");
        assert!(outside.receive().unwrap().is_none());
    }

    #[test]
    fn a_huge_error_is_cut() {
        let (inside, outside) = Wire::pair().unwrap();
        inside.send(&Message::Failed(Error::new("x".repeat(100_000)))).unwrap();
        let Some(Message::Failed(error)) = outside.receive().unwrap() else { panic!("no error") };
        assert!(error.to_string().ends_with(" …"));
    }
}
