//! The container's network, as far as config.json has one: the loopback interface, devices that move in, counters.
//!
//! Bridges, addresses and routes are the caller's business (CNI, netavark, hooks), but for a sandbox, which may have a
//! network of its own ([`private`]).

mod devices;
pub mod private;
pub mod resolver;
mod statistics;

pub use devices::move_devices;
pub use statistics::{Interface, statistics};

use crate::error::{Context, Result};
use crate::sys::interface;

/// Sets the loopback interface of the caller's network namespace up; a new namespace has it down.
///
/// # Errors
/// Where the kernel refuses.
pub fn loopback_up() -> Result<()> {
    interface::set_up("lo").context(|| "set the loopback interface up (SIOCSIFFLAGS \"lo\")")
}
