//! The program that `myrt image` becomes: words → command → exit code. What fails is told once, here.

use std::process::ExitCode;

use myrt::commands;

fn main() -> ExitCode {
    commands::exit_code(commands::image::run(std::env::args_os().collect())).into()
}
