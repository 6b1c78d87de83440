//! The program that `myrt sandbox` becomes: words → command → exit code. What fails is told once, here.

use std::process::ExitCode;

use myrt::{commands, log};

fn main() -> ExitCode {
    match commands::sandbox::main(std::env::args_os().collect()) {
        Ok(code) => code.into(),
        Err(error) => {
            log::failure(&error);
            error.exit_code().into()
        }
    }
}
