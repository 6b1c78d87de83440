//! Many files and deep trees. On a tmpfs, since it is not the disk that is tested.

use crate::place::Place;
use crate::util::command::{Output, Running};
use crate::util::{TestCommand, runtime};

/// A host and a store on a tmpfs, in a mount namespace that a sleeping process holds.
struct Tmpfs {
    place: Place,
    holder: Running,
}

impl Tmpfs {
    fn new() -> Self {
        let place = Place::new();
        let script = "mount -t tmpfs -o mode=755 t .; cd \"$PWD\"; mkdir host; echo ready; exec sleep 1000";
        let mut holder = TestCommand::new(["unshare", "-m", "sh", "-ec", script]).cwd(place.host()).spawn();
        holder.until_stdout("ready");
        Self { place, holder }
    }

    fn by(&self, command: TestCommand) -> Output {
        let pid = self.holder.pid().as_raw_nonzero().to_string();
        let folder = format!("--wdns={}", self.place.path("host"));
        let output = command.by(["nsenter", "-t", &pid, "-m", &folder]).run();
        output.ok();
        output
    }

    fn shell(&self, script: &str) -> Output {
        self.by(TestCommand::shell(script, [""]))
    }

    fn sandbox(&self, command: &str, words: &[&str]) -> Output {
        self.by(TestCommand::new([&runtime(), "sandbox", command, "--store", &self.place.path("store")]).args(words))
    }
}

/// Makes folders with files, so many of each, by Python.
fn files(folders: u32, each: u32) -> String {
    format!(
        "
import os
for folder in range({folders}):
    os.mkdir(f'd{{folder}}')
    for file in range({each}):
        os.close(os.open(f'd{{folder}}/{{file}}', os.O_CREAT | os.O_WRONLY, 0o644))
"
    )
}

const COUNT: &str = "find . -type f | wc -l";

#[test]
fn a_hundred_thousand_files_come_over_and_go_back() {
    let disk = Tmpfs::new();
    disk.sandbox("run", &["--name", "b", "/usr/bin/python3", "-c", &files(100, 1000)]);
    disk.shell(COUNT).stdout("0");
    disk.sandbox("diff", &["b"]).out_has("\n100100 added\n");
    disk.sandbox("commit", &["b"]).stdout("100100 taken over");
    disk.shell(COUNT).stdout("100000");
    disk.sandbox("diff", &["b"]).stdout("nothing changed");
    disk.sandbox("undo", &["b"]).stdout("100100 taken back");
    disk.shell(COUNT).stdout("0");
    disk.sandbox("discard", &["b"]);
    disk.shell("ls -A ../store").stdout("");
}

#[test]
fn a_large_tree_of_the_host_is_removed_and_comes_back() {
    let disk = Tmpfs::new();
    disk.by(TestCommand::new(["/usr/bin/python3", "-c", &files(10, 1000)]));
    disk.sandbox("run", &["--name", "b", "sh", "-c", "rm -r d*"]);
    disk.sandbox("diff", &["b"]).out_has("\n10 deleted\n");
    disk.sandbox("commit", &["b"]).stdout("10 taken over");
    disk.shell(COUNT).stdout("0");
    disk.sandbox("undo", &["b"]).stdout("10 taken back");
    disk.shell(COUNT).stdout("10000");
}

/// Makes a tree that is deeper than the longest path that the kernel takes, and looks at one.
const MAKE_DEEP: &str = "
import os
for i in range(300):
    os.mkdir('deep-' * 4); open('file', 'w').close(); os.chdir('deep-' * 4)
";
const LOOK_DEEP: &str = "
import os
for i in range(300):
    assert os.path.exists('file'); os.chdir('deep-' * 4)
";

#[test]
fn a_tree_that_is_deeper_than_any_path_goes_is_removed_and_comes_back() {
    let disk = Tmpfs::new();
    let python = |program: &str| disk.by(TestCommand::new(["/usr/bin/python3", "-c", program]));
    python(MAKE_DEEP);
    disk.sandbox("run", &["--name", "b", "sh", "-c", "rm -r deep*"]);
    disk.sandbox("commit", &["b"]).stdout("1 taken over");
    disk.shell("ls").stdout("file");
    disk.sandbox("undo", &["b"]).stdout("1 taken back");
    python(LOOK_DEEP);
    disk.shell("rm -r *");
    disk.sandbox("run", &["--name", "c", "/usr/bin/python3", "-c", MAKE_DEEP]);
    disk.sandbox("commit", &["c"]).stdout("600 taken over");
    python(LOOK_DEEP);
    disk.sandbox("undo", &["c"]).stdout("600 taken back");
    disk.shell("ls").stdout("");
}

#[test]
fn how_deep_a_program_nests_its_folders_costs_the_runtime_nothing() {
    let place = Place::new();
    // Their paths alone are 60 MB. The program has the limit as well.
    let program = "import os\nfor i in range(700):\n    os.mkdir('d' * 250); os.chdir('d' * 250)";
    let run = place.python(program).by(["sh", "-c", "ulimit -v 131072; exec \"$@\"", "sh"]).run();
    run.ok();
    assert!(!run.err().contains("could not be noted"), "{run}");
    place.sandbox("discard", ["b"]).run().ok();
}
