//! Helpers of the tests. [`Bundle`] is where to begin.

pub mod assets;
pub mod bundle;
pub mod command;
pub mod config;
pub mod difference;
pub mod driver;
pub mod leftovers;
#[allow(dead_code, reason = "for images, in the suites of their own and of engines")]
pub mod listing;
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
    runtime_is("myrt")
}

/// Whether the runtime under test is this one, by the name of its file.
pub fn runtime_is(name: &str) -> bool {
    std::path::Path::new(&runtime()).file_name().is_some_and(|file| file == name)
}

/// Ends a test early that is about the cgroupfs driver by its nature, where the suite runs with that of systemd. The reason
/// is an item of `differences.rs`.
#[macro_export]
macro_rules! only_for_cgroupfs {
    ($difference:ident) => {
        if $crate::util::difference::left_out(&$crate::differences::$difference) {
            return;
        }
    };
}

/// Ends a test early where another runtime is under test and is known to differ. The reason is an item of
/// `differences.rs`, so that all of them stand in one place.
#[macro_export]
macro_rules! only_for_myrt {
    ($difference:ident) => {
        if $crate::util::difference::left_out(&$crate::differences::$difference) {
            return;
        }
    };
}

/// Declares each reason as a constant that `only_for_myrt!` or `only_for_cgroupfs!` names; one that no test names any more is
/// a warning. The word before it is of [`difference::About`]; without one every other runtime is meant.
#[macro_export]
macro_rules! differences {
    (@about) => { $crate::util::difference::About::Both };
    (@about $about:ident) => { $crate::util::difference::About::$about };
    ($($name:ident: $($about:ident)? $why:literal,)*) => {
        $(pub const $name: $crate::util::difference::Difference = $crate::util::difference::Difference {
            about: $crate::differences!(@about $($about)?),
            why: $why,
        };)*

        #[test]
        fn are_listed() {
            let mut all = [$((stringify!($name), $name)),*];
            all.sort_by_key(|(_, difference)| difference.about);
            for (name, difference) in all {
                assert!(difference.why.len() > 20, "{name} has no reason");
                println!("{:8} {name}: {}", format!("{:?}", difference.about), difference.why);
            }
        }
    };
}
