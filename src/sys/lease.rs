//! Whether somebody else has a file open: a lease, fcntl(2), which rustix lacks.

use std::os::fd::{AsRawFd, OwnedFd};

use rustix::io::Errno;

use super::check;

/// Which signal tells the holder of a lease that somebody wants to open the file; libc does not name it.
const SET_SIGNAL: libc::c_int = 10;

/// Whether nobody else has a regular file open, or mapped; O_PATH does not count. The file is closed by that: until then
/// others wait who open it.
///
/// # Errors
/// The errno, bare: EINVAL where the filesystem has no leases.
pub fn is_alone(file: OwnedFd) -> Result<bool, Errno> {
    let number = file.as_raw_fd();
    let call = |command, argument: libc::c_int| {
        // SAFETY: no memory is passed; the descriptor is open for as long as `file` lives.
        check(unsafe { libc::fcntl(number, command, argument) }.into())
    };
    // SIGIO, which comes otherwise, would end us; this one is ignored by all who do not ask for it.
    call(SET_SIGNAL, libc::SIGURG)?;
    let lease = call(libc::F_SETLEASE, libc::F_WRLCK);
    drop(file);
    match lease {
        Err(Errno::AGAIN) => Ok(false),
        other => other.map(|_| true),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_second_descriptor_is_seen() {
        let path = std::env::temp_dir().join(format!("myrt-lease-{}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let open = || File::open(&path).unwrap();
        assert_eq!(is_alone(open().into()), Ok(true));
        for other in [open(), File::options().append(true).open(&path).unwrap()] {
            assert_eq!(is_alone(open().into()), Ok(false));
            drop(other);
        }
        std::fs::remove_file(path).unwrap();
    }
}
