//! Podman: networks, pods, and pods as Kubernetes writes them.

use std::fs;

use crate::only_for_myrt;
use crate::podman::machine;
use crate::util::command::Output;
use crate::util::until;

const WEB: [&str; 4] = ["box", "sh", "-c", "echo $WORD > /index.html; httpd -f -p 80 -h /"];

/// Waits until a web server says `word`.
fn until_says(word: &str, get: impl Fn() -> Output) {
    until(&format!("a web server says {word}"), || (get().out().trim() == word).then_some(()));
}

#[test]
fn a_port_is_published_and_two_containers_find_each_other_by_name() {
    machine().podman(["network", "create", "meeting"]).run().ok();
    let options = ["--network", "meeting", "-p", "18080:80", "--env", "WORD=published"];
    let web = machine().start_with("web", &options, &WEB);
    until_says("published", || machine().inside(["busybox", "wget", "-qO-", "http://127.0.0.1:18080/"]).run());
    machine().podman(["port", "web"]).run().ok().out_has("80/tcp -> 0.0.0.0:18080");
    let get = ["run", "--rm", "--network", "meeting", "box", "wget", "-qO-", "http://web/"];
    until_says("published", || machine().podman(get).run());
    drop(web);
    machine().podman(["network", "rm", "meeting"]).run().ok();
}

#[test]
fn none_host_and_anothers_network() {
    let interfaces = "ls /sys/class/net | tr '\\n' ' '";
    machine().sh(&[], interfaces).ok().stdout("lo");
    let ours = machine().inside(["readlink", "/proc/self/ns/net"]).run().ok().out();
    let run = |network: &str| {
        machine().podman(["run", "--rm", "--network", network, "box", "readlink", "/proc/self/ns/net"]).run().ok().out()
    };
    assert_eq!(run("host"), ours);
    let container = machine().start_with("net-owner", &[], &["box", "sleep", "1000"]);
    container.exec(["ip", "addr", "show", "eth0"]).run().ok().out_has("inet 10.88.");
    let theirs = container.exec(["readlink", "/proc/self/ns/net"]).run().ok().out();
    assert_eq!(run("container:net-owner"), theirs);
    assert_ne!(theirs, ours);
}

#[test]
fn pods_live_pause_and_end_together() {
    machine().podman(["pod", "create", "--name", "pod", "-p", "18090:80", "--share", "net,ipc,uts,pid"]).run().ok();
    let web = machine().start_with("pod-web", &["--pod", "pod", "--env", "WORD=pod"], &WEB);
    let other = machine().start_with("pod-other", &["--pod", "pod"], &["box", "sleep", "1000"]);
    until_says("pod", || other.exec(["wget", "-qO-", "http://127.0.0.1/"]).run());
    until_says("pod", || machine().inside(["busybox", "wget", "-qO-", "http://127.0.0.1:18090/"]).run());
    other.exec(["hostname"]).run().ok().stdout("pod");
    other.exec(["ps"]).run().ok().out_has("httpd").out_has("catatonit");

    machine().podman(["pod", "pause", "pod"]).run().ok();
    assert_eq!(web.inspect("{{.State.Status}}"), "paused");
    machine().podman(["pod", "unpause", "pod"]).run().ok();
    machine().podman(["pod", "stop", "-t", "0", "pod"]).run().ok();
    web.until_state("exited");
    machine().podman(["pod", "start", "pod"]).run().ok();
    until_says("pod", || other.exec(["wget", "-qO-", "http://127.0.0.1/"]).run());
    machine().podman(["pod", "stats", "--no-stream", "pod"]).run().ok().out_has("pod-web");

    let kube = machine().podman(["generate", "kube", "pod"]).run().ok().out();
    assert!(kube.contains("kind: Pod") && kube.contains("hostPort: 18090"), "{kube}");
    machine().podman(["pod", "rm", "-f", "-t", "0", "pod"]).run().ok();
    let file = machine().path("generated.yaml");
    fs::write(&file, kube).unwrap();
    machine().podman(["play", "kube", &file]).run().ok();
    until_says("pod", || machine().inside(["busybox", "wget", "-qO-", "http://127.0.0.1:18090/"]).run());
    machine().podman(["play", "kube", "--down", &file]).run().ok();
    machine().podman(["pod", "exists", "pod"]).run().code(1);
}

#[test]
fn a_pod_of_kubernetes_is_played() {
    let file = machine().path("pod.yaml");
    let yaml = r#"
apiVersion: v1
kind: Pod
metadata: {name: kube}
spec:
  restartPolicy: Never
  initContainers:
  - {name: first, image: localhost/box, command: [sh, -c, "echo prepared > /v/file"], volumeMounts: [{name: v, mountPath: /v}]}
  containers:
  - name: one
    image: localhost/box
    command: [sh, -c, "echo $A; cat /v/file; id -u; touch /x; exec sleep 1000"]
    env: [{name: A, value: variable}]
    resources: {limits: {memory: 64Mi}}
    securityContext: {runAsUser: 1000, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {}}]
"#;
    fs::write(&file, yaml).unwrap();
    machine().podman(["play", "kube", &file]).run().ok();
    let logs = || machine().podman(["logs", "kube-one"]).run();
    until("the container has said all", || logs().err().contains("/x").then_some(()));
    logs().stdout("variable\nprepared\n1000").err_has("Read-only file system");
    let stats = machine().podman(["stats", "--no-stream", "--format", "{{.MemUsage}}", "kube-one"]).run();
    stats.ok().out_has("/ 67.11MB");
    machine().podman(["play", "kube", "--down", &file]).run().ok();
}

#[test]
fn a_program_is_found_without_a_path_variable() {
    only_for_myrt!(NO_PATH);
    // Podman gives a pod of Kubernetes the variables of its image and of the file, and no more.
    machine().podman(["import", "--quiet", &machine().path("tmp/box.tar"), "bare"]).run().ok();
    let file = machine().path("bare.yaml");
    let container = "{name: one, image: localhost/bare, command: [sh, -c, 'echo found; exec sleep 1000']}";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: bare}\nspec:\n  containers:\n  - ";
    fs::write(&file, format!("{pod}{container}\n")).unwrap();
    machine().podman(["play", "kube", &file]).run().ok();
    let logs = || machine().podman(["logs", "bare-one"]).run();
    until("the program has run", || (logs().out().trim() == "found").then_some(()));
    machine().podman(["play", "kube", "--down", &file]).run().ok();
}
