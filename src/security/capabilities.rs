//! The five capability sets of capabilities(7), in the steps that a change of user and a seccomp filter leave open.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Context, Error, Result};
use crate::plan::{Capabilities, capability};

/// Takes everything out of the bounding set that is not in `keep`. Needs CAP_SETPCAP, so it comes before [`prepare`].
///
/// # Errors
/// Where the kernel refuses.
pub fn drop_bounding(keep: u64) -> Result<()> {
    for number in 0..u64::BITS {
        if keep & (1 << number) != 0 {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            // Beyond the last one that this kernel knows, which costs less to meet than to look up.
            Err(Errno::INVAL) => break,
            other => other.context(|| format!("drop capability {number} from the bounding set"))?,
        }
    }
    Ok(())
}

/// Sets all sets but what `extra` adds for the moment: capabilities that a later step needs and [`finish`] takes away.
///
/// # Errors
/// Where the runtime itself lacks what the container is to have.
pub fn prepare(sets: &Capabilities, extra: u64) -> Result<()> {
    set(sets, extra)?;
    rustix::thread::clear_ambient_capability_set().context(|| "clear the ambient capabilities")?;
    for number in (0..u64::BITS).filter(|number| sets.ambient & (1 << number) != 0) {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::configure_capability_in_ambient_set(capability, true)
            .context(|| format!("process.capabilities.ambient: raise {}", name(number)))?;
    }
    Ok(())
}

/// Takes away what [`prepare`] had left: one capset(2).
///
/// # Errors
/// Where a seccomp filter forbids the call.
pub fn finish(sets: &Capabilities) -> Result<()> {
    set(sets, 0).map_err(|error| {
        error.hint("the seccomp filter is in force by now: let it allow capset, or set process.noNewPrivileges")
    })
}

fn set(sets: &Capabilities, extra: u64) -> Result<()> {
    let bits = CapabilitySet::from_bits_retain;
    let wanted = CapabilitySets {
        effective: bits(sets.effective | extra),
        permitted: bits(sets.permitted | extra),
        inheritable: bits(sets.inheritable),
    };
    match rustix::thread::set_capabilities(None, wanted) {
        Err(Errno::PERM) => Err(missing(sets)),
        other => other.context(|| "process.capabilities: capset"),
    }
}

/// Says which capabilities the runtime would have to have itself.
fn missing(sets: &Capabilities) -> Error {
    let own = rustix::thread::capabilities(None).map_or(0, |own| own.permitted.bits());
    let lacking = (sets.permitted | sets.effective | sets.inheritable) & !own;
    let names: Vec<String> = (0..u64::BITS).filter(|number| lacking & (1 << number) != 0).map(name).collect();
    Error::call("process.capabilities: capset", Errno::PERM)
        .hint(format!("the runtime itself lacks {}: leave it out, or run with more rights", names.join(", ")))
}

fn name(number: u32) -> String {
    capability::NAMES.get(number as usize).map_or_else(|| format!("capability {number}"), |name| format!("CAP_{name}"))
}
