//! `--profile`: flags in a file.

use crate::limits::errno_of;
use crate::place::Place;
use crate::util::TestCommand;
use crate::util::command::Output;

fn write(place: &Place, name: &str, text: &str) -> String {
    let path = place.host().join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

fn run(place: &Place, flags: &[&str], script: &str) -> TestCommand {
    place.sandbox("run", [&["--name", "b"], flags, &["sh", "-c", script]].concat()).env("HOME", place.path("home"))
}

fn has(path: &str) -> String {
    format!("test -s {path} && echo {path}; ")
}

#[test]
fn a_profile_says_what_flags_say_and_flags_go_over_it() {
    let place = Place::new();
    TestCommand::shell("mkdir -p home/.ssh through; for f in one two home/.ssh/key; do echo secret >$f; done", [""])
        .cwd(place.host())
        .run()
        .ok();
    let file = write(
        &place,
        "p.toml",
        "hide = ['one', '~/.ssh', '~/.none', '/nowhere']\nwrite-through = ['through']\npids = 30\nseccomp = 'unconfined'\nno-new-privileges = true\n",
    );
    let script = has("one")
        + &has("two")
        + &has("home/.ssh/key")
        + "echo x >through/x; grep NoNewPrivs /proc/self/status; "
        // io_uring_setup: the default profile refuses it.
        + &format!("python3 -c \"{}\" | grep -q EPERM && echo confined || echo free", errno_of("libc.syscall(425, 0, 0)"));
    let profile = ["--profile", &file];
    run(&place, &profile, &script).run().ok().stdout("two\nNoNewPrivs:\t1\nfree");
    assert!(place.host().join("through/x").exists());
    let more = [&profile[..], &["--hide", "two", "--seccomp", "default", "--no-new-privileges=false"]].concat();
    run(&place, &more, &script).run().ok().stdout("NoNewPrivs:\t0\nconfined");
    // Wherever it stands.
    let before = [&["--hide", "two"], &profile[..]].concat();
    run(&place, &before, &(has("one") + &has("two"))).run().stdout("");
    // Of several, the later one wins, and lists grow.
    let other = write(&place, "other.toml", "hide = ['two']\npids = 1\n");
    let both = [&profile[..], &["--profile", &other]].concat();
    run(&place, &both, &(has("one") + &has("two") + "(true)")).run().stdout("").err_has("fork");
    run(&place, &[&both[..], &["--pids", "9"]].concat(), "(true)").run().ok();
}

#[test]
fn a_name_is_looked_up_in_the_callers_folder() {
    let place = Place::new();
    write(&place, "secret", "secret");
    write(&place, "home/.config/myrt/sandbox/mine.toml", "hide = ['secret']");
    write(&place, "other/myrt/sandbox/mine.toml", "");
    run(&place, &["--profile", "mine"], &has("secret")).run().stdout("");
    let elsewhere = run(&place, &["--profile", "mine"], &has("secret")).env("XDG_CONFIG_HOME", place.path("other"));
    elsewhere.run().ok().stdout("secret");
    let missing = run(&place, &["--profile", "nobodys"], "echo it ran").run();
    missing.code(125).err_has("there is no such profile").err_has("home/.config/myrt/sandbox/nobodys.toml").stdout("");
    assert!(missing.err().contains("/etc/myrt/sandbox/nobodys.toml"));
    run(&place, &["--profile", "./nowhere.toml"], "echo it ran").run().code(125).err_has("./nowhere.toml").stdout("");
}

#[test]
fn what_a_profile_should_not_say_is_refused_with_file_line_and_key() {
    let place = Place::new();
    for (text, words) in [
        ("hide = []\nhiden = []\n", "line 2: hiden: there is no such key"),
        ("# x\nstore = '/x'\n", "line 2: store: this belongs on the command line"),
        ("memory = 'lots'\n", "line 1: memory: bytes are expected"),
        ("pids = [1]\n", "line 1: pids: a string or a number"),
        ("hide = [\n  'a',\n", "line "),
        ("tmpfs = ['/nowhere/at/all']", "--tmpfs \"/nowhere/at/all\""),
    ] {
        let file = write(&place, "p.toml", text);
        let refused: Output = run(&place, &["--profile", &file], "echo it ran").run();
        refused.code(125).err_has(words).stdout("");
        assert!(refused.err().contains("p.toml") || text.starts_with("tmpfs"), "{}", refused.err());
    }
    assert_eq!(place.sandbox("list", ["-q"]).run().ok().out(), "");
}

#[test]
fn the_examples_run() {
    let place = Place::new();
    let example = |name: &str| format!("{}/rootfs-examples/profiles/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    write(&place, "home/.ssh/key", "secret");
    let script =
        has("home/.ssh/key") + &has("/etc/shadow") + "ls -A /tmp; grep NoNewPrivs /proc/self/status; echo x >x";
    // The folder lies in /tmp, which is empty inside.
    run(&place, &["--profile", &example("untrusted")], &script).cwd("/").run().ok().stdout("NoNewPrivs:\t1");
    write(&place, ".git/hooks/post-commit", "");
    write(&place, "Makefile", "all:\n\techo made >result; ! echo x >.git/hooks/post-commit; echo x >/usr/local/made\n");
    run(&place, &["--profile", &example("build")], "make").run().ok();
    assert_eq!(std::fs::read_to_string(place.host().join("result")).unwrap(), "made\n");
    assert!(!std::path::Path::new("/usr/local/made").exists());
    assert_eq!(std::fs::read_to_string(place.host().join(".git/hooks/post-commit")).unwrap(), "");
}
