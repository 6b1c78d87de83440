//! A known difference between runtimes, or between cgroup drivers, and the test that is left out because of it.

use super::{driver, is_myrt, runtime_is};

/// Of whom a reason speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// runc alone falls short of what the test asks.
    Runc,
    /// crun alone.
    Crun,
    /// Both do.
    Both,
    /// A decision of myrt's own: the others have good reasons for what they do.
    Own,
    /// Not another runtime: the cgroupfs driver by its nature.
    Cgroupfs,
}

/// One reason.
pub struct Difference {
    /// Of whom it speaks.
    pub about: About,
    /// One sentence.
    pub why: &'static str,
}

impl Difference {
    /// Whether the runtime under test is known to differ so.
    pub fn applies(&self) -> bool {
        match self.about {
            About::Runc => runtime_is("runc"),
            About::Crun => runtime_is("crun"),
            About::Both | About::Own => !is_myrt(),
            About::Cgroupfs => driver::is_systemd(),
        }
    }
}

/// Whether a test is not to be run; it then says so and why. Where `MYRT_TEST_LEFT_OUT` names a file, a line with reason and
/// test goes there as well, so that they can be counted. `MYRT_RUN_DIFFERENCES=1` runs everything.
pub fn left_out(difference: &Difference) -> bool {
    use std::io::Write as _;
    if !difference.applies() || std::env::var_os("MYRT_RUN_DIFFERENCES").is_some() {
        return false;
    }
    println!("not run here: {}", difference.why);
    if let Some(path) = std::env::var_os("MYRT_TEST_LEFT_OUT") {
        let mut list = std::fs::File::options().append(true).create(true).open(path).unwrap();
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        list.write_all(format!("{:?}\t{}\t{name}\n", difference.about, difference.why).as_bytes()).unwrap();
    }
    true
}
