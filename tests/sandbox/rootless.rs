//! Boxes of an ordinary user. Run by root, the tests become the user `myrt-test`; run by an ordinary user they are that
//! user's own.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;

use rustix::process::Signal;

use crate::place::Place;
use crate::util::command::Output;
use crate::util::tty::Terminal;
use crate::util::user::Ordinary;
use crate::util::{TestCommand, until};

/// Whether the tests can do what only root can.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A script of the user's on the host, in the host's folder.
#[track_caller]
fn on_the_host(place: &Place, script: &str) -> Output {
    let out = place.by_caller(TestCommand::shell(script, [""]).cwd(place.host())).run();
    out.ok();
    out
}

fn run(place: &Place, flags: &[&str], script: &str) -> Output {
    let words = ["--name", "b"].iter().chain(flags).copied().chain(["sh", "-c", script]).collect::<Vec<_>>();
    place.sandbox("run", words).run()
}

#[test]
fn the_program_is_its_caller() {
    let Some(place) = Place::ordinary() else { return };
    let user = place.user.as_ref().unwrap();
    let command = |script: &str| place.script(script).env("GREETING", "hello  there");
    let (uid, gid) = (user.uid, user.gid);
    command("id -u; id -g; id -ru; id -rg").run().ok().stdout(&format!("{uid}\n{gid}\n{uid}\n{gid}"));
    command("pwd").run().ok().stdout(place.host().to_str().unwrap());
    command("printf '%s %s' \"$GREETING\" \"$HOME\"")
        .run()
        .ok()
        .stdout(&format!("hello  there {}", place.home().display()));
    command("cat; echo err >&2").stdin("in").run().ok().stdout("in").err_has("err");
    command("exit 7").run().code(7);
    command("kill -TERM $$").run().code(143);
    place.sandbox("run", ["--name", "b", "no-such-program"]).run().code(127);
    place.script("umask").by(["sh", "-c", "umask 027; exec \"$@\"", "sh"]).run().ok().stdout("0027");
    place.script("uname -n").run().ok().stdout(&TestCommand::new(["uname", "-n"]).run().out());
    // The same program sees the same files.
    assert_eq!(place.content_by(|command| place.wrap(command)), place.content_by(|command| place.by_caller(command)));
}

#[test]
fn nobody_is_told_from_those_whom_the_namespace_does_not_know() {
    if !is_root() {
        return;
    }
    let prefix = "setpriv --reuid 65534 --regid 65534 --clear-groups".split(' ').map(str::to_owned).collect();
    let nobody = Ordinary { uid: 65534, gid: 65534, range: None, prefix };
    let Some(place) = Place::of(nobody) else { return };
    for (name, mode) in [("closed", 0o700), ("shown", 0o755)] {
        std::fs::create_dir(place.host().join(name)).unwrap();
        crate::util::command::set_mode(place.host().join(name), mode);
    }
    on_the_host(&place, "mkdir own; echo old >own/file");
    place.script("echo new >own/file; echo x >y; ! ls closed; echo z >shown/z").run().fails().err_has("shown/z");
    place.sandbox("commit", ["b"]).run().ok();
    on_the_host(&place, "cat own/file y; ls").stdout("new\nx\nclosed\nown\nshown\ny");
}

#[test]
fn groups_still_count_as_far_as_the_kernel_keeps_them() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let user = place.user.as_ref().unwrap();
    let file = place.host().join("of-the-group");
    std::fs::write(&file, "for the group\n").unwrap();
    std::os::unix::fs::chown(&file, Some(0), Some(4242)).unwrap();
    crate::util::command::set_mode(&file, 0o640);
    let command = |groups: &str| {
        let (uid, gid) = (user.uid.to_string(), user.gid.to_string());
        let words = place.words("run", ["--name", "b", "cat", "of-the-group"]);
        TestCommand::new(["setpriv", "--reuid", &uid, "--regid", &gid, "--groups", groups])
            .args(words)
            .cwd(place.host())
    };
    command("4242").run().ok().stdout("for the group");
    command("4243").run().fails().err_has("ermission denied");
}

#[test]
fn what_a_program_changes_stays_in_the_box_wherever_it_may_write() {
    let Some(place) = Place::ordinary() else { return };
    on_the_host(&place, "mkdir d; echo old >old; echo gone >gone; echo deep >d/f; echo home >~/file");
    let before = place.picture();
    let mark = format!("myrt-rootless-{}", std::process::id());
    let script = format!(
        "echo new >new; echo more >>old; rm gone; rm -r d; mkdir d; echo more >>~/file; mkdir ~/made
         for i in /tmp /var/tmp; do echo x >$i/{mark}; done; ls; cat old ~/file; ls d ~"
    );
    let seen = "d\nnew\nold\nold\nmore\nhome\nmore\n{home}:\nfile\nmade\n\nd:"
        .replace("{home}", &place.home().display().to_string());
    let out = place.script(&script).run();
    out.ok();
    assert_eq!(out.out().trim_end().lines().count(), seen.lines().count(), "{out}");
    assert_eq!(place.picture(), before);
    assert_eq!(std::fs::read_to_string(place.home().join("file")).unwrap(), "home\n");
    for folder in ["/tmp", "/var/tmp"] {
        assert!(!Path::new(folder).join(&mark).exists());
        place.script(&format!("cat {folder}/{mark}")).run().ok().stdout("x");
    }
    place.script("cat old; ls -A d").run().ok().stdout("old\nmore");
    assert_eq!(place.changes(), ["d/f: deleted", "gone: deleted", "new: added", "old: modified content,times"]);
}

#[test]
fn what_the_caller_could_not_change_it_cannot_change() {
    let Some(place) = Place::ordinary() else { return };
    let script = "for i in / /usr /etc /home /run /var /var/lib; do
                      touch $i/myrt-probe 2>/dev/null && echo \"made $i\"; mv $i/lib $i/x 2>/dev/null && echo \"moved in $i\"; done
                  echo x >>/etc/passwd; rm -f /etc/hostname; chmod 777 /usr/bin/env; ls /root; cat /etc/shadow; head -c 4 /etc/passwd; true";
    let out = run(&place, &[], script);
    out.ok().stdout("root");
    assert_eq!(
        out.err().lines().filter(|line| line.contains("ermission denied") || line.contains("ead-only")).count(),
        5,
        "{out}"
    );
    place.sandbox("diff", ["b"]).run().ok().stdout("nothing changed");
}

/// Each kind of change, and what `diff` says of it.
const CHANGES: [(&str, &str, &str); 12] = [
    ("true", "echo x >x", "x: added"),
    ("echo x >x", "echo y >>x", "x: modified content,times"),
    ("echo x >x; touch -d @100 x", "chmod 600 x", "x: modified mode"),
    ("echo x >x", "rm x", "x: deleted"),
    ("mkdir x; echo f >x/f", "rm -r x", "x: deleted"),
    ("mkdir x; echo f >x/f", "rm -r x; mkdir x", "x/f: deleted"),
    ("echo x >x", "rm x; mkdir x", "x: type-changed"),
    ("ln -s a x", "ln -sfn b x", "x: modified content,times"),
    ("mkdir x; touch -d @100 x", "chmod 1700 x", "x: modified mode"),
    ("true", "mkfifo x", "x: added"),
    (
        "echo x >x; touch -d @100 x",
        "/usr/bin/python3 -c 'import os; os.setxattr(\"x\", \"user.note\", b\"1\")'",
        "x: modified xattr",
    ),
    // What looks like a note of overlayfs is the program's own.
    (
        "mkdir x; echo f >x/f; touch -d @100 x",
        "/usr/bin/python3 -c 'import os; os.setxattr(\"x\", \"user.overlay.opaque\", b\"y\")' 2>/dev/null || chmod 500 x",
        "x: modified ",
    ),
];

#[test]
fn every_change_is_told_taken_over_and_taken_back() {
    for (old, new, told) in CHANGES {
        let Some(place) = Place::ordinary() else { return };
        on_the_host(&place, old);
        let before = place.content();
        place.script(new).run().ok();
        let changes = place.changes();
        assert!(changes.len() == 1 && changes[0].starts_with(told), "{old}; {new}: {changes:?}");
        let wanted = place.content_by(|command| place.wrap(command));
        place.sandbox("commit", ["b"]).run().ok();
        assert_eq!(place.content_by(|command| place.by_caller(command)), wanted, "{old}; {new}");
        place.sandbox("diff", ["b"]).run().ok().stdout("nothing changed");
        place.sandbox("undo", ["b"]).run().ok();
        assert_eq!(place.content(), before, "{old}; {new}");
        assert_eq!(place.content_by(|command| place.wrap(command)), wanted, "{old}; {new}");
    }
}

#[test]
fn what_the_host_changed_meanwhile_is_a_conflict() {
    let Some(place) = Place::ordinary() else { return };
    on_the_host(&place, "echo x >x; echo y >y");
    place.script("echo box >x; echo box >y").run().ok();
    on_the_host(&place, "echo host >x");
    place.sandbox("commit", ["b"]).run().code(3).err_has("/host/x");
    place.sandbox("commit", ["--theirs", "b"]).run().ok();
    assert_eq!(std::fs::read_to_string(place.path("x")).unwrap(), "host\n");
    assert_eq!(std::fs::read_to_string(place.path("y")).unwrap(), "box\n");
}

#[test]
fn a_place_of_somebody_else_takes_a_commit_as_well() {
    let Some(place) = Place::ordinary() else { return };
    let file = std::env::temp_dir().join(format!("myrt-rootless-commit-{}", std::process::id()));
    let name = file.display().to_string();
    place.script(&format!("echo x >{name}")).run().ok();
    place.sandbox("diff", ["b"]).run().ok().stdout(&format!("A {name}  2 B\n1 added"));
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), place.user.as_ref().unwrap().uid);
    place.sandbox("undo", ["b"]).run().ok();
    assert!(!file.exists());
}

#[test]
fn what_a_program_forbids_to_its_own_user_is_read_and_removed_all_the_same() {
    let Some(place) = Place::ordinary() else { return };
    place.script("mkdir -p a/b; echo x >a/b/f; chmod 0 a/b/f a/b a; echo y >y; chmod 0 y").run().ok();
    assert_eq!(place.changes(), ["a: added", "a/b: added", "a/b/f: added", "y: added"]);
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(std::fs::metadata(place.path("y")).unwrap().permissions().mode() & 0o777, 0);
    place.sandbox("undo", ["b"]).run().ok();
    assert!(!place.host().join("a").exists());
    place.sandbox("discard", ["b"]).run().ok();
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
}

#[test]
fn boxes_are_the_users_alone_and_apart_from_each_other() {
    let Some(place) = Place::ordinary() else { return };
    let long = "echo one >mine; echo ready; read end; cat mine";
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    let mut first = place.sandbox("run", ["--name", "first", "sh", "-c", long]).spawn_on(reader.into());
    first.until_stdout("ready");
    place.sandbox("run", ["--name", "second", "sh", "-c", "ls; echo two >mine"]).run().ok().stdout("");
    place.sandbox("run", ["--name", "first", "true"]).run().fails().err_has("the box first is in use");
    place.sandbox("list", Vec::<String>::new()).run().ok().out_has("running").out_has("stopped");
    drop(writer);
    first.wait().ok().out_has("one");
    assert_eq!(std::fs::metadata(place.store()).unwrap().permissions().mode() & 0o777, 0o700);
    let record = std::fs::read_to_string(place.store().join("first/box.json")).unwrap();
    assert!(record.contains("\"notes\":\"user\""), "{record}");
    // Inside there is nothing of it, and nothing of the place where the root is put together.
    place.script(&format!("ls -A {}", place.store().display())).run().ok().stdout("");
    // What copies, packs and looks closer works as well.
    place.sandbox("snapshot", ["first", "label"]).run().ok();
    place.sandbox("clone", ["first", "third"]).run().ok();
    place.sandbox("diff", ["third"]).run().ok().out_has("/host/mine");
    place.sandbox("export", ["third", "-o", &place.path("third.tar")]).run().ok();
    TestCommand::new(["tar", "tf", &place.path("third.tar")]).run().ok().out_has("/host/mine");
    place.sandbox("discard", ["first", "second", "third", "b"]).run().ok();
    place.sandbox("list", ["-q"]).run().ok().stdout("");
}

#[test]
fn states_are_kept_brought_back_copied_and_packed() {
    let Some(place) = Place::ordinary() else { return };
    on_the_host(&place, "mkdir d; echo old >d/f; echo gone >gone");
    let before = place.picture();
    place
        .script("echo one >>d/f; rm gone; mkdir closed; echo x >closed/x; chmod 0 closed; touch -d @100 closed")
        .run()
        .ok();
    let content = |name: &str| {
        let out = place.sandbox("run", ["--name", name, "sh", "-c", "cat d/f; ls; stat -c '%a %Y %U' closed"]).run();
        out.ok().out()
    };
    let first = content("b");
    place.sandbox("snapshot", ["b", "first"]).run().ok();
    place.script("echo two >>d/f; chmod 700 closed; rm -r closed; echo back >gone").run().ok();
    assert!(place.script("cat d/f; ls -A").run().ok().out().starts_with("old\none\ntwo\nd\ngone\n"));
    place.sandbox("clone", ["b", "later"]).run().ok();
    place.sandbox("snapshot", ["b", "--restore", "first"]).run().ok();
    assert_eq!(content("b"), first);
    place.sandbox("diff", ["b"]).run().ok().out_has("D ").out_has("/host/gone\n").out_has("/host/closed/x");
    let later = place.sandbox("run", ["--name", "later", "sh", "-c", "cat d/f gone"]).run();
    later.ok().stdout("old\none\ntwo\nback");
    let archive = place.home().join("b.tar").display().to_string();
    // A layer as an image has it: what went is a mark, and the owner is the user.
    place.sandbox("export", ["b", "-o", &archive]).run().ok();
    let listed = TestCommand::new(["tar", "--numeric-owner", "-tvf", &archive]).run().ok().out();
    let user = place.user.as_ref().unwrap();
    for (name, owner) in [("/host/.wh.gone", 0), ("/host/d/f", user.uid), ("/host/closed/x", user.uid)] {
        let line = listed.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("no {name} in {listed}"));
        assert!(name.contains(".wh.") || line.contains(&format!(" {owner}/")), "{line}");
    }
    place.sandbox("discard", ["b", "later"]).run().ok();
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
    assert_eq!(place.picture(), before);
}

#[test]
fn without_a_store_it_lies_in_the_home() {
    let Some(place) = Place::ordinary() else { return };
    let command = |words: &[&str]| {
        let words = [&[place.myrt(), "sandbox"], words].concat();
        place.by_caller(TestCommand::new(words).cwd(place.host())).run()
    };
    command(&["run", "--name", "b", "touch", "x"]).ok();
    assert!(place.home().join(".local/share/myrt/sandbox/b/box.json").exists());
    command(&["diff", "b"]).ok().out_has("/host/x  0 B");
    command(&["discard", "b"]).ok();
}

#[test]
fn rules_hold() {
    let Some(place) = Place::ordinary() else { return };
    on_the_host(&place, "mkdir d d/e; echo secret >d/f; echo secret >f; ln -s d link");
    run(&place, &["--hide", "d", "--hide", "f"], "cat f; ls -A d; echo x >d/new; cat f").ok().stdout("");
    run(&place, &["--read-only", "link"], "cat d/f; echo x >d/f; touch d/new; rm d/f; ls d")
        .ok()
        .stdout("secret\ne\nf");
    run(&place, &["--tmpfs", "d"], "ls -A d; echo x >d/x && cat d/x").ok().stdout("x");
    assert_eq!(place.changes(), Vec::<String>::new());
    run(&place, &["--write-through", "d"], "echo mine >d/new; echo box >f").ok();
    assert_eq!(std::fs::read_to_string(place.path("d/new")).unwrap(), "mine\n");
    assert_eq!(place.changes(), ["f: modified content,times"]);
}

#[test]
fn sockets_of_the_host_are_reached_only_when_allowed() {
    let Some(place) = Place::ordinary() else { return };
    let mut paths = vec![place.path("control")];
    if is_root() {
        // Where nobody but root makes any, and everybody may connect.
        paths.push(format!("/run/myrt-rootless-{}.sock", std::process::id()));
    }
    for path in paths {
        let listener = UnixListener::bind(&path).unwrap();
        crate::util::command::set_mode(&path, 0o666);
        listener.set_nonblocking(true).unwrap();
        let program = "import socket, sys
s = socket.socket(socket.AF_UNIX)
try: s.connect(sys.argv[1])
except OSError as error: print(error.strerror)
else: print('connected')";
        let connect = |flags: &[&str]| {
            let mut words: Vec<&str> = ["--name", "b"].into_iter().chain(flags.iter().copied()).collect();
            words.extend(["/usr/bin/python3", "-c", program, &path]);
            place.sandbox("run", words).run()
        };
        let (closed, open) = (connect(&[]), connect(&["--allow-socket", &path]));
        let _ = std::fs::remove_file(&path);
        closed.ok().stdout("Connection refused");
        open.ok().stdout("connected");
        listener.accept().unwrap();
    }
}

#[test]
fn a_setuid_program_gives_nothing() {
    let Some(place) = Place::ordinary() else { return };
    let uid = place.user.as_ref().unwrap().uid.to_string();
    place.script("grep NoNewPrivs /proc/self/status | tr -d '\\t'; grep Cap /proc/self/status | grep -v 0000000000000000 || true").run().ok().stdout("NoNewPrivs:1");
    place.script("cp /usr/bin/id own; chmod 4755 own; ./own -u").run().ok().stdout(&uid);
    if is_root() {
        TestCommand::shell("cp /usr/bin/id roots; chmod 4755 roots", [""]).cwd(place.host()).run().ok();
        place.script("./roots -u").run().ok().stdout(&uid);
    }
}

#[test]
fn nothing_is_mounted_and_no_kernels_file_is_written() {
    let Some(place) = Place::ordinary() else { return };
    let store = place.store().display().to_string();
    for attempt in [
        "mount -t tmpfs t /mnt",
        &format!("umount -l {store}"),
        "unshare -Ur true",
        "unshare -Urm mount -t tmpfs t /mnt",
        "chroot / true",
        "echo 1 >/proc/sys/user/max_user_namespaces",
        "echo x >/proc/self/uid_map",
        "cat /proc/1/mem",
        "ls /proc/1/fd",
        "readlink /proc/1/exe",
        "mknod zero c 1 5",
    ] {
        place.script(&format!("if ( {attempt} ) >/dev/null 2>&1; then echo it worked; fi")).run().ok().stdout("");
    }
    // The host's processes are not there, nor descriptors of the caller's.
    let out = place
        .script("ls /proc | grep -c '^[0-9]'; ls /proc/self/fd")
        .by(["sh", "-ec", "exec 9</; exec \"$@\"", "sh"])
        .run();
    out.ok();
    assert!(out.lines()[0].parse::<u32>().unwrap() < 8, "{out}");
    assert_eq!(out.lines()[1..], ["0", "1", "2", "3"]);
}

#[test]
fn a_file_opened_for_reading_cannot_be_opened_for_writing() {
    let Some(place) = Place::ordinary() else { return };
    on_the_host(&place, "echo precious >input");
    let program = "import os, sys
print(sys.stdin.read().strip())
for action in (lambda: os.open('/proc/self/fd/0', os.O_WRONLY | os.O_TRUNC), lambda: os.fchmod(0, 0o777)):
    try: action()
    except OSError: pass
    else: print('it worked')";
    let command = place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", program]);
    let before = place.picture();
    command.by(["sh", "-c", "exec \"$@\" <input", "sh"]).run().ok().stdout("precious");
    assert_eq!(place.picture(), before);
}

#[test]
fn a_terminal_and_signals_are_the_programs() {
    let Some(place) = Place::ordinary() else { return };
    let (mut terminal, slave) = Terminal::open();
    // As a login gives it.
    std::os::unix::fs::fchown(&slave, Some(place.user.as_ref().unwrap().uid), None).unwrap();
    let command = place.sandbox("run", ["--name", "b", "sh", "-c", "tty; read line; echo got:$line; exit 5"]);
    let copy = || slave.try_clone().unwrap().into();
    let running = command.spawn_with(copy(), copy(), copy(), None);
    terminal.until_seen("/dev/pts/0");
    terminal.type_in("word\n");
    terminal.until_seen("got:word");
    running.wait().code(5);
    let script = "trap 'echo got it; exit 9' TERM; echo ready; while :; do sleep 0.01; done";
    let mut running = place.script(script).spawn();
    running.until_stdout("ready");
    running.signal(Signal::TERM);
    running.wait().code(9).out_has("got it");
}

#[test]
fn a_home_that_is_no_absolute_path_is_no_place_for_boxes() {
    let Some(place) = Place::ordinary() else { return };
    for home in ["", "relative"] {
        let list = place.by_caller(TestCommand::new([place.myrt(), "sandbox", "list"]).cwd(place.host()));
        list.env("HOME", home).run().fails().err_has("absolute path");
    }
}

#[test]
fn a_terminal_of_another_user_is_relayed_and_never_handed_in() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    // As `su` leaves it.
    let (mut terminal, slave) = Terminal::open();
    crate::util::command::set_mode(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&slave)), 0o600);
    let copy = || slave.try_clone().unwrap().into();
    let script = "tty; tty <&2; read line; echo got:$line; exit 5";
    let command = place.sandbox("run", ["--name", "b", "sh", "-c", script]);
    let running = command.spawn_with(copy(), copy(), copy(), None);
    terminal.until_seen("/dev/pts/0\r\n/dev/pts/0");
    terminal.type_in("word\n");
    terminal.until_seen("got:word");
    running.wait().code(5);
    // What cannot be relayed is refused, with a way out.
    let command = place.sandbox("run", ["--name", "b", "true"]);
    let refused = command.spawn_with(std::process::Stdio::null(), std::process::Stdio::null(), copy(), None);
    terminal.until_seen("belongs to root");
    terminal.until_seen("script -qc");
    refused.wait().code(125);
}

#[test]
fn a_killed_run_leaves_a_box_that_goes_on() {
    let Some(place) = Place::ordinary() else { return };
    let mut running = place.script("echo kept >kept; echo ready; sleep 1000").spawn();
    running.until_stdout("ready");
    running.signal(Signal::KILL);
    running.wait();
    until("the box to be free", || place.sandbox("diff", ["b"]).run().out().contains("/host/kept  5 B").then_some(()));
    place.script("cat kept").run().ok().stdout("kept");
}

#[test]
fn make_and_pip_install_in_the_home() {
    let Some(place) = Place::ordinary() else { return };
    let make = "printf 'int main(void) { return 42; }\\n' >probe.c
printf 'install: probe\\n\\tinstall -D -m 755 probe $(HOME)/.local/bin/myrt-probe\\nprobe: probe.c\\n\\tcc -o probe probe.c\\n' >Makefile
/usr/bin/python3 -c \"
import zipfile
with zipfile.ZipFile('myrt_probe-1-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('myrt_probe.py', 'word = 7')
    wheel.writestr('myrt_probe-1.dist-info/METADATA', 'Metadata-Version: 2.1\\\\nName: myrt-probe\\\\nVersion: 1\\\\n')
    wheel.writestr('myrt_probe-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\\\nGenerator: x\\\\nRoot-Is-Purelib: true\\\\nTag: py3-none-any\\\\n')
    wheel.writestr('myrt_probe-1.dist-info/RECORD', '')
\"";
    on_the_host(&place, make);
    place.script("make install").run().ok();
    place.script("~/.local/bin/myrt-probe").run().code(42);
    place.script("/usr/bin/python3 -m pip install --user --break-system-packages --no-index ./*.whl").run().ok();
    place.script("/usr/bin/python3 -c 'import myrt_probe; print(myrt_probe.word)'").run().ok().stdout("7");
    assert_eq!(std::fs::read_dir(place.home()).unwrap().count(), 0);
    place.sandbox("commit", ["b"]).run().ok();
    on_the_host(&place, "~/.local/bin/myrt-probe || test $? = 42; /usr/bin/python3 -c 'import myrt_probe'");
}

/// As root on a host where `mounts` was run first, in the host's folder.
fn on_a_host_with(place: &Place, mounts: &str, script: &str, after: &str) -> Output {
    let around = format!("{mounts}\nrun() {{ \"$@\"; }}\nrun \"$@\" || exit $?\n{after}");
    place.script(script).by(["unshare", "-m", "sh", "-ec", &around, "sh"]).run()
}

#[test]
fn a_folder_with_a_mount_below_can_be_written_to_and_so_can_the_mount() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let user = place.user.as_ref().unwrap();
    let (uid, gid) = (user.uid, user.gid);
    let own = format!("chown -R {uid}:{gid} .");
    let mounts = format!(
        "mkdir -p a/below other; echo small >small; echo x >a/f; echo y >other/f; truncate -s 2M large; {own}
         mount -t tmpfs -o uid={uid},gid={gid} t a/below; echo mounted >a/below/f; chown {uid}:{gid} a/below/f"
    );
    let script = "cat small a/f a/below/f other/f; echo more >>small; rm a/f; echo new >new; echo more >>a/below/f; rm other/f; stat -c %s large
                  echo x >>large || echo refused";
    let diff = [user.prefix.clone(), place.words("diff", ["b"])].concat().join(" ");
    let out = on_a_host_with(&place, &mounts, script, &format!("cat small a/f a/below/f; {diff}"));
    let host = place.host().display().to_string();
    out.ok().err_has("can only be read inside");
    let seen = "small\nx\nmounted\ny\n2097152\nrefused\nsmall\nx\nmounted\n";
    let told = format!(
        "D {host}/a/f\nM {host}/a/below/f  content 8 B to 13 B, times\nA {host}/new  4 B\nD {host}/other/f\nM {host}/small  content 6 B to 11 B, times\n"
    );
    for line in seen.lines().chain(told.lines().filter(|line| !line.contains("times"))) {
        assert!(out.out().contains(line), "{line}\n{out}");
    }
    assert!(out.out().contains("M ") && out.out().contains("1 added, 2 modified, 2 deleted"), "{out}");
}

#[test]
fn a_file_that_is_mounted_by_itself_is_read_and_the_rest_is_committed() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let user = place.user.as_ref().unwrap();
    let mounts = format!(
        "echo under >file; echo bound >source; echo old >beside; chown {}:{} file source beside; mount --bind source file",
        user.uid, user.gid
    );
    let script = "cat file; echo new >file || echo refused; rm file || echo refused; echo new >beside; cat beside";
    let commit = [user.prefix.clone(), place.words("commit", ["b"])].concat().join(" ");
    let out = on_a_host_with(&place, &mounts, script, &format!("{commit}; cat file beside; umount file; cat file"));
    out.ok().stdout("bound\nrefused\nrefused\nnew\n1 taken over\nbound\nnew\nunder");
    out.err_has("can only be read inside: something is mounted below it");
}

#[test]
fn a_file_of_another_group_on_another_filesystem_is_not_taken_over() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let user = place.user.as_ref().unwrap();
    let mounts = format!(
        "mkdir a; mount -t tmpfs -o uid={0},gid={1} t a; echo old >a/f; chown {0}:4242 a/f",
        user.uid, user.gid
    );
    let commit = [user.prefix.clone(), place.words("commit", ["b"])].concat().join(" ");
    let after = format!("{commit} || echo refused; cat a/f; stat -c %g a/f; ls -A a");
    let out = on_a_host_with(&place, &mounts, "echo new >a/n; mv a/n a/f", &after);
    out.ok().stdout("refused\nold\n4242\nf").err_has("it is of another user or group");
}

#[test]
fn a_folder_of_others_that_everybody_may_write_to_is_a_place_of_its_own() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let user = place.user.as_ref().unwrap();
    let script = "mkdir -p theirs/open theirs/mine; echo x >theirs/open/f; chmod 1777 theirs/open; chmod 666 theirs/open/f; chown $1 theirs/mine";
    let owner = format!("{}:{}", user.uid, user.gid);
    TestCommand::shell(script, [owner]).cwd(place.host()).run().ok();
    place.script("echo a >theirs/open/a; echo b >theirs/mine/b; cat theirs/open/f; touch theirs/c 2>/dev/null || echo refused").run().ok().stdout("x\nrefused");
    assert_eq!(place.changes(), ["theirs/mine/b: added", "theirs/open/a: added"]);
    // A file of others can be replaced, not changed: nothing is lost without a word.
    place.script("echo y >>theirs/open/f").run().fails();
    place.sandbox("commit", ["b"]).run().ok();
    assert_eq!(std::fs::read_to_string(place.path("theirs/open/a")).unwrap(), "a\n");
}

/// From here on unshare(2) answers EPERM, by a filter of four instructions.
#[cfg(target_arch = "x86_64")]
const NO_UNSHARE: &str = "import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 1, 272), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
class Prog(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Prog(len(code), ctypes.addressof(program)))) == 0
os.execvp(sys.argv[1], sys.argv[1:])";

#[cfg(target_arch = "x86_64")]
#[test]
fn where_no_user_namespace_may_be_made_it_says_so() {
    let Some(place) = Place::ordinary() else { return };
    let command = place.sandbox("run", ["--name", "b", "true"]).by(["/usr/bin/python3", "-c", NO_UNSHARE]);
    command.run().code(125).err_has("this host forbids user namespaces to you").err_has("myrt check");
}

#[test]
fn a_place_that_goes_from_the_host_is_no_obstacle() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let user = place.user.as_ref().unwrap();
    let script = "mkdir -p theirs/one theirs/two; chown $1 theirs/one theirs/two";
    let owner = format!("{}:{}", user.uid, user.gid);
    TestCommand::shell(script, [owner]).cwd(place.host()).run().ok();
    place.script("echo a >theirs/one/a; echo x >x").run().ok();
    std::fs::remove_dir_all(place.host().join("theirs")).unwrap();
    assert_eq!(place.changes(), ["theirs/one/a: added", "x: added"]);
    place.sandbox("commit", ["b"]).run().fails().err_has("the host has no").err_has("theirs/one");
    place.script("cat x").run().ok().stdout("x").err_has("nothing can be written there now");
    place.sandbox("commit", ["b", "x"]).run().ok();
    assert_eq!(std::fs::read_to_string(place.path("x")).unwrap(), "x\n");
}

#[test]
fn the_network_is_none_its_own_or_the_hosts() {
    let Some(place) = Place::ordinary() else { return };
    let host = std::fs::read_link("/proc/self/ns/net").unwrap().display().to_string();
    let script = "readlink /proc/self/ns/net; ls /sys/class/net; for i in $(find /sys -xdev -name cgroup.procs | head -3); do echo 0 >$i; done 2>/dev/null; true";
    let alone = run(&place, &[], script);
    alone.ok().out_lacks(&host);
    assert_eq!(alone.lines()[1..], ["lo"]);
    run(&place, &["--net", "host"], script).ok().out_has(&host).err_has("the network is the host's");
    // Connected or not, as this host has it (`rootless_network.rs`), it runs.
    let private = run(&place, &["--net", "private"], script);
    private.ok().out_lacks(&host);
    assert_ne!(private.lines()[1..] == ["lo"], private.err().is_empty(), "{private}");
}

#[test]
fn an_unnamed_box_is_kept_only_when_something_changed() {
    let Some(place) = Place::ordinary() else { return };
    place.sandbox("run", ["true"]).run().ok();
    place.sandbox("run", ["no-such-program"]).run().code(127);
    assert_eq!(std::fs::read_dir(place.store()).unwrap().count(), 0);
    place.sandbox("run", ["sh", "-c", "echo >made; exit 3"]).run().code(3).err_has("1 added, kept in the box box-");
    let name = place.sandbox("list", ["-q"]).run().ok().out().trim().to_owned();
    place.sandbox("diff", [&name]).run().ok().out_has("/host/made  1 B\n1 added");
}

#[test]
fn where_a_part_of_proc_is_hidden_the_run_is_refused() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    // As a container has it. What such a box would see is the host's processes, and by them the host's files.
    let out = on_a_host_with(&place, "mount -t tmpfs t /proc/tty", "echo ran", "true");
    out.code(125).out_lacks("ran").err_has("only where nothing of the caller's /proc is hidden");
}

#[test]
fn what_an_undo_could_not_bring_back_is_not_taken_over() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let user = place.user.as_ref().unwrap();
    let script =
        "mkdir -p a/b/c/d; echo x >a/theirs; echo y >a/of-a-group; echo z >z; chown -R $1 a z; chown 0:0 a/theirs
                  chgrp 4242 a/b/c/d a/of-a-group";
    TestCommand::shell(script, [format!("{}:{}", user.uid, user.gid)]).cwd(place.host()).run().ok();
    let before = place.content();
    for (change, path) in [
        ("rm a/theirs", "a/theirs"),
        ("rm -r a/b", "a/b/c/d"),
        ("cp -p a/of-a-group n; mv n a/of-a-group", "a/of-a-group"),
    ] {
        place.script(&format!("{change}; echo more >>z")).run().ok();
        place
            .sandbox("commit", ["b"])
            .run()
            .fails()
            .err_has(&format!("/host/{path}"))
            .err_has("an undo could not bring it back");
        assert_eq!(place.content(), before);
        place.sandbox("discard", ["b"]).run().ok();
    }
    // The caller's own file with another group comes back as it was.
    place.script("rm a/of-a-group; echo more >>z").run().ok();
    place.sandbox("commit", ["b"]).run().ok();
    assert!(!place.host().join("a/of-a-group").exists());
    place.sandbox("undo", ["b"]).run().ok();
    assert_eq!(place.content(), before);
}

#[test]
fn a_mount_below_a_filesystem_of_the_kernels_is_a_place_as_well() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    if TestCommand::new(["grep", "-q", "hugetlbfs", "/proc/filesystems"]).run().exit_code() != 0 {
        println!("not run: this kernel has no filesystem in which a folder can be mounted on, as an automounter's");
        return;
    }
    let user = place.user.as_ref().unwrap();
    let mounts = format!(
        "mkdir auto; mount -t hugetlbfs t auto; mkdir auto/me; mount -t tmpfs -o uid={},gid={} t auto/me; echo x >auto/me/f",
        user.uid, user.gid
    );
    let out = on_a_host_with(&place, &mounts, "ls auto; cat auto/me/f; echo y >auto/me/g; ls auto/me", "ls auto/me");
    out.ok().stdout("me\nx\nf\ng\nf");
}

#[test]
fn what_is_mounted_deep_below_proc_is_no_part_of_the_box() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    // systemd has an automounter there.
    let point = "/proc/sys/fs/binfmt_misc";
    if !std::path::Path::new(point).exists() {
        println!("not run: this kernel has no {point}");
        return;
    }
    let mounts = format!("mount -t tmpfs t {point}; echo x >{point}/x");
    let out = on_a_host_with(&place, &mounts, &format!("test ! -e {point}/x; test -e {point}; echo here"), "true");
    out.ok().stdout("here");
}

#[test]
fn a_link_in_the_place_of_a_folder_is_not_followed_by_a_commit() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    TestCommand::shell("mkdir open elsewhere; chmod 777 open elsewhere; chown 1 open", [""])
        .cwd(place.host())
        .run()
        .ok();
    place.script("echo x >open/x").run().ok();
    assert_eq!(place.changes(), ["open/x: added"]);
    TestCommand::shell("rmdir open; ln -s elsewhere open", [""]).cwd(place.host()).run().ok();
    place.sandbox("commit", ["b"]).run().fails().err_has("the host has no");
    assert_eq!(std::fs::read_dir(place.host().join("elsewhere")).unwrap().count(), 0);
}

#[test]
fn a_home_below_a_folder_that_cannot_be_read_is_there_beside_a_mount() {
    let Some(place) = Place::ordinary().filter(|_| is_root()) else { return };
    let (host, diff) = (place.host().display().to_string(), place.words("diff", ["b"]));
    let user = place.user.as_ref().unwrap();
    let diff = [user.prefix.clone(), diff].concat().join(" ");
    let around = format!(
        "echo old >file; mkdir -m 700 ../store; chown {}:{} . file ../store
         mkdir ../mount; mount -t tmpfs t ../mount; chown 0:0 ..; chmod 711 ..",
        user.uid, user.gid
    );
    let out = on_a_host_with(
        &place,
        &around,
        "cat file; echo x >new; pwd",
        &format!("umount ../mount; {diff}; chmod 755 .."),
    );
    out.ok().stdout(&format!("old\n{host}\nA {host}/new  2 B\n1 added"));
    assert_eq!(out.err(), "");
}
