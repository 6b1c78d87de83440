//! A run of which one process is killed, at moments spread over the whole of it: the host's files stay as they were, nothing
//! stays mounted or running, and the box is one that can be listed, run, compared and thrown away.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::place::Place;
use crate::util::command::Running;
use crate::util::{TestCommand, leftovers, until};

/// A process of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Runtime,
    /// The first one inside, a child of the runtime's.
    First,
    /// What runs inside, the next child of the runtime's.
    Program,
}

/// Changes all sorts of things and ends by itself.
const PROGRAM: &str = "echo more >>kept; rm gone; rm -r d; mkdir d; echo new >d/new; mv moved d/
    for i in 1 2 3 4 5 6; do mkdir -p n/$i; echo $i >n/$i/f; ln n/$i/f n/$i/g; done; cat n/*/g >all";

fn child_of(pid: Pid, place: usize) -> Option<Pid> {
    let number = pid.as_raw_nonzero();
    let children = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children")).ok()?;
    Pid::from_raw(children.split(' ').nth(place)?.parse().ok()?)
}

/// Waits for the process; `None` where the run is over before it has been seen.
fn find(run: &mut Running, victim: Victim) -> Option<Pid> {
    // A wrapper becomes what it wraps.
    let runtime = run.pid();
    until("the process is there", || {
        let pid = match victim {
            Victim::Runtime => Some(runtime),
            Victim::First => child_of(runtime, 0),
            Victim::Program => child_of(runtime, 1),
        };
        (pid.is_some() || run.ended()).then_some(pid)
    })
}

/// How long it takes by itself.
fn timed(place: &Place, command: &TestCommand) -> Duration {
    let begun = Instant::now();
    command.run().ok();
    let length = begun.elapsed();
    place.sandbox("discard", ["b"]).run().ok();
    length
}

/// Not a wait for something: the moment itself is what varies.
fn wait_out(moment: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        std::thread::sleep(Duration::from_micros(100));
    }
}

fn kill_at_moments(place: &Place, flags: &[&str], victim: Victim, steps: u32) {
    let number = format!("{}-{victim:?}-{}", std::process::id(), place.user.is_some());
    let marker = format!("MYRT_KILLED_RUN={number}");
    let script = "echo kept >kept; echo gone >gone; echo moved >moved; mkdir d; echo old >d/old";
    place.by_caller(TestCommand::shell(script, [""]).cwd(place.host())).run().ok();
    let before = place.picture();
    let words = [&["--name", "b"], flags, &["sh", "-ec", PROGRAM]].concat();
    let command = place.sandbox("run", words).env("MYRT_KILLED_RUN", &number);
    // The others of the three have begun when the runtime is halfway through.
    let share = if victim == Victim::Runtime { 1 } else { 2 };
    let length = (0..3).map(|_| timed(place, &command)).min().unwrap() / share;
    let mut killed = 0;
    for step in 0..steps {
        let at = format!("{victim:?} at {step} of {steps}");
        let mut run = command.spawn();
        let pid = find(&mut run, victim);
        wait_out(length * step / steps);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
        killed += u32::from(run.wait().exit_code() != 0);
        until(&format!("nothing runs any more ({at})"), || leftovers::processes(&marker).is_empty().then_some(()));
        assert_eq!(place.picture(), before, "{at}");
        assert_eq!(leftovers::mounts_below(place.top()), Vec::<std::path::PathBuf>::new(), "{at}");
        let listed = place.sandbox("list", ["-q"]).run().ok().out();
        if listed.is_empty() {
            continue;
        }
        assert_eq!(listed, "b\n", "{at}");
        place.sandbox("diff", ["b"]).run().ok();
        place.sandbox("run", ["--name", "b", "sh", "-c", "echo again >again; cat again"]).run().ok().stdout("again");
        place.sandbox("diff", ["b"]).run().ok().out_has("/again  6 B");
        place.sandbox("discard", ["b"]).run().ok();
        let left: Vec<_> = std::fs::read_dir(place.store()).unwrap().flatten().map(|entry| entry.path()).collect();
        assert_eq!(left, Vec::<std::path::PathBuf>::new(), "{at}");
        assert_eq!(place.picture(), before, "{at}, afterwards");
    }
    assert!(killed > steps / 4, "only {killed} of {steps} were killed");
}

#[test]
fn the_runtime_is_killed() {
    kill_at_moments(&Place::new(), &["--pids", "50"], Victim::Runtime, 30);
}

#[test]
fn the_first_process_is_killed() {
    kill_at_moments(&Place::new(), &[], Victim::First, 20);
}

#[test]
fn the_program_is_killed() {
    kill_at_moments(&Place::new(), &[], Victim::Program, 20);
}

#[test]
fn an_ordinary_users_runtime_is_killed() {
    if let Some(place) = Place::ordinary() {
        kill_at_moments(&place, &[], Victim::Runtime, 20);
    }
}

#[test]
fn an_ordinary_users_first_process_is_killed() {
    if let Some(place) = Place::ordinary() {
        kill_at_moments(&place, &[], Victim::First, 10);
    }
}
