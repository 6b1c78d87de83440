//! `myrt image run`: an image becomes a container in one go; its bundle is gone when it has ended.
//!
//! The container is run by the engine's own program, as a child: that one has to begin from a place that no container can
//! write to, and without threads.

use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Signal, WaitId, WaitIdOptions};

use super::shared::{FromSource, Network};
use crate::cli::{self, Args as _, Command, Group, Parsed};
use crate::commands::has_single_tree;
use crate::error::{Context, Error, Result};
use crate::image::{Maps, Wishes, bundle, rootless};
use crate::log;
use crate::plan::ContainerId;
use crate::sys::clone::{Child, Forked, fork};
use crate::sys::exec::{Image, exit_now, own_environment};
use crate::sys::signal;

crate::args! {
    /// Flags of `image run`.
    pub struct Args with image: FromSource {
        /// The container's ID (default: one that nobody has)
        name: Option<String> = "--name ID",
        /// Give the program a terminal (default: where the caller has one)
        tty: bool = "--tty -t",
        /// The container's network: none (default, a loopback interface alone) or host
        network: Option<Network> = "--network NAME",
        /// Say nothing of the image but warnings and errors
        quiet: bool = "--quiet -q",
    }
}

/// The row.
pub const COMMAND: Command = Command {
    name: "image run",
    group: Group::Image,
    about: "Unpack an image, run it, and take the bundle away",
    words: "SOURCE [COMMAND...]",
    details: "
SOURCE is what `myrt image unpack` takes. COMMAND replaces the image's own command; its entry
point stays. The exit code is the program's own. The bundle lies in /var/tmp, or where TMPDIR
says, while the container runs.

Examples:
  sudo myrt image run docker://debian:12 bash
  docker save debian | myrt image run --network host - apt-get --version",
    flags: Args::FLAGS,
    run: |_, parsed| run(&parsed),
};

fn run(parsed: &Parsed) -> Result<u8> {
    let args: Args = parsed.args()?;
    let Some((source, command)) = parsed.words.split_first() else {
        return Err(Error::new("image run: SOURCE is missing"));
    };
    let source = args.image.source(source, args.quiet)?;
    let command = command.iter().map(|word| match word.to_str() {
        Some(word) => Ok(word.to_owned()),
        None => Err(Error::new(format!("{word:?} is not UTF-8, as config.json has to be"))),
    });
    let id = match args.name {
        Some(name) => ContainerId::new(name)?,
        // The keys of the standard library's hash maps are random, which is all that a name needs.
        None => ContainerId::new(format!("image-{:012x}", RandomState::new().build_hasher().finish() >> 16))?,
    };
    let caller_has_one =
        rustix::termios::isatty(rustix::stdio::stdin()) && rustix::termios::isatty(rustix::stdio::stdout());
    let wishes = Wishes {
        command: command.collect::<Result<_>>()?,
        terminal: args.tty || caller_has_one,
        hostname: "container".to_owned(),
        cgroup_v2: has_single_tree(),
        host_network: args.network == Some(Network::Host),
        maps: Maps::of_caller(),
    };
    let limits = args.image.limits()?;
    let platform = args.image.platform();
    let folder = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let folder = std::path::absolute(&folder).context(|| format!("{folder:?}"))?.join(format!("myrt-{id}"));

    // From here on a signal must not leave the bundle behind; the engine gets the caller's own mask back.
    let mask = signal::block_all();
    let unpacked = rootless::begin(&wishes.maps, || {
        signal::restore(&mask);
        let made = bundle::unpack(&source, &platform, &folder, limits, &wishes, bundle::Lasting::Nothing)?;
        made.left_out.iter().for_each(log::warn);
        Ok(())
    })?;
    let result = match wait(&unpacked)? {
        0 => start(&folder, &id, &mask).and_then(|child| wait(&child)),
        // It has said why.
        code => Ok(code),
    };
    let removed = rootless::inside(&wishes.maps, || bundle::discard(&folder));
    result.and_then(|code| removed.map(|removed| if code == 0 { removed } else { code }))
}

/// Starts the engine, with the flags that stood before `image`.
fn start(bundle: &Path, id: &ContainerId, mask: &signal::Mask) -> Result<Child> {
    let program = std::fs::read_link("/proc/self/exe").context(|| "read /proc/self/exe")?.with_file_name("myrt");
    let line: Vec<OsString> = std::env::args_os().collect();
    let (_, words) = cli::global(line.iter().skip(1).cloned())?;
    let own = [&["run".into(), bundle.into(), OsString::from(id.to_string())][..]].concat();
    let words: Vec<OsString> = line[..line.len() - words.len()].iter().cloned().chain(own).collect();
    let what = || format!("execute {program:?}");
    let image = Image::new(program.as_os_str(), &words, &own_environment()).context(what)?;
    match fork(0, None).context(|| "clone3")? {
        Forked::Parent(child) => Ok(child),
        Forked::Child => {
            signal::restore(mask);
            log::failure(&Error::call(what(), image.exec()));
            exit_now(1);
        }
    }
}

/// Waits for the engine's end; gives its exit code. Signals that are meant for the container are handed on; those of the
/// terminal reach the engine by themselves.
fn wait(child: &Child) -> Result<u8> {
    use std::os::fd::AsFd;
    let signals = signal::descriptor().context(|| "make a signal descriptor")?;
    loop {
        let mut fds = [PollFd::new(&child.pidfd, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        match poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other.context(|| "poll for the container's end")?,
        };
        let ended = fds[0].revents().contains(PollFlags::IN);
        while let Some(signal) = signal::next(&signals) {
            if matches!(signal, Signal::TERM | Signal::USR1 | Signal::USR2) {
                let _ = rustix::process::pidfd_send_signal(&child.pidfd, signal);
            }
        }
        if ended {
            let status = rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), WaitIdOptions::EXITED);
            let status = status.context(|| "wait for the container's end")?;
            let code = status.map(|status| (status.exit_status(), status.terminating_signal()));
            return Ok(match code {
                Some((Some(code), _)) => code as u8,
                Some((_, Some(signal))) => (128 + signal) as u8,
                _ => 0,
            });
        }
    }
}
