//! Commands of a test: each with a deadline, with its output kept for the message of a failure.
//!
//! The output goes to anonymous files, not to pipes: a container that a finished command left behind holds on to them,
//! and a pipe's reader would wait for it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};
use serde_json::Value;

use super::wait::PATIENCE;

/// Held while a process is made and while a file is written that is executed later: a process made in between would
/// hold the file open for writing until its own exec, and the file's exec would fail with ETXTBSY.
pub static FORK: Mutex<()> = Mutex::new(());

/// Writes an executable file.
pub fn write_executable(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let _fork = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    let path = path.as_ref();
    std::fs::write(path, content).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
    set_mode(path, 0o755);
}

/// Copies an executable file.
pub fn copy_executable(from: &Path, to: &Path) {
    let _fork = FORK.lock().unwrap_or_else(PoisonError::into_inner);
    std::fs::copy(from, to).unwrap_or_else(|error| panic!("copy {} to {}: {error}", from.display(), to.display()));
}

/// chmod
pub fn set_mode(path: impl AsRef<Path>, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A command that is about to run.
#[derive(Clone)]
pub struct TestCommand {
    argv: Vec<String>,
    env: Vec<(String, String)>,
    stdin: Vec<u8>,
    cwd: Option<PathBuf>,
}

impl TestCommand {
    /// A program and its arguments; the environment holds a usual PATH and nothing else.
    pub fn new<S: ToString>(argv: impl IntoIterator<Item = S>) -> Self {
        let path = ("PATH".to_owned(), "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned());
        let argv = argv.into_iter().map(|arg| arg.to_string()).collect();
        Self { argv, env: vec![path], stdin: Vec::new(), cwd: None }
    }

    /// A shell script that runs on the host; `$1` and so on are `args`.
    pub fn shell<S: ToString>(script: &str, args: impl IntoIterator<Item = S>) -> Self {
        Self::new(["/bin/sh", "-ec", script, "sh"]).args(args)
    }

    /// One more argument.
    #[must_use]
    pub fn arg(mut self, arg: impl ToString) -> Self {
        self.argv.push(arg.to_string());
        self
    }

    /// More arguments.
    #[must_use]
    pub fn args<S: ToString>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.argv.extend(args.into_iter().map(|arg| arg.to_string()));
        self
    }

    /// The same command, run by another one: `argv` goes before it.
    #[must_use]
    pub fn by<S: ToString>(mut self, argv: impl IntoIterator<Item = S>) -> Self {
        self.argv.splice(0..0, argv.into_iter().map(|arg| arg.to_string()));
        self
    }

    /// One variable of the environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// No variable at all, not even PATH.
    #[must_use]
    pub fn without_env(mut self) -> Self {
        self.env.clear();
        self
    }

    /// What it reads; nothing if not said.
    #[must_use]
    pub fn stdin(mut self, text: impl AsRef<[u8]>) -> Self {
        text.as_ref().clone_into(&mut self.stdin);
        self
    }

    /// Its working folder; that of the test if not said.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Runs it to its end.
    #[track_caller]
    pub fn run(&self) -> Output {
        self.spawn().wait()
    }

    /// Starts it.
    #[track_caller]
    pub fn spawn(&self) -> Running {
        let mut stdin = memory_file();
        stdin.write_all(&self.stdin).unwrap();
        stdin.rewind().unwrap();
        self.spawn_on(stdin.into())
    }

    /// Starts it with a given standard input, such as a terminal or a pipe.
    #[track_caller]
    pub fn spawn_on(&self, stdin: Stdio) -> Running {
        let (out, err) = (memory_file(), memory_file());
        self.spawn_with(stdin, out.try_clone().unwrap().into(), err.try_clone().unwrap().into(), Some((out, err)))
    }

    /// Starts it with all three standard descriptors given; its output is then the caller's affair.
    #[track_caller]
    pub fn spawn_with(&self, stdin: Stdio, out: Stdio, err: Stdio, kept: Option<(File, File)>) -> Running {
        let mut command = Command::new(&self.argv[0]);
        command.args(&self.argv[1..]).env_clear().envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(stdin).stdout(out).stderr(err);
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        #[expect(clippy::disallowed_methods, reason = "a test makes processes; only the runtime may not")]
        let child = {
            let _fork = FORK.lock().unwrap_or_else(PoisonError::into_inner);
            command.spawn()
        };
        let child = child.unwrap_or_else(|error| panic!("{}: {error}", self.line()));
        Running { child, kept, line: self.line() }
    }

    /// As a person would type it.
    fn line(&self) -> String {
        let mut line = String::new();
        for arg in &self.argv {
            let plain = arg.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./:=,@+%".contains(&byte));
            let _ = if plain && !arg.is_empty() {
                write!(line, "{arg} ")
            } else {
                write!(line, "'{}' ", arg.replace('\'', r"'\''"))
            };
        }
        line
    }
}

fn memory_file() -> File {
    rustix::fs::memfd_create("test", rustix::fs::MemfdFlags::CLOEXEC).unwrap().into()
}

fn content(file: &File) -> String {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A command that runs; killed when it is dropped.
pub struct Running {
    child: Child,
    kept: Option<(File, File)>,
    line: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// What it has written to stdout.
    pub fn stdout(&self) -> String {
        self.kept.as_ref().map(|(out, _)| content(out)).unwrap_or_default()
    }

    /// What it has written to stderr.
    pub fn stderr(&self) -> String {
        self.kept.as_ref().map(|(_, err)| content(err)).unwrap_or_default()
    }

    /// Waits until `text` stands in its stdout.
    #[track_caller]
    pub fn until_stdout(&mut self, text: &str) {
        super::until(&format!("`{}` writes {text:?}", self.line), || {
            if self.stdout().contains(text) {
                return Some(());
            }
            if let Some(status) = self.child.try_wait().unwrap() {
                if self.stdout().contains(text) {
                    return Some(());
                }
                panic!("{}\nended with {status} and never wrote {text:?}: {}", self.line, self.stderr());
            }
            None
        });
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self) -> Output {
        let ended = self.child.try_wait().unwrap().is_some() || {
            let pidfd = pidfd_open(self.pid(), PidfdFlags::empty()).unwrap();
            let deadline = Timespec { tv_sec: i64::try_from(PATIENCE.as_secs()).unwrap(), tv_nsec: 0 };
            poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&deadline)).unwrap() > 0
        };
        if !ended {
            let _ = self.child.kill();
        }
        let status = self.child.wait().unwrap();
        let output = Output { line: self.line.clone(), status, kept: self.kept.take() };
        assert!(ended, "no end within {PATIENCE:?}: {output}");
        output
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// What a command ended with. Its assertions give the output back, so that they can be chained.
pub struct Output {
    line: String,
    status: ExitStatus,
    kept: Option<(File, File)>,
}

impl std::fmt::Display for Output {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let cut = |text: String| text.chars().take(2000).collect::<String>();
        write!(f, "{}\n{}\nstdout: {}\nstderr: {}", self.line, self.status, cut(self.out()), cut(self.err()))
    }
}

impl Output {
    /// stdout as it is now: a container that lives on may have added to it.
    pub fn out(&self) -> String {
        self.kept.as_ref().map(|(out, _)| content(out)).unwrap_or_default()
    }

    /// stderr as it is now.
    pub fn err(&self) -> String {
        self.kept.as_ref().map(|(_, err)| content(err)).unwrap_or_default()
    }

    /// The exit code; 128+n after signal n.
    pub fn exit_code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 128 + self.status.signal().unwrap())
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn code(&self, code: i32) -> &Self {
        assert_eq!(self.exit_code(), code, "exit code of {self}");
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(&self) -> &Self {
        self.code(0)
    }

    /// Asserts failure, by exit code and not by a signal or a panic.
    #[track_caller]
    pub fn fails(&self) -> &Self {
        assert!(self.status.code().is_some_and(|code| code != 0), "not a plain failure: {self}");
        assert!(!self.err().contains("panicked at"), "a panic: {self}");
        self
    }

    /// Asserts the whole of stdout, white space around it aside.
    #[track_caller]
    pub fn stdout(&self, text: &str) -> &Self {
        assert_eq!(self.out().trim(), text.trim(), "stdout of {self}");
        self
    }

    /// Asserts that stdout contains `text`.
    #[track_caller]
    pub fn out_has(&self, text: &str) -> &Self {
        assert!(self.out().contains(text), "no {text:?} in stdout: {self}");
        self
    }

    /// Asserts that stdout does not contain `text`.
    #[track_caller]
    pub fn out_lacks(&self, text: &str) -> &Self {
        assert!(!self.out().contains(text), "{text:?} in stdout: {self}");
        self
    }

    /// Asserts that stderr contains `text`.
    #[track_caller]
    pub fn err_has(&self, text: &str) -> &Self {
        assert!(self.err().contains(text), "no {text:?} in stderr: {self}");
        self
    }

    /// stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        self.ok();
        serde_json::from_str(&self.out()).unwrap_or_else(|error| panic!("{error} in {self}"))
    }

    /// The lines of stdout.
    pub fn lines(&self) -> Vec<String> {
        self.out().lines().map(str::to_owned).collect()
    }
}
