//! Namespaces at work: which clone makes which, opening and joining those that a path names, time offsets; id maps are
//! in [`id_maps`].
//!
//! Which kinds are new or joined is the plan's business; the clone itself is the launch's.

use std::fmt::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Context, Error, Result};
use crate::plan::{self, IdMap, NamespaceKind, Namespaces, Plan};
use crate::sys::{clone, nsfs, procfs::ProcFs};

mod alone;
pub mod id_helpers;
mod id_maps;

pub use alone::enter_alone;
pub use id_maps::write_id_maps;

/// The CLONE_NEW* bits of the first clone.
///
/// A cgroup namespace is never among them: its root is the cgroup at the time of unshare(2), so the process must be in
/// its cgroup first. Where a [`second_fork`] follows, a pid namespace waits for it, since the first process in one is
/// its init and may not end.
pub fn clone_flags(namespaces: &Namespaces) -> u64 {
    if joins_before_creating(namespaces) {
        return 0;
    }
    let late = if second_fork(namespaces).is_some() { NamespaceKind::Pid.flag() } else { 0 };
    created(namespaces) & !late
}

/// Whether the first child must fork again once it has joined its namespaces and written its time offsets, and with
/// which CLONE_NEW* bits.
///
/// It must in three cases: a joined pid namespace and new time offsets hold only for children (setns(2),
/// time_namespaces(7)); and new namespaces belong to the user namespace in which they are made, so that one that is
/// joined comes before them, while namespaces of the host must be joined before a new user namespace takes the rights.
pub fn second_fork(namespaces: &Namespaces) -> Option<u64> {
    if joins_before_creating(namespaces) {
        return Some(created(namespaces));
    }
    let joins_pid = namespaces.join.iter().any(|(kind, _)| *kind == NamespaceKind::Pid);
    let needed = joins_pid || !namespaces.time_offsets.is_empty();
    needed.then(|| created(namespaces) & NamespaceKind::Pid.flag())
}

fn joins_before_creating(namespaces: &Namespaces) -> bool {
    let joins_user = namespaces.join.iter().any(|(kind, _)| *kind == NamespaceKind::User);
    joins_user || namespaces.creates(NamespaceKind::User) && !namespaces.join.is_empty()
}

/// The bits of what is new, but for the cgroup namespace and for a time namespace with offsets: both are made by
/// unshare(2).
fn created(namespaces: &Namespaces) -> u64 {
    let by_unshare = |kind: NamespaceKind| match kind {
        NamespaceKind::Cgroup => true,
        NamespaceKind::Time => !namespaces.time_offsets.is_empty(),
        _ => false,
    };
    namespaces.new.iter().filter(|kind| !by_unshare(**kind)).fold(0, |flags, kind| flags | kind.flag())
}

/// What a failed clone(2) with these bits means to a person.
pub fn explain_clone(flags: u64, errno: Errno) -> Error {
    let kinds: Vec<&str> =
        NamespaceKind::ALL.iter().filter(|kind| flags & kind.flag() != 0).map(|kind| kind.name()).collect();
    let what = if kinds.is_empty() { String::new() } else { format!(" with new namespaces ({})", kinds.join(", ")) };
    let error = Error::call(format!("clone{what}"), errno);
    let with_user = flags & NamespaceKind::User.flag() != 0;
    match errno {
        Errno::PERM if with_user => {
            error.hint("this host forbids user namespaces to you: `myrt check` says what blocks them")
        }
        Errno::PERM if flags != 0 => error.hint(
            "run as root, or add {\"type\": \"user\"} with mappings to linux.namespaces (`myrt spec --rootless`)",
        ),
        Errno::NOSPC | Errno::USERS => {
            error.hint("too many namespaces: raise the limits in /proc/sys/user, or remove containers")
        }
        Errno::NOSYS => error.hint(
            "the filter of system calls around this forbids clone3: run it outside of the sandbox or container that it is in",
        ),
        Errno::INVAL if flags != 0 => error.hint("the kernel lacks one of these namespaces: `myrt check` says which"),
        Errno::AGAIN => error.hint("too many processes: raise `ulimit -u` or the pids limit of the cgroup around"),
        _ => error,
    }
}

/// An open namespace to join, known to be of its kind.
#[derive(Debug)]
pub struct Joined {
    /// Which kind.
    pub kind: NamespaceKind,
    /// The namespace.
    pub fd: OwnedFd,
    /// Where it was found, for messages.
    pub path: PathBuf,
}

/// All namespaces to join, in the order of [`NamespaceKind::ALL`].
#[derive(Debug)]
pub struct Joins(Vec<Joined>);

/// Opens every namespace that the plan joins, before anything is made: one that ends meanwhile stays alive by its
/// descriptor, and a path that is swapped later changes nothing.
///
/// # Errors
/// Where a path cannot be opened, or is not a namespace of the kind that stands beside it; where it is the one that this
/// process lives in and a parameter of `linux.sysctl` would change it.
pub fn open(namespaces: &Namespaces, sysctl: &[(String, String)]) -> Result<Joins> {
    let joins: Vec<Joined> =
        namespaces.join.iter().map(|(kind, path)| open_one(*kind, path.clone())).collect::<Result<_>>()?;
    for (parameter, _) in sysctl {
        let Some(joined) = joins.iter().find(|joined| plan::sysctl_holder(parameter) == Some(joined.kind)) else {
            continue;
        };
        let (name, path) = (joined.kind.name(), &joined.path);
        // Docker gives a container of the host's network the path of that.
        if nsfs::is_own(&joined.fd, joined.kind.proc_name()).context(|| format!("stat {path:?}"))? {
            return Err(Error::new(format!("linux.sysctl: {path:?} is the host's {name} namespace"))
                .hint(format!("give the container a {name} namespace of its own, or remove {parameter}")));
        }
    }
    Ok(Joins(joins))
}

fn open_one(kind: NamespaceKind, path: PathBuf) -> Result<Joined> {
    let field = || format!("linux.namespaces: the path of the {} namespace", kind.name());
    // NONBLOCK: a fifo at this path must not make us wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let opened = rustix::fs::openat(CWD, &path, flags, Mode::empty());
    let fd = opened.context(|| format!("open {path:?}")).context(field).map_err(|error| match error.errno() {
        Some(Errno::NOENT) => error.hint("the process or bind mount that kept this namespace has gone"),
        Some(Errno::ACCESS | Errno::PERM) => {
            error.hint("joining needs rights over the process that owns the namespace")
        }
        _ => error,
    })?;
    match nsfs::kind(&fd) {
        Ok(flag) if flag == kind.flag() => Ok(Joined { kind, fd, path }),
        Ok(flag) => {
            let found = NamespaceKind::ALL.into_iter().find(|other| other.flag() == flag);
            let found = found.map_or("another", NamespaceKind::name);
            Err(Error::new(format!("{}: {path:?} is a namespace of kind {found}", field())))
        }
        Err(_) => Err(Error::new(format!("{}: {path:?} is not a namespace", field()))),
    }
}

impl Joins {
    /// Joins them. A pid namespace holds only for children made afterwards (setns(2)); a mount namespace brings its own
    /// root and working folder.
    ///
    /// With a user namespace among them, those come first that the caller may join with its present rights, since it
    /// loses them; then the user namespace, whose mappings are compared with those of the plan; then the rest, with the
    /// rights that it gives.
    ///
    /// # Errors
    /// Names the namespace that could not be joined, or the mappings that differ.
    pub fn enter(&self, namespaces: &Namespaces, proc: &ProcFs) -> Result<()> {
        let (user, others): (Vec<&Joined>, Vec<&Joined>) =
            self.0.iter().partition(|namespace| namespace.kind == NamespaceKind::User);
        let mut later = Vec::new();
        for namespace in others {
            match set(namespace) {
                Err(error) if error.errno() == Some(Errno::PERM) && !user.is_empty() => later.push(namespace),
                other => other?,
            }
        }
        for namespace in user {
            set(namespace)?;
            check_joined_maps(proc, namespaces)?;
        }
        later.into_iter().try_for_each(set)
    }
}

fn set(namespace: &Joined) -> Result<()> {
    // No kind: it was checked when the descriptor was opened.
    rustix::thread::move_into_link_name_space(namespace.fd.as_fd(), None)
        .context(|| format!("linux.namespaces: setns to the {} namespace {:?}", namespace.kind.name(), namespace.path))
}

/// containerd and CRI-O give mappings beside the user namespace to join. Compares them with the real ones, from inside:
/// a container that believes in other owners than it gets would be wrong in silence.
fn check_joined_maps(proc: &ProcFs, namespaces: &Namespaces) -> Result<()> {
    let maps = [
        ("linux.uidMappings", "self/uid_map", &namespaces.uid_map),
        ("linux.gidMappings", "self/gid_map", &namespaces.gid_map),
    ];
    for (field, file, said) in maps {
        if said.is_empty() {
            continue;
        }
        let text = proc.read(file).context(|| format!("read /proc/{file}"))?;
        let mut real = parse_map(&String::from_utf8_lossy(&text));
        let mut said = said.clone();
        real.sort_by_key(|line| line.inside);
        said.sort_by_key(|line| line.inside);
        if real != said {
            return Err(Error::new(format!("{field}: the user namespace to join has other mappings"))
                .hint("give the path of the namespace alone, or its real mappings"));
        }
    }
    Ok(())
}

/// The lines of /proc/PID/uid_map.
fn parse_map(text: &str) -> Vec<IdMap> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().ok());
        Some(IdMap { inside: numbers.next()??, outside: numbers.next()??, count: numbers.next()?? })
    };
    text.lines().filter_map(line).collect()
}

/// Makes the time namespace with its offsets, where the plan has some: for the children of the calling process, so
/// before the [`second_fork`].
///
/// # Errors
/// Names the field: a clock would become negative or overflow (ERANGE), or the kernel has no time namespaces.
pub fn unshare_time(namespaces: &Namespaces, proc: &ProcFs) -> Result<()> {
    if namespaces.time_offsets.is_empty() {
        return Ok(());
    }
    clone::unshare(NamespaceKind::Time.flag()).context(|| "linux.timeOffsets: unshare a time namespace")?;
    let mut text = String::new();
    for (clock, seconds, nanoseconds) in &namespaces.time_offsets {
        let _ = writeln!(text, "{clock} {seconds} {nanoseconds}");
    }
    let written = proc.write("self/timens_offsets", text.as_bytes());
    written.context(|| "linux.timeOffsets: write /proc/self/timens_offsets").map_err(|error| match error.errno() {
        Some(Errno::RANGE) => error.hint("an offset may not turn a clock negative: compare with /proc/uptime"),
        Some(Errno::NOENT) => error.hint("this kernel has no time namespaces (Linux 5.6, CONFIG_TIME_NS)"),
        _ => error,
    })
}

/// Makes the cgroup namespace, where the plan has a new one. Its root is the cgroup of the calling process at this
/// moment, so it comes once the process is in its cgroup, and in the container's own process.
///
/// # Errors
/// Where the kernel refuses.
pub fn unshare_cgroup(namespaces: &Namespaces) -> Result<()> {
    if !namespaces.creates(NamespaceKind::Cgroup) {
        return Ok(());
    }
    clone::unshare(NamespaceKind::Cgroup.flag()).context(|| "linux.namespaces: unshare a cgroup namespace")
}

/// Sets `hostname` and `domainname`. The plan has seen to it that the UTS namespace is the container's.
///
/// # Errors
/// Names the field.
pub fn set_names(plan: &Plan) -> Result<()> {
    if let Some(name) = &plan.hostname {
        rustix::system::sethostname(name.as_bytes()).context(|| format!("hostname: sethostname {name:?}"))?;
    }
    if let Some(name) = &plan.domainname {
        rustix::system::setdomainname(name.as_bytes()).context(|| format!("domainname: setdomainname {name:?}"))?;
    }
    Ok(())
}

/// Writes `linux.sysctl` through the host's procfs: its /proc/sys shows the namespaces of whoever opens it.
///
/// # Errors
/// Names the parameter.
pub fn write_sysctls(sysctl: &[(String, String)], proc: &ProcFs) -> Result<()> {
    for (path, value) in sysctl {
        let what = || format!("linux.sysctl: write {value:?} to /proc/sys/{path}");
        proc.write(format!("sys/{path}"), value.as_bytes()).context(what).map_err(|error| match error.errno() {
            Some(Errno::NOENT) => error.hint("this kernel has no such parameter, or its module is not loaded"),
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => {
                error.hint("this parameter cannot be set from the container's namespaces")
            }
            Some(Errno::INVAL) => error.hint("the kernel does not take this value"),
            _ => error,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespaces(new: &[NamespaceKind], join: &[NamespaceKind], offsets: bool) -> Namespaces {
        Namespaces {
            new: new.to_vec(),
            join: join.iter().map(|kind| (*kind, PathBuf::from("/x"))).collect(),
            time_offsets: if offsets { vec![("monotonic".into(), 1, 0)] } else { Vec::new() },
            ..Namespaces::default()
        }
    }

    #[test]
    fn which_fork_makes_what() {
        use NamespaceKind::{Cgroup, Ipc, Mount, Network, Pid, Time, User};
        let flags = |kinds: &[NamespaceKind]| kinds.iter().fold(0, |flags, kind| flags | kind.flag());
        for (new, join, offsets, first, second) in [
            (&[Mount, Pid, Cgroup][..], &[][..], false, &[Mount, Pid][..], None),
            (&[User, Mount, Pid, Time], &[], false, &[User, Mount, Pid, Time], None),
            (&[Mount, Ipc], &[Network], false, &[Mount, Ipc], None),
            (&[Mount, Ipc], &[Pid], false, &[Mount, Ipc], Some(&[][..])),
            (&[Mount, Pid, Time], &[], true, &[Mount], Some(&[Pid])),
            (&[User, Mount, Pid, Time], &[], true, &[User, Mount], Some(&[Pid])),
            (&[User, Mount, Pid], &[Network], false, &[], Some(&[User, Mount, Pid])),
            (&[Mount, Pid, Cgroup], &[User], false, &[], Some(&[Mount, Pid])),
        ] {
            let namespaces = namespaces(new, join, offsets);
            assert_eq!(clone_flags(&namespaces), flags(first), "{new:?} {join:?}");
            assert_eq!(second_fork(&namespaces), second.map(flags), "{new:?} {join:?}");
        }
    }

    #[test]
    fn a_wrong_kind_is_refused() {
        let open = |kind, path: &str| open_one(kind, path.into());
        open(NamespaceKind::Network, "/proc/self/ns/net").unwrap();
        let error = open(NamespaceKind::Network, "/proc/self/ns/uts").unwrap_err().to_string();
        assert!(error.contains("the network namespace: \"/proc/self/ns/uts\" is a namespace of kind uts"), "{error}");
        assert!(open(NamespaceKind::Uts, "/dev/null").unwrap_err().to_string().ends_with("is not a namespace"));
        let gone = open(NamespaceKind::Uts, "/run/nowhere").unwrap_err();
        assert_eq!(gone.errno(), Some(Errno::NOENT));
        assert!(gone.remedy().is_some());
    }

    #[test]
    fn real_maps_are_compared() {
        let proc = ProcFs::open().unwrap();
        let text = String::from_utf8(proc.read("self/uid_map").unwrap()).unwrap();
        let mut namespaces = namespaces(&[], &[NamespaceKind::User], false);
        namespaces.uid_map = parse_map(&text);
        assert_eq!(namespaces.uid_map.len(), text.lines().count());
        check_joined_maps(&proc, &namespaces).unwrap();
        namespaces.uid_map[0].count -= 1;
        assert!(check_joined_maps(&proc, &namespaces).unwrap_err().to_string().starts_with("linux.uidMappings: "));
    }

    #[test]
    fn a_failed_clone_says_what_to_do() {
        let flags = NamespaceKind::User.flag() | NamespaceKind::Pid.flag();
        let error = explain_clone(flags, Errno::PERM);
        assert_eq!(error.to_string(), "clone with new namespaces (user, pid): operation not permitted");
        assert!(error.remedy().unwrap().contains("myrt check"));
        assert!(explain_clone(NamespaceKind::Pid.flag(), Errno::PERM).remedy().unwrap().contains("root"));
        assert!(explain_clone(flags, Errno::NOSYS).remedy().unwrap().contains("outside"));
    }
}
