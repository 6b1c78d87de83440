//! A disk that is full: the store's during a run and a commit, the host's during a commit.

use crate::place::Place;
use crate::util::command::Output;
use crate::util::{TestCommand, runtime};

/// Runs a script in which `sandbox VERB WORDS…` keeps its boxes on a tmpfs of 4 MiB at `small`.
fn with_a_small_store(place: &Place, script: &str) -> Output {
    let functions = format!(
        "exec </dev/null
         mkdir small; mount -t tmpfs -o size=4M,nr_inodes=2000,mode=700 t small
         sandbox() {{ verb=$1; shift; {} sandbox \"$verb\" --store \"$PWD/small\" \"$@\"; }}
         fill() {{ dd if=/dev/zero of=small/filler bs=4k 2>/dev/null || true; }}",
        runtime()
    );
    TestCommand::new(["unshare", "-m", "sh", "-ec", &format!("{functions}\n{script}")]).cwd(place.host()).run()
}

#[test]
fn a_program_is_told_and_the_box_goes_on() {
    let place = Place::new();
    let script = "
        sandbox run --name b sh -c 'echo kept >kept; head -c 9M /dev/zero >large; rm large; echo room >room; exit 5' || echo $?
        sandbox run --name b cat kept room
        sandbox diff b
        sandbox discard b; ls -A small";
    let out = with_a_small_store(&place, script);
    let host = place.host().display().to_string();
    out.ok()
        .stdout(&format!("5\nkept\nroom\nA {host}/kept  5 B\nA {host}/room  5 B\n2 added"))
        .err_has("No space left on device");
}

#[test]
fn the_programs_exit_code_is_kept_when_nothing_can_be_noted() {
    let place = Place::new();
    // Not even a name more: all inodes are used.
    let script = "
        sandbox run --name b sh -c 'i=0; while mkdir d$i 2>/dev/null; do i=$((i+1)); done; exit 6' || echo $?
        sandbox discard b; ls -A small";
    with_a_small_store(&place, script).ok().stdout("6");
}

#[test]
fn a_commit_whose_backups_do_not_fit_changes_nothing() {
    let place = Place::new();
    let script = "
        mkdir host; head -c 3M /dev/urandom >host/large; echo small >host/small; sha256sum host/* >sums
        sandbox run --name b sh -c 'rm host/*; echo new >host/new'
        ! sandbox commit b
        sha256sum -c sums; ls host
        fill; ! sandbox commit b; sha256sum -c sums; ls host
        rm small/filler; sandbox diff b
        mount -o remount,size=16M small; sandbox commit b; ls host; sandbox undo b; sha256sum -c sums; ls host; rm -r host";
    let out = with_a_small_store(&place, &script.replace("3M", "5M"));
    let host = place.host().display().to_string();
    let unchanged = "host/large: OK\nhost/small: OK\nlarge\nsmall";
    let diff = format!("D {host}/host/large\nA {host}/host/new  4 B\nD {host}/host/small\n1 added, 2 deleted");
    out.ok()
        .stdout(&format!("{unchanged}\n{unchanged}\n{diff}\n3 taken over\nnew\n3 taken back\n{unchanged}"))
        .err_has("the commit was taken back")
        .err_has("no space left on device");
}

#[test]
fn a_box_is_told_of_though_its_report_does_not_fit() {
    let place = Place::new();
    let script = "
        mkdir tiny; mount -t tmpfs -o size=4k t tiny; head -c 4k /dev/zero >tiny/filler
        sandbox run --report tiny/report sh -c 'echo x >made' || echo $?
        sandbox list -q | grep -c box-";
    let out = with_a_small_store(&place, script);
    out.ok().stdout("125\n1").err_has("--report").err_has("kept in the box box-");
}

#[test]
fn a_run_for_which_there_is_no_room_leaves_no_box() {
    let place = Place::new();
    let script = "
        fill; sandbox run --name b true || echo $?
        ls -A small";
    let out = with_a_small_store(&place, script);
    out.ok().stdout("125\nfiller").err_has("no space left on device").err_has("or --store");
}

#[test]
fn standard_output_that_is_full_has_nothing_to_do_with_the_store() {
    let place = Place::new();
    place.script("echo x >x").run().ok();
    for (command, words) in [("list", &[][..]), ("diff", &["b"]), ("export", &["b"])] {
        let full = place.sandbox(command, words).by(["sh", "-c", "exec \"$@\" >/dev/full", "sh"]).run();
        full.fails().err_has("no space left on device").err_has("standard output");
        assert!(!full.err().contains("another --"), "{full}");
    }
}
