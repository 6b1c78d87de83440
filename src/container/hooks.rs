//! Runs hooks: the state on stdin, one after the other, each within its time.
//!
//! When which kind runs, in which namespaces, and whether a failure ends the container is the story's business.

use std::path::Path;
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::plan::spec;
use crate::sys::exec;
use crate::sys::spawn::{self, End, LastStep, Program};

/// How much of what a failed hook said goes into the message.
const SAID: usize = 1024;

/// What a hook finds where it says nothing itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// The environment; this process's own when absent. Hooks that are scripts count on a PATH, as they find one with
    /// other runtimes.
    pub env: Option<&'a [String]>,
    /// The working folder; this process's own when absent.
    pub cwd: Option<&'a Path>,
    /// What its process does to itself before it becomes the hook.
    pub last: LastStep<'a>,
}

/// Runs the hooks of one kind in their order, up to the first that fails. `state` is the container's state as JSON.
///
/// A hook that names an environment gets exactly that; its stdout is dropped. One that does not read its stdin is fine.
///
/// # Errors
/// Names the hook, how it ended, and the end of what it wrote to stderr.
pub fn run(hooks: &[spec::Hook], kind: &str, state: &[u8], around: Surroundings<'_>) -> Result<()> {
    let one = |(index, hook)| run_one(hook, &format!("hooks.{kind}[{index}]"), state, around);
    hooks.iter().enumerate().try_for_each(one)
}

fn run_one(hook: &spec::Hook, field: &str, state: &[u8], around: Surroundings<'_>) -> Result<()> {
    let own_env;
    let env = match hook.env.as_deref().or(around.env) {
        Some(env) => env,
        None => {
            own_env = own_environment();
            &own_env
        }
    };
    let own_name = std::slice::from_ref(&hook.path);
    let timeout = hook.timeout.and_then(|seconds| u64::try_from(seconds).ok());
    let outcome = spawn::run(&Program {
        path: Path::new(&hook.path),
        args: if hook.args.is_empty() { own_name } else { &hook.args },
        env,
        cwd: around.cwd,
        stdin: state,
        timeout: timeout.map(Duration::from_secs),
        last: around.last,
    });
    let outcome = outcome.context(|| field)?;
    let how = match outcome.end {
        End::Exited(0) => return Ok(()),
        End::Exited(code) => format!("exit code {code}"),
        End::Signaled(signal) => format!("killed by signal {signal}"),
        End::TimedOut => format!("still running after {} seconds, killed", timeout.unwrap_or_default()),
    };
    // Some hooks complain on stdout.
    let said = if outcome.stderr.is_empty() { &outcome.stdout } else { &outcome.stderr };
    let said = String::from_utf8_lossy(&said[said.len().saturating_sub(SAID)..]);
    let said = said.trim().replace('\n', "; ");
    let said = if said.is_empty() { "it said nothing".to_owned() } else { format!("it said: {said}") };
    Err(Error::new(format!("{field} {:?}: {how}; {said}", hook.path)))
}

/// The environment of this process. What is not UTF-8 stays out.
fn own_environment() -> Vec<String> {
    exec::own_environment().into_iter().filter_map(|entry| entry.into_string().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(script: &str, timeout: Option<i64>) -> spec::Hook {
        let args = ["hook", "-c", script].map(str::to_owned).to_vec();
        spec::Hook { path: "/bin/sh".into(), args, env: Some(vec!["PATH=/usr/bin:/bin".into()]), timeout }
    }

    #[test]
    fn all_run_in_order_with_the_state() {
        let file = std::env::temp_dir().join(format!("myrt-hooks-{}", std::process::id()));
        let script = |word: &str| hook(&format!("cat >> {0}; echo {word} >> {0}", file.display()), None);
        run(&[script("one"), script("two")], "poststart", b"{} ", Surroundings::default()).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(text, "{} one\n{} two\n");
    }

    #[test]
    fn a_failure_is_named_and_stops_the_rest() {
        for (script, words) in [
            ("echo no >&2; echo really >&2; exit 3", "exit code 3; it said: no; really"),
            ("echo loud; exit 1", "exit code 1; it said: loud"),
            ("kill -9 $$", "killed by signal 9; it said nothing"),
            ("sleep 20", "still running after 1 seconds, killed; it said nothing"),
        ] {
            let never = hook("touch /nowhere/x", None);
            let hooks = [hook("exit 0", None), hook(script, Some(1)), never];
            let error = run(&hooks, "createRuntime", b"{}", Surroundings::default()).unwrap_err().to_string();
            assert_eq!(error, format!("hooks.createRuntime[1] \"/bin/sh\": {words}"));
        }
    }

    #[test]
    fn a_missing_one_is_named() {
        let hook = spec::Hook { path: "/nowhere/hook".into(), ..spec::Hook::default() };
        let error = run(&[hook], "poststop", b"{}", Surroundings::default()).unwrap_err();
        assert_eq!(error.to_string(), "hooks.poststop[0]: exec \"/nowhere/hook\": no such file or directory");
    }
}
