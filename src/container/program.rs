//! Finding the program of a container, and saying in people's words why it cannot run.
//!
//! The kernel answers ENOENT for a missing file, for the missing interpreter of a script and for the missing loader of a
//! dynamic program alike. Here the file is looked at, as the container's user and inside its root, to tell them apart.
//! What is read comes from the container: sizes are capped, nothing of it is trusted.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Where a PATH is missing from the environment, as execvp(3) has it.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Resolves `args[0]` as execvp(3) does: as it is when it holds a slash, otherwise along the PATH of `env`.
///
/// # Errors
/// `executable file not found in $PATH`, `no such file or directory` or `permission denied`, which callers match.
pub fn find(name: &OsStr, env: &[OsString]) -> Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return runnable(Path::new(name)).map(|()| name.into()).map_err(|errno| explain(Path::new(name), errno));
    }
    let path = env.iter().rev().find_map(|entry| entry.as_bytes().strip_prefix(b"PATH="));
    let path = OsStr::from_bytes(path.unwrap_or(DEFAULT_PATH.as_bytes()));
    let mut denied = None;
    for folder in path.as_bytes().split(|byte| *byte == b':') {
        let folder = if folder.is_empty() { b"." } else { folder };
        let candidate = Path::new(OsStr::from_bytes(folder)).join(name);
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::ACCESS) => denied = denied.or(Some(candidate)),
            Err(_) => {}
        }
    }
    match denied {
        Some(candidate) => Err(explain(&candidate, Errno::ACCESS)),
        None => Err(Error::new(format!("exec: {name:?}: executable file not found in $PATH"))
            .hint(format!("PATH inside is {path:?}: give the program's full path, or set PATH"))
            .of_the_program(127)),
    }
}

/// Whether this user may execute the file.
fn runnable(path: &Path) -> Result<(), Errno> {
    if std::fs::metadata(path).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?.is_dir() {
        return Err(Errno::ACCESS);
    }
    rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS)
}

/// Says why the exec of `path` gave `errno`.
pub fn explain(path: &Path, errno: Errno) -> Error {
    let call = format!("exec {path:?}");
    let (error, hint) = match errno {
        Errno::NOENT if path.symlink_metadata().is_err() => {
            (Error::call(call, errno), "no such file in the container's root: check process.args and root.path".into())
        }
        Errno::NOENT if !path.exists() => {
            (Error::call(call, errno), format!("{path:?} is a link whose target is missing in the container's root"))
        }
        Errno::NOENT => missing_interpreter(path, call),
        Errno::ACCESS if path.is_dir() => (Error::call(format!("{call} is a folder"), errno), "name a program".into()),
        Errno::ACCESS => (
            Error::call(call, errno),
            "the file's x bit (chmod +x), the rights of its folders, or a noexec mount forbids it to this user".into(),
        ),
        Errno::NOEXEC => (
            Error::call(call, errno).context("exec format error"),
            "it is neither a program for this machine's architecture nor a script that starts with #!".into(),
        ),
        _ => return Error::call(call, errno),
    };
    error.hint(hint).of_the_program(if errno == Errno::NOENT { 127 } else { 126 })
}

/// The file is there, so what the kernel misses is what the file asks for.
fn missing_interpreter(path: &Path, call: String) -> (Error, String) {
    let error = |what: String| Error::call(format!("{call}: {what}"), Errno::NOENT);
    match interpreter(path) {
        Some(Interpreter::Script(line)) if line.ends_with('\r') => (
            error(format!("the interpreter {line:?} ends with a carriage return")),
            "the script has CR LF line ends: convert it with `dos2unix` or `sed -i 's/\\r$//'`".into(),
        ),
        Some(Interpreter::Script(line)) => {
            (error(format!("its interpreter {line:?} is missing")), "add the interpreter to the container's root".into())
        }
        Some(Interpreter::Loader(loader)) => (
            error(format!("its loader {loader:?} is missing")),
            "the program is dynamically linked: add its loader and libraries to the container's root, or link it statically".into(),
        ),
        None => (Error::call(call, Errno::NOENT), "something that the program needs to start is missing".into()),
    }
}

/// What a program asks the kernel to run in its place.
#[derive(Debug, PartialEq, Eq)]
enum Interpreter {
    /// The path behind `#!`.
    Script(String),
    /// The path in PT_INTERP of an ELF file.
    Loader(String),
}

/// Reads what interprets a file, as far as its first bytes tell.
fn interpreter(path: &Path) -> Option<Interpreter> {
    let mut file = File::open(path).ok()?;
    let mut start = Vec::with_capacity(4096);
    file.by_ref().take(4096).read_to_end(&mut start).ok()?;
    if let Some(line) = start.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?;
        let line = String::from_utf8_lossy(line);
        let name = line.trim_start_matches([' ', '\t']).split([' ', '\t']).next()?;
        return Some(Interpreter::Script(name.to_owned()));
    }
    loader(&mut file, &start).map(Interpreter::Loader)
}

/// PT_INTERP of a little-endian 64-bit ELF file, elf(5).
fn loader(file: &mut File, start: &[u8]) -> Option<String> {
    const PT_INTERP: u64 = 3;
    let number = |bytes: &[u8], at: usize, size: usize| -> Option<u64> {
        let mut wide = [0; 8];
        wide[..size].copy_from_slice(bytes.get(at..at + size)?);
        Some(u64::from_le_bytes(wide))
    };
    if !start.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count) = (number(start, 0x20, 8)?, number(start, 0x36, 2)?, number(start, 0x38, 2)?);
    for index in 0..count.min(64) {
        let at = usize::try_from(table.checked_add(index * size)?).ok()?;
        if number(start, at, 4)? == PT_INTERP {
            let (offset, length) = (number(start, at + 8, 8)?, number(start, at + 32, 8)?);
            file.seek(SeekFrom::Start(offset)).ok()?;
            let mut name = Vec::new();
            file.take(length.min(4096)).read_to_end(&mut name).ok()?;
            return Some(String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = std::env::temp_dir().join(format!("myrt-program-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn each_missing_thing_is_named() {
        let script = file("script", b"#!/no/such/sh -e\necho\n", 0o755);
        assert!(explain(&script, Errno::NOENT).to_string().contains("interpreter \"/no/such/sh\" is missing"));
        let windows = file("crlf", b"#!/bin/sh\r\necho\r\n", 0o755);
        assert!(explain(&windows, Errno::NOENT).remedy().unwrap().contains("CR LF"));
        let plain = file("plain", b"x", 0o644);
        let error = find(plain.as_os_str(), &[]).unwrap_err();
        assert!(error.to_string().contains("permission denied"), "{error}");
        let error = find(OsStr::new("no-such-program"), &["PATH=/bin".into()]).unwrap_err();
        assert!(error.to_string().contains("executable file not found in $PATH"), "{error}");
        for path in [script, windows, plain] {
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn the_loader_of_a_dynamic_program_is_read() {
        assert!(matches!(interpreter(Path::new("/bin/sh")), Some(Interpreter::Loader(name)) if name.contains("ld-")));
    }
}
