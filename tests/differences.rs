//! Where another runtime differs from what these tests ask, and why. One list, so that it can be read and doubted: a
//! test that only myrt passes is suspect until it is explained here. Debian 12's runc 1.1.5 is what was compared.

/// Declares each reason as a constant that `only_for_myrt!` names; one that no test names any more is a warning.
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

differences! {
    RACE_OF_CREATES: "runc 1.1 looks whether the state folder exists and makes it later, so that two creates can win",
}
