//! A sandbox's first process, which is not the program: it is begun ahead, makes the namespaces, and stays.
//!
//! A program that finds itself first in a pid namespace gets no signal that it does not handle, and has children that it
//! never made. So a process of the runtime's own is the first one, and the program joins it. That also saves time: a network
//! namespace takes the kernel as long as all mounts together, and this process makes it while the runtime is still at its
//! plan. Later it does nothing but to adopt orphans, whom the kernel buries. It never executes anything: its memory still
//! belongs to the caller's user namespace, and before the program begins it has become invisible and has let go of every right
//! and of all descriptors but two, its wire and the program, so that nobody inside can look into it through /proc/1.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};
use rustix::thread::CapabilitySet;
use rustix::time::Timespec;

use super::wire::{Message, Wire};
use super::{become_program, launch, wait};
use crate::cgroup::Cgroup;
use crate::error::{Context, Result};
use crate::plan::{Capabilities, NamespaceKind, Namespaces};
use crate::security::capabilities;
use crate::sys::clone::{self, Child, Forked};
use crate::sys::{exec, signal};
use crate::{namespaces, net, trace};

/// The first process, as the runtime and the one that becomes the program know it. Dropping it ends it, and comes back when
/// all has gone that lived in its pid namespace.
#[derive(Debug)]
pub struct FirstProcess {
    child: Child,
    wire: Wire,
    /// What it lives in and the program is to join: CLONE_NEW* bits.
    kinds: u64,
    /// Whether it gives everything up before anybody has joined it: a runtime with rights over the machine joins it then too.
    at_once: bool,
}

impl FirstProcess {
    /// Clones it, for a box in no cgroup of its own. It makes its namespaces while this comes back.
    ///
    /// # Errors
    /// Where the kernel refuses namespaces or id maps.
    pub fn begin(namespaces: &Namespaces) -> Result<Self> {
        Self::begin_in(namespaces, &mut Cgroup::none())
    }

    /// Likewise, in a cgroup.
    ///
    /// # Errors
    /// As [`Self::begin`], or where it cannot enter its cgroup.
    pub(super) fn begin_in(namespaces: &Namespaces, cgroup: &mut Cgroup) -> Result<Self> {
        let _step = trace::step("clone the first process");
        let kinds = namespaces::clone_flags(namespaces);
        let (inside, wire) = Wire::pair()?;
        let rights = rustix::thread::capabilities(None).map_or(CapabilitySet::empty(), |own| own.effective);
        let at_once = rustix::process::geteuid().is_root() && rights.contains(CapabilitySet::SYS_PTRACE);
        match launch::fork(kinds & BY_CLONE, cgroup)? {
            Forked::Parent(child) => {
                let this = Self { child, wire, kinds, at_once };
                namespaces::write_id_maps(namespaces, this.child.pid)?;
                this.wire.send(&Message::Proceed)?;
                Ok(this)
            }
            Forked::Child => {
                // The other end must have one owner only, or its end would never be noticed.
                drop(wire);
                let Err(error) = story(kinds, cgroup, &inside, at_once);
                // Its end would be that of the one to whom this is said.
                let _ = inside.send(&Message::Failed(error));
                while let Ok(Some(_)) = inside.receive() {}
                exec::exit_now(1)
            }
        }
    }

    /// Its number.
    pub(super) fn pid(&self) -> Pid {
        self.child.pid
    }

    /// Forks the process that becomes the program, in the cgroup. Says whether it has to fork once more to be in the pid
    /// namespace: who has no right over the own pid namespace could not come back from having children in another one.
    ///
    /// # Errors
    /// Where the kernel refuses.
    pub(super) fn fork(&self, cgroup: &mut Cgroup) -> Result<(Forked, bool)> {
        let what = || "have the program born in the pid namespace of the first process (setns)";
        let own = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).context(what)?;
        let births = NamespaceKind::Pid.flag();
        if clone::setns(&own, births).is_err() {
            // What is between would count as one more process there.
            if !cgroup.is_of_a_users_manager() {
                cgroup.enter_instead(Errno::PERM)?;
            }
            return Ok((launch::fork(0, &mut Cgroup::none())?, true));
        }
        clone::setns(&self.child.pidfd, births).context(what)?;
        let forked = launch::fork(0, cgroup);
        if !matches!(forked, Ok(Forked::Child)) {
            clone::setns(&own, births).context(what)?;
        }
        Ok((forked?, false))
    }

    /// Begins its end, which takes the kernel a while.
    pub(super) fn kill(&self) {
        // Where it is gone already, that is what was wanted.
        let _ = rustix::process::pidfd_send_signal(&self.child.pidfd, Signal::KILL);
    }

    /// In the process that becomes the program: joins its namespaces once they are there. The pid namespace holds for
    /// children alone.
    ///
    /// # Errors
    /// What kept it from making them.
    pub(super) fn join(&self) -> Result<()> {
        let _step = trace::step("join");
        self.wire.wait_for_proceed()?;
        // All at once, and by its pidfd: none of them can be another's.
        clone::setns(&self.child.pidfd, self.kinds).context(|| "join the namespaces of the first process (setns)")
    }

    /// In the process that becomes the program, which has joined, in a root of its own: it may give everything up now.
    ///
    /// # Errors
    /// Where it is gone.
    pub(super) fn release(&self) -> Result<()> {
        if self.at_once { Ok(()) } else { self.wire.send(&Message::Proceed) }
    }

    /// In the process that becomes the program: makes sure that it has.
    ///
    /// # Errors
    /// What kept it from that.
    pub(super) fn wait_until_bare(&self) -> Result<()> {
        if self.at_once { Ok(()) } else { self.wire.wait_for_proceed() }
    }

    /// Has it end by itself when the program does, so that this need not wait for us.
    pub(super) fn end_with(&self, program: &Child) {
        if let Ok(program) = program.pidfd.try_clone() {
            // One that has gone has taken the program along, which is noticed elsewhere.
            let _ = self.wire.send(&Message::EndWith(program));
        }
    }
}

impl AsFd for FirstProcess {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire.as_fd()
    }
}

impl Drop for FirstProcess {
    fn drop(&mut self) {
        self.kill();
        let brief = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
        while let Ok(0) | Err(Errno::INTR) =
            rustix::event::poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], Some(&brief))
        {
            // It ends once everybody in its namespace has been waited for (pid_namespaces(7)): also one that has just been
            // born by a second fork, as a child of ours, and of whom we have not heard yet.
            while let Ok(Some(_)) = rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG)
            {
            }
        }
        let _ = wait::reap(&self.child);
    }
}

/// Which namespaces come with the clone: what belongs to the user namespace can be made in it by the process itself, which
/// takes none of the runtime's time.
const BY_CLONE: u64 = (libc::CLONE_NEWUSER | libc::CLONE_NEWPID) as u64;

/// The first process's own story.
fn story(kinds: u64, cgroup: &Cgroup, wire: &Wire, at_once: bool) -> Result<Infallible> {
    // The runtime may be killed: then this process goes, and with it the namespace.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context(|| "prctl (PR_SET_PDEATHSIG)")?;
    cgroup.enter()?;
    let step = trace::step("namespaces");
    let own = kinds & !BY_CLONE;
    clone::unshare(own).map_err(|errno| namespaces::explain_clone(own, errno))?;
    if own & NamespaceKind::Network.flag() != 0 {
        net::loopback_up()?;
    }
    drop(step);
    // A terminal's signals are for the runtime.
    rustix::process::setsid().context(|| "start a new session (setsid)")?;
    // The program's change of root takes those with it whose root and working folder are the old root.
    rustix::process::chdir("/").context(|| "chdir /")?;
    // The id maps are written: only now may it become invisible.
    wire.wait_for_proceed()?;
    if at_once {
        give_up(&[Some(wire.as_fd())])?;
    }
    wire.send(&Message::Proceed)?;
    let mut program: Option<OwnedFd> = None;
    loop {
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(wire, PollFlags::IN)];
        fds.extend(program.as_ref().map(|program| PollFd::new(program, PollFlags::IN)));
        if rustix::event::poll(&mut fds, None).is_err() {
            continue;
        }
        let said = fds[0].revents();
        drop(fds);
        match if said.is_empty() { None } else { wire.receive()? } {
            Some(Message::EndWith(process)) => program = Some(process),
            Some(Message::Proceed) => {
                give_up(&[Some(wire.as_fd()), program.as_ref().map(AsFd::as_fd)])?;
                wire.send(&Message::Proceed)?;
            }
            // The program has ended, or the runtime is gone.
            _ => exec::exit_now(0),
        }
    }
}

/// Lets go of everything that a program could want to have of this process, but for these descriptors. Its standard streams
/// are among them: a pipe that the program closes must close.
fn give_up(kept: &[Option<BorrowedFd<'_>>]) -> Result<()> {
    become_program::hide()?;
    capabilities::prepare(&Capabilities::default(), 0)?;
    // Orphans that end are buried by the kernel.
    signal::ignore(Signal::CHILD);
    let kept = kept.iter().flatten().map(AsRawFd::as_raw_fd).collect();
    exec::close_all(kept).context(|| "close descriptors (close_range)")
}
