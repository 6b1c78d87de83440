//! Helpers of the tests. [`Bundle`] is where to begin.

pub mod assets;
pub mod bundle;
pub mod command;
pub mod config;
pub mod leftovers;
pub mod tty;
pub mod user;
pub mod wait;

pub use bundle::Bundle;
pub use command::TestCommand;

pub use serde_json::{Value, json};
pub use wait::until;

/// The runtime that is tested: myrt, or what `MYRT_UNDER_TEST` names.
pub fn runtime() -> String {
    std::env::var("MYRT_UNDER_TEST").unwrap_or_else(|_| env!("CARGO_BIN_EXE_myrt").to_owned())
}

/// Whether myrt itself is tested: any file of that name, such as the release or a copy that an ordinary user can reach.
pub fn is_myrt() -> bool {
    std::path::Path::new(&runtime()).file_name().is_some_and(|name| name == "myrt")
}

/// Ends a test early where another runtime is under test and is known to differ. The reason is an item of
/// `differences.rs`, so that all of them stand in one place. `MYRT_RUN_DIFFERENCES=1` runs the test all the same.
#[macro_export]
macro_rules! only_for_myrt {
    ($difference:ident) => {
        if !$crate::util::is_myrt() && std::env::var_os("MYRT_RUN_DIFFERENCES").is_none() {
            println!("not run against another runtime: {}", $crate::differences::$difference);
            return;
        }
    };
}

/// Declares each reason as a constant that `only_for_myrt!` names; one that no test names any more is a warning.
#[macro_export]
macro_rules! differences {
    ($($name:ident: $why:literal,)*) => {
        $(pub const $name: &str = $why;)*

        #[test]
        fn are_listed() {
            println!("differences of runc 1.1.5, each with its reason:");
            for (name, why) in [$((stringify!($name), $why)),*] {
                assert!(why.len() > 20, "{name} has no reason");
                println!("  {name}: {why}");
            }
        }
    };
}
