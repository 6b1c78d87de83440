//! JSON that somebody wrote becomes the specification's structs; what does not fit is refused with file, line, column
//! and field.
//!
//! Owns reading and parsing of config.json, process.json and resource files. What the values mean, and whether they go
//! together, is checked by [`super::Plan::new`].

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustix::io::Errno;
use serde::de::DeserializeOwned;

use super::{json_path, spec};
use crate::bail;
use crate::error::{Context, Error, Result};

/// No sensible config.json is larger; a device or an endless pipe given by mistake ends here.
const SIZE_LIMIT: u64 = 16 << 20;

/// Reads and parses config.json: the file itself, not its bundle.
///
/// # Errors
/// As [`read`] and [`parse`].
pub fn load(path: &Path) -> Result<spec::Spec> {
    parse(&read(path)?, path)
}

/// Reads config.json; the bytes are what the state keeps.
///
/// # Errors
/// As [`read_file`]; a missing file comes with what makes one.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    read_file(path).map_err(|error| match error.errno() {
        Some(Errno::NOENT) => missing(error, path),
        _ => error,
    })
}

/// Parses config.json; `path` is for messages.
///
/// # Errors
/// Where it is not what the specification says, or its `ociVersion` is not one we know.
pub fn parse(bytes: &[u8], path: &Path) -> Result<spec::Spec> {
    let spec: spec::Spec = parse_json(bytes, &path.display().to_string())?;
    check_version(&spec.oci_version).context(|| path.display())?;
    Ok(spec)
}

/// Parses a process.json, as `exec --process` gets it; `file` is its name, for messages.
///
/// # Errors
/// Where it is not what the specification says under `process`.
pub fn parse_process(bytes: &[u8], file: &str) -> Result<spec::Process> {
    parse_json(bytes, file)
}

/// Parses a resources file, as `update --resources` gets it; `file` is its name, for messages.
///
/// # Errors
/// Where it is not what the specification says under `linux.resources`.
pub fn parse_resources(bytes: &[u8], file: &str) -> Result<spec::Resources> {
    parse_json(bytes, file)
}

/// Parses a seccomp profile, as `sandbox run --seccomp` gets it; `file` is its name, for messages.
///
/// # Errors
/// Where it is not what the specification says under `linux.seccomp`. The form of Docker's engine has conditions of its own:
/// to leave them out would allow what they forbid.
pub fn parse_seccomp(bytes: &[u8], file: &str) -> Result<spec::Seccomp> {
    let all: serde_json::Value = parse_json(bytes, file)?;
    let rules = all["syscalls"].as_array().into_iter().flatten();
    let keys = rules.chain([&all]).filter_map(serde_json::Value::as_object).flatten();
    let said = |value: &serde_json::Value| !value.is_null() && *value != serde_json::json!({});
    for (key, _) in keys.filter(|(_, value)| said(value)) {
        if ["archMap", "includes", "excludes"].contains(&key.as_str()) {
            return Err(Error::new(format!(
                "{file}: {key}: this is the form of Docker's engine, not that of config.json"
            ))
            .hint("give what linux.seccomp of a config.json holds, where such conditions are resolved already"));
        }
    }
    parse_json(bytes, file)
}

/// Reads a whole file or pipe of at most 16 MiB.
///
/// # Errors
/// Where it cannot be opened or read, or is larger.
pub fn read_file(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).context(|| format!("open {path:?}"))?;
    let size = file.metadata().context(|| format!("stat {path:?}"))?.len().min(SIZE_LIMIT);
    // One byte more than the size: the read that finds the end then needs no larger buffer.
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).context(|| format!("read {path:?}"))?;
    if bytes.len() as u64 > SIZE_LIMIT {
        bail!("{path:?} is larger than {} MiB", SIZE_LIMIT >> 20);
    }
    Ok(bytes)
}

/// Parses; what is wrong comes with file, line, column and field, in one line.
fn parse_json<T: DeserializeOwned>(bytes: &[u8], file: &str) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let what = text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        let field = json_path::at(bytes, line, column);
        let field = if field.is_empty() { field } else { field + ": " };
        Error::new(format!("{file}, line {line} column {column}: {field}{what}"))
    })
}

/// A missing file, with the command that makes one where the bundle itself exists.
fn missing(error: Error, path: &Path) -> Error {
    let bundle = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !bundle.is_dir() {
        return error.hint(format!("there is no bundle {bundle:?}: name the folder that holds config.json"));
    }
    error.hint(format!(
        "{bundle:?} is no bundle yet: make its config.json with `myrt spec --bundle {}`",
        bundle.display()
    ))
}

/// `ociVersion`: a semantic version whose major number is 1. A newer minor number only adds fields.
fn check_version(version: &str) -> Result<()> {
    if version.is_empty() {
        return Err(Error::new("ociVersion: missing").hint("write the version of the specification, such as \"1.3.0\""));
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<&str> = core.split('.').collect();
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if numbers.len() != 3 || !numbers.iter().all(is_number) {
        bail!("ociVersion: {version:?} is not a semantic version such as \"1.3.0\"");
    }
    if numbers[0] != "1" {
        bail!("ociVersion: {version:?} is not known: only versions 1.x of the specification are");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_line_and_field() {
        let text =
            "{\n \"ociVersion\": \"1.0.2\",\n \"mounts\": [{\"destination\": \"/a\"},\n  {\"options\": \"ro\"}]\n}";
        let error = parse_json::<spec::Spec>(text.as_bytes(), "config.json").unwrap_err().to_string();
        assert_eq!(
            error,
            "config.json, line 4 column 18: mounts[1].options: invalid type: string \"ro\", expected a sequence"
        );
    }

    #[test]
    fn broken_json_is_refused_with_its_place() {
        for (text, words) in [
            ("", "line 1 column 0: EOF while parsing"),
            ("{\"process\": {", "process: EOF while parsing"),
            ("{} x", "line 1 column 4: trailing characters"),
            ("[1]", "invalid type: integer `1`"),
            ("{\"process\": {\"user\": {\"uid\": -1}}}", "process.user.uid: invalid value: integer `-1`"),
            ("{\"process\": {\"rlimits\": [{\"soft\": 1e3}]}}", "process.rlimits[0].soft: "),
        ] {
            let error = parse_json::<spec::Spec>(text.as_bytes(), "f").unwrap_err().to_string();
            assert!(error.contains(words), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let text = r#"{"hooks": null, "mounts": null, "process": {"args": null}, "linux": {"seccomp": null,
            "resources": {"devices": null, "memory": {"limit": null}}}, "root": null, "unknown": [1, {}]}"#;
        let mut absent = spec::Spec { process: Some(spec::Process::default()), ..Default::default() };
        absent.linux.resources.memory = Some(spec::Memory::default());
        assert_eq!(parse_json::<spec::Spec>(text.as_bytes(), "f").unwrap(), absent);
    }

    #[test]
    fn conditions_of_another_form_are_refused() {
        let parse = |text: &str| parse_seccomp(text.as_bytes(), "f");
        let rule = r#"{"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": "#;
        for (text, key) in [
            (r#"{"defaultAction": "SCMP_ACT_ALLOW", "archMap": [1]}"#.to_owned(), "archMap"),
            (format!(r#"{{"syscalls": [{rule} {{"caps": ["CAP_SYS_ADMIN"]}}}}]}}"#), "includes"),
        ] {
            assert!(parse(&text).unwrap_err().to_string().contains(key), "{text}");
        }
        assert_eq!(parse(&format!(r#"{{"syscalls": [{rule} {{}}}}]}}"#)).unwrap().syscalls[0].names, ["read"]);
    }

    #[test]
    fn versions() {
        for good in ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.0+x", "1.0.0-rc5"] {
            check_version(good).unwrap();
        }
        for bad in ["", "1", "1.0", "2.0.0", "0.9.0", "1.x.0", "one", "1.0.0.0", "1..0"] {
            assert!(check_version(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_missing_file_says_what_to_do() {
        let error = load(Path::new("/nowhere/config.json")).unwrap_err();
        assert!(error.to_string().ends_with("no such file or directory"), "{error}");
        assert!(error.remedy().unwrap().contains("no bundle"));
        let error = load(Path::new("/proc/config.json")).unwrap_err();
        assert!(error.remedy().unwrap().contains("myrt spec --bundle /proc"));
    }

    #[test]
    fn an_endless_file_ends() {
        assert!(read_file(Path::new("/dev/zero")).unwrap_err().to_string().contains("larger than 16 MiB"));
    }
}
