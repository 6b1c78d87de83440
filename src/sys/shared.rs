//! Memory that two processes both see: MAP_SHARED, anonymous across a fork or by a descriptor, gone with the last of them.

use std::os::fd::{AsFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};

/// A shared array of `T`, zeroed when it was made.
#[derive(Debug)]
pub struct Shared<T: 'static> {
    start: NonNull<T>,
    count: usize,
}

/// What may lie in shared memory.
///
/// # Safety
/// Any bytes are a valid value, and every change goes through atomics.
pub unsafe trait Atomics: Sync {}

// SAFETY: every bit pattern is an integer.
unsafe impl Atomics for std::sync::atomic::AtomicU32 {}
// SAFETY: likewise.
unsafe impl Atomics for std::sync::atomic::AtomicU64 {}

// SAFETY: the mapping belongs to no thread, and all access to it is through atomics.
unsafe impl<T: Atomics> Send for Shared<T> {}
// SAFETY: likewise.
unsafe impl<T: Atomics> Sync for Shared<T> {}

impl<T: Atomics> Shared<T> {
    /// Maps room for `count` values.
    ///
    /// # Errors
    /// The errno of mmap(2), bare.
    pub fn new(count: usize) -> Result<Self, Errno> {
        let length = count.checked_mul(size_of::<T>()).filter(|length| *length > 0).ok_or(Errno::INVAL)?;
        // SAFETY: a new anonymous mapping aliases nothing.
        let start = unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap_anonymous(std::ptr::null_mut(), length, protection, MapFlags::SHARED)?
        };
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, count })
    }

    /// Maps room for `count` values in a new file of memory, whose descriptor another process can be given.
    ///
    /// # Errors
    /// The errno of the failed call, bare.
    pub fn with_file(name: &str, count: usize) -> Result<(Self, OwnedFd), Errno> {
        let file = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
        rustix::fs::ftruncate(&file, (count * size_of::<T>()) as u64)?;
        // Whoever has the descriptor cannot make the mapping of the other side point at nothing.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::SEAL)?;
        Ok((Self::of_file(&file, count)?, file))
    }

    /// Maps what [`Shared::with_file`] of another process has made.
    ///
    /// # Errors
    /// The errno of mmap(2), bare; EINVAL where the file is too short or could be shortened.
    pub fn of_file(file: impl AsFd, count: usize) -> Result<Self, Errno> {
        let length = count.checked_mul(size_of::<T>()).filter(|length| *length > 0).ok_or(Errno::INVAL)?;
        let long_enough = rustix::fs::fstat(&file)?.st_size as u64 >= length as u64;
        if !long_enough || !rustix::fs::fcntl_get_seals(&file)?.contains(SealFlags::SHRINK) {
            return Err(Errno::INVAL);
        }
        // SAFETY: a new mapping aliases no memory of this process; the file is long enough and sealed to stay so.
        let start = unsafe {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            rustix::mm::mmap(std::ptr::null_mut(), length, protection, MapFlags::SHARED, file, 0)?
        };
        Ok(Self { start: NonNull::new(start.cast()).ok_or(Errno::NOMEM)?, count })
    }

    /// The values.
    pub fn get(&self) -> &[T] {
        // SAFETY: the mapping is page-aligned, `count` values long and lives as long as self; any bytes are valid by the
        // trait, and changes by other processes are seen as atomic ones.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours alone in this process, and no reference into it outlives self.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.count * size_of::<T>()) };
    }
}
