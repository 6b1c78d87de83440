//! Images in a registry: Debian's `docker-registry`, filled by skopeo, for what is honest; a server of the test's own
//! (`server.rs`) for what is not.

mod hostile;
mod server;
mod shown;
mod tokens;
mod transfers;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde_json::json;

use crate::make::{Header, Layout, Pack, Place, Tar};
use crate::unpack::{busybox, run};
use crate::util::command::{Running, copy_executable, write_executable};
use crate::util::user::Ordinary;
use crate::util::{TestCommand, runtime, until};

/// A registry that runs as long as this lives.
struct Registry {
    host: String,
    _running: Running,
}

/// What the registry knows of users: `myrt`, with the password `secret`.
const HTPASSWD: &str = "myrt:$2y$04$LKb9QcENa2meoZOu27GTl.LlrY4eWB9D1mbS1Xln5NDyZsIcbfDBu\n";

impl Registry {
    /// Starts one that anybody may ask, by plain http.
    fn start(place: &Place) -> Self {
        Self::start_with(place, "", "")
    }

    /// Starts one, with this at the end of its configuration of `http`, and this behind it.
    fn start_with(place: &Place, http: &str, more: &str) -> Self {
        // The port was free a moment ago: another test may take it, and then the registry ends.
        for _ in 0..10 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = format!(
                "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
                 storage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp:\n  addr: 127.0.0.1:{port}\n{http}{more}",
                place.text("registry"),
            );
            fs::write(place.path("registry.yml"), config).unwrap();
            let command = TestCommand::new(["docker-registry", "serve"]).arg(place.text("registry.yml"));
            let mut running = command.env("OTEL_TRACES_EXPORTER", "none").spawn();
            let host = format!("127.0.0.1:{port}");
            let up = until("the registry answers, or ends", || {
                if running.ended() {
                    return Some(false);
                }
                TcpStream::connect(&host).is_ok().then_some(true)
            });
            if up && !running.ended() {
                return Self { host, _running: running };
            }
        }
        panic!("no registry starts")
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/{name}", self.host)
    }

    /// Fills it from the layout.
    fn push(&self, place: &Place, tag: &str, name: &str, more: &[&str]) {
        let words = ["skopeo", "--insecure-policy", "copy", "--quiet", "--dest-tls-verify=false"];
        let copy = TestCommand::new(words).args(more).arg(format!("oci:oci:{tag}")).arg(self.image(name));
        copy.cwd(&place.0).run().ok();
    }
}

/// `myrt image` with these words, in the place of the test.
fn image(place: &Place, words: &[&str]) -> TestCommand {
    place.image(words.iter().copied())
}

/// An image with busybox and one file more.
fn layout(place: &Place) -> Layout {
    let mut layout = Layout::new(&place.path("oci"));
    let layers = [(busybox(place), Pack::Gzip), (Tar::default().file("own", "own\n").done(), Pack::Zstd)];
    layout.image("latest", &json!({ "Cmd": ["cat", "/own"] }), &layers);
    layout
}

#[test]
fn an_image_comes_from_a_registry_in_every_way() {
    let place = Place::new("registry");
    layout(&place);
    let registry = Registry::start(&place);
    registry.push(&place, "latest", "team/app:1", &[]);
    registry.push(&place, "latest", "docker:latest", &["--format", "v2s2"]);
    let source = registry.image("team/app:1");
    image(&place, &["unpack", "--quiet", &source, "box"]).run().ok().stdout("");
    run(&place).run().ok().stdout("own");
    image(&place, &["run", "--quiet", &registry.image("docker"), "echo", "ran"]).run().ok().stdout("ran");
    let store = place.text("store");
    let name = source.strip_prefix("docker://").unwrap();
    image(&place, &["pull", "--store", &store, &source]).run().ok().stdout(&format!("{name}: 2 layers, 2 of them new"));
    let inspected = image(&place, &["inspect", "--store", &store, name]).run().ok().json();
    let digest = inspected["manifest"].as_str().unwrap();
    let exact = format!("{}@{digest}", registry.image("team/app"));
    image(&place, &["pull", "--store", &store, "--name", "exact", &exact]).run().ok().out_has("0 of them new");
    let wrong = format!("{}@sha256:{}", registry.image("team/app"), "0".repeat(64));
    image(&place, &["unpack", &wrong, "x"]).run().fails().err_has("404").err_has("sha256:0000");
    let output = image(&place, &["unpack", &registry.image("team/app:2"), "x"]).run();
    output.fails().err_has(&format!("http://{}/v2/team/app/manifests/2: 404", registry.host)).err_has("list-tags");
    assert!(!place.path("x").exists());
}

#[test]
fn an_index_in_a_registry_is_for_several_platforms() {
    let place = Place::new("registry-index");
    Layout::new(&place.path("oci")).platforms();
    let registry = Registry::start(&place);
    registry.push(&place, "all", "app:all", &["--all"]);
    registry.push(&place, "all", "app:docker", &["--all", "--format", "v2s2"]);
    for tag in ["all", "docker"] {
        let (source, native, foreign) = (registry.image(&format!("app:{tag}")), format!("n-{tag}"), format!("f-{tag}"));
        image(&place, &["unpack", &source, &native]).run().ok();
        assert!(place.path(&native).join("rootfs/native").exists());
        image(&place, &["unpack", "--platform", "linux/mips", &source, &foreign]).run().ok();
        assert!(place.path(&foreign).join("rootfs/foreign").exists());
        let none = image(&place, &["unpack", "--platform", "linux/s390x", &source, "x"]).run();
        none.fails().err_has("linux/s390x").err_has("linux/mips");
    }
}

/// A registry that wants a password, with the image `app` in it.
fn with_password(place: &Place) -> Registry {
    layout(place);
    guarded(place)
}

/// The same with an image of the test's own.
fn guarded(place: &Place) -> Registry {
    fs::write(place.path("htpasswd"), HTPASSWD).unwrap();
    let auth = format!("auth: {{ htpasswd: {{ realm: test, path: {} }} }}\n", place.text("htpasswd"));
    let registry = Registry::start_with(place, "", &auth);
    registry.push(place, "latest", "app", &["--dest-creds", "myrt:secret"]);
    registry
}

#[test]
fn a_registry_that_wants_a_password_gets_it() {
    let place = Place::new("password");
    let registry = with_password(&place);
    let source = registry.image("app");
    let unpack = |words: &[&str]| {
        let _ = fs::remove_dir_all(place.path("box"));
        image(&place, &[&["unpack", "--quiet"], words, &[&*source, "box"]].concat())
    };
    unpack(&[]).run().fails().err_has("401").err_has("--creds");
    unpack(&["--creds", "myrt:wrong"]).run().fails().err_has("401").err_has("these credentials");
    unpack(&["--creds", "nobody"]).run().fails().err_has("401");
    unpack(&["--creds", ":x"]).run().fails().err_has("the name is missing");
    unpack(&["--creds", "myrt:secret"]).run().ok();
    // skopeo writes the file that podman has.
    let file = place.text("auth.json");
    let login = ["skopeo", "login", "--tls-verify=false", "-u", "myrt", "-p", "secret", "--authfile", &file];
    TestCommand::new(login).arg(&registry.host).run().ok();
    unpack(&["--authfile", &file]).run().ok();
    unpack(&[]).env("REGISTRY_AUTH_FILE", &file).run().ok();
    unpack(&["--authfile", "none.json"]).run().fails().err_has("none.json");
    for (folder, name, variable) in [
        ("docker", "config.json", "DOCKER_CONFIG"),
        ("home/.docker", "config.json", "HOME"),
        ("home/.config/containers", "auth.json", "HOME"),
        ("run/containers", "auth.json", "XDG_RUNTIME_DIR"),
    ] {
        fs::create_dir_all(place.path(folder)).unwrap();
        fs::copy(&file, place.path(folder).join(name)).unwrap();
        let value = place.text(folder.split('/').next().unwrap());
        unpack(&[]).env(variable, value).run().ok();
        fs::remove_file(place.path(folder).join(name)).unwrap();
    }
    fs::write(place.path("broken.json"), "{").unwrap();
    unpack(&["--authfile", "broken.json"]).run().fails().err_has("broken.json").err_has("podman login");
}

#[test]
fn a_helper_is_asked_for_the_password() {
    let place = Place::new("helper");
    let registry = with_password(&place);
    let helper = "#!/bin/sh\ntest \"$1\" = get || exit 9\nread -r host || true\necho \"$host\" >>\"$0.asked\"\n\
                  printf '{\"ServerURL\":\"%s\",\"Username\":\"myrt\",\"Secret\":\"secret\"}' \"$host\"\n";
    fs::create_dir(place.path("bin")).unwrap();
    write_executable(place.path("bin/docker-credential-test"), helper);
    let none = "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n";
    write_executable(place.path("bin/docker-credential-none"), none);
    write_executable(place.path("bin/docker-credential-bad"), "#!/bin/sh\necho secret; echo \"no $1\" >&2; exit 3\n");
    let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", place.text("bin"));
    let source = registry.image("app");
    let unpack = |logins: serde_json::Value| {
        let _ = fs::remove_dir_all(place.path("box"));
        fs::write(place.path("config.json"), logins.to_string()).unwrap();
        let command = image(&place, &["unpack", "--quiet", &source, "box"]);
        command.env("PATH", &path).env("DOCKER_CONFIG", place.0.display()).run()
    };
    unpack(json!({ "credsStore": "test", "auths": { &registry.host: {} } })).ok();
    unpack(json!({ "credHelpers": { &registry.host: "test" }, "credsStore": "bad" })).ok();
    assert_eq!(
        fs::read_to_string(place.path("bin/docker-credential-test.asked")).unwrap(),
        format!("{0}\n{0}\n", registry.host)
    );
    unpack(json!({ "credsStore": "none" })).fails().err_has("401");
    for (helper, why) in
        [("bad", "docker-credential-bad: it failed"), ("absent", "no such program"), ("../x", "no such")]
    {
        let output = unpack(json!({ "credsStore": helper }));
        output.fails().err_has(why).err_has("401");
        assert!(!output.err().contains("secret"), "{output}");
    }
}

#[test]
fn as_an_ordinary_user_with_ones_own_login() {
    let user = Ordinary::get();
    let place = Place::new("registry-user");
    let programs = Path::new(&runtime()).parent().unwrap().to_owned();
    fs::create_dir_all(place.path("bin")).unwrap();
    fs::create_dir_all(place.path("run/containers")).unwrap();
    for program in ["myrt", "myrt-image"] {
        copy_executable(&programs.join(program), &place.path("bin").join(program));
    }
    let mut layout = Layout::new(&place.path("oci"));
    let owned = Tar::default().entry(&Header { uid: 33, gid: 34, mode: 0o640, ..Header::new("web", b'0') }, b"x");
    layout.image(
        "latest",
        &json!({ "Cmd": ["id", "-u"] }),
        &[(busybox(&place), Pack::Gzip), (owned.done(), Pack::Gzip)],
    );
    let registry = guarded(&place);
    let login = json!({ "auths": { &registry.host: { "auth": "bXlydDpzZWNyZXQ=" } } });
    fs::write(place.path("run/containers/auth.json"), login.to_string()).unwrap();
    // A helper is run as the caller, and not as root of a user namespace.
    write_executable(place.path("bin/docker-credential-who"), "#!/bin/sh\nid -u >\"$0.uid\"\nexit 1\n");
    fs::create_dir(place.path("docker")).unwrap();
    fs::write(place.path("docker/config.json"), r#"{"credsStore":"who"}"#).unwrap();
    TestCommand::new(["chown", "-R", &format!("{}:{}", user.uid, user.gid)]).arg(place.0.display()).run().ok();
    let myrt = |words: &[&str]| {
        let command = TestCommand::new([place.text("bin/myrt"), "--root".to_owned(), place.text("state")]);
        command
            .args(words.iter().copied())
            .cwd(&place.0)
            .env("XDG_RUNTIME_DIR", place.text("run"))
            .by(user.prefix.clone())
    };
    myrt(&["image", "unpack", "--quiet", &registry.image("app"), "box"]).run().ok();
    assert_eq!(
        fs::metadata(place.path("box/rootfs/web")).unwrap().uid(),
        user.range.map_or(user.uid, |range| range + 32)
    );
    myrt(&["run", "box"]).run().ok().stdout("0");
    let command =
        TestCommand::new([place.text("bin/myrt-image"), "unpack".to_owned(), registry.image("app"), "x".to_owned()]);
    let command = command.cwd(&place.0).env("DOCKER_CONFIG", place.text("docker")).by(user.prefix.clone());
    command.env("PATH", format!("{}:/usr/bin:/bin", place.text("bin"))).run().fails().err_has("401");
    assert_eq!(fs::read_to_string(place.path("bin/docker-credential-who.uid")).unwrap().trim(), user.uid.to_string());
}

/// A certificate for 127.0.0.1, signed by a CA that nobody knows: `ca.crt`, `server.crt`, `server.key`.
fn certificates(place: &Place) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
                  -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.crt
                  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=x -keyout server.key -out server.csr
                  printf 'subjectAltName=IP:127.0.0.1' >server.ext
                  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt";
    TestCommand::shell(script, [""; 0]).cwd(&place.0).run().ok();
}

/// A folder below /etc that goes with the test.
struct Trusted(String);

impl Drop for Trusted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // Where they were ours alone.
        let _ = fs::remove_dir("/etc/docker/certs.d").and_then(|()| fs::remove_dir("/etc/docker"));
    }
}

#[test]
fn https_is_believed_by_its_certificate() {
    let place = Place::new("https");
    layout(&place);
    certificates(&place);
    let tls = format!("  tls: {{ certificate: {}, key: {} }}\n", place.text("server.crt"), place.text("server.key"));
    let registry = Registry::start_with(&place, &tls, "");
    registry.push(&place, "latest", "app", &[]);
    let source = registry.image("app");
    let unpack = |words: &[&str]| {
        let _ = fs::remove_dir_all(place.path("box"));
        image(&place, &[&["unpack", "--quiet"], words, &[&*source, "box"]].concat())
    };
    let unknown = unpack(&[]).run();
    unknown.fails().err_has(&format!("https://{}/v2/", registry.host)).err_has("certificate").err_has("certs.d");
    unpack(&[]).env("SSL_CERT_FILE", place.text("ca.crt")).run().ok();
    unpack(&[]).env("SSL_CERT_FILE", "/none").run().fails().err_has("SSL_CERT_FILE").err_has("/none");
    unpack(&[]).env("SSL_CERT_FILE", place.text("server.key")).run().fails().err_has("no certificate");
    unpack(&["--tls-verify=false"]).run().ok();
    unpack(&["--plain-http"]).run().fails().err_has(&format!("http://{}/v2/", registry.host)).err_has("400");
    let folder = Trusted(format!("/etc/docker/certs.d/{}", registry.host));
    fs::create_dir_all(&folder.0).unwrap();
    fs::copy(place.path("ca.crt"), format!("{}/own.crt", folder.0)).unwrap();
    unpack(&[]).run().ok();
    drop(folder);
    unpack(&[]).run().fails();
    let own = format!("home/.config/containers/certs.d/{}", registry.host);
    fs::create_dir_all(place.path(&own)).unwrap();
    fs::copy(place.path("ca.crt"), place.path(&own).join("ca.crt")).unwrap();
    unpack(&[]).env("HOME", place.text("home")).run().ok();
    unpack(&["--cert-dir", &own]).run().ok();
    unpack(&["--cert-dir", "none"]).run().fails().err_has("\"none\"");
}

#[test]
fn a_registry_that_wants_a_certificate_sees_it() {
    let place = Place::new("client-certificate");
    layout(&place);
    certificates(&place);
    // The server's own pair serves as the caller's, and the CA's key is no key of it.
    let shown = place.path("shown");
    fs::create_dir(&shown).unwrap();
    for (from, to) in [("ca.crt", "ca.crt"), ("server.crt", "me.cert"), ("server.key", "me.key")] {
        fs::copy(place.path(from), shown.join(to)).unwrap();
    }
    let (certificate, key, ca) = (place.text("server.crt"), place.text("server.key"), place.text("ca.crt"));
    let tls = format!("  tls: {{ certificate: {certificate}, key: {key}, clientcas: [{ca}] }}\n");
    let registry = Registry::start_with(&place, &tls, "");
    registry.push(&place, "latest", "app", &["--dest-cert-dir", shown.to_str().unwrap()]);
    let source = registry.image("app");
    let unpack = |words: &[&str]| {
        let _ = fs::remove_dir_all(place.path("box"));
        image(&place, &[&["unpack", "--quiet"], words, &[&*source, "box"]].concat()).env("SSL_CERT_FILE", &ca)
    };
    unpack(&["--cert-dir", "shown"]).run().ok();
    unpack(&["--cert-dir", "shown", "--tls-verify=false"]).run().ok();
    unpack(&[]).run().fails().err_has(&format!("https://{}/v2/", registry.host)).err_has("certs.d");
    fs::copy(place.path("ca.key"), shown.join("me.key")).unwrap();
    unpack(&["--cert-dir", "shown"]).run().fails().err_has("me.key").err_has("it is no key of");
    fs::write(shown.join("me.key"), "none").unwrap();
    unpack(&["--cert-dir", "shown"]).run().fails().err_has("me.key").err_has("it is no key of");
    fs::remove_file(shown.join("me.key")).unwrap();
    unpack(&["--cert-dir", "shown"]).run().fails().err_has("me.key");
}

#[test]
fn ones_own_certificate_is_the_registrys_alone_to_see() {
    let place = Place::new("own-certificate");
    certificates(&place);
    let (certificate, key, ca) = (place.text("server.crt"), place.text("server.key"), place.text("ca.crt"));
    let tls = format!("  tls: {{ certificate: {certificate}, key: {key}, clientcas: [{ca}] }}\n");
    fs::create_dir(place.path("shown")).unwrap();
    for (from, to) in [("ca.crt", "ca.crt"), ("server.crt", "me.cert"), ("server.key", "me.key")] {
        fs::copy(place.path(from), place.path("shown").join(to)).unwrap();
    }
    // It stands for a token server that would like to know who comes.
    let curious = Registry::start_with(&place, &tls, "");
    let token = format!("https://{}/token", curious.host);
    let auth = format!("auth: {{ token: {{ realm: '{token}', service: x, issuer: x, rootcertbundle: {ca} }} }}\n");
    let registry = Registry::start_with(&place, &tls, &auth);
    let output = image(&place, &["unpack", "--cert-dir", "shown", &registry.image("app"), "x"]).run();
    output.fails().err_has(&format!("{token}: it refuses"));
}

/// Runs a command where the host has other files: `$1` is bound over each.
fn with_files(command: TestCommand, files: &[(&str, &str)]) -> TestCommand {
    let binds = files.iter().map(|(file, own)| format!("mount --bind {own} {file} && ")).collect::<String>();
    command.by(["unshare", "--mount", "/bin/sh", "-ec", &format!("{binds}exec \"$@\""), "sh"])
}

#[test]
fn names_are_looked_up_in_files_and_by_dns_whatever_modules_the_host_names() {
    let place = Place::new("lookups");
    layout(&place);
    let registry = Registry::start(&place);
    registry.push(&place, "latest", "app", &[]);
    fs::write(place.path("hosts"), "127.0.0.1 registry.test\n").unwrap();
    fs::write(place.path("nsswitch"), "hosts: absent mymachines [NOTFOUND=return] resolve myhostname\n").unwrap();
    fs::write(place.path("resolv"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n").unwrap();
    let files = [
        ("/etc/hosts", place.text("hosts")),
        ("/etc/nsswitch.conf", place.text("nsswitch")),
        ("/etc/resolv.conf", place.text("resolv")),
    ];
    let files = files.each_ref().map(|(file, own)| (*file, own.as_str()));
    let port = registry.host.split(':').nth(1).unwrap();
    let source = format!("docker://registry.test:{port}/app");
    with_files(image(&place, &["unpack", "--quiet", "--plain-http", &source, "box"]), &files).run().ok();
    // By its name it is not this machine: nobody speaks plain http to it unasked.
    let refused = with_files(image(&place, &["unpack", "--creds", "a:b", &source, "x"]), &files).run();
    refused.fails().err_has(&format!("https://registry.test:{port}/")).err_has("--plain-http");
    let unknown = with_files(image(&place, &["unpack", "docker://absent.test/app", "x"]), &files).run();
    unknown.fails().err_has("https://absent.test/").err_has("/etc/hosts and by DNS");
}

#[test]
fn a_proxy_of_the_environment_is_asked_for_other_hosts_alone() {
    let place = Place::new("proxy");
    layout(&place);
    let proxy = server::Server::of(&place, |_| None);
    let words = ["unpack", "--quiet", "--plain-http", "docker://registry.test:5000/app", "box"];
    image(&place, &words).env("HTTPS_PROXY", proxy.url("")).run().ok();
    assert!(proxy.asked("").iter().any(|asked| asked.path == "registry.test:5000"));
    let server = server::Server::of(&place, |_| None);
    image(&place, &["unpack", "--quiet", &server.image(), "own"]).env("ALL_PROXY", "http://127.0.0.1:1").run().ok();
}

#[test]
fn without_certificates_nobody_is_asked() {
    let place = Place::new("no-certificates");
    fs::create_dir(place.path("empty")).unwrap();
    let empty = place.text("empty");
    let output =
        with_files(image(&place, &["unpack", "docker://registry.test/app", "x"]), &[("/etc/ssl", &*empty)]).run();
    output.fails().err_has("no CA certificates").err_has("SSL_CERT_FILE").err_has("ca-certificates");
}
