//! `myrt sandbox run`: a program in a box, from its start to its end.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::interrupts::Interrupts;
use super::report_file::ReportFile;
use super::{finish, profile, store};
use crate::cli::values::{FromText, Size};
use crate::cli::{self, Args as _, Command, Global, Group, Parsed};
use crate::commands::output;
use crate::error::{Error, Result};
use crate::sandbox::{self, BoxName, Cpus, Limits, Network, Rules, RunRequest, Seccomp};
use crate::sys::signal::Mask;

crate::choices! { Network { "none" => Self::None, "private" => Self::Private, "host" => Self::Host } }

impl FromText for Cpus {
    fn from_text(text: &OsStr) -> Result<Self, String> {
        let number = text.to_str().and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        Self::new(number).map_err(|error| error.to_string())
    }
}

impl FromText for Seccomp {
    fn from_text(text: &OsStr) -> Result<Self, String> {
        Ok(Self::named(text))
    }
}

crate::args! {
    /// Flags of `sandbox run`.
    pub struct Args {
        /// Keep the changes under this name, and go on with what an earlier run of that name changed
        name: Option<String> = "--name NAME",
        /// Begin with the flags of this profile: a TOML file, or the name of one in
        /// $XDG_CONFIG_HOME/myrt/sandbox or /etc/myrt/sandbox
        profile: Vec<String> = "--profile NAME",
        /// What of the network is there: none (default) for a loopback device alone, private for connections to the
        /// outside but not to the host, or host
        net: Option<Network> = "--net NETWORK",
        /// Let the program connect to this socket of the host, such as /run/docker.sock
        allow_socket: Vec<PathBuf> = "--allow-socket PATH",
        /// Make this file or folder empty inside
        hide: Vec<PathBuf> = "--hide PATH",
        /// Let this file or folder be read, not changed
        read_only: Vec<PathBuf> = "--read-only PATH",
        /// Let the program write here on the host itself; its sockets can be reached as well
        write_through: Vec<PathBuf> = "--write-through PATH",
        /// Put an empty folder here that is forgotten at the end
        tmpfs: Vec<PathBuf> = "--tmpfs PATH",
        /// Let setuid programs and file capabilities give nothing, as is always so for an ordinary user
        no_new_privileges: bool = "--no-new-privileges",
        /// Most memory, swapped out or not, such as 512m
        memory: Option<Size> = "--memory SIZE",
        /// Most time on CPUs, such as 0.5 or 2
        cpus: Option<Cpus> = "--cpus N",
        /// Most processes and threads
        pids: Option<u32> = "--pids N",
        /// Which system calls are left: default, unconfined for all, or those of a file (JSON, as linux.seccomp
        /// of a config.json)
        seccomp: Option<Seccomp> = "--seccomp FILE",
        /// Write what was denied and what was not kept apart to this file, as JSON
        report: Option<PathBuf> = "--report FILE",
        /// Leave out the lines on stderr that tell what was denied and what was not kept apart
        quiet: bool = "--quiet -q",
        /// Where boxes are kept (default: /var/lib/myrt/sandbox; an ordinary user's: myrt/sandbox in $XDG_DATA_HOME
        /// or in ~/.local/share)
        store: Option<PathBuf> = "--store DIR",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "sandbox run",
    group: Group::Sandbox,
    about: "Run a program in a box",
    words: "PROGRAM [ARGUMENT...]",
    details: "
The program sees the host's files as they are and may change all of them: the changes are the
box's, the host keeps its own. It runs as the caller, in the caller's folder, with the caller's
environment; processes, network and sockets of the host are out of its reach. All of its
processes end with it. An ordinary user's program may change what that user may on the host.

With --net private the program connects to what the host's default routes lead to, over IPv4. The
host's own services stay out of its reach, as do networks behind the host. As an ordinary user it
takes pasta (package passt) or slirp4netns, and /dev/net/tun. Where it cannot be had, there is no
network, and a sentence says why.

Without --name the box is thrown away if nothing was changed. Otherwise you are asked what to do
with it, in a terminal; elsewhere it is kept, and its name is written to stderr.

Limits hold in a cgroup of the run's own: an ordinary user's is a scope of that user's systemd
manager, where there is one. Where no cgroup can be had they are refused. The default system calls
are all but those that no installer needs and attackers do: mounts, namespaces, kernel modules,
keys, BPF, io_uring.

At the end a few lines on stderr say what the program tried in vain (mounts, kernel modules, clocks,
namespaces, device nodes), what is not kept apart and whether --memory killed any of it; `sandbox
list --format json` has all of it. --report FILE writes it to a file, which is opened before the
program begins, and notes connections to sockets of the host as well, each of which takes some
microseconds longer then. A write that the file system refuses is not among it.

A profile is a TOML file whose keys are these flags, but for --name, --profile and --store: `hide`
and its kin are arrays of paths, `memory = \"512m\"`, `cpus = 1.5`, `no-new-privileges = true`. What
is typed adds to its arrays and replaces the rest; of several profiles the later one wins. `~` at
the beginning of a path is $HOME, nothing else is expanded, and a relative path counts from the
current folder. What `hide` and `read-only` name may be missing.

The exit code is the program's own, or 128+n after signal n; 127 if there is no such program, 126
if it cannot be executed, 125 if the box cannot be made.

Examples:
  myrt sandbox run ./unknown-script.sh
  sudo myrt sandbox run --name try --net host apt-get install -y hello",
    flags: Args::FLAGS,
    run,
};

fn run(global: &Global, parsed: Parsed) -> Result<u8> {
    start(global, args(&parsed)?, parsed.words)
}

/// The flags: those of the profiles, in their order, and over them what was typed.
pub(super) fn args(parsed: &Parsed) -> Result<Args> {
    let typed: Args = parsed.args().map_err(own_failure)?;
    let mut args = Args::default();
    typed.profile.iter().try_for_each(|name| profile::apply(name, &mut args)).map_err(own_failure)?;
    parsed.args_over(args).map_err(own_failure)
}

/// Runs a command with the flags of `run`, which are those of `shell` as well.
pub(super) fn start(global: &Global, args: Args, command: Vec<OsString>) -> Result<u8> {
    let store = store(args.store).map_err(own_failure)?;
    let request = RunRequest {
        name: args.name.as_deref().map(BoxName::new).transpose().map_err(own_failure)?,
        command,
        network: args.net.unwrap_or_default(),
        sockets: args.allow_socket,
        rules: Rules {
            hide: args.hide,
            read_only: args.read_only,
            write_through: args.write_through,
            tmpfs: args.tmpfs,
            no_new_privileges: args.no_new_privileges,
        },
        limits: Limits { memory: args.memory.map(|size| size.0), cpus: args.cpus, pids: args.pids },
        seccomp: args.seccomp.unwrap_or_default(),
        watch_sockets: args.report.is_some(),
        driver: global.driver(),
    };
    let before = Mask::now();
    let file = args.report.as_deref().map(ReportFile::open).transpose().map_err(own_failure)?;
    let ended = sandbox::run(&store, &request).map_err(own_failure)?;
    let mut interrupts = Interrupts::after_a_run(&before, finish::asks(&ended)).map_err(own_failure)?;
    if !args.quiet {
        output::note(&ended.report.lines(&store.command("list", "--format json")));
    }
    let written = file.map_or(Ok(()), |file| file.write(&ended.report));
    // Whatever has become of the report, a box that has no name yet is told of.
    finish::decide(&store, ended, &mut interrupts).and_then(|code| written.map(|()| code)).map_err(own_failure)
}

/// Exit codes as a shell has them, so that a failure of ours is not taken for the program's.
fn own_failure(error: Error) -> Error {
    let code = error.shells_code().unwrap_or(cli::NOT_THE_PROGRAMS);
    error.exit_with(code)
}
