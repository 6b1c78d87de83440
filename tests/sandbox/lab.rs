//! Networks that play the host, the internet and a network behind the host, so that nothing of this machine's own is touched.
//!
//! | who | addresses | |
//! |---|---|---|
//! | host | 198.51.100.2 (`up0`), 10.9.9.1 (`lan0`) | a server on all of them, port 9000; default route to the internet |
//! | internet | 198.51.100.1, 203.0.113.7, 203.0.113.53 | servers on 8000 (TCP, UDP) that answer with the caller's address; DNS |
//! | neighbour | 10.9.9.2 | the same on 8000, TCP |

use std::sync::atomic::{AtomicU32, Ordering};

use crate::place::Place;
use crate::util::TestCommand;
use crate::util::command::{Output, Running};

/// What the servers run: `[udp|dns|]ADDRESS:PORT` each.
const SERVER: &str = r"
import socket, sys, threading
def tcp(host, port):
    s = socket.create_server((host, port), backlog=16)
    while True:
        c, a = s.accept(); c.sendall(a[0].encode() + b'\n'); c.close()
def udp(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((host, port))
    while True:
        data, a = s.recvfrom(512)
        print('got', data.decode(), flush=True)
        try: s.sendto(a[0].encode() + b'\n', a)
        except OSError: pass
def dns(host, port):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((host, port))
    while True:
        q, a = s.recvfrom(512)
        end = q.index(0, 12) + 5
        # One address for each question of that kind, nothing for the others.
        one = q[end - 4:end - 2] == b'\0\1'
        answer = b'\xc0\x0c\0\1\0\1\0\0\0\1\0\4' + bytes([203, 0, 113, 7]) if one else b''
        s.sendto(q[:2] + b'\x81\x80\0\1\0' + bytes([one]) + b'\0\0\0\0' + q[12:end] + answer, a)
for word in sys.argv[1:]:
    kind, host, port = word.split(':')
    threading.Thread(target=globals()[kind], args=(host, int(port))).start()
import time; time.sleep(0.2)
print('ready', flush=True)
";

/// Says of each `[udp:]ADDRESS:PORT` what it answers.
const ASK: &str = r"
import socket, sys
for word in sys.argv[1:]:
    kind, host, port = word.split(':')
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == 'tcp' else socket.SOCK_DGRAM)
    s.settimeout(3)
    try:
        s.connect((host, int(port)))
        if kind == 'udp': s.send(b'hello')
        print(word, s.recv(99).decode().strip())
    except socket.timeout: print(word, 'timeout')
    except OSError as e: print(word, 'no' if e.errno in (101, 111, 113) else e)
";

/// Says what an address answers, again whenever that has changed.
const FOLLOW: &str = r"
import socket, sys, time
said, word = '', (sys.argv[1], int(sys.argv[2]))
while True:
    try:
        with socket.create_connection(word, 3) as s: heard = s.recv(99).decode().strip()
    except OSError as e: heard = 'no'
    if heard != said: print('now', said := heard, flush=True)
    time.sleep(0.05)
";

/// The networks, gone with this.
pub struct Lab {
    /// A store and a folder.
    pub place: Place,
    names: [String; 3],
    servers: Vec<Running>,
}

impl Lab {
    /// Makes them.
    pub fn new() -> Self {
        Self::around(Place::new())
    }

    /// Those of an ordinary user, where there is one.
    pub fn ordinary() -> Option<Self> {
        Place::ordinary().map(Self::around)
    }

    fn around(place: Place) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let names = ["host", "internet", "neighbour"].map(|role| format!("myrt-{role}-{number}"));
        let mut lab = Self { place, names, servers: Vec::new() };
        let script = r#"
            for n; do ip netns add $n; ip -n $n link set lo up; done
            ip -n $1 link add up0 type veth peer name eth0 netns $2
            ip -n $1 link add lan0 type veth peer name eth0 netns $3
            ip -n $1 addr add 198.51.100.2/24 dev up0; ip -n $1 addr add 10.9.9.1/24 dev lan0
            ip -n $2 addr add 198.51.100.1/24 dev eth0; ip -n $3 addr add 10.9.9.2/24 dev eth0
            for a in 203.0.113.7 203.0.113.53; do ip -n $2 addr add $a/32 dev lo; done
            ip -n $1 link set up0 up; ip -n $1 link set lan0 up; ip -n $2 link set eth0 up; ip -n $3 link set eth0 up
            ip -n $1 route add default via 198.51.100.1; ip -n $3 route add default via 10.9.9.1"#;
        TestCommand::shell(&format!("set -e; {script}"), &lab.names).run().ok();
        for (who, words) in [
            (0, vec!["tcp:0.0.0.0:9000"]),
            (1, vec!["tcp:203.0.113.7:8000", "udp:203.0.113.7:8000", "dns:203.0.113.53:53"]),
            (2, vec!["tcp:0.0.0.0:8000", "udp:0.0.0.0:8000"]),
        ] {
            let server = TestCommand::new(["/usr/bin/python3", "-c", SERVER]).args(words).by(lab.enter(who));
            let mut server = server.spawn();
            server.until_stdout("ready");
            lab.servers.push(server);
        }
        lab
    }

    fn enter(&self, who: usize) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/run/netns/{}", self.names[who])]
    }

    /// A command on the host.
    pub fn on_host(&self, command: TestCommand) -> TestCommand {
        command.by(self.enter(0))
    }

    /// A shell script on the host; what it prints.
    #[track_caller]
    pub fn host(&self, script: &str) -> String {
        self.on_host(TestCommand::shell(script, [""])).run().ok().out()
    }

    /// A command in the internet.
    pub fn on_the_internet(&self, command: TestCommand) -> TestCommand {
        command.by(self.enter(1))
    }

    /// A shell script in the internet.
    #[track_caller]
    pub fn internet(&self, script: &str) {
        self.on_the_internet(TestCommand::shell(script, [""])).run().ok();
    }

    /// Numbers and names of the processes that live on the host.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let pids = TestCommand::new(["ip", "netns", "pids", &self.names[0]]).run().out();
        let named = |pid: &str| {
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
            Some((pid.parse().ok()?, name.trim().to_owned()))
        };
        pids.lines().filter_map(named).collect()
    }

    /// What the neighbour's servers have printed.
    pub fn neighbour_saw(&self) -> String {
        self.servers[2].stdout()
    }

    /// A program in a box with `--net private`.
    pub fn sandboxed<S: ToString>(&self, name: &str, command: impl IntoIterator<Item = S>) -> TestCommand {
        let words = ["--name", name, "--net", "private"].into_iter().map(str::to_owned);
        let command = command.into_iter().map(|word| word.to_string());
        self.on_host(self.place.sandbox("run", words.chain(command)))
    }

    /// What addresses answer to a program in a box.
    #[track_caller]
    pub fn ask(&self, name: &str, words: &[&str]) -> Output {
        self.sandboxed(name, asking(words)).run()
    }

    /// Everything of the host's network that a run could leave behind.
    #[track_caller]
    pub fn picture(&self) -> String {
        self.host("ip -o link | sed 's/^[0-9]*: //'; ip -4 route show table all; nft list ruleset | sed 's/counter packets .* bytes [0-9]*//'; sysctl -a 2>/dev/null -r 'forwarding|forward$'")
    }
}

/// A program that asks.
pub fn asking(words: &[&str]) -> Vec<String> {
    ["/usr/bin/python3", "-c", ASK].iter().chain(words).map(|word| (*word).to_owned()).collect()
}

/// A program that goes on asking one address.
pub fn following(address: &str, port: &str) -> Vec<String> {
    ["/usr/bin/python3", "-c", FOLLOW, address, port].map(str::to_owned).to_vec()
}

/// What such a program is told where its host gets the address that it asks, and loses it again.
#[track_caller]
pub fn follow_an_address_that_the_host_gets(lab: &Lab, mut asking: Running) {
    let own = TestCommand::new(["/usr/bin/python3", "-c", SERVER, "tcp:0.0.0.0:8000"]);
    let mut own = lab.on_host(own).spawn();
    own.until_stdout("ready");
    asking.until_stdout("now 198.51.100.2");
    // Somebody on the host answers there from now on, with the address that a caller on the host has.
    lab.host("ip addr add 203.0.113.7/32 dev lo");
    asking.until_stdout("now no");
    let ask = || lab.on_host(TestCommand::new(self::asking(&["tcp:203.0.113.7:8000"]))).run().ok().out();
    assert_eq!(ask(), "tcp:203.0.113.7:8000 203.0.113.7\n");
    lab.host("ip addr del 203.0.113.7/32 dev lo");
    crate::util::until("the internet's answer", || asking.stdout().trim().ends_with("198.51.100.2").then_some(()));
    let told = asking.stdout();
    assert!(told.lines().filter(|line| *line == "now no").count() == 1, "{told}");
    for each in [&own, &asking] {
        each.signal(rustix::process::Signal::KILL);
    }
    own.wait();
    asking.wait();
}

impl Drop for Lab {
    fn drop(&mut self) {
        for server in &self.servers {
            server.signal(rustix::process::Signal::KILL);
        }
        TestCommand::shell("for n; do ip netns del $n; done", &self.names).run();
    }
}
