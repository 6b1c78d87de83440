//! Having a file's content written soon: sync_file_range(2), which rustix lacks.

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;

use super::check;

/// Begins to write out what is in memory of a file alone, and waits for nothing.
///
/// # Errors
/// The errno, bare.
pub fn begin(file: impl AsFd) -> Result<(), Errno> {
    // SAFETY: no memory is passed; from 0 on for 0 bytes means all of the file.
    let result = unsafe { libc::sync_file_range(file.as_fd().as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
    check(result.into()).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_taken_and_a_pipe_refused() {
        begin(std::fs::File::open("/proc/self/exe").unwrap()).unwrap();
        assert_eq!(begin(rustix::pipe::pipe().unwrap().0), Err(Errno::SPIPE));
    }
}
