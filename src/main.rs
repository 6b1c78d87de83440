//! The program: words → command → exit code. What fails is told once, here.
//!
//! It begins without std's own start-up, whose dozen system calls no container needs; see `sys::entry` for what comes
//! even before this.
#![no_main]

#[path = "sys/no_lookups.rs"]
mod no_lookups;

use std::ffi::{OsString, c_char, c_int};

use myrt::cli::{self, Request};
use myrt::error::Result;
use myrt::sys::entry;
use myrt::{commands, log, trace};

/// Called by libc.
#[allow(unsafe_code, reason = "C's main has a name and arguments that only unsafe code can have and read")]
#[unsafe(no_mangle)]
extern "C" fn main(count: c_int, words: *const *const c_char) -> c_int {
    entry::open_missing_streams();
    // SAFETY: libc gives the count and the array of the kernel.
    let words = unsafe { entry::words(count, words) };
    commands::exit_code(run(words)).into()
}

fn run(words: Vec<OsString>) -> Result<u8> {
    let (global, words) = cli::global(words.into_iter().skip(1))?;
    log::configure(global.log_settings())?;
    log::debug(|| format!("{} asked for {words:?}", cli::version().replace('\n', " ")));
    match cli::command(commands::ALL, &global, words)? {
        Request::Print(text) => commands::output::print(&text).map(|()| 0),
        Request::Run(command, parsed) => {
            global.trace_file().map(trace::begin).transpose()?;
            (command.run)(&global, parsed)
        }
    }
}
