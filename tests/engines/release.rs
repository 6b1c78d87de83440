//! The program as it is installed: with optimisation it begins ahead of libc (`sys/entry.rs`), which the other suites, whose
//! programs are built without, do not see.

use std::fs;
use std::path::{Path, PathBuf};

use crate::util::{Bundle, TestCommand, runtime};

/// Copies of all its programs, in a folder of their own that goes when dropped.
struct Programs(PathBuf);

impl Programs {
    fn copied(name: &str, names: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("myrt-release-{}-{name}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        for name in names {
            fs::copy(Path::new(&runtime()).with_file_name(name), folder.join(name)).unwrap();
        }
        Self(folder)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn sandbox(&self, words: &[&str]) -> TestCommand {
        let store = self.path("store");
        let (verb, rest) = words.split_first().unwrap();
        TestCommand::new([self.path("myrt").as_str(), "sandbox", verb, "--store", &store].iter().chain(rest))
    }
}

impl Drop for Programs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const CLOSED: [&str; 4] = ["/bin/sh", "-c", "exec \"$@\" <&- 2>&-", "sh"];
/// Numbers of the device, of /dev/null 1:3, since a box's stream has a mount and no path; then all that is open.
const STREAMS: &str = "for fd in 0 2; do stat -Lc %t:%T /proc/$$/fd/$fd; done; ls /proc/$$/fd; true";

#[test]
fn a_closed_stream_does_not_become_the_programs_own_file() {
    let bundle = Bundle::busybox("release_closed");
    bundle.sh(STREAMS);
    bundle.run_command().by(CLOSED).run().ok().stdout("1:3\n1:3\n0\n1\n2");
    let programs = Programs::copied("closed", &["myrt", "myrt-sandbox"]);
    let run = programs.sandbox(&["run", "sh", "-c", STREAMS]);
    run.by(CLOSED).run().ok().stdout("1:3\n1:3\n0\n1\n2");
}

#[test]
fn the_programs_beside_it_are_found_and_missed() {
    let programs = Programs::copied("beside", &["myrt", "myrt-sandbox", "myrt-image"]);
    let myrt = programs.path("myrt");
    programs.sandbox(&["run", "sh", "-c", "exit 7"]).run().code(7);
    programs.sandbox(&["list", "-q"]).run().ok().stdout("");
    for word in ["sandbox", "image"] {
        TestCommand::new([&myrt, word, "--help"]).run().ok().out_has(&format!("Usage: myrt {word}"));
        // Not the first word: as good, and found by the other way.
        TestCommand::new([&myrt, "--debug", word, "--help"]).run().ok().out_has(&format!("Usage: myrt {word}"));
        TestCommand::new([&myrt, word]).run().fails().err_has(&format!("{word}: COMMAND is missing"));
        TestCommand::new([&myrt, word, "--bogus"]).run().fails().err_has("flag provided but not defined: --bogus");
        // A container may be called so.
        TestCommand::new([&myrt, "--root", &programs.path("root"), "state", word])
            .run()
            .fails()
            .err_has("does not exist");
    }
    // By a link, from another folder, and after an upgrade that has removed the file that runs.
    std::os::unix::fs::symlink(&myrt, programs.path("linked")).unwrap();
    TestCommand::new([programs.path("linked").as_str(), "sandbox", "--help"]).run().ok().out_has("Usage: myrt sandbox");
    fs::remove_file(programs.path("myrt-sandbox")).unwrap();
    TestCommand::new([&myrt, "sandbox", "list"]).run().fails().err_has("there is no myrt-sandbox beside this program");
}
