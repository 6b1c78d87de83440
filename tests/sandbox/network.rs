//! `--net private`: outbound connections, and nothing else.

use rustix::process::Signal;

use crate::lab::{Lab, asking, follow_an_address_that_the_host_gets, following};
use crate::util::{TestCommand, until};

#[test]
fn the_outside_is_reached_by_the_hosts_address() {
    let lab = Lab::new();
    let before = lab.picture();
    assert!(before.contains("net.ipv4.conf.up0.forwarding = 0"), "{before}");
    let words = ["tcp:203.0.113.7:8000", "udp:203.0.113.7:8000"];
    lab.ask("b", &words).ok().stdout("tcp:203.0.113.7:8000 198.51.100.2\nudp:203.0.113.7:8000 198.51.100.2");
    assert_eq!(lab.picture(), before);
    assert!(!lab.place.store().join("b/network.json").exists());
    // A program that does not start leaves nothing either.
    lab.sandboxed("b", ["no-such-program"]).run().code(127);
    assert_eq!(lab.picture(), before);
    // What forwards already, goes on with it.
    lab.host("sysctl -q net.ipv4.conf.up0.forwarding=1");
    lab.ask("b", &words[..1]).out_has("198.51.100.2");
    lab.host("sysctl net.ipv4.conf.up0.forwarding | grep ' = 1'");
}

#[test]
fn the_host_and_what_lies_behind_it_are_out_of_reach() {
    let lab = Lab::new();
    // A published port, as engines have them.
    lab.host(
        "nft add table ip published; nft add chain ip published pre '{ type nat hook prerouting priority -100; }'; \
         nft add rule ip published pre tcp dport 8080 dnat to 10.9.9.2:8000; sysctl -q net.ipv4.ip_forward=1",
    );
    let all = [
        "tcp:127.0.0.1:9000",
        "tcp:198.51.100.2:9000",
        "tcp:10.9.9.1:9000",
        "tcp:10.211.64.1:9000",
        "tcp:198.51.100.2:8080",
        "tcp:10.9.9.2:8000",
        "udp:10.9.9.2:8000",
        "tcp:169.254.169.254:80",
        "tcp:255.255.255.255:80",
    ];
    let wanted: Vec<String> = all.iter().map(|word| format!("{word} no")).collect();
    lab.ask("b", &all).ok().stdout(&wanted.join("\n"));
    // The host itself reaches all of it: it is there.
    let there = [all[0], all[1], all[2], all[5]];
    lab.on_host(TestCommand::new(asking(&there))).run().ok().out_lacks(" no").out_lacks("timeout");
}

#[test]
fn an_address_that_the_host_gets_later_is_out_of_reach_as_well() {
    let lab = Lab::new();
    follow_an_address_that_the_host_gets(&lab, lab.sandboxed("b", following("203.0.113.7", "8000")).spawn());
}

#[test]
fn the_host_may_connect_to_the_box_and_the_outside_may_not() {
    let lab = Lab::new();
    let server = "import socket
s = socket.create_server(('', 7000)); print('ready', flush=True)
while True: s.accept()[0].sendall(b'box')";
    let mut running = lab.sandboxed("b", ["/usr/bin/python3", "-c", server]).spawn();
    running.until_stdout("ready");
    let ask = |command: TestCommand| command.run().ok().out();
    assert_eq!(ask(lab.on_host(TestCommand::new(asking(&["tcp:10.211.64.2:7000"])))), "tcp:10.211.64.2:7000 box\n");
    assert_eq!(lab.host("ip -6 addr show dev myrt0"), "");
    let stranger = ask(lab.on_the_internet(TestCommand::shell(
        "ip route add 10.211.64.0/24 via 198.51.100.2; exec \"$@\"",
        asking(&["tcp:10.211.64.2:7000"]),
    )));
    assert_eq!(stranger, "tcp:10.211.64.2:7000 timeout\n");
    // The host forwards for the box alone, though by the same device: a datagram of the internet's gets nowhere.
    lab.internet("ip route add 10.9.9.0/24 via 198.51.100.2");
    let send = |text: &str| {
        format!("/usr/bin/python3 -c \"import socket; socket.socket(2, 2).sendto(b'{text}', ('10.9.9.2', 8000))\"")
    };
    lab.internet(&send("stopped"));
    lab.host(&send("of the host"));
    until("the host's datagram", || lab.neighbour_saw().contains("of the host").then_some(()));
    assert!(!lab.neighbour_saw().contains("stopped"), "{}", lab.neighbour_saw());
    // It is our table that stops it.
    lab.host("nft flush chain inet $(nft list tables | sed -n 's/.*\\(myrt-b-.*\\)/\\1/p') forward");
    lab.internet(&send("passes"));
    until("the internet's datagram", || lab.neighbour_saw().contains("passes").then_some(()));
    running.signal(Signal::TERM);
    running.wait().code(143);
}

#[test]
fn what_a_killed_run_has_left_is_removed() {
    let lab = Lab::new();
    let before = lab.picture();
    for (turn, again) in [("first", "run"), ("second", "discard")] {
        let mut running = lab.sandboxed("b", ["sh", "-c", "echo ready; exec sleep 54322"]).spawn();
        running.until_stdout("ready");
        running.signal(Signal::KILL);
        running.wait().code(137);
        until("the program has ended", || {
            TestCommand::new(["pgrep", "-f", "^sleep 54322$"]).run().out().is_empty().then_some(())
        });
        assert!(lab.host("nft list tables").contains("myrt-b-"), "{turn}");
        let command = match again {
            "run" => lab.place.sandbox("run", ["--name", "b", "true"]),
            _ => lab.place.sandbox("discard", ["b"]),
        };
        lab.on_host(command).run().ok();
        assert_eq!(lab.picture(), before, "{turn}");
    }
}

#[test]
fn a_run_that_is_killed_while_it_connects_leaves_nothing_unknown() {
    let lab = Lab::new();
    let before = lab.picture();
    let mut moments = 0;
    for call in ["writev", "write", "renameat", "recvfrom"] {
        for number in (1..).step_by(3) {
            let inject = format!("inject={call}:signal=KILL:when={number}");
            let trace = format!("trace={call}");
            let strace = ["strace", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject];
            let killed = lab.sandboxed("b", ["true"]).by(strace).run().exit_code() != 0;
            let again = lab.on_host(lab.place.sandbox("run", ["--name", "b", "true"]));
            // Until the last process of the killed run is gone, the box is in use.
            until("the box is free", || (again.run().exit_code() == 0).then_some(()));
            assert_eq!(lab.picture(), before, "killed at {call} {number}");
            if !killed {
                break;
            }
            moments += 1;
        }
    }
    assert!(moments > 20, "only {moments} moments");
}

#[test]
fn whatever_the_kernel_refuses_of_it_there_is_a_sentence_and_nothing_is_left() {
    let lab = Lab::new();
    let before = lab.picture();
    let trace = lab.place.top().join("trace");
    let mut sentences = Vec::new();
    // Each request goes to the kernel by one of these.
    for number in 1.. {
        // As a kernel says it that has no such device, table or rule.
        let inject = format!("inject=writev:error=EOPNOTSUPP:when={number}");
        let strace = ["strace", "-qq", "-o", trace.to_str().unwrap(), "-e", "trace=writev", "-e", &inject];
        let run = lab.sandboxed("b", ["ls", "/sys/class/net"]).by(strace).run();
        if !std::fs::read_to_string(&trace).unwrap().contains("INJECTED") {
            run.ok().stdout("eth0\nlo");
            break;
        }
        // Late ones are about what is taken down: that is tried again.
        if run.exit_code() == 0 && run.out() == "lo\n" {
            run.err_has("there is no network inside: ");
            assert_eq!(run.err().lines().count(), 1, "request {number}: {run}");
            sentences.push(run.err());
        }
        // What is refused leaves no box.
        if run.exit_code() != 125 {
            lab.on_host(lab.place.sandbox("discard", ["b"])).run().ok();
        }
        assert_eq!(lab.picture(), before, "request {number}: {run}");
    }
    assert!(sentences.len() > 5, "{sentences:?}");
    assert!(sentences.iter().any(|text| text.contains("this kernel has no veth devices")), "{sentences:?}");
}

#[test]
fn two_boxes_have_networks_of_their_own() {
    let lab = Lab::new();
    let before = lab.picture();
    let server = "import socket
s = socket.create_server(('', 7000)); print('ready', flush=True)
while True: s.accept()[0].sendall(b'box')";
    let mut first = lab.sandboxed("one", ["/usr/bin/python3", "-c", server]).spawn();
    first.until_stdout("ready");
    let words = ["tcp:203.0.113.7:8000", "tcp:10.211.64.2:7000", "tcp:10.211.64.1:9000"];
    let wanted = "tcp:203.0.113.7:8000 198.51.100.2\ntcp:10.211.64.2:7000 no\ntcp:10.211.64.1:9000 no";
    lab.ask("two", &words).ok().stdout(wanted);
    // The second one's end has not taken the first one's forwarding along.
    assert!(lab.host("sysctl net.ipv4.conf.up0.forwarding").contains("= 1"));
    first.signal(Signal::TERM);
    first.wait().code(143);
    assert_eq!(lab.picture(), before);
}

#[test]
fn names_and_addresses_of_the_host_are_avoided() {
    let lab = Lab::new();
    lab.host("ip link add myrt0 type veth peer name other; ip route add 10.0.0.0/8 via 198.51.100.1");
    let before = lab.picture();
    let shown = lab.sandboxed("b", ["ip", "-4", "addr", "show", "dev", "eth0"]).run();
    shown.ok().out_has("inet 172.29.64.6/30");
    assert_eq!(lab.picture(), before);
    // The killed run's device is gone with its network, and its name is somebody else's by now.
    let mut running = lab.sandboxed("b", ["sh", "-c", "echo ready; exec sleep 54323"]).spawn();
    running.until_stdout("ready");
    running.signal(Signal::KILL);
    running.wait().code(137);
    until("the device is gone", || (!lab.host("ip link").contains("myrt1")).then_some(()));
    lab.host("ip link add myrt1 type veth peer name another");
    lab.on_host(lab.place.sandbox("discard", ["b"])).run().ok();
    assert!(lab.host("ip link").contains("myrt1"));
    assert_eq!(lab.host("nft list tables"), "");
}

#[test]
fn without_a_way_out_there_is_a_sentence_and_no_network() {
    let lab = Lab::new();
    lab.host("ip route del default");
    let run = lab.sandboxed("b", ["ls", "/sys/class/net"]).run();
    run.ok().stdout("lo").err_has("there is no network inside: the host has no default route");
}

/// From here on there is no socket of netfilter's netlink (12), as on a kernel without nftables, by a filter of six
/// instructions.
#[cfg(target_arch = "x86_64")]
const NO_NFTABLES: &str = "import ctypes, os, struct, sys
code = [(0x20, 0, 0, 0), (0x15, 0, 3, 41), (0x20, 0, 0, 32), (0x15, 0, 1, 12), (0x06, 0, 0, 0x0005005d), (0x06, 0, 0, 0x7fff0000)]
program = ctypes.create_string_buffer(b''.join(struct.pack('HBBI', *line) for line in code))
class Prog(ctypes.Structure): _fields_ = [('len', ctypes.c_ushort), ('filter', ctypes.c_void_p)]
libc = ctypes.CDLL(None)
assert libc.prctl(22, 2, ctypes.byref(Prog(len(code), ctypes.addressof(program)))) == 0
os.execvp(sys.argv[1], sys.argv[1:])";

#[test]
fn where_it_cannot_be_made_there_is_a_sentence_and_no_network() {
    let lab = Lab::new();
    let before = lab.picture();
    let mut without: Vec<(Vec<&str>, &str)> = vec![
        // Root without rights over the network.
        (vec!["setpriv", "--bounding-set", "-net_admin"], "operation not permitted"),
    ];
    #[cfg(target_arch = "x86_64")]
    without.push((vec!["/usr/bin/python3", "-c", NO_NFTABLES], "nftables"));
    for (around, sentence) in without {
        let words = ["--name", "b", "--net", "private", "ls", "/sys/class/net"];
        let command = lab.place.sandbox("run", words).by(around);
        let run = lab.on_host(command).run();
        run.ok().stdout("lo").err_has("there is no network inside: ").err_has(sentence);
        assert_eq!(run.err().lines().count(), 1, "{run}");
        let list = lab.place.sandbox("list", ["--format", "json"]).run().json();
        let report = &list[0]["runs"].as_array().and_then(|runs| runs.last()).unwrap()["report"];
        assert_eq!(report["network"], "none");
        assert_eq!(lab.picture(), before);
        lab.on_host(lab.place.sandbox("discard", ["b"])).run().ok();
    }
}

#[test]
fn names_are_looked_up_where_the_hosts_resolver_looks() {
    let lab = Lab::new();
    let look = ["/usr/bin/python3", "-c", "import socket; print(socket.gethostbyname('name.example'))"];
    // A mount namespace of the test's own has another /etc/resolv.conf, a link as with systemd-resolved, and another /run.
    let with = |resolver: &str, behind: &str| {
        let script = "mount -t tmpfs t /run; mkdir -p /run/systemd/resolve; cp -a /etc /run/etc; rm -f /run/etc/resolv.conf; \
                      ln -s /run/systemd/resolve/stub /run/etc/resolv.conf; echo \"$1\" >/run/systemd/resolve/stub; \
                      mount --bind /run/etc /etc; test -z \"$2\" || echo \"$2\" >/run/systemd/resolve/resolv.conf; \
                      shift 2; exec \"$@\"";
        let private = ["unshare", "-m", "sh", "-ec", script, "sh", resolver, behind].map(str::to_owned);
        let command = lab.place.sandbox("run", ["--name", "b", "--net", "private"]).args(look);
        lab.on_host(command.by(private)).run()
    };
    with("nameserver 203.0.113.53", "").ok().stdout("203.0.113.7");
    with("nameserver 127.0.0.53\noptions timeout:1", "nameserver 203.0.113.53").ok().stdout("203.0.113.7");
    with("nameserver 198.51.100.2\nnameserver 203.0.113.53\noptions timeout:30", "").ok().stdout("203.0.113.7");
    with("nameserver 127.0.0.1\noptions timeout:1 attempts:1", "").fails().err_has("no names can be looked up inside");
}

#[test]
fn dockers_firewall_lets_the_box_through_and_another_is_named() {
    let lab = Lab::new();
    lab.host("iptables-nft -P FORWARD DROP; iptables-nft -N DOCKER-USER; iptables-nft -A DOCKER-USER -j RETURN; iptables-nft -I FORWARD -j DOCKER-USER");
    let before = lab.picture();
    lab.ask("b", &["tcp:203.0.113.7:8000"]).ok().stdout("tcp:203.0.113.7:8000 198.51.100.2");
    assert_eq!(lab.picture(), before);
    let show = "echo ready; exec sleep 1000";
    let mut running = lab.sandboxed("b", ["sh", "-c", show]).spawn();
    running.until_stdout("ready");
    // iptables itself still understands its chain.
    let rules = lab.host("iptables-nft -S DOCKER-USER");
    assert!(rules.contains("-A DOCKER-USER -i myrt0 -m comment --comment myrt-b-"), "{rules}");
    running.signal(Signal::TERM);
    running.wait().code(143);
    assert_eq!(lab.picture(), before);
    lab.host("nft add table inet mine; nft add chain inet mine theirs '{ type filter hook forward priority 0; policy drop; }'");
    let run = lab.sandboxed("b", ["true"]).run();
    run.ok().err_has("this host drops what it forwards (chain theirs of the table mine)");
}
