//! What a hostile program tries, as root inside.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;

use crate::place::Place;
use crate::util::{TestCommand, runtime};

#[test]
fn nothing_can_be_mounted_or_unmounted() {
    let place = Place::new();
    let store = place.store().display().to_string();
    for attempt in [
        "mount -t tmpfs t /mnt",
        "umount -l /proc",
        &format!("umount -l {store}"),
        "mount -o remount,rw /sys",
        "mount -t cgroup2 c /mnt",
        "unshare -m true",
        "unshare -Ur true",
        "unshare -Urm mount -t tmpfs t /mnt",
    ] {
        place.script(&format!("if {attempt} 2>/dev/null; then echo it worked; fi")).run().ok().stdout("");
    }
}

#[test]
fn the_kernels_own_files_cannot_be_written() {
    let place = Place::new();
    place
        .python(
            r"
import os
for path in ['/proc/sys/kernel/hostname', '/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/mtrr',
             '/sys/kernel/mm/ksm/run', '/sys/kernel/uevent_helper', '/sys/power/state', '/proc/sys/user/max_user_namespaces',
             '/sys/fs/cgroup/cgroup.procs', '/sys/fs/cgroup/unified/cgroup.procs', '/sys/fs/cgroup/memory/tasks']:
    if os.path.exists(path):
        try:
            os.close(os.open(path, os.O_WRONLY))
        except OSError:
            pass
        else:
            print('open for writing:', path)
",
        )
        .run()
        .ok()
        .stdout("");
}

/// Gives each file of /proc that is no process's the mode and the owner that it has, which is refused or changes nothing, and
/// names those where it is not refused; but for the ones that SECURITY.md names.
const OWNS: &str = r"
import os
left = 'buddyinfo config.gz consoles crypto devices dma execdomains fb interrupts iomem ioports kallsyms key-users locks misc partitions softirqs swaps zoneinfo'.split()
for folder, folders, files in os.walk('/proc'):
    if folder == '/proc':
        folders[:] = [name for name in folders if not name.isdigit()]
        files = [name for name in files if name not in left]
    for path in [os.path.join(folder, name) for name in folders + files]:
        if not os.path.islink(path):
            found = os.stat(path)
            for change in (lambda: os.chmod(path, found.st_mode & 0o7777), lambda: os.chown(path, found.st_uid, found.st_gid)):
                try: change()
                except OSError: pass
                else: print('changed', path)
";

#[test]
fn what_of_proc_is_the_machines_keeps_its_mode_and_owner() {
    for place in [Some(Place::new()), Place::ordinary()].into_iter().flatten() {
        place.python(OWNS).run().ok().stdout("");
    }
    // With rules of the caller's, which are on top.
    let place = Place::new();
    let flags = ["--hide", "/proc/meminfo", "--read-only", "/proc/tty", "--net", "private"];
    let words = ["--name", "b"].iter().chain(&flags).chain(&["/usr/bin/python3", "-c", OWNS]);
    place.sandbox("run", words).run().ok().stdout("");
}

#[test]
fn what_of_proc_is_a_processs_own_can_be_written() {
    let place = Place::new();
    let script = "cd /proc/$$; echo 7 >oom_score_adj; cat oom_score_adj; printf named >comm; cat comm
                  echo 0x21 >coredump_filter; echo 1 >clear_refs; test -r /proc/net/dev; test -r /proc/mounts
                  head -n 1 /proc/meminfo | cut -d: -f1";
    place.script(script).run().ok().stdout("7\nnamed\nMemTotal");
}

#[test]
fn devices_of_the_host_keep_their_modes_and_disks_are_not_there() {
    let place = Place::new();
    let mode = |path: &str| std::fs::metadata(path).unwrap().permissions().mode();
    let before = mode("/dev/null");
    let script = "for i in null zero full random urandom tty; do chmod 600 /dev/$i 2>/dev/null && echo changed; done
                  echo x >/dev/null; head -c 3 /dev/zero | wc -c; ls /dev | sort | tr '\n' ' '
                  mknod disk b 8 0 2>/dev/null && echo made; true";
    let listing = "full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero";
    let out = place.script(script).run();
    out.ok().out_has("3").out_lacks("changed").out_lacks("made");
    assert_eq!(out.lines()[1].replace("core ", "").trim(), format!("fd {listing}"));
    assert_eq!(mode("/dev/null"), before);
}

#[test]
fn a_device_node_among_the_hosts_files_cannot_be_opened() {
    let place = Place::new();
    TestCommand::shell("mknod zero c 1 5; chmod 666 zero", [""]).cwd(place.host()).run().ok();
    place.script("head -c 1 zero 2>/dev/null && echo read; true").run().ok().stdout("");
}

#[test]
fn processes_of_the_host_are_out_of_reach_and_the_first_one_is_closed() {
    let place = Place::new();
    let script = "ls /proc | grep -c '^[0-9]'
                  for i in exe root cwd fd/0 ns/mnt environ maps mem; do
                      if cat /proc/1/$i >/dev/null 2>&1 || readlink /proc/1/$i >/dev/null 2>&1; then echo open $i; fi
                  done
                  for i in /proc/1/fd/*; do if readlink $i; then echo open $i; fi; done; true";
    let out = place.script(script).run();
    out.ok().out_lacks("open");
    assert!(out.lines()[0].parse::<u32>().unwrap() < 8, "{out}");
}

#[test]
fn no_descriptor_of_the_host_leaks() {
    let place = Place::new();
    // A folder of the host, open in the caller.
    let around = "exec 9</ 8<\"$0\"; exec \"$@\"";
    let out = place.script("ls /proc/self/fd").by(["sh", "-ec", around, "/etc/passwd"]).run();
    // Its own streams, and the one by which ls reads that folder.
    out.ok().stdout("0\n1\n2\n3");
}

#[test]
fn a_file_opened_for_reading_cannot_be_opened_for_writing() {
    let place = Place::new();
    std::fs::write(place.host().join("input"), "precious").unwrap();
    let program = "import os, sys
print(sys.stdin.read())
for action in (lambda: os.open('/proc/self/fd/0', os.O_WRONLY | os.O_TRUNC), lambda: os.fchmod(0, 0o777), lambda: os.fchown(0, 1, 1)):
    try: action()
    except OSError: pass
    else: print('it worked')";
    let command = place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", program]);
    let before = place.picture();
    let out = command.by(["sh", "-c", "exec \"$@\" <input", "sh"]).run();
    out.ok().stdout("precious");
    assert_eq!(place.picture(), before);
}

/// Writes to the file that is its standard output, and makes it a setuid program with all capabilities that everybody may
/// change.
const GIVES_RIGHTS: &str = "import os, struct
print('written', flush=True)
for action in (lambda: os.fchown(1, 0, 7), lambda: os.setxattr(1, 'user.mine', b'x'),
               lambda: os.setxattr(1, 'security.capability', struct.pack('<5I', 0x02000001, 0xffffffff, 0, 0xffffffff, 0)),
               lambda: os.fchmod(1, 0o6777)):
    try: action()
    except OSError: pass";

#[test]
fn a_file_opened_for_writing_gets_content_and_no_rights() {
    for place in [Some(Place::new()), Place::ordinary()].into_iter().flatten() {
        let owner = place.user.as_ref().map_or((0, 0), |user| (user.uid, user.gid));
        let script = "echo old >out; setfattr -n user.kept -v yes out; chown $1 out; chmod 640 out";
        TestCommand::shell(script, [format!("{}:{}", owner.0, owner.1)]).cwd(place.host()).run().ok();
        let shown = || {
            let look = "stat -c '%a %u %g' out; getfattr -d -m - out | grep -v ^#; cat out";
            TestCommand::shell(look, [""]).cwd(place.host()).run().ok().out()
        };
        let told = "changed mode, owner or attributes of the file that is its standard output";
        let append = ["sh", "-c", "exec \"$@\" >>out", "sh"];
        let run = |program: &str| {
            let command = place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", program]);
            command.by(append).run()
        };
        assert_eq!(run("print('written')").ok().err(), "");
        run(GIVES_RIGHTS).ok().err_has(told).err_has("they are as they were");
        let wanted = format!("640 {} {}\nuser.kept=\"yes\"\n\nold\nwritten\nwritten\n", owner.0, owner.1);
        assert_eq!(shown(), wanted);
        let list = place.sandbox("list", ["--format", "json"]).run().json();
        let notes = list[0]["runs"].as_array().and_then(|runs| runs.last()).unwrap()["report"]["notes"].to_string();
        assert!(notes.contains(told), "{notes}");
    }
}

#[test]
fn what_was_read_already_is_not_read_again() {
    let place = Place::new();
    std::fs::write(place.host().join("input"), "first\nsecond\n").unwrap();
    let command = place.sandbox("run", ["--name", "b", "cat"]);
    command
        .by(["sh", "-c", "read line; exec \"$@\"", "sh"])
        .by(["sh", "-c", "exec \"$@\" <input", "sh"])
        .run()
        .ok()
        .stdout("second");
}

#[test]
fn the_null_device_as_a_stream_keeps_its_mode() {
    let place = Place::new();
    let program = "import os\ntry: os.fchmod(0, 0o600)\nexcept OSError: print('refused')";
    let command = place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", program]);
    command.by(["sh", "-c", "exec \"$@\" </dev/null", "sh"]).run().ok().stdout("refused");
}

#[test]
fn a_folder_is_no_stream() {
    let place = Place::new();
    let command = place.sandbox("run", ["--name", "b", "true"]);
    command.by(["sh", "-c", "exec \"$@\" </", "sh"]).run().code(125).err_has("standard input is a folder");
}

#[test]
fn sockets_of_the_host_are_reached_only_when_allowed() {
    let place = Place::new();
    let path = place.path("control");
    let listener = UnixListener::bind(&path).unwrap();
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
    connect(&[]).ok().stdout("Connection refused");
    connect(&["--allow-socket", &path]).ok().stdout("connected");
    listener.accept().unwrap();
    connect(&["--allow-socket", "/etc/passwd"]).code(125).err_has("this is no socket");
    // What it makes itself, it reaches.
    place.python("import socket\na = socket.socket(socket.AF_UNIX); a.bind('own'); a.listen()\nsocket.socket(socket.AF_UNIX).connect('own')").run().ok();
}

#[test]
fn a_named_pipe_of_the_host_leads_nowhere() {
    let place = Place::new();
    TestCommand::shell("mkfifo pipe", [""]).cwd(place.host()).run().ok();
    // Whoever reads on the host sees nothing of what is written inside.
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::NONBLOCK;
    let reader = rustix::fs::open(place.path("pipe"), flags, rustix::fs::Mode::empty()).unwrap();
    place.python("import os\nfd = os.open('pipe', os.O_RDWR)\nos.write(fd, b'order')").run().ok();
    assert_eq!(rustix::io::read(&reader, &mut [0; 8]).unwrap(), 0);
}

/// Makes a listening socket and a named pipe in the folder that it is given, says so, and waits.
const LISTENS: &str = "import os, signal, socket, sys
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX); s.bind('s'); s.listen()
os.mkfifo('p'); p = os.open('p', os.O_RDONLY | os.O_NONBLOCK)
open('../ready', 'w').close()
signal.pause()";

/// Tries to reach both in the folder `a`.
const REACHES: &str = "import os, socket
for reach in (lambda: socket.socket(socket.AF_UNIX).connect('a/s'), lambda: os.open('a/p', os.O_WRONLY | os.O_NONBLOCK)):
    try: reach()
    except OSError as error: print(error.strerror)
    else: print('reached')";

#[test]
fn sockets_and_pipes_of_a_filesystem_that_is_read_only_are_not_reached() {
    let place = Place::new();
    let around = "mkdir a; mount -t tmpfs t a; echo x >a/f; /usr/bin/python3 -c \"$0\" a & listener=$!
                  until test -e ready; do sleep 0.01; done
                  mount -o remount,ro a; \"$@\"; kill $listener; umount -l a";
    let command = place.python(&format!("{REACHES}\nprint(open('a/f').read(), end='')"));
    let out = command.by(["unshare", "-m", "sh", "-ec", around, LISTENS]).run();
    out.ok().stdout("Connection refused\nNo such device or address\nx");
}

#[test]
fn where_no_overlay_can_be_made_it_is_said_that_sockets_are_the_hosts() {
    let place = Place::new();
    let around = "mkdir m; mount -t tmpfs t m; cd m; mkdir l u v w x y a
                  mount -t overlay -o lowerdir=l,upperdir=u,workdir=v o y
                  mount -t overlay -o lowerdir=y,upperdir=w,workdir=x o a; cd ..; \"$@\"; umount m/a m/y m";
    let out = place.script("true").by(["unshare", "-m", "sh", "-ec", around, "sh"]).run();
    out.ok().err_has("m/a\" is read-only inside").err_has("sockets and named pipes there are the host's own");
}

#[test]
fn a_pipe_of_the_host_as_a_stream_passes_bytes_and_stays_what_it_was() {
    let program = "import os, sys
for stream in (0, 1):
    for change in (lambda: os.fchmod(stream, 0o4777), lambda: os.utime(stream, (5, 5)), lambda: os.fchown(stream, 0, 0)):
        try: change(); print('changed', file=sys.stderr)
        except OSError: pass
print(sys.stdin.read().strip(), 'through', os.get_blocking(0), os.get_blocking(1))";
    let around = "mkfifo -m 600 in out; cat out >got & echo bytes >in & \"$@\" <in >out; wait
        cat got; stat -c %a in out";
    for place in [Some(Place::new()), Place::ordinary()].into_iter().flatten() {
        let words = place.words("run", ["--name", "b", "/usr/bin/python3", "-c", program]);
        let around = TestCommand::new(["sh", "-ec", around, "sh"]).args(words).cwd(place.host());
        let out = place.by_caller(around).run();
        out.ok().stdout("bytes through True True\n600\n600");
        assert_eq!(out.err(), "");
    }
}

#[test]
fn the_program_cannot_type_on_the_callers_terminal() {
    let place = Place::new();
    let (mut terminal, slave) = crate::util::tty::Terminal::open();
    let program = "import fcntl, termios
for letter in b'touch typed':
    try: fcntl.ioctl(0, termios.TIOCSTI, bytes([letter]))
    except OSError: pass
print('tried')";
    // Standard output is no terminal, so the caller's own is what the program has as its input.
    let command = place.sandbox("run", ["--name", "b", "/usr/bin/python3", "-c", program]);
    let out = command.spawn_on(slave.try_clone().unwrap().into()).wait();
    out.ok().stdout("tried");
    assert!(!terminal.seen().contains("touch"), "{}", terminal.seen());
}

#[test]
fn the_second_program_is_missed_by_name() {
    let place = Place::new();
    let copy = place.path("myrt");
    crate::util::command::copy_executable(runtime().as_ref(), copy.as_ref());
    TestCommand::new([&copy, "sandbox", "list"]).run().fails().err_has("there is no myrt-sandbox beside this program");
}
