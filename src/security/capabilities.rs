//! The five capability sets of capabilities(7), in the steps that a change of user and a seccomp filter leave open.

use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets};

use crate::error::{Context, Error, Result};
use crate::log;
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
            // Without CAP_SETPCAP, which does no harm where there is nothing to drop.
            Err(Errno::PERM) if !is_bounding(number) => {}
            other => other.context(|| format!("drop capability {number} from the bounding set"))?,
        }
    }
    Ok(())
}

/// Sets all sets but what `extra` adds for the moment: capabilities that a later step needs and [`finish`] takes away.
/// Gives the sets that the program will have: what the runtime itself lacks cannot be granted, which the specification
/// wants to be a warning (a privileged container on a host that is itself restricted still has all that there is).
///
/// # Errors
/// Where the runtime itself lacks `extra`.
pub fn prepare(wanted: &Capabilities, extra: u64) -> Result<Capabilities> {
    let sets = match set(wanted, extra) {
        Err(error) if error.errno() == Some(Errno::PERM) => {
            let (granted, lacking) = grantable(wanted);
            // Nothing of the container's own: it was `extra`.
            if lacking == 0 {
                return Err(error);
            }
            set(&granted, extra)?;
            log::warn(format!(
                "process.capabilities: {} cannot be granted, for the runtime itself lacks it: the container runs without",
                capability::names(lacking)
            ));
            granted
        }
        other => {
            other?;
            *wanted
        }
    };
    rustix::thread::clear_ambient_capability_set().context(|| "clear the ambient capabilities")?;
    for number in (0..u64::BITS).filter(|number| sets.ambient & (1 << number) != 0) {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        rustix::thread::configure_capability_in_ambient_set(capability, true)
            .context(|| format!("process.capabilities.ambient: raise {}", capability::names(1 << number)))?;
    }
    Ok(sets)
}

/// The part of the sets that this process has itself, and what is missing from it.
fn grantable(wanted: &Capabilities) -> (Capabilities, u64) {
    let own = rustix::thread::capabilities(None).map_or(0, |own| own.permitted.bits());
    let Capabilities { bounding, effective, permitted, inheritable, ambient } = *wanted;
    let granted = Capabilities {
        bounding,
        effective: effective & own,
        permitted: permitted & own,
        inheritable: inheritable & own,
        ambient: ambient & own,
    };
    (granted, (effective | permitted | inheritable) & !own)
}

fn is_bounding(number: u32) -> bool {
    rustix::thread::capability_is_in_bounding_set(CapabilitySet::from_bits_retain(1 << number)).unwrap_or(true)
}

/// Takes away what [`prepare`] had left: one capset(2), and none where the container keeps CAP_SYS_ADMIN, which is all
/// that a filter is loaded with.
///
/// # Errors
/// Where a seccomp filter forbids the call.
pub fn finish(sets: &Capabilities) -> Result<()> {
    if sets.effective & sets.permitted & capability::SYS_ADMIN != 0 {
        return Ok(());
    }
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
        Err(Errno::PERM) => Err(missing(sets.permitted | sets.effective | sets.inheritable | extra)),
        other => other.context(|| "process.capabilities: capset"),
    }
}

/// Says which capabilities the runtime would have to have itself.
fn missing(wanted: u64) -> Error {
    let own = rustix::thread::capabilities(None).map_or(0, |own| own.permitted.bits());
    let lacking = capability::names(wanted & !own);
    Error::call("process.capabilities: capset", Errno::PERM)
        .hint(format!("the runtime itself lacks {lacking}: leave it out, or run with more rights"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Process;
    use crate::security::user;

    /// Credentials belong to threads: each test has one of its own.
    fn on_a_thread(test: impl FnOnce() + Send) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        std::thread::scope(|scope| {
            scope.spawn(test).join().unwrap();
        });
    }

    const KILL: u64 = 1 << 5;
    const SETPCAP: u64 = 1 << 8;

    #[test]
    fn an_ordinary_user_keeps_what_it_is_given_until_the_end() {
        on_a_thread(|| {
            let sets = Capabilities { bounding: KILL, effective: 0, permitted: KILL, inheritable: KILL, ambient: KILL };
            drop_bounding(sets.bounding).unwrap();
            assert!(is_bounding(5) && !is_bounding(21));
            user::apply(&Process { uid: 1234, gid: 4321, additional_gids: vec![77], ..Process::default() }).unwrap();
            prepare(&sets, capability::SYS_ADMIN).unwrap();
            let now = rustix::thread::capabilities(None).unwrap();
            assert_eq!(now.permitted.bits(), KILL | capability::SYS_ADMIN);
            assert_eq!(now.effective.bits(), capability::SYS_ADMIN);
            finish(&sets).unwrap();
            let now = rustix::thread::capabilities(None).unwrap();
            assert_eq!((now.permitted.bits(), now.effective.bits(), now.inheritable.bits()), (KILL, 0, KILL));
            assert!(rustix::thread::capability_is_in_ambient_set(CapabilitySet::KILL).unwrap());
            assert_eq!(rustix::process::getgroups().unwrap().len(), 1);
        });
    }

    #[test]
    fn what_the_runtime_lacks_is_left_out() {
        on_a_thread(|| {
            let few = Capabilities { effective: KILL, permitted: KILL | SETPCAP, ..Capabilities::default() };
            assert_eq!(prepare(&few, 0).unwrap(), few);
            assert_eq!(prepare(&Capabilities { permitted: KILL | SETPCAP | 2, ..few }, 0).unwrap(), few);
        });
    }

    #[test]
    fn what_a_step_needs_for_the_moment_is_not() {
        on_a_thread(|| {
            let few = Capabilities { effective: KILL, permitted: KILL, ..Capabilities::default() };
            prepare(&few, 0).unwrap();
            let error = prepare(&few, capability::SYS_ADMIN).unwrap_err();
            assert!(error.remedy().unwrap().contains("CAP_SYS_ADMIN"), "{error}");
        });
    }
}
