//! Pods by containerd's implementation of the Container Runtime Interface, as a kubelet asks for them. myrt is there as
//! the default runtime and, as a RuntimeClass would name it, as the handler `myrt`.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};

use crate::HUNGRY;
use crate::calls;
use crate::containerd_daemon::{Containerd, IMAGE};
use crate::util::command::{Running, TestCommand};
use crate::util::{Value, json, until};

const PAUSE: &str = "myrt.test/pause:1";
/// containerd keeps what a kubelet asks for in this namespace of its own.
const NAMESPACE: &str = "k8s.io";
/// A bridge and addresses of the pods; the bridge is made in the daemon's network namespace.
const NETWORK: &str = r#"{"cniVersion": "0.4.0", "name": "pods", "plugins": [{"type": "bridge", "bridge": "pods0",
    "isGateway": true, "ipam": {"type": "host-local", "dataDir": "FOLDER/ipam",
    "ranges": [[{"subnet": "10.55.0.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}"#;

/// A containerd with its client. The client ends with its input, so it is dropped first.
struct Cri {
    input: File,
    output: BufReader<File>,
    _client: Running,
    containerd: Containerd,
}

impl Cri {
    fn start(name: &str) -> Self {
        let containerd = Containerd::start(name, "cri", |runtime| {
            let dir = runtime.parent().unwrap();
            let handler = dir.join("handler");
            fs::create_dir_all(dir.join("cni")).unwrap();
            fs::create_dir(&handler).unwrap();
            let network = NETWORK.replace("FOLDER", dir.to_str().unwrap());
            fs::write(dir.join("cni/pods.conflist"), network).unwrap();
            config(dir, runtime, &calls::wrapper(&handler, "cri-handler"))
        });
        containerd.import(NAMESPACE, IMAGE, &["sh"]);
        containerd.import(NAMESPACE, PAUSE, &["sleep", "1000000"]);

        let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/cri.py");
        let socket = format!("{}/sock", containerd.dir.display());
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let ((their_input, input), (output, their_output)) = (pipe(), pipe());
        let command = TestCommand::new(["/usr/bin/python3", client, &socket]);
        let errors = File::create(containerd.dir.join("client.err")).unwrap();
        let client = command.spawn_with(their_input.into(), their_output.into(), errors.into(), None);
        let output = BufReader::new(File::from(output));
        let mut cri = Self { input: input.into(), output, _client: client, containerd };
        for image in [IMAGE, PAUSE] {
            until(&format!("{image} is known"), || {
                let known = cri.call("ImageStatus", &json!({ "image": { "image": image } })).unwrap();
                (!known["image"].is_null()).then_some(())
            });
        }
        cri
    }

    /// One call. The client has a deadline for each, so that an answer comes.
    fn call(&mut self, method: &str, request: &Value) -> Result<Value, String> {
        writeln!(self.input, "{}", json!({ "call": method, "request": request })).unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let errors = || fs::read_to_string(self.containerd.dir.join("client.err")).unwrap_or_default();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {}", errors()));
        answer["error"].as_str().map_or_else(|| Ok(answer["response"].clone()), |error| Err(error.to_owned()))
    }

    #[track_caller]
    fn ok(&mut self, method: &str, request: &Value) -> Value {
        self.call(method, request).unwrap_or_else(|error| panic!("{method} {request}: {error}"))
    }

    #[track_caller]
    fn refused(&mut self, method: &str, request: &Value) -> String {
        self.call(method, request).err().unwrap_or_else(|| panic!("{method} {request} succeeded"))
    }

    /// The configuration of a pod; `linux` is merged into its part of that name.
    fn pod_config(&self, name: &str, linux: Value) -> Value {
        let mut config = json!({
            "metadata": { "name": name, "uid": format!("{name}-uid"), "namespace": "default" },
            "hostname": format!("{name}-host"),
            "log_directory": self.containerd.dir.join("logs").join(name),
            "linux": { "cgroup_parent": format!("/{}", self.containerd.namespace) },
        });
        merge(&mut config["linux"], linux);
        config
    }

    #[track_caller]
    fn run_pod(&mut self, handler: &str, config: &Value) -> Pod {
        let made = self.ok("RunPodSandbox", &json!({ "config": config, "runtime_handler": handler }));
        Pod { id: made["pod_sandbox_id"].as_str().unwrap().to_owned(), config: config.clone() }
    }

    /// Creates and starts a container of a pod; `more` is merged into its configuration.
    #[track_caller]
    fn container(&mut self, pod: &Pod, name: &str, command: &[&str], more: Value) -> String {
        let id = self.create(pod, name, command, more);
        self.ok("StartContainer", &json!({ "container_id": id }));
        id
    }

    #[track_caller]
    fn create(&mut self, pod: &Pod, name: &str, command: &[&str], more: Value) -> String {
        let mut config = json!({
            "metadata": { "name": name }, "image": { "image": IMAGE },
            "command": command, "log_path": format!("{name}.log"),
        });
        merge(&mut config, more);
        let request = json!({ "pod_sandbox_id": pod.id, "config": config, "sandbox_config": pod.config });
        self.ok("CreateContainer", &request)["container_id"].as_str().unwrap().to_owned()
    }

    /// What a command in a container prints.
    #[track_caller]
    fn exec(&mut self, id: &str, script: &str) -> String {
        let request = json!({ "container_id": id, "cmd": ["sh", "-c", script] });
        let answer = self.ok("ExecSync", &request);
        assert_eq!(answer["exit_code"], 0, "{script}: {answer}");
        answer["stdout"].as_str().unwrap().trim().to_owned()
    }

    #[track_caller]
    fn status(&mut self, id: &str) -> Value {
        self.ok("ContainerStatus", &json!({ "container_id": id }))["status"].clone()
    }

    #[track_caller]
    fn until_exited(&mut self, id: &str) -> Value {
        until("the container has ended", || Some(self.status(id)).filter(|status| status["state"] == EXITED))
    }

    #[track_caller]
    fn remove_pod(&mut self, pod: &Pod) {
        self.ok("StopPodSandbox", &json!({ "pod_sandbox_id": pod.id }));
        self.ok("RemovePodSandbox", &json!({ "pod_sandbox_id": pod.id }));
    }

    /// The lines that a container wrote into its log.
    fn log(&self, pod: &str, container: &str) -> String {
        let path = self.containerd.dir.join("logs").join(pod).join(format!("{container}.log"));
        fs::read_to_string(path).unwrap_or_default()
    }

    fn limit(&self, id: &str, files: &[&str]) -> String {
        let folders = self.containerd.cgroups(id);
        let paths = files.iter().flat_map(|file| folders.iter().map(move |folder| folder.join(file)));
        let found = paths.filter_map(|path: PathBuf| fs::read_to_string(path).ok()).next();
        found.unwrap_or_else(|| panic!("none of {files:?} in {folders:?}")).trim().to_owned()
    }
}

const RUNNING: i32 = 1;
const EXITED: i32 = 2;
/// Modes of a namespace.
const OF_CONTAINER: i32 = 1;
const OF_NODE: i32 = 2;
const OF_TARGET: i32 = 3;

struct Pod {
    id: String,
    config: Value,
}

/// What goes to the end of config.toml: both runtimes are myrt, told apart by who wrote down the calls.
fn config(dir: &Path, runtime: &Path, handler: &Path) -> String {
    let runtimes = "[plugins.\"io.containerd.grpc.v1.cri\".containerd";
    let one = |name: &str, binary: &Path, more: &str| {
        format!(
            "{runtimes}.runtimes.{name}]\nruntime_type = \"io.containerd.runc.v2\"\n\
             {runtimes}.runtimes.{name}.options]\nBinaryName = \"{}\"\n{more}",
            binary.display()
        )
    };
    // Without restrict_oom_score_adj containerd asks for -998, which only CAP_SYS_RESOURCE may write.
    format!(
        "[plugins.\"io.containerd.grpc.v1.cri\"]\nsandbox_image = \"{PAUSE}\"\nrestrict_oom_score_adj = true\n\
         netns_mounts_under_state_dir = true\n\
         [plugins.\"io.containerd.grpc.v1.cri\".cni]\nbin_dir = \"/usr/lib/cni\"\nconf_dir = \"{}/cni\"\n\
         {runtimes}]\ndefault_runtime_name = \"usual\"\n{}{}",
        dir.display(),
        one("usual", runtime, "NoNewKeyring = true\n"),
        one("myrt", handler, ""),
    )
}

fn merge(into: &mut Value, more: Value) {
    match (into, more) {
        (Value::Object(into), Value::Object(more)) => {
            for (key, value) in more {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, more) => *into = more,
    }
}

#[test]
fn a_pod_of_two_containers_lives_from_run_to_remove() {
    let mut cri = Cri::start("pod");
    let conditions = cri.ok("Status", &json!({}))["status"]["conditions"].clone();
    assert!(conditions.as_array().unwrap().iter().all(|one| one["status"] == true), "{conditions}");

    let config = cri.pod_config("web", json!({}));
    let pod = cri.run_pod("", &config);
    let status = cri.ok("PodSandboxStatus", &json!({ "pod_sandbox_id": pod.id }))["status"].clone();
    assert_eq!(status["state"], 0, "{status}");
    assert!(status["network"]["ip"].as_str().unwrap().starts_with("10.55.0."), "{status}");

    let serve = "echo to the log; echo to the other >&2; trap 'exit 6' TERM
        hostname >/tmp/index.html; busybox httpd -p 8080 -h /tmp; while :; do sleep 0.01; done";
    // As a kubelet asks for by default.
    let own = json!({ "security_context": { "namespace_options": { "pid": OF_CONTAINER } } });
    let server = cri.container(&pod, "server", &["sh", "-c", serve], json!({ "linux": own }));
    let envs = json!({ "linux": own, "envs": [{ "key": "COLOR", "value": "green" }], "working_dir": "/tmp" });
    let client = cri.container(&pod, "client", &["sleep", "1000000"], envs);
    assert_eq!(cri.status(&server)["state"], RUNNING);

    // Shared: network, ipc, host name. A container's own: processes and mounts.
    let namespaces = "for kind in net ipc uts pid mnt; do readlink /proc/self/ns/$kind; done";
    let (one, other) = (cri.exec(&server, namespaces), cri.exec(&client, namespaces));
    let same: Vec<_> = one.lines().zip(other.lines()).map(|(one, other)| one == other).collect();
    assert_eq!(same, [true, true, true, false, false], "{one}\n{other}");
    until("the server answers", || {
        let cmd = ["busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8080/index.html"];
        let answer = cri.ok("ExecSync", &json!({ "container_id": client, "cmd": cmd }));
        (answer["stdout"] == "web-host\n").then_some(())
    });
    assert_eq!(cri.exec(&client, "echo $COLOR; pwd"), "green\n/tmp");
    let both =
        cri.ok("ExecSync", &json!({ "container_id": client, "cmd": ["sh", "-c", "echo o; echo e >&2; exit 9"] }));
    assert_eq!(both, json!({ "stdout": "o\n", "stderr": "e\n", "exit_code": 9 }));
    let missing = cri.refused("ExecSync", &json!({ "container_id": client, "cmd": ["no-such-program"] }));
    assert!(missing.contains("executable file not found in $PATH"), "{missing}");
    let late = json!({ "container_id": client, "cmd": ["sleep", "1000"], "timeout": 1 });
    assert!(cri.refused("ExecSync", &late).contains("DEADLINE_EXCEEDED"));
    assert_eq!(cri.exec(&client, "ps | grep -c '[s]leep 1000$' || true"), "0");

    let linux =
        json!({ "memory_limit_in_bytes": 33_554_432, "cpu_quota": 50_000, "cpu_period": 100_000, "cpu_shares": 512 });
    cri.ok("UpdateContainerResources", &json!({ "container_id": client, "linux": linux }));
    assert_eq!(cri.limit(&client, &["memory.limit_in_bytes", "memory.max"]), "33554432");
    let quota = cri.limit(&client, &["cpu.cfs_quota_us", "cpu.max"]);
    assert!(["50000", "50000 100000"].contains(&quota.as_str()), "{quota}");
    let stats = cri.ok("ContainerStats", &json!({ "container_id": client }))["stats"].clone();
    assert!(stats["memory"]["working_set_bytes"]["value"].as_u64().unwrap() > 0, "{stats}");
    assert!(stats["cpu"]["usage_core_nano_seconds"]["value"].as_u64().unwrap() > 0, "{stats}");
    let stats = cri.ok("PodSandboxStats", &json!({ "pod_sandbox_id": pod.id }))["stats"]["linux"].clone();
    assert_eq!(stats["containers"].as_array().unwrap().len(), 2, "{stats}");

    cri.ok("StopContainer", &json!({ "container_id": server, "timeout": 20 }));
    let ended = cri.status(&server);
    assert_eq!((&ended["state"], &ended["exit_code"]), (&json!(EXITED), &json!(6)), "{ended}");
    cri.ok("StopContainer", &json!({ "container_id": client, "timeout": 0 }));
    assert_eq!(cri.status(&client)["exit_code"], 137);
    let log = cri.log("web", "server");
    assert!(log.contains("stdout F to the log") && log.contains("stderr F to the other"), "{log}");

    cri.ok("RemoveContainer", &json!({ "container_id": server }));
    cri.refused("ContainerStatus", &json!({ "container_id": server }));
    // The pod takes the other one with it.
    cri.remove_pod(&pod);
    cri.refused("ContainerStatus", &json!({ "container_id": client }));
    cri.containerd.assert_clean();
}

#[test]
fn a_runtime_class_is_served_by_the_handler_of_its_name() {
    let mut cri = Cri::start("class");
    let config = cri.pod_config("classed", json!({}));
    let unknown = cri.refused("RunPodSandbox", &json!({ "config": config, "runtime_handler": "no-such" }));
    assert!(unknown.contains("no-such"), "{unknown}");
    let pod = cri.run_pod("myrt", &config);
    let status = cri.ok("PodSandboxStatus", &json!({ "pod_sandbox_id": pod.id, "verbose": true }));
    assert_eq!(status["status"]["runtime_handler"], "myrt", "{status}");
    let id = cri.container(&pod, "one", &["sleep", "1000000"], json!({}));
    assert_eq!(cri.exec(&id, "hostname"), "classed-host");
    cri.remove_pod(&pod);
    let log = std::env::var_os("MYRT_CALLS").map_or_else(|| cri.containerd.dir.join("handler"), PathBuf::from);
    let own = |call: &&String| call.starts_with("cri-handler\t") && call.contains(&*cri.containerd.namespace);
    let calls = calls::read(&log);
    for verb in ["'create'", "'start'", "'exec'", "'kill'", "'delete'"] {
        assert!(calls.iter().filter(own).any(|call| call.contains(verb)), "no {verb} in {calls:?}");
    }
    cri.containerd.assert_clean();
}

#[test]
fn a_security_context_is_in_force() {
    let mut cri = Cri::start("security");
    let config = cri
        .pod_config("careful", json!({ "sysctls": [{ "key": "net.ipv4.ip_unprivileged_port_start", "value": "81" }] }));
    let pod = cri.run_pod("", &config);
    let context = json!({
        "namespace_options": { "pid": OF_CONTAINER },
        "run_as_user": { "value": 1000 }, "run_as_group": { "value": 1001 }, "supplemental_groups": [2002],
        "readonly_rootfs": true, "no_new_privs": true, "seccomp": { "profile_type": 0 },
        "capabilities": { "add_capabilities": ["NET_ADMIN"], "drop_capabilities": ["CHOWN"] },
        "masked_paths": ["/etc/group"], "readonly_paths": ["/proc/sys"],
    });
    fs::write(cri.containerd.dir.join("note"), "from outside").unwrap();
    let mounts =
        json!([{ "container_path": "/tmp", "host_path": cri.containerd.dir.join("note").parent(), "readonly": true }]);
    let more =
        json!({ "linux": { "security_context": context, "resources": { "oom_score_adj": 500 } }, "mounts": mounts });
    let id = cri.container(&pod, "one", &["sleep", "1000000"], more);
    assert_eq!(cri.exec(&id, "id -u; id -g; id -G"), "1000\n1001\n1001 2000 2002");
    assert_eq!(cri.exec(&id, "sed -n 's/^\\(NoNewPrivs\\|Seccomp\\):[[:space:]]*//p' /proc/self/status"), "1\n2");
    let bounding = cri.exec(&id, "sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status");
    let bounding = u64::from_str_radix(&bounding, 16).unwrap();
    assert_eq!((bounding >> 12 & 1, bounding & 1), (1, 0), "{bounding:x}");
    assert_eq!(cri.exec(&id, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /tmp/note"), "81\nfrom outside");
    assert_eq!(
        cri.exec(&id, "cat /etc/group; cat /proc/1/oom_score_adj; touch /root/x 2>&1 | grep -o 'Read-only' "),
        "500\nRead-only"
    );

    let privileged = json!({ "linux": { "security_context": { "privileged": true } } });
    let request = json!({ "pod_sandbox_id": pod.id, "sandbox_config": pod.config, "config": {
        "metadata": { "name": "two" }, "image": { "image": IMAGE }, "linux": privileged["linux"] } });
    let refused = cri.refused("CreateContainer", &request);
    assert!(refused.contains("privileged"), "{refused}");
    cri.remove_pod(&pod);

    let config = cri.pod_config("mighty", json!({ "security_context": { "privileged": true } }));
    let pod = cri.run_pod("", &config);
    let id = cri.container(&pod, "one", &["sleep", "1000000"], privileged);
    assert_eq!(cri.exec(&id, "test -b /dev/vda || test -c /dev/kmsg && mount -t tmpfs tmpfs /mnt && echo may"), "may");
    cri.remove_pod(&pod);
    cri.containerd.assert_clean();
}

#[test]
fn namespaces_are_those_of_the_pod_the_node_or_another_container() {
    let mut cri = Cri::start("spaces");
    let link = |kind: &str| format!("readlink /proc/self/ns/{kind}");
    let node = |cri: &Cri, kind: &str| {
        cri.containerd.inside(["readlink", &format!("/proc/1/ns/{kind}")]).run().ok().out().trim().to_owned()
    };
    // The host's network and ipc, as a node's own agents ask for.
    let options = json!({ "namespace_options": { "network": OF_NODE, "ipc": OF_NODE } });
    let mut config = cri.pod_config("agent", json!({ "security_context": options }));
    config["hostname"] = json!("");
    let pod = cri.run_pod("", &config);
    let id = cri.container(&pod, "one", &["sleep", "1000000"], json!({ "linux": { "security_context": options } }));
    for kind in ["net", "ipc"] {
        assert_eq!(cri.exec(&id, &link(kind)), node(&cri, kind));
    }
    cri.remove_pod(&pod);

    // One pid namespace for the whole pod; then the one of another container.
    let config = cri.pod_config("shared", json!({}));
    let pod = cri.run_pod("", &config);
    let in_pod = cri.container(&pod, "one", &["sleep", "1000001"], json!({}));
    assert!(cri.exec(&in_pod, "ps").contains("sleep 1000000"), "the pod's first process is not seen");
    let own = json!({ "linux": { "security_context": { "namespace_options": { "pid": OF_CONTAINER } } } });
    let alone = cri.container(&pod, "two", &["sleep", "1000002"], own);
    assert!(!cri.exec(&alone, "ps").contains("sleep 1000000"));
    let target = json!({ "pid": OF_TARGET, "target_id": alone });
    let target = json!({ "linux": { "security_context": { "namespace_options": target } } });
    let guest = cri.container(&pod, "three", &["sleep", "1000003"], target);
    let seen = cri.exec(&guest, "ps");
    assert!(seen.contains("sleep 1000002") && !seen.contains("sleep 1000001"), "{seen}");
    cri.remove_pod(&pod);
    cri.containerd.assert_clean();
}

#[test]
fn what_goes_wrong_is_told() {
    let mut cri = Cri::start("wrong");
    let config = cri.pod_config("wrong", json!({}));
    let pod = cri.run_pod("", &config);
    let id = cri.create(&pod, "missing", &["no-such-program"], json!({}));
    let refused = cri.refused("StartContainer", &json!({ "container_id": id }));
    assert!(refused.contains("no-such-program") && refused.contains("executable file not found in $PATH"), "{refused}");
    let status = cri.until_exited(&id);
    assert_eq!((&status["exit_code"], &status["reason"]), (&json!(128), &json!("StartError")), "{status}");

    let resources = json!({ "linux": { "resources": { "memory_limit_in_bytes": 16_777_216 } } });
    let id = cri.container(&pod, "hungry", &["sh", "-c", HUNGRY], resources);
    cri.exec(&id, "touch /go");
    until("containerd has heard of it", || (cri.status(&id)["reason"] == "OOMKilled").then_some(()));
    cri.exec(&id, "rm /go");
    let status = cri.until_exited(&id);
    assert_eq!((&status["exit_code"], &status["reason"]), (&json!(137), &json!("OOMKilled")), "{status}");

    let id = cri.container(&pod, "failing", &["sh", "-c", "echo last words; exit 42"], json!({}));
    assert_eq!(cri.until_exited(&id)["exit_code"], 42);
    until("the log is written", || cri.log("wrong", "failing").contains("last words").then_some(()));
    cri.remove_pod(&pod);
    cri.containerd.assert_clean();
}
