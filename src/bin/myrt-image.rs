//! The program that `myrt image` becomes: words → command → exit code. What fails is told once, here.

use std::process::ExitCode;

use myrt::{commands, log};

fn main() -> ExitCode {
    match commands::image::run(std::env::args_os().collect()) {
        Ok(code) => code.into(),
        Err(error) => {
            log::failure(&error);
            error.exit_code().into()
        }
    }
}
