//! What the program tries that the box forbids, for the report.
//!
//! The filter of a run hands a few rare system calls to us instead of answering them itself. What the profile refuses, we
//! refuse, with the same errno; what it allows and the kernel refuses, or may refuse, is only noted: the kernel still does
//! the call, with arguments of its own reading, so that nothing depends on what we have read. No other call is touched, and
//! none of those that come between the filter and the program's first instruction.
//!
//! A signal that comes before we have seen a call interrupts it: a program whose handler does not restart calls finds EINTR
//! where there was none before. That is nothing to a call that fails anyway. A connect(2) that ends so counts as begun,
//! though it is not: connections are watched only where the caller asks for them.

use std::cell::{Cell, OnceCell, RefCell};
use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::layers::UPPER;
use super::report::Denied;
use super::store::Box;
use super::{text, tree};
use crate::error::Result;
use crate::plan::syscalls::{Call, NATIVE};
use crate::plan::{Seccomp, SeccompAction, SeccompArg, SeccompOp, SeccompRule, seccomp, spec};
use crate::sys::procfs::ProcFs;
use crate::sys::seccomp::{Notification, answer, has_flag, receive, still_waits};

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Nothing that can be shown.
    Nothing,
    /// The path that this argument points to.
    Path(usize),
    /// mknod(2) and mknodat(2): a path, with mode and number after it. Devices alone are forbidden.
    Device(usize),
    /// connect(2): sockets of the host are another's inside. Watched on demand.
    Socket,
}

/// Of calls: what they are about, and whether the kernel refuses each of them to a box where the profile does not.
const CALLS: [(About, bool, &[&str]); 7] = [
    (About::Path(0), true, &["acct", "pivot_root", "swapoff", "swapon", "umount", "umount2"]),
    (About::Path(1), true, &["mount"]),
    (
        About::Nothing,
        true,
        &[
            "clock_settime",
            "clock_settime64",
            "delete_module",
            "finit_module",
            "fsmount",
            "fsopen",
            "init_module",
            "kexec_file_load",
            "kexec_load",
            "mount_setattr",
            "move_mount",
            "reboot",
            "setdomainname",
            "sethostname",
            "settimeofday",
            "stime",
        ],
    ),
    (
        About::Nothing,
        false,
        &[
            "add_key",
            "bpf",
            "clock_adjtime",
            "clock_adjtime64",
            "clone",
            "fanotify_init",
            "io_uring_setup",
            "ioperm",
            "iopl",
            "keyctl",
            "open_by_handle_at",
            "open_tree",
            "perf_event_open",
            "quotactl",
            "request_key",
            "setns",
            "syslog",
            "unshare",
            "userfaultfd",
        ],
    ),
    (About::Device(0), true, &["mknod"]),
    (About::Device(1), true, &["mknodat"]),
    (About::Socket, true, &["connect"]),
];

/// How many different attempts are remembered.
const REMEMBERED: usize = 200;

/// A call that comes to us.
#[derive(Clone, Copy, Debug)]
struct Row {
    /// AUDIT_ARCH_* number, and the call's.
    number: (u32, u32),
    name: &'static str,
    about: About,
    /// The profile refuses it; else the kernel decides.
    refused: bool,
}

/// The watch over one run.
#[derive(Debug)]
pub(super) struct Watch {
    rows: Vec<Row>,
    listener: OnceCell<OwnedFd>,
    over: Cell<bool>,
    seen: RefCell<Seen>,
    /// Sockets and folders that are the host's own inside.
    shared: Vec<PathBuf>,
    /// Where a filesystem is mounted, and what of it the box has changed.
    layers: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug, Default)]
struct Seen {
    denied: Vec<Denied>,
    more: u64,
}

impl Watch {
    /// Changes the filter of a run so that these calls come to us; one that allows everything stands in for none. A profile
    /// with a listener of its own stays as it is, since Linux allows one. `sockets`: connections as well; `shared`: what of the
    /// host the program may use.
    ///
    /// # Errors
    /// None that can happen.
    pub(super) fn over(
        filter: Option<Seccomp>,
        sockets: bool,
        held: &Box,
        shared: Vec<PathBuf>,
    ) -> Result<(Option<Seccomp>, Self)> {
        let (filter, rows) = if filter.as_ref().is_some_and(Seccomp::uses_notify) {
            (filter, Vec::new())
        } else {
            let mut filter = filter.map_or_else(everything, Ok)?;
            let rows = notify(&mut filter, sockets);
            (Some(filter), rows)
        };
        let layers = held.record.layers.iter().enumerate();
        let layers = layers.map(|(place, layer)| (layer.path.clone(), held.layer_folder(place).join(UPPER))).collect();
        let watch =
            Self { rows, listener: OnceCell::new(), over: Cell::new(false), seen: RefCell::default(), shared, layers };
        Ok((filter, watch))
    }

    /// Takes the listener.
    pub(super) fn listen(&self, listener: OwnedFd) {
        // There is one filter.
        let _ = self.listener.set(listener);
    }

    /// The listener, as long as somebody may call.
    pub(super) fn watched(&self) -> Option<BorrowedFd<'_>> {
        self.listener.get().filter(|_| !self.over.get()).map(AsFd::as_fd)
    }

    /// Answers all who wait.
    pub(super) fn attend(&self) {
        let Some(listener) = self.watched() else { return };
        loop {
            let mut fds = [PollFd::new(&listener, PollFlags::IN)];
            let ready = match rustix::event::poll(&mut fds, Some(&rustix::time::Timespec::default())) {
                Ok(1..) => fds[0].revents(),
                _ => return,
            };
            if !ready.contains(PollFlags::IN) {
                // Nobody is left whom the filter holds.
                return self.over.set(true);
            }
            // Whose task is gone needs no answer.
            if let Ok(notification) = receive(listener) {
                self.handle(listener, &notification);
            }
        }
    }

    fn handle(&self, listener: BorrowedFd<'_>, notification: &Notification) {
        let number = (notification.arch, notification.number);
        let row = self.rows.iter().find(|row| row.number == number);
        let noted = row.and_then(|row| self.look(row, notification));
        // What was read belongs to the task only if that still waits.
        let noted = noted.filter(|_| still_waits(listener, notification.id));
        let refusal = match row {
            Some(Row { refused: false, .. }) => None,
            _ => Some(Errno::PERM),
        };
        let _ = answer(listener, notification.id, refusal);
        if let Some((call, argument, program)) = noted {
            self.seen.borrow_mut().note(call, argument, program);
        }
    }

    /// What is worth a line; `None`: nothing is forbidden here.
    fn look(&self, row: &Row, notification: &Notification) -> Option<(&'static str, Option<String>, String)> {
        let proc = ProcFs::open().ok()?;
        let task = Task { proc: &proc, pid: notification.pid };
        let at = |argument: usize| notification.args.get(argument).copied().unwrap_or(0);
        let argument = match row.about {
            About::Nothing => None,
            About::Path(argument) => task.path(at(argument)),
            // The device 0:0 is overlayfs's, and allowed.
            About::Device(argument) if at(argument + 2) as u32 == 0 => return None,
            About::Device(argument) => task.path(at(argument)),
            About::Socket => {
                let path = task.socket(at(1), at(2))?;
                if !self.hides(&path) {
                    return None;
                }
                Some(text::shown(&path))
            }
        };
        Some((row.name, argument, task.name()))
    }

    /// Whether the host has a socket there that the box does not let the program reach.
    fn hides(&self, path: &Path) -> bool {
        use std::os::unix::fs::FileTypeExt;
        let Ok(real) = path.canonicalize() else { return false };
        let socket = real.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
        socket && !self.shared.iter().any(|shared| real.starts_with(shared)) && !self.is_the_boxs(&real)
    }

    /// Whether the box has something of its own there.
    fn is_the_boxs(&self, path: &Path) -> bool {
        let around = self.layers.iter().filter(|(mount, _)| path.starts_with(mount));
        let Some((mount, upper)) = around.max_by_key(|(mount, _)| mount.as_os_str().len()) else { return false };
        let Ok(inner) = path.strip_prefix(mount) else { return false };
        let place = tree::Root::open(upper).and_then(|upper| tree::Place::find(&upper, inner));
        place.ok().flatten().is_some_and(|place| place.stat().is_ok_and(|found| found.is_some()))
    }

    /// Whether there is a watch at all.
    pub(super) fn watches(&self) -> bool {
        !self.rows.is_empty()
    }

    /// What was seen: one by one, and how many more.
    pub(super) fn seen(&self) -> (Vec<Denied>, u64) {
        let seen = self.seen.borrow();
        (seen.denied.clone(), seen.more)
    }
}

impl Seen {
    fn note(&mut self, call: &str, argument: Option<String>, program: String) {
        let same = |one: &Denied| one.call == call && one.argument == argument && one.program == program;
        match self.denied.iter().position(same) {
            Some(known) => self.denied[known].count += 1,
            None if self.denied.len() < REMEMBERED => {
                self.denied.push(Denied { call: call.to_owned(), argument, program, count: 1 });
            }
            None => self.more += 1,
        }
    }
}

/// A task that waits; all that is read of it is hostile.
struct Task<'a> {
    proc: &'a ProcFs,
    pid: u32,
}

impl Task<'_> {
    fn name(&self) -> String {
        let name = self.proc.read(format!("{}/comm", self.pid)).unwrap_or_default();
        text::shown(Path::new(OsStr::from_bytes(name.trim_ascii_end())))
    }

    fn path(&self, address: u64) -> Option<String> {
        let bytes = self.memory(address, 256)?;
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        Some(text::shown(Path::new(OsStr::from_bytes(&bytes[..end]))))
    }

    /// The path of a socket's address: of AF_UNIX, absolute and not abstract.
    fn socket(&self, address: u64, length: u64) -> Option<PathBuf> {
        let bytes = self.memory(address, length.min(110) as usize)?;
        let (family, path) = bytes.split_first_chunk()?;
        let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
        let path = Path::new(OsStr::from_bytes(&path[..end]));
        (u16::from_ne_bytes(*family) == libc::AF_UNIX as u16 && path.is_absolute()).then(|| path.to_owned())
    }

    fn memory(&self, address: u64, most: usize) -> Option<Vec<u8>> {
        let file = self.proc.openat(format!("{}/mem", self.pid), OFlags::RDONLY).ok()?;
        let mut bytes = vec![0; most];
        let read = rustix::io::pread(&file, &mut bytes, address).ok()?;
        bytes.truncate(read);
        Some(bytes)
    }
}

/// A profile that allows everything.
fn everything() -> Result<Seccomp> {
    Seccomp::new(&spec::Seccomp {
        default_action: "SCMP_ACT_ALLOW".to_owned(),
        architectures: seccomp::MACHINE.iter().map(|arch| arch.name.to_owned()).collect(),
        ..spec::Seccomp::default()
    })
}

/// Makes a profile notify, and gives the calls that it does notify.
fn notify(filter: &mut Seccomp, sockets: bool) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut notifying: Vec<SeccompRule> = Vec::new();
    let watched = |about: About| sockets || about != About::Socket;
    for (about, kernel, names) in CALLS.iter().filter(|(about, ..)| watched(*about)) {
        for name in *names {
            let Some(call) = NATIVE.find(name) else { continue };
            let rules = take_refusals(filter, call);
            let refused = !rules.is_empty();
            if refused {
                notifying.extend(rules);
            } else if *kernel && take_allowances(filter, call) {
                notifying.extend(noting(call, *about));
            } else {
                continue;
            }
            for arch in &filter.architectures {
                if let Some(number) = NATIVE.number(call, arch.column) {
                    let number = (arch.audit, number + arch.offset);
                    rows.push(Row { number, name, about: *about, refused });
                }
            }
        }
    }
    filter.rules.extend(notifying);
    // Otherwise a signal would begin such a call anew each time.
    if has_flag(seccomp::WAIT_KILLABLE_RECV, true) {
        filter.flags |= seccomp::WAIT_KILLABLE_RECV;
    }
    rows
}

/// The rules that note an allowed call: of files that are made, only devices.
fn noting(call: Call, about: About) -> Vec<SeccompRule> {
    let rule = |action, args| SeccompRule { index: 0, calls: vec![call], action, args };
    let About::Device(path) = about else { return vec![rule(SeccompAction::Notify, Vec::new())] };
    let mode = |action, mask: u32, bits: u32| {
        let (value, value_two) = (mask.into(), bits.into());
        rule(action, vec![SeccompArg { index: path as u8 + 1, op: SeccompOp::MaskedEqual, value, value_two }])
    };
    // Of the four bits that say what a file is, a device has this one, and neither of those beside it; no other file has.
    let (device, others) = (libc::S_IFCHR & libc::S_IFBLK, libc::S_IFMT & !(libc::S_IFCHR | libc::S_IFBLK));
    let bits = [0o010_000, 0o100_000];
    debug_assert_eq!(bits.iter().sum::<u32>(), others);
    let allowed = bits.map(|bit| mode(SeccompAction::Allow, bit, bit));
    let neither = mode(SeccompAction::Allow, device, 0);
    let made = mode(SeccompAction::Notify, device | others, device);
    [made, neither].into_iter().chain(allowed).collect()
}

/// Takes a call out of the rules that refuse it with EPERM; gives them back as notifying ones.
fn take_refusals(filter: &mut Seccomp, call: Call) -> Vec<SeccompRule> {
    let refusal = SeccompAction::Errno(libc::EPERM as u16);
    let mut taken = Vec::new();
    for rule in filter.rules.iter_mut().filter(|rule| rule.action == refusal) {
        let before = rule.calls.len();
        rule.calls.retain(|other| *other != call);
        if rule.calls.len() < before {
            let (index, args) = (rule.index, rule.args.clone());
            taken.push(SeccompRule { index, calls: vec![call], action: SeccompAction::Notify, args });
        }
    }
    taken
}

/// Takes a call out of the rules that allow it, where it is allowed whatever its arguments are.
fn take_allowances(filter: &mut Seccomp, call: Call) -> bool {
    let about: Vec<&SeccompRule> = filter.rules.iter().filter(|rule| rule.calls.contains(&call)).collect();
    let allowed = match about.as_slice() {
        [] => filter.default_action == SeccompAction::Allow,
        rules => rules.iter().all(|rule| rule.action == SeccompAction::Allow && rule.args.is_empty()),
    };
    if allowed {
        filter.rules.iter_mut().for_each(|rule| rule.calls.retain(|other| *other != call));
    }
    allowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::default_seccomp;
    use crate::security;

    fn row<'a>(rows: &'a [Row], name: &str) -> Option<&'a Row> {
        rows.iter().find(|row| row.name == name)
    }

    #[test]
    fn every_name_is_a_call() {
        for (_, _, names) in CALLS {
            for name in names {
                assert!(NATIVE.find(name).is_some() || !cfg!(target_arch = "x86_64"), "{name}");
            }
        }
    }

    #[test]
    fn what_the_profile_refuses_stays_refused_and_the_rest_is_the_kernels() {
        let mut filter = default_seccomp::filter();
        let rows = notify(&mut filter, true);
        assert!(row(&rows, "mount").unwrap().refused && row(&rows, "clone").unwrap().refused);
        assert!(!row(&rows, "connect").unwrap().refused && !row(&rows, "mknodat").unwrap().refused);
        security::seccomp::compile(&filter).unwrap();
        let mut filter = everything().unwrap();
        let rows = notify(&mut filter, false);
        assert!(row(&rows, "connect").is_none());
        assert!(!row(&rows, "mount").unwrap().refused);
        // The kernel allows it in some forms: whether one was refused, nobody can tell beforehand.
        assert!(row(&rows, "unshare").is_none() && row(&rows, "clone").is_none());
        security::seccomp::compile(&filter).unwrap();
    }

    #[test]
    fn attempts_are_counted_and_bounded() {
        let mut seen = Seen::default();
        for _ in 0..3 {
            seen.note("mount", Some("/mnt".into()), "sh".into());
        }
        for number in 0..300 {
            seen.note("mount", Some(number.to_string()), "sh".into());
        }
        assert_eq!((seen.denied[0].count, seen.denied.len(), seen.more), (3, REMEMBERED, 101));
    }
}
