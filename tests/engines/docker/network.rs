//! Networks: none, the host's, bridges with published ports and names; docker-compose.

use std::fs;

use super::{Daemon, docker, sh, sleeper};
use crate::util::{TestCommand, until};

const WEB: &str = "hostname > /index.html; exec httpd -f -p 80 -h /";

#[test]
fn none_has_nothing_but_loopback() {
    sh("--network none", "ls /sys/class/net; ip -4 -o addr").run().ok().out_has("127.0.0.1/8").out_lacks("eth0");
}

#[test]
fn host_is_the_daemons_own() {
    let host = Daemon::shared().within(["readlink", "/proc/self/ns/net"]).run().out();
    sh("--network host", "readlink /proc/self/ns/net").run().ok().stdout(&host);
    sh("--network host", "ls /sys/class/net").run().ok().out_has("docker0");
}

#[test]
fn a_published_port_answers_on_the_host() {
    let daemon = Daemon::shared();
    let container = daemon.detached("--publish 127.0.0.1::80 --hostname published", WEB);
    let address = container.is_told("port").run().ok().out();
    let address = address.trim().rsplit(' ').next().unwrap().to_owned();
    let ask = daemon.within(["/bin/busybox", "wget", "-qO-", &format!("http://{address}/")]);
    until("the web server answers", || ask.run().out().contains("published").then_some(()));
}

#[test]
fn two_containers_of_a_network_find_each_other_by_name() {
    let network = format!("net{}", std::process::id());
    docker(&format!("network create {network}")).run().ok();
    let web = Daemon::shared().detached(&format!("--network {network} --network-alias web --hostname web"), WEB);
    let asking = sleeper(&format!("--network {network}"));
    until("the other one answers", || asking.exec("wget -qO- http://web/").run().out().contains("web").then_some(()));
    // Another network is another world, and may be joined while the container runs.
    let stranger = sleeper("");
    stranger.exec("wget -qO- http://web/").run().fails();
    docker(&format!("network connect {network} {}", stranger.name)).run().ok();
    stranger.exec("wget -qO- http://web/").run().ok().stdout("web");
    sh(&format!("--network container:{}", web.name), "wget -qO- http://127.0.0.1/").run().ok().stdout("web");
    drop((web, asking, stranger));
    docker(&format!("network rm {network}")).run().ok();
}

const COMPOSE: &str = r#"
version: "2.4"
services:
  web:
    image: box
    command: sh -c 'cat /data/name > /index.html; exec httpd -f -p 80 -h /'
    volumes: [data:/data]
    mem_limit: 48m
    healthcheck: {test: ["CMD", "wget", "-qO-", "http://127.0.0.1/"], interval: 200ms}
    depends_on: [prepare]
  prepare:
    image: box
    command: sh -c 'echo composed > /data/name'
    volumes: [data:/data]
  ask:
    image: box
    command: sh -c 'until wget -qO- http://web/ | grep composed; do usleep 100000; done'
volumes: {data: {}}
"#;

#[test]
fn compose_brings_services_up_and_down() {
    let daemon = Daemon::shared();
    let file = daemon.path("docker-compose.yml");
    fs::write(&file, COMPOSE).unwrap();
    let project = format!("compose{}", std::process::id());
    let compose = |words: &str| {
        let command = TestCommand::new(["docker-compose", "--file", &file, "--project-name", &project]);
        command.args(words.split(' ')).env("DOCKER_HOST", daemon.host()).env("HOME", daemon.path("client"))
    };
    compose("up --detach").run().ok();
    until("the services have talked", || compose("logs ask").run().out().contains("composed").then_some(()));
    until("the service is healthy", || compose("ps").run().out().contains("(healthy)").then_some(()));
    compose("exec -T web cat /data/name").run().ok().stdout("composed");
    compose("up --detach --scale ask=3").run().ok();
    // Docker refuses to remove a network while it still releases that of a container which has just ended by itself.
    let asking = || docker("ps --format {{.Names}}").run().out().contains(&format!("{project}_ask"));
    until("all have asked", || (!asking()).then_some(()));
    compose("down --volumes --timeout 0").run().ok();
    docker("ps --all --format {{.Names}}").run().ok().out_lacks(&project);
}
