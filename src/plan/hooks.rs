//! `hooks`: what can be known about a hook before it runs.

use super::spec;
use crate::bail;
use crate::error::Result;

/// The kinds, in the order in which they run.
pub const KINDS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Checks all hooks of all kinds. Whether the program exists is seen when it runs: those of `startContainer` are files
/// of the container.
///
/// # Errors
/// Names the field: a path that is not absolute, a timeout that is not positive, an environment entry without `=`, a
/// zero byte.
pub(super) fn check(hooks: &spec::Hooks) -> Result<()> {
    let lists = [
        &hooks.prestart,
        &hooks.create_runtime,
        &hooks.create_container,
        &hooks.start_container,
        &hooks.poststart,
        &hooks.poststop,
    ];
    for (kind, list) in KINDS.into_iter().zip(lists) {
        for (index, hook) in list.iter().enumerate() {
            check_one(hook, &format!("hooks.{kind}[{index}]"))?;
        }
    }
    Ok(())
}

fn check_one(hook: &spec::Hook, field: &str) -> Result<()> {
    if !hook.path.starts_with('/') {
        bail!("{field}.path: {:?} is not an absolute path", hook.path);
    }
    if let Some(timeout) = hook.timeout.filter(|timeout| *timeout <= 0) {
        bail!("{field}.timeout: {timeout} is not a positive number of seconds");
    }
    let env = hook.env.as_deref().unwrap_or_default();
    let texts = [("path", std::slice::from_ref(&hook.path)), ("args", &hook.args), ("env", env)];
    for (name, list) in texts {
        if list.iter().any(|text| text.contains('\0')) {
            bail!("{field}.{name}: holds a zero byte");
        }
    }
    if let Some(entry) = env.iter().position(|entry| !entry.contains('=')) {
        bail!("{field}.env[{entry}]: {:?} is not of the form NAME=value", env[entry]);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            (r#"{"prestart": [{"path": "x"}]}"#, "hooks.prestart[0].path: \"x\" is not an absolute path"),
            (r#"{"poststop": [{"path": "/x"}, {}]}"#, "hooks.poststop[1].path"),
            (r#"{"createRuntime": [{"path": "/x", "timeout": 0}]}"#, "hooks.createRuntime[0].timeout: 0"),
            (r#"{"startContainer": [{"path": "/x", "timeout": -3}]}"#, "hooks.startContainer[0].timeout: -3"),
            (r#"{"createContainer": [{"path": "/x", "env": ["A=1", "B"]}]}"#, "hooks.createContainer[0].env[1]"),
            (r#"{"poststart": [{"path": "/x", "args": ["a\u0000"]}]}"#, "hooks.poststart[0].args: holds a zero byte"),
        ] {
            let error = check(&serde_json::from_str(json).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with(words), "{json} gave {error:?}");
        }
        check(&serde_json::from_str(r#"{"prestart": [{"path": "/x", "timeout": 1, "env": ["A="]}]}"#).unwrap())
            .unwrap();
    }
}
