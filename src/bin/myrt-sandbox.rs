//! The program that `myrt sandbox` becomes: words → command → exit code. What fails is told once, here.
//!
//! Like `myrt`, it begins without std's own start-up, which costs each run a dozen system calls and would have the program
//! inside ignore SIGPIPE.
#![no_main]

#[path = "../sys/no_lookups.rs"]
mod no_lookups;

use std::ffi::{c_char, c_int};

use myrt::commands;
use myrt::sys::entry;

/// Called by libc.
#[allow(unsafe_code, reason = "C's main has a name and arguments that only unsafe code can have and read")]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    entry::open_missing_streams();
    // SAFETY: libc gives the count and the array of the kernel.
    let words = unsafe { entry::words(count, words) };
    commands::exit_code(commands::sandbox::main(words)).into()
}
