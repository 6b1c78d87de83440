//! Docker Swarm: three dockerds on a network of their own, each with the runtime under test as its default. The script
//! that a person would call, `scripts/swarm.sh`, makes it; these tests call it as well and look at what comes of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::calls;
use crate::util::command::{Output, Running, TestCommand};
use crate::util::{leftovers, until};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/swarm.sh");
/// For one verb of the script, which has shorter deadlines of its own for each thing that it waits for.
const PATIENCE: Duration = Duration::from_secs(300);

struct Swarm {
    name: String,
    folder: PathBuf,
    /// Where the wrapper is.
    runtime: PathBuf,
}

impl Swarm {
    fn new(name: &str) -> Self {
        let name = format!("myrt-swarm-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        let wrapper = std::env::temp_dir().join(format!("{name}-runtime"));
        fs::create_dir(&wrapper).unwrap();
        Self { runtime: calls::wrapper(&wrapper, "swarm"), name, folder }
    }

    fn command(&self, args: &[&str]) -> TestCommand {
        let command = TestCommand::new([SCRIPT]).args(args).env("MYRT_SWARM", self.folder.display());
        command.env("MYRT", self.runtime.display()).env("MYRT_SWARM_OWNER", std::process::id())
    }

    #[track_caller]
    fn run(&self, args: &[&str]) -> Output {
        let mut running = self.command(args).spawn();
        let deadline = Instant::now() + PATIENCE;
        while !running.ended() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let output = running.wait();
        output.ok();
        output
    }

    /// The tasks of the web service that run: node and task.
    #[track_caller]
    fn tasks(&self) -> Vec<(String, String)> {
        let lines = self.run(&["status"]).lines();
        let nodes = lines.iter().filter_map(|line| line.split_once(": "));
        nodes.flat_map(|(node, tasks)| tasks.split(' ').map(move |task| (node.to_owned(), task.to_owned()))).collect()
    }

    fn tasks_on(&self, node: &str) -> usize {
        self.tasks().iter().filter(|(on, _)| on == node).count()
    }

    /// Requests and failed requests so far.
    #[track_caller]
    fn requests(&self) -> (u32, u32) {
        let output = self.run(&["requests"]).out();
        let numbers: Vec<_> = output.split(' ').filter_map(|word| word.parse().ok()).collect();
        (numbers[0], numbers[1])
    }

    /// The answers that the client got last.
    fn last_answers(&self, count: usize) -> Vec<String> {
        self.run(&["docker", "n1", "logs", "--tail", &count.to_string(), "client"]).lines()
    }

    #[track_caller]
    fn assert_gone(&self) {
        assert!(!self.folder.exists(), "{} is still there", self.folder.display());
        let cgroups = leftovers::cgroups(&self.name);
        assert!(cgroups.is_empty(), "cgroups left behind: {cgroups:?}");
        until("no process of the swarm is left", || processes_of(&self.folder).is_empty().then_some(()));
        assert_eq!(leftovers::mounts_below(&self.folder), Vec::<PathBuf>::new());
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in ["n1", "n2", "n3"] {
                let log = fs::read_to_string(self.folder.join(node).join("dockerd.log")).unwrap_or_default();
                let errors: Vec<_> = log.lines().filter(|line| line.contains("level=error")).rev().take(10).collect();
                println!("the last errors of {node}: {errors:#?}");
            }
        }
        let _ = self.command(&["down"]).spawn().wait();
        let _ = fs::remove_dir_all(self.runtime.parent().unwrap());
    }
}

/// Command lines that name a folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let lines = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    lines.filter(|line| line.contains(&format!("{}/", folder.display()))).collect()
}

#[test]
fn a_service_goes_on_while_it_is_scaled_updated_drained_and_loses_a_node() {
    let swarm = Swarm::new("story");
    swarm.run(&["up"]);
    assert_eq!(swarm.run(&["status"]).out().matches("Ready").count(), 3);
    assert_eq!(swarm.tasks().len(), 3);
    for node in ["n1", "n2", "n3"] {
        swarm.run(&["docker", node, "info", "--format", "{{.DefaultRuntime}}"]).stdout("myrt");
    }

    swarm.run(&["scale", "6"]);
    assert_eq!(swarm.tasks().len(), 6);

    swarm.run(&["update", "2"]);
    assert_eq!(swarm.tasks().len(), 6);
    until("all answers are of version 2", || {
        let answers = swarm.last_answers(10);
        answers.iter().all(|answer| answer.starts_with("ok version 2,")).then_some(())
    });

    swarm.run(&["drain", "n2"]);
    assert_eq!((swarm.tasks().len(), swarm.tasks_on("n2")), (6, 0));
    swarm.run(&["activate", "n2"]);

    // What was planned costs no request; on a machine that is too slow for a moment it may cost a few.
    let (asked, failed) = swarm.requests();
    println!("scaled, updated and drained: {asked} requests, {failed} failed");
    assert!(asked >= 10 && failed * 10 <= asked, "{failed} of {asked} requests failed");

    swarm.run(&["kill", "n3"]);
    assert_eq!((swarm.tasks().len(), swarm.tasks_on("n3")), (6, 0));
    assert!(swarm.run(&["status"]).lines().iter().any(|line| line.starts_with("n3") && line.contains("Down")));
    until("the client fails no more", || {
        let answers = swarm.last_answers(10);
        answers.iter().all(|answer| answer.starts_with("ok ")).then_some(())
    });
    let (asked, failed) = swarm.requests();
    println!("and with a node lost: {asked} requests, {failed} failed");

    swarm.run(&["start", "n3"]);
    assert_eq!(swarm.run(&["status"]).out().matches("Ready").count(), 3);
    let published = swarm.run(&["publish"]);
    assert_eq!(published.out().matches("version front").count(), 3, "{published}");

    // Tasks and their health checks went through the runtime under test.
    let log = std::env::var_os("MYRT_CALLS").map_or_else(|| swarm.runtime.parent().unwrap().into(), PathBuf::from);
    let calls = calls::read(&log);
    for verb in ["'create'", "'start'", "'exec'", "'kill'", "'delete'"] {
        assert!(calls.iter().any(|call| call.starts_with("swarm\t") && call.contains(verb)), "no {verb}");
    }
    swarm.run(&["down"]);
    swarm.assert_gone();
}

#[test]
fn an_interrupted_set_up_leaves_nothing() {
    let swarm = Swarm::new("interrupted");
    let mut up: Running = swarm.command(&["up"]).spawn();
    until("the second dockerd runs", || {
        assert!(!up.ended(), "{}", up.stderr());
        swarm.folder.join("n2/docker.sock").exists().then_some(())
    });
    up.signal(Signal::TERM);
    up.wait().code(130);
    swarm.assert_gone();
}
