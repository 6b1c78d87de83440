//! newuidmap(1) and newgidmap(1): the way to more than one id for an ordinary user.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::id_maps::Side;
use crate::error::{Context, Error, Result};
use crate::plan::IdMap;
use crate::sys::spawn::{End, LastStep, Program, run};

/// Looked into first: what PATH says is the caller's, and these programs run with root's rights.
const TRUSTED: [&str; 2] = ["/usr/bin", "/bin"];

/// Lets the helper write one map.
///
/// # Errors
/// Where there is none, or it refuses: with what it said and with the line that the administrator would have to add.
pub(super) fn write_map(pid: i32, side: &Side, map: &[IdMap]) -> Result<()> {
    let field = || side.field;
    let program = find(side.helper).ok_or_else(|| missing(side))?;
    let numbers = map.iter().flat_map(|line| [line.inside, line.outside, line.count]).map(|number| number.to_string());
    let args: Vec<String> = [side.helper.to_owned(), pid.to_string()].into_iter().chain(numbers).collect();
    let outcome = run(&Program {
        path: &program,
        args: &args,
        env: &[],
        cwd: None,
        stdin: b"",
        timeout: None,
        last: LastStep::default(),
    });
    let outcome = outcome.context(field)?;
    if outcome.end == End::Exited(0) {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&outcome.stderr);
    let said = said.trim().replace('\n', "; ");
    let error = Error::new(format!("{}: {}: {said}", side.field, args.join(" ")));
    Err(error.hint(remedy(&program, side, map)))
}

/// The first that exists, in the trusted folders, then in PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = TRUSTED.map(PathBuf::from).into_iter();
    let folders = folders.chain(std::env::split_paths(&path).filter(|folder| folder.is_absolute()));
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn missing(side: &Side) -> Error {
    Error::new(format!("{}: operation not permitted, and there is no {}", side.field, side.helper))
        .hint("install it (Debian and Fedora: package uidmap or shadow-utils), or map your own id alone, with size 1")
}

/// What most likely lacks: the helper's rights, or the grant.
fn remedy(program: &Path, side: &Side, map: &[IdMap]) -> String {
    if !has_rights(program) {
        let program = program.display();
        return format!("{program} has neither its setuid bit nor a file capability: chmod u+s {program}");
    }
    let own = rustix::process::geteuid().as_raw();
    let granted = map.iter().filter(|line| line.count > 1 || line.outside != own).max_by_key(|line| line.count);
    let Some(range) = granted else {
        return format!("`myrt check` shows what {} grants to you", side.grants);
    };
    format!(
        "add the line `{}:{}:{}` to {}, or map only what it grants",
        user_name(own),
        range.outside,
        range.count,
        side.grants
    )
}

/// Whether the helper has its setuid bit or a file capability.
pub fn has_rights(program: &Path) -> bool {
    let mode = std::fs::metadata(program).map_or(0, |found| found.permissions().mode());
    mode & 0o4000 != 0 || has_file_capability(program)
}

fn has_file_capability(program: &Path) -> bool {
    rustix::fs::getxattr(program, "security.capability", &mut [0u8; 64][..]).is_ok_and(|size| size > 0)
}

/// The ranges of a user in the text of /etc/subuid or /etc/subgid (subuid(5)): the first id and how many.
pub fn granted(text: &str, name: &str, uid: u32) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let (first, count) = (fields.next()?.parse().ok()?, fields.next()?.trim().parse().ok()?);
        (owner == name || owner.parse() == Ok(uid)).then_some((first, count))
    };
    text.lines().filter_map(range).collect()
}

/// The name of a user of the host, or its number where it has none.
pub fn user_name(uid: u32) -> String {
    let text = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    name.unwrap_or_else(|| uid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_users() {
        assert_eq!(user_name(0), "root");
        assert_eq!(user_name(4_000_000_001), "4000000001");
    }
}
