//! Runs another program, feeds it, collects what it says and ends it when its time is up: hooks, newuidmap, newgidmap.
//!
//! fork(2), execve(2) and a pidfd; no thread, no shell, no search in PATH. The child gets a clean state: default
//! signals, an empty signal mask, a process group of its own, and no descriptor but 0, 1 and 2.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions};

use crate::error::{Context, Error, Result};

/// Of each of stdout and stderr this much of the end is kept.
const KEPT: usize = 16 << 10;

/// What to run, and how.
#[derive(Debug)]
pub struct Program<'a> {
    /// The file; absolute, or relative to the working folder.
    pub path: &'a Path,
    /// Its arguments, with the name first.
    pub args: &'a [String],
    /// Its whole environment, `NAME=value` each.
    pub env: &'a [String],
    /// Its working folder; the caller's when absent.
    pub cwd: Option<&'a Path>,
    /// What it finds on stdin; a program that does not read it all is no failure.
    pub stdin: &'a [u8],
    /// How long it may run before its process group is killed.
    pub timeout: Option<Duration>,
    /// What the child still does to itself.
    pub last: LastStep<'a>,
}

/// What a child does to itself as the last thing before its exec, such as giving up rights that all before needs. It runs
/// after a fork: no lock may be taken there that another thread could hold.
#[derive(Clone, Copy, Default)]
pub struct LastStep<'a>(Option<&'a dyn Fn() -> Result<()>>);

impl<'a> LastStep<'a> {
    /// This one.
    pub fn of(step: &'a dyn Fn() -> Result<()>) -> Self {
        Self(Some(step))
    }

    /// Gives the errno where it fails.
    fn take(self) -> std::result::Result<(), i32> {
        let Some(step) = self.0 else { return Ok(()) };
        step().map_err(|error| error.errno().unwrap_or(Errno::PERM).raw_os_error())
    }
}

impl std::fmt::Debug for LastStep<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(if self.0.is_some() { "LastStep" } else { "no LastStep" })
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// With this exit code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// It was killed, since its time was up.
    TimedOut,
}

/// What a program left behind.
#[derive(Debug)]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// The last 16 KiB of its stdout.
    pub stdout: Vec<u8>,
    /// The last 16 KiB of its stderr.
    pub stderr: Vec<u8>,
}

/// Runs a program to its end. What it left in its process group is not waited for, nor killed unless the time was up.
///
/// # Errors
/// Where it could not be started: no such file, no x bit, wrong format, no memory.
pub fn run(program: &Program<'_>) -> Result<Outcome> {
    let started = Instant::now();
    let _quiet = BrokenPipeIsAnError::set();
    let mut child = start(program)?;
    let end = child.attend(program.stdin, program.timeout.map(|timeout| started + timeout))?;
    Ok(Outcome { end, stdout: std::mem::take(&mut child.stdout.kept), stderr: std::mem::take(&mut child.stderr.kept) })
}

/// While it lives, writing to a pipe that nobody reads is an errno and not our end.
struct BrokenPipeIsAnError(libc::sighandler_t);

impl BrokenPipeIsAnError {
    fn set() -> Self {
        // SAFETY: ignoring a signal installs no handler, so nothing of ours runs in its context.
        Self(unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) })
    }
}

impl Drop for BrokenPipeIsAnError {
    fn drop(&mut self) {
        // SAFETY: gives back the disposition that signal(2) told us; whoever set it vouches for it.
        unsafe { libc::signal(libc::SIGPIPE, self.0) };
    }
}

/// A running child. Dropped before its end was seen, it is killed and reaped: nothing is left behind.
struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    reaped: bool,
    stdin: Option<OwnedFd>,
    stdout: Output,
    stderr: Output,
}

/// The reading end of a pipe and the tail of what came through it.
struct Output {
    pipe: Option<OwnedFd>,
    kept: Vec<u8>,
}

impl Child {
    fn attend(&mut self, mut input: &[u8], deadline: Option<Instant>) -> Result<End> {
        loop {
            if input.is_empty() {
                self.stdin = None;
            }
            let Some(ready) = self.wait_ready(deadline)? else {
                self.kill();
                self.reap()?;
                return Ok(End::TimedOut);
            };
            if ready.stdin {
                input = feed(&mut self.stdin, input);
            }
            self.stdout.drain();
            self.stderr.drain();
            if ready.ended {
                let end = self.reap()?;
                // What it wrote just before its end; a grandchild that holds the pipe open is not waited for.
                self.stdout.drain();
                self.stderr.drain();
                return Ok(end);
            }
        }
    }

    /// Waits until something can be done; none when the time is up.
    fn wait_ready(&self, deadline: Option<Instant>) -> Result<Option<Ready>> {
        let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN)];
        fds.extend(self.stdin.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::OUT)));
        for output in [&self.stdout, &self.stderr] {
            fds.extend(output.pipe.as_ref().map(|pipe| PollFd::new(pipe, PollFlags::IN)));
        }
        let count = loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
            match poll(&mut fds, left.as_ref()) {
                Err(Errno::INTR) => {}
                other => break other.context(|| "poll")?,
            }
        };
        if count == 0 {
            return Ok(None);
        }
        let stdin = self.stdin.is_some() && !fds[1].revents().is_empty();
        Ok(Some(Ready { ended: !fds[0].revents().is_empty(), stdin }))
    }

    /// Kills the child and what is in its process group.
    fn kill(&self) {
        // The group exists: the child is not reaped yet, and both sides have called setpgid. Where it has left its
        // group, the pidfd still finds it.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    fn reap(&mut self) -> Result<End> {
        let status = loop {
            match rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED) {
                Err(Errno::INTR) => {}
                other => break other.context(|| format!("waitid {}", self.pid))?,
            }
        };
        self.reaped = true;
        let status = status.ok_or_else(|| Error::new(format!("waitid {}: no status", self.pid)))?;
        Ok(match status.exit_status() {
            Some(code) => End::Exited(code),
            None => End::Signaled(status.terminating_signal().unwrap_or_default()),
        })
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            let _ = self.reap();
        }
    }
}

/// What the wait found.
struct Ready {
    ended: bool,
    stdin: bool,
}

impl Output {
    fn new(pipe: OwnedFd) -> Result<Self> {
        nonblocking(&pipe)?;
        Ok(Self { pipe: Some(pipe), kept: Vec::new() })
    }

    /// Reads what is there.
    fn drain(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe, &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.kept.extend_from_slice(&buffer[..count]);
                    if self.kept.len() > 2 * KEPT {
                        self.kept.drain(..self.kept.len() - KEPT);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.pipe = None,
            }
        }
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
    }
}

/// Writes what fits; gives back the rest. A reader that has gone gets nothing more.
fn feed<'a>(pipe: &mut Option<OwnedFd>, input: &'a [u8]) -> &'a [u8] {
    let Some(open) = pipe else { return &[] };
    match rustix::io::write(open, input) {
        Ok(count) => &input[count..],
        Err(Errno::AGAIN | Errno::INTR) => input,
        Err(_) => {
            *pipe = None;
            &[]
        }
    }
}

fn nonblocking(fd: &OwnedFd) -> Result<()> {
    rustix::fs::fcntl_setfl(fd, OFlags::NONBLOCK).context(|| "fcntl F_SETFL O_NONBLOCK")
}

/// Forks and execs; comes back when the exec has happened or failed.
fn start(program: &Program<'_>) -> Result<Child> {
    let name = || format!("exec {:?}", program.path);
    let image = Image::new(program)?;
    let pipe = || pipe_with(PipeFlags::CLOEXEC).context(|| "pipe");
    let (stdin_ours, stdin) = if program.stdin.is_empty() {
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        (None, null.context(|| "open /dev/null")?)
    } else {
        let (theirs, ours) = pipe()?;
        nonblocking(&ours)?;
        (Some(ours), theirs)
    };
    let (stdout_ours, stdout) = pipe()?;
    let (stderr_ours, stderr) = pipe()?;
    let (report_ours, report) = pipe()?;
    let (stdout_ours, stderr_ours) = (Output::new(stdout_ours)?, Output::new(stderr_ours)?);
    let fds = [&stdin, &stdout, &stderr, &report].map(AsRawFd::as_raw_fd);
    // SAFETY: the child calls only functions that are safe after a fork (signal-safety(7)) on memory that was made
    // before it, and ends in execve or _exit, so that no lock another thread held at the fork can stop it.
    let pid = match unsafe { libc::fork() } {
        -1 => return Err(Error::call("fork", last_errno())),
        0 => image.exec(fds),
        pid => Pid::from_raw(pid).ok_or_else(|| Error::new("fork: no child"))?,
    };
    let _ = rustix::process::setpgid(Some(pid), Some(pid));
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).inspect_err(|_| {
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
    });
    let pidfd = pidfd.context(|| format!("pidfd_open {pid}"))?;
    drop((stdin, stdout, stderr, report));
    let mut child = Child { pid, pidfd, reaped: false, stdin: stdin_ours, stdout: stdout_ours, stderr: stderr_ours };
    // The pipe closes at the exec; four bytes in it are the errno of what failed.
    let mut errno = [0; 4];
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&report_ours, &mut errno)).context(|| "read")?;
    if count == errno.len() {
        child.reap()?;
        return Err(Error::call(name(), Errno::from_raw_os_error(i32::from_ne_bytes(errno))));
    }
    Ok(child)
}

/// Everything the child needs, made before the fork.
struct Image<'a> {
    path: CString,
    cwd: Option<CString>,
    /// Pointers into the strings, which therefore must live as long.
    argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    _strings: [Vec<CString>; 2],
    last: LastStep<'a>,
}

impl<'a> Image<'a> {
    fn new(program: &Program<'a>) -> Result<Self> {
        let c_string = |bytes: &[u8]| {
            CString::new(bytes)
                .map_err(|_| Error::new(format!("exec {:?}: a zero byte in its arguments", program.path)))
        };
        let c_strings = |list: &[String]| list.iter().map(|text| c_string(text.as_bytes())).collect::<Result<Vec<_>>>();
        let strings = [c_strings(program.args)?, c_strings(program.env)?];
        let pointers = |list: &[CString]| list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect();
        Ok(Self {
            path: c_string(program.path.as_os_str().as_bytes())?,
            cwd: program.cwd.map(|cwd| c_string(cwd.as_os_str().as_bytes())).transpose()?,
            argv: pointers(&strings[0]),
            envp: pointers(&strings[1]),
            _strings: strings,
            last: program.last,
        })
    }

    /// The child's whole life. `fds`: stdin, stdout, stderr, and the pipe that reports an errno.
    fn exec(&self, fds: [RawFd; 4]) -> ! {
        // SAFETY: each call takes numbers, or pointers to strings and arrays that `self` owns and that end in a zero;
        // the fork copied them. The descriptors were open at the fork and nothing closes them before.
        unsafe {
            let errno = self.try_exec(fds);
            let report = errno.to_ne_bytes();
            // The report's copy stands at 3, unless the very first step failed.
            if libc::write(3, report.as_ptr().cast(), report.len()) < 0 {
                libc::write(fds[3], report.as_ptr().cast(), report.len());
            }
            libc::_exit(127)
        }
    }

    /// Gives the errno of what failed.
    ///
    /// # Safety
    /// Only in a forked child, which leaves no more than the report's descriptor to care for.
    unsafe fn try_exec(&self, fds: [RawFd; 4]) -> i32 {
        // SAFETY: as in `exec`.
        unsafe {
            libc::setpgid(0, 0);
            // Copies above everything first: a source may stand where a target goes.
            let mut high = [0; 4];
            for (copy, fd) in high.iter_mut().zip(fds) {
                *copy = libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 16);
                if *copy < 0 {
                    return *libc::__errno_location();
                }
            }
            for (target, copy) in (0..).zip(high) {
                let flags = if target == 3 { libc::O_CLOEXEC } else { 0 };
                if libc::dup3(copy, target, flags) < 0 {
                    return *libc::__errno_location();
                }
            }
            libc::syscall(libc::SYS_close_range, 4, u32::MAX, 0);
            // An ignored signal stays ignored across an exec, and Rust's runtime ignores SIGPIPE.
            for signal in 1..32 {
                libc::signal(signal, libc::SIG_DFL);
            }
            let mut none: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
            if let Some(cwd) = &self.cwd
                && libc::chdir(cwd.as_ptr()) < 0
            {
                return *libc::__errno_location();
            }
            if let Err(errno) = self.last.take() {
                return errno;
            }
            libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.envp.as_ptr());
            *libc::__errno_location()
        }
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, stdin: &[u8], timeout: Option<u64>) -> Outcome {
        let args = ["sh", "-c", script].map(str::to_owned);
        let env = ["A=b c".to_owned(), "PATH=/usr/bin:/bin".to_owned()];
        run(&Program {
            path: Path::new("/bin/sh"),
            args: &args,
            env: &env,
            cwd: Some(Path::new("/usr")),
            stdin,
            timeout: timeout.map(Duration::from_millis),
            last: LastStep::default(),
        })
        .unwrap()
    }

    #[test]
    fn input_output_environment_and_folder_arrive() {
        let outcome = shell("cat; pwd; echo \"$A\" >&2; exit 7", b"in ", None);
        assert_eq!(outcome.end, End::Exited(7));
        assert_eq!(outcome.stdout, b"in /usr\n");
        assert_eq!(outcome.stderr, b"b c\n");
    }

    #[test]
    fn one_that_reads_nothing_is_no_failure() {
        assert_eq!(shell("exit 0", &vec![b'x'; 1 << 20], None).end, End::Exited(0));
        assert_eq!(shell("exec 0<&-; sleep 0.1", &vec![b'x'; 1 << 20], None).end, End::Exited(0));
    }

    #[test]
    fn much_goes_both_ways_and_the_tail_is_kept() {
        let outcome = shell("cat; echo end", &vec![b'x'; 1 << 20], None);
        assert_eq!(outcome.stdout.len(), KEPT);
        assert!(outcome.stdout.ends_with(b"xend\n"));
    }

    #[test]
    fn a_signal_is_told_from_a_code() {
        assert_eq!(shell("kill -9 $$", b"", None).end, End::Signaled(9));
        // SIGPIPE is not ignored.
        assert_eq!(shell("kill -13 $$", b"", None).end, End::Signaled(13));
    }

    #[test]
    fn the_group_is_killed_when_the_time_is_up() {
        let marker = std::env::temp_dir().join(format!("myrt-spawn-{}", std::process::id()));
        let outcome = shell(&format!("sleep 100 & echo $! > {}; wait", marker.display()), b"", Some(300));
        assert_eq!(outcome.end, End::TimedOut);
        let pid = std::fs::read_to_string(&marker).unwrap();
        std::fs::remove_file(&marker).unwrap();
        // Killed by now, perhaps not yet dead; an orphan's number may be gone already.
        let pid = Pid::from_raw(pid.trim().parse().unwrap()).unwrap();
        if let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            let deadline = Timespec { tv_sec: 50, tv_nsec: 0 };
            assert_eq!(poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&deadline)), Ok(1));
        }
    }

    #[test]
    fn a_daemon_that_keeps_the_pipe_is_not_waited_for() {
        let outcome = shell("sleep 5 & echo started", b"", None);
        assert_eq!(outcome.stdout, b"started\n");
    }

    #[test]
    fn only_three_descriptors_are_inherited() {
        let leak = rustix::fs::open("/dev/zero", OFlags::RDONLY, Mode::empty()).unwrap();
        let outcome = shell("ls /proc/self/fd | tr '\\n' ' '", b"", None);
        drop(leak);
        // 3 is ls's own, of the folder it lists.
        assert_eq!(outcome.stdout, b"0 1 2 3 ");
    }

    #[test]
    fn a_program_that_cannot_start_says_why() {
        for (path, errno) in [("/nowhere/x", Errno::NOENT), ("/etc/passwd", Errno::ACCESS), ("/etc", Errno::ACCESS)] {
            let program = Program {
                path: Path::new(path),
                args: &[path.to_owned()],
                env: &[],
                cwd: None,
                stdin: b"",
                timeout: None,
                last: LastStep::default(),
            };
            assert_eq!(run(&program).unwrap_err().errno(), Some(errno), "{path}");
        }
    }
}
