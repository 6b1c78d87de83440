//! The listener of SCMP_ACT_NOTIFY goes to the agent at `linux.seccomp.listenerPath`, with the container process state of
//! the specification (config-linux.md, "The Container Process State").

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::IoSlice;
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde_json::{Value, json};

use crate::error::{Context, Result};

/// Sends the listener and what the agent must know of its process. `state` is the state of the specification.
///
/// # Errors
/// Where no agent listens at `path`, or it does not take all of it.
pub fn send(path: &Path, listener: &OwnedFd, metadata: &str, state: &Value) -> Result<()> {
    let what = || format!("linux.seccomp.listenerPath: send the listener to {path:?}");
    let mut message = json!({
        "ociVersion": state["ociVersion"], "fds": ["seccompFd"], "pid": state["pid"], "state": state,
    });
    if !metadata.is_empty() {
        message["metadata"] = metadata.into();
    }
    let message = message.to_string();
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let socket = socket.context(what)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path).context(what)?).context(what)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds = [listener.as_fd()];
    ancillary.push(SendAncillaryMessage::ScmRights(&fds));
    // The descriptor travels with the first bytes; a long state may need more than one call.
    let first = [IoSlice::new(message.as_bytes())];
    let sent = rustix::net::sendmsg(&socket, &first, &mut ancillary, SendFlags::NOSIGNAL).context(what)?;
    let mut rest = &message.as_bytes()[sent..];
    while !rest.is_empty() {
        let sent = rustix::net::send(&socket, rest, SendFlags::NOSIGNAL).context(what)?;
        rest = &rest[sent..];
    }
    Ok(())
}
