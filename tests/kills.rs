//! The runtime killed with SIGKILL at any moment: what is left can be listed and is wholly removed by delete --force.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::only_for_myrt;
use crate::util::{Bundle, leftovers};

/// Not a wait for something: the moment itself is what varies.
fn wait_out(moment: Duration) {
    let begun = Instant::now();
    while begun.elapsed() < moment {
        std::thread::sleep(Duration::from_micros(50).min(moment));
    }
}

/// Kills `args` at `steps` moments spread over the time it takes by itself, and looks each time.
fn kill_at_every_moment(bundle: &Bundle, args: &[&str], steps: u32) {
    let begun = Instant::now();
    let command = bundle.command(args.iter());
    let whole = command.spawn();
    crate::util::until("the container stands", || {
        let state = bundle.command(["state", &bundle.id]).run();
        ["created", "running"]
            .iter()
            .any(|status| state.out().contains(&format!("\"status\": \"{status}\"")))
            .then_some(())
    });
    let length = begun.elapsed();
    bundle.delete_force().ok();
    drop(whole);
    bundle.assert_clean();
    for step in 0..steps {
        let run = command.spawn();
        let moment = length * step / steps;
        wait_out(moment);
        run.signal(Signal::KILL);
        run.wait();
        let marks = !bundle.cgroups().is_empty() || !leftovers::mounts_below(&bundle.dir).is_empty();
        let listed = bundle.command(["list", "-q"]).run().ok().out().contains(&bundle.id);
        assert!(listed || !marks, "at {moment:?}: something is left that list does not show");
        bundle.delete_force().ok();
        let again = bundle.command(["list", "-q"]).run();
        again.ok().out_lacks(&bundle.id);
        bundle.assert_clean();
    }
    // And the id is free again.
    bundle.create().ok();
    bundle.delete_force().ok();
}

/// Deletes by force while `create` is at work, at thirty moments spread over the time it takes by itself.
#[test]
fn a_delete_by_force_may_come_while_it_is_being_created() {
    only_for_myrt!(KILLED_CREATE);
    let bundle = Bundle::busybox("delete_meanwhile");
    let dir = bundle.dir.to_str().unwrap().to_owned();
    bundle.sleeps();
    let command = bundle.command(["create", "-b", &dir, &bundle.id]);
    let begun = Instant::now();
    command.run().ok();
    let length = begun.elapsed();
    bundle.delete_force().ok();
    for step in 0..30 {
        let create = command.spawn();
        wait_out(length * step / 30);
        bundle.delete_force().ok();
        create.wait();
        // It may have come too early to find anything.
        bundle.delete_force().ok();
        bundle.command(["list", "-q"]).run().ok().out_lacks(&bundle.id);
        bundle.assert_clean();
    }
}

#[test]
fn a_create_killed_at_any_moment_can_be_deleted() {
    only_for_myrt!(KILLED_CREATE);
    let bundle = Bundle::busybox("kill_create");
    let dir = bundle.dir.to_str().unwrap().to_owned();
    bundle.sleeps();
    kill_at_every_moment(&bundle, &["create", "-b", &dir, &bundle.id], 40);
}

#[test]
fn a_run_killed_at_any_moment_can_be_deleted() {
    only_for_myrt!(KILLED_CREATE);
    let bundle = Bundle::busybox("kill_run");
    let dir = bundle.dir.to_str().unwrap().to_owned();
    bundle.sleeps();
    kill_at_every_moment(&bundle, &["run", "-b", &dir, &bundle.id], 40);
}

#[test]
fn a_create_on_v2_killed_at_any_moment_can_be_deleted() {
    only_for_myrt!(KILLED_CREATE);
    let bundle = Bundle::on_v2("kill_create_v2");
    let dir = bundle.dir.to_str().unwrap().to_owned();
    bundle.sleeps();
    kill_at_every_moment(&bundle, &["create", "-b", &dir, &bundle.id], 20);
}

#[test]
fn the_program_survives_a_runtime_in_the_foreground_that_is_killed() {
    let bundle = Bundle::busybox("kill_foreground");
    bundle.sleeps();
    let run = bundle.run_command().spawn();
    crate::util::until("it runs", || bundle.runs().then_some(()));
    run.signal(Signal::KILL);
    run.wait();
    bundle.command(["list", "-q"]).run().ok().out_has(&bundle.id);
    bundle.delete_force().ok();
    bundle.assert_clean();
}

#[test]
fn a_delete_killed_at_any_moment_can_be_repeated() {
    let bundle = Bundle::busybox("kill_delete");
    bundle.sleeps().run_detached();
    let begun = Instant::now();
    bundle.delete_force().ok();
    let length = begun.elapsed();
    for step in 0..15 {
        bundle.run_detached();
        let delete = bundle.command(["delete", "--force", &bundle.id]).spawn();
        wait_out(length * step / 15);
        delete.signal(Signal::KILL);
        delete.wait();
        bundle.delete_force().ok();
        bundle.assert_clean();
    }
}

#[test]
fn an_exec_killed_does_not_disturb_the_container() {
    let bundle = Bundle::busybox("kill_exec");
    bundle.sleeps().run_detached();
    for step in 0..10 {
        let exec = bundle.exec_command(["sleep", "1000"]).spawn();
        wait_out(Duration::from_millis(step * 2));
        exec.signal(Signal::KILL);
        exec.wait();
        assert_eq!(bundle.status(), "running");
        bundle.exec(["true"]).ok();
    }
    bundle.delete_force().ok();
    bundle.assert_clean();
}
