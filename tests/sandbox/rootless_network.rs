//! `--net private` of an ordinary user: a program of the user's own carries the connections.

use rustix::process::Signal;

use crate::lab::{Lab, asking, follow_an_address_that_the_host_gets, following};
use crate::util::command::Output;
use crate::util::{TestCommand, Value, until};

/// The programs, in the order in which they are tried.
const PROGRAMS: [&str; 2] = ["pasta", "slirp4netns"];

/// What the tests themselves need on the PATH.
const OTHERS: [&str; 16] = [
    "chmod", "cp", "id", "ip", "ls", "mknod", "mount", "nft", "nsenter", "python3", "rm", "setpriv", "sh", "sleep",
    "umount", "unshare",
];

/// A command of the user's on the lab's host, which has /dev/net/tun with these rights, and of the programs those of
/// `programs` alone.
fn with(lab: &Lab, programs: &[&str], mode: &str, command: TestCommand) -> TestCommand {
    let bin = lab.place.home().join("bin");
    let _ = std::fs::remove_dir_all(&bin);
    std::fs::create_dir(&bin).unwrap();
    for program in programs.iter().chain(&OTHERS) {
        let mut real = ["/usr/bin", "/usr/sbin"].iter().map(|folder| std::path::Path::new(folder).join(program));
        std::os::unix::fs::symlink(real.find(|file| file.exists()).unwrap(), bin.join(program)).unwrap();
    }
    let tun = "mount -t tmpfs t /dev/net; mknod -m \"$1\" /dev/net/tun c 10 200; chmod \"$1\" /dev/net/tun; shift; exec \"$@\"";
    let around = ["unshare", "-m", "sh", "-ec", tun, "sh", mode];
    lab.on_host(command.env("PATH", bin.display()).by(around))
}

fn sandboxed(lab: &Lab, programs: &[&str], command: &[String]) -> TestCommand {
    let words = ["--name", "b", "--net", "private"].map(str::to_owned).into_iter().chain(command.iter().cloned());
    with(lab, programs, "666", lab.place.sandbox("run", words))
}

fn ask(lab: &Lab, programs: &[&str], words: &[&str]) -> Output {
    sandboxed(lab, programs, &asking(words)).run()
}

/// What the last run was told to have had: the network, and what was noted.
fn reported(lab: &Lab) -> (String, String) {
    let list = lab.place.sandbox("list", ["--format", "json"]).run().json();
    let report = &list[0]["runs"].as_array().and_then(|runs| runs.last()).unwrap()["report"];
    let notes = report["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect::<Vec<_>>();
    (report["network"].as_str().unwrap().to_owned(), notes.join("\n"))
}

#[test]
fn each_program_reaches_the_outside_and_nothing_of_the_host() {
    let Some(lab) = Lab::ordinary() else { return };
    let before = lab.picture();
    for program in PROGRAMS {
        let words = ["tcp:203.0.113.7:8000", "udp:203.0.113.7:8000"];
        let wanted = "tcp:203.0.113.7:8000 198.51.100.2\nudp:203.0.113.7:8000 198.51.100.2";
        let out = ask(&lab, &[program], &words);
        out.ok().stdout(wanted);
        assert_eq!(out.err(), "", "{program}");
        assert_eq!(reported(&lab), ("private".to_owned(), String::new()), "{program}");
        let all = [
            "tcp:127.0.0.1:9000",
            "tcp:198.51.100.2:9000",
            "tcp:10.9.9.1:9000",
            "tcp:10.9.9.2:8000",
            "tcp:169.254.169.254:80",
            "tcp:255.255.255.255:80",
            "tcp:224.0.0.1:80",
        ];
        let wanted: Vec<String> = all.iter().map(|word| format!("{word} no")).collect();
        ask(&lab, &[program], &all).ok().stdout(&wanted.join("\n"));
        // What slirp4netns has on its own network would be the host's loopback and its resolver.
        let aliases = ["tcp:10.0.2.2:9000", "udp:10.0.2.3:53", "udp:10.9.9.2:8000"];
        let out = ask(&lab, &[program], &aliases);
        let nothing = [" no", " timeout", "] Operation not permitted"];
        assert!(out.ok().lines().iter().all(|line| nothing.iter().any(|end| line.ends_with(end))), "{out}");
        assert!(!lab.neighbour_saw().contains("hello"), "{program}");
        assert_eq!(lab.picture(), before, "{program}");
    }
    // The host itself reaches all of it: it is there.
    let there = ["tcp:127.0.0.1:9000", "tcp:198.51.100.2:9000", "tcp:10.9.9.2:8000"];
    lab.on_host(TestCommand::new(asking(&there))).run().ok().out_lacks(" no").out_lacks("timeout");
}

#[test]
fn an_address_that_the_host_gets_later_is_out_of_reach_as_well() {
    let Some(lab) = Lab::ordinary() else { return };
    for program in PROGRAMS {
        let command = sandboxed(&lab, &[program], &following("203.0.113.7", "8000"));
        follow_an_address_that_the_host_gets(&lab, command.spawn());
        until("nothing runs any more", || lab.processes().iter().all(|(_, name)| !is_it(program, name)).then_some(()));
    }
}

#[test]
fn the_program_inside_cannot_open_what_is_closed() {
    let Some(lab) = Lab::ordinary() else { return };
    let attempt = "import socket
s = socket.socket()
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0'); s.settimeout(3)
for address in ('10.9.9.2', 8000), ('10.9.9.1', 9000):
    try: s.connect(address); print('connected')
    except OSError as error: print(type(error).__name__)
";
    let flush =
        "nft flush ruleset; ip link set eth0 down; ip route add 10.9.9.0/24 dev eth0; exec /usr/bin/python3 -c \"$0\"";
    let command = ["sh", "-c", flush, attempt].map(str::to_owned);
    for program in PROGRAMS {
        sandboxed(&lab, &[program], &command).run().ok().out_lacks("connected");
    }
}

#[test]
fn names_are_looked_up() {
    let Some(lab) = Lab::ordinary() else { return };
    let look =
        ["/usr/bin/python3", "-c", "import socket; print(socket.gethostbyname('name.example'))"].map(str::to_owned);
    let resolver = "cp -a /etc /dev/shm/etc-$$; mount --bind /dev/shm/etc-$$ /etc; rm -rf /dev/shm/etc-$$/resolv.conf
                    echo nameserver 203.0.113.53 >/etc/resolv.conf; \"$@\"; code=$?; umount /etc; rm -rf /dev/shm/etc-$$; exit $code";
    for program in PROGRAMS {
        let command = sandboxed(&lab, &[program], &look);
        command.by(["unshare", "-m", "sh", "-c", resolver, "sh"]).run().ok().stdout("203.0.113.7");
    }
}

#[test]
fn where_it_cannot_be_had_there_is_a_sentence_and_no_network() {
    let Some(lab) = Lab::ordinary() else { return };
    let run = |programs: &[&str], mode: &str| {
        let words = ["--name", "b", "--net", "private", "ls", "/sys/class/net"];
        with(&lab, programs, mode, lab.place.sandbox("run", words)).run()
    };
    let without = |out: Output, sentence: &str| {
        out.ok().stdout("lo").err_has("there is no network inside").err_has(sentence);
        assert_eq!(out.err().lines().count(), 1, "{out}");
        let (network, notes) = reported(&lab);
        assert_eq!(network, "none");
        assert!(notes.contains(sentence), "{notes}");
    };
    without(run(&[], "666"), "neither pasta");
    without(run(&PROGRAMS, "600"), "open \"/dev/net/tun\": permission denied");
    // One that fails, by itself and beside one that works.
    let bin = lab.place.home().join("bin");
    let broken = |name: &str| {
        std::fs::write(bin.join(name), "#!/bin/sh\necho broken on purpose >&2\nexit 1\n").unwrap();
        crate::util::command::set_mode(bin.join(name), 0o755);
    };
    let words = || ["--name", "b", "--net", "private"].map(str::to_owned).into_iter();
    let command =
        with(&lab, &[], "666", lab.place.sandbox("run", words().chain(["ls", "/sys/class/net"].map(str::to_owned))));
    broken("pasta");
    without(command.run(), "pasta: broken on purpose");
    let command =
        with(&lab, &["slirp4netns"], "666", lab.place.sandbox("run", words().chain(asking(&["tcp:203.0.113.7:8000"]))));
    broken("pasta");
    command.run().ok().stdout("tcp:203.0.113.7:8000 198.51.100.2");
    lab.host("ip route del default");
    without(run(&PROGRAMS, "666"), "the host has no default route");
}

/// Whether a process is the program: pasta becomes the passt of this processor.
fn is_it(program: &str, name: &str) -> bool {
    name.starts_with(program) || program == "pasta" && name.starts_with("passt")
}

/// The numbers of the program that carries the lab's only run, and of its keeper, which lives with the run's table.
#[track_caller]
fn program_and_keeper(lab: &Lab, program: &str) -> [i32; 2] {
    let (pid, _) = lab.processes().into_iter().find(|(_, name)| is_it(program, name)).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap();
    [pid, parent.trim().parse().unwrap()]
}

/// Whether a process has not ended, not even as one that nobody has waited for.
fn lives(pid: i32) -> bool {
    std::fs::read_link(format!("/proc/{pid}/ns/net")).is_ok()
}

#[test]
fn the_program_ends_with_the_run_however_that_ends() {
    let Some(lab) = Lab::ordinary() else { return };
    let before = lab.processes();
    let command = ["sh", "-c", "echo ready; exec sleep 54325"].map(str::to_owned);
    let gone = || TestCommand::new(["pgrep", "-f", "^sleep 54325$"]).run().out().is_empty();
    for program in PROGRAMS {
        for signal in [Signal::TERM, Signal::KILL] {
            let mut run = sandboxed(&lab, &[program], &command).spawn();
            run.until_stdout("ready");
            let [_, keeper] = program_and_keeper(&lab, program);
            assert!(lives(keeper));
            run.signal(signal);
            run.wait();
            let ended = || lab.processes() == before && gone() && !lives(keeper);
            until("nothing runs any more", || ended().then_some(()));
        }
    }
}

#[test]
fn its_end_before_that_of_the_run_is_told() {
    let Some(lab) = Lab::ordinary() else { return };
    let before = lab.processes();
    for program in PROGRAMS {
        let (reader, writer) = std::io::pipe().unwrap();
        let command = ["sh", "-c", "echo ready; read line"].map(str::to_owned);
        let mut run = sandboxed(&lab, &[program], &command).spawn_on(reader.into());
        run.until_stdout("ready");
        let [pid, keeper] = program_and_keeper(&lab, program);
        assert!(lives(keeper));
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
        until("the keeper ends", || (!lives(keeper)).then_some(()));
        drop(writer);
        run.wait().code(1).err_has(&format!("{program} has ended"));
        assert!(reported(&lab).1.contains("the network inside was gone before the program was"));
        assert_eq!(lab.processes(), before);
    }
}
