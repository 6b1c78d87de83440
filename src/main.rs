//! The program: words → command → exit code. What fails is told once, here.

use std::process::ExitCode;

use myrt::cli::{self, Request};
use myrt::error::Result;
use myrt::{commands, log};

fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            log::failure(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn run() -> Result<u8> {
    let (global, words) = cli::global(std::env::args_os().skip(1))?;
    log::configure(global.log_settings());
    match cli::command(commands::ALL, &global, words)? {
        Request::Print(text) => commands::output::print(&text).map(|()| 0),
        Request::Run(command, parsed) => (command.run)(&global, parsed),
    }
}
