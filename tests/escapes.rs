//! One replay for each published escape of a peer that a runtime without that flaw must survive. Each asserts that the
//! host's file, folder or binary is as it was, and not merely that something failed.
//!
//! Not replayed: CVE-2026-84042 (crun with a virtual machine as handler: myrt has none); CVE-2026-119101 and
//! CVE-2026-115520 (restore of a checkpoint: myrt has none yet).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode};

use crate::only_for_myrt;
use crate::util::command::{Running, TestCommand, set_mode, write_executable};
use crate::util::config::Edit as _;
use crate::util::tty::{FdSocket, Terminal};
use crate::util::{Bundle, Value, assets, is_myrt, json, leftovers};

/// A folder of the host with one file, where a hostile link leads.
struct Victim {
    dir: PathBuf,
    mode: u32,
}

impl Victim {
    fn new(bundle: &Bundle) -> Self {
        let dir = bundle.outside("victim");
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), "untouched").unwrap();
        let mode = fs::metadata(dir.join("file")).unwrap().mode();
        Self { dir, mode }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("file")
    }

    #[track_caller]
    fn assert_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["file"], "something was made in the host's folder");
        assert_eq!(fs::read_to_string(self.file()).unwrap(), "untouched");
        let file = fs::metadata(self.file()).unwrap();
        assert_eq!((file.uid(), file.gid(), file.mode()), (0, 0, self.mode), "owner or mode changed");
        assert_eq!(leftovers::mounts_below(&self.dir), [] as [PathBuf; 0]);
    }
}

/// Runs it; whether that works is the runtime's choice, but a failure must be a plain one.
#[track_caller]
fn run_or_refuse(bundle: &Bundle) -> crate::util::command::Output {
    let output = bundle.run();
    if output.exit_code() != 0 {
        assert!(!output.err().is_empty() || !output.out().is_empty(), "it fails without a word: {output}");
    }
    output
}

/// Removes mounts at and below these destinations from config.json.
fn without_mounts(config: &mut Value, below: &str) {
    let mounts = config["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| !mount["destination"].as_str().unwrap().starts_with(below));
}

/// Exchanges two paths of the host as fast as it can until dropped.
struct Swapper {
    running: Option<Running>,
    stop: PathBuf,
}

impl Swapper {
    fn start(bundle: &Bundle, one: &Path, other: &Path) -> Self {
        let stop = bundle.outside("stop");
        let words = [assets::probe(), Path::new("swap"), one, other, &stop].map(Path::display);
        Self { running: Some(TestCommand::new(words).spawn()), stop }
    }
}

impl Drop for Swapper {
    fn drop(&mut self) {
        let _ = fs::write(&self.stop, "");
        if let Some(running) = self.running.take() {
            running.wait();
        }
    }
}

/// How often a race is tried: enough that a runtime with the flaw loses it now and then, few enough for a test.
const RACES: usize = 25;

/// By which a probe knows the one file that it may attack.
fn inode(file: &Path) -> String {
    fs::metadata(file).unwrap().ino().to_string()
}

#[test]
fn cve_2019_5736_the_binary_is_not_overwritten_during_exec() {
    let bundle = Bundle::busybox("cve_5736_exec");
    let binary = bundle.runs_a_copy();
    let before = fs::read(&binary).unwrap();
    bundle.with_probe().args(["probe", "overwrite", "/stop", &inode(&binary)]).config(|config| {
        // The worst case: a root that may trace everybody in its namespace.
        config.capabilities(&[
            "CAP_SYS_PTRACE",
            "CAP_DAC_OVERRIDE",
            "CAP_DAC_READ_SEARCH",
            "CAP_SYS_ADMIN",
            "CAP_FOWNER",
        ]);
    });
    symlink("/proc/self/exe", bundle.rootfs("bin/entry")).unwrap();
    bundle.program("bin/shebang", "#!/proc/self/exe\n");
    let watch = bundle.run_detached();
    crate::util::until("the attacker watches", || watch.out().contains("watching").then_some(()));
    for _ in 0..6 {
        for program in ["/bin/true", "/bin/entry", "/bin/shebang", "/proc/self/exe"] {
            // What that runs is of no interest: whatever it is, the binary must stay as it is.
            // A shell starts it: that it may find its binary busy is the subject of another test.
            bundle.exec_command([program, "--version"]).by(["/bin/sh", "-c", "exec \"$@\"", "sh"]).run();
        }
    }
    bundle.file("stop", "");
    crate::util::until("the attacker gives up", || watch.out().contains("done").then_some(()));
    bundle.until_status("stopped");
    assert!(!watch.out().contains("WRITTEN"), "{watch}");
    assert!(fs::read(&binary).unwrap() == before, "the runtime's binary was changed");
    bundle.delete().ok();
}

#[test]
fn cve_2019_5736_the_binary_is_not_overwritten_by_an_entrypoint_that_leads_to_it() {
    let attacker = Bundle::busybox("cve_5736_entry");
    let binary = attacker.runs_a_copy();
    let before = fs::read(&binary).unwrap();
    attacker.with_probe().args(["probe", "overwrite", "/stop", &inode(&binary)]).config(|config| {
        config.capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"]);
    });
    let watch = attacker.run_detached();
    crate::util::until("the attacker watches", || watch.out().contains("watching").then_some(()));
    let hostile = attacker.another("cve_5736_hostile");
    symlink("/proc/self/exe", hostile.rootfs("bin/entry")).unwrap();
    hostile.program("bin/shebang", "#!/proc/self/exe\n");
    hostile.config(|config| config.join("pid", &format!("/proc/{}/ns/pid", attacker.pid())));
    for program in ["/bin/entry", "/bin/shebang", "/proc/self/exe"] {
        for _ in 0..3 {
            hostile.args([program, "--version"]);
            hostile.run_command().by(["/bin/sh", "-c", "exec \"$@\"", "sh"]).run();
        }
    }
    attacker.file("stop", "");
    crate::util::until("the attacker gives up", || watch.out().contains("done").then_some(()));
    attacker.until_status("stopped");
    assert!(!watch.out().contains("WRITTEN"), "{watch}");
    assert!(fs::read(&binary).unwrap() == before, "the runtime's binary was changed");
}

#[test]
fn cve_2019_5736_what_an_entrypoint_of_proc_self_exe_sees_cannot_be_written() {
    let bundle = Bundle::busybox("cve_5736_self");
    let binary = bundle.runs_a_copy();
    let before = fs::read(&binary).unwrap();
    // A shell opens its own interpreter's file for writing, through a script that the runtime's binary interprets.
    bundle.sh("exec 3< /proc/1/exe; (echo x > /proc/self/fd/3) 2> /dev/null; echo over > /proc/1/exe; true");
    bundle.run();
    assert!(fs::read(&binary).unwrap() == before);
    bundle.sh(&format!(
        "while :; do for p in /proc/[0-9]*/exe; do [ \"$(busybox stat -Lc %i $p)\" != {} ] || echo over > $p; done; done",
        inode(&binary)
    ));
    bundle.run_detached();
    for _ in 0..10 {
        bundle.exec(["true"]);
    }
    assert!(fs::read(&binary).unwrap() == before);
}

#[test]
fn cve_2019_5736_the_binary_is_not_kept_from_running_by_who_asks_to_write_to_it() {
    only_for_myrt!(BUSY_BINARY);
    let bundle = Bundle::busybox("cve_5736_busy");
    let binary = bundle.runs_a_copy();
    bundle.with_probe().args(["probe", "hammer", "/stop", &inode(&binary)]).config(|config| {
        // Without CAP_SYS_PTRACE: who has that over the host's user namespace can stop the host in easier ways.
        config.capabilities(&["CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_SYS_ADMIN"]);
    });
    let watch = bundle.run_detached();
    crate::util::until("the attacker watches", || watch.out().contains("watching").then_some(()));
    for _ in 0..50 {
        if watch.out().contains("held") {
            break;
        }
        bundle.exec_command(["/proc/self/exe", "--version"]).by(["/bin/sh", "-c", "exec \"$@\"", "sh"]).run();
    }
    // In portions, each with a deadline of its own: an emulated machine starts few programs in that time.
    let script = "n=0; while [ $n -lt 25 ]; do \"$1\" --version > /dev/null || exit 1; n=$((n + 1)); done";
    let refused = (0..8).map(|_| TestCommand::shell(script, [binary.display()]).run()).find(|run| run.exit_code() != 0);
    bundle.file("stop", "");
    crate::util::until("the attacker gives up", || watch.out().contains("done").then_some(()));
    if let Some(refused) = refused {
        panic!("{refused}");
    }
}

#[test]
fn cve_2019_16884_nothing_but_a_procfs_is_mounted_on_proc() {
    let bundle = Bundle::busybox("cve_16884");
    let fake = bundle.outside("fake");
    fs::create_dir_all(fake.join("self/attr")).unwrap();
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "bind", "source": fake, "options": ["rbind"] }),
        json!({ "destination": "/proc", "type": "tmpfs", "source": "tmpfs" }),
        json!({ "destination": "/proc/sys", "type": "bind", "source": fake, "options": ["rbind"] }),
    ];
    if is_myrt() {
        // runc looks at every kind of mount since 1.2.
        mounts.push(json!({ "destination": "/proc/self/attr", "type": "tmpfs", "source": "tmpfs" }));
        mounts.push(json!({ "destination": "/proc/./sys/../sys/kernel", "type": "tmpfs", "source": "tmpfs" }));
    }
    for mount in mounts {
        bundle.config(|config| {
            let mounts = config["mounts"].as_array_mut().unwrap();
            mounts.retain(|mount| {
                mount["source"] == "proc" || !mount["destination"].as_str().unwrap().starts_with("/proc")
            });
            mounts.push(mount.clone());
        });
        let output = bundle.run();
        assert_ne!(output.exit_code(), 0, "{mount} is mounted: {output}");
        bundle.assert_clean();
    }
}

#[test]
fn cve_2019_16884_the_files_that_lxcfs_replaces_still_can_be() {
    let bundle = Bundle::busybox("cve_16884_lxcfs");
    fs::write(bundle.outside("uptime"), "replaced\n").unwrap();
    bundle.args(["cat", "/proc/uptime"]).config(|config| {
        let source = bundle.outside("uptime");
        config.mount(json!({ "destination": "/proc/uptime", "type": "bind", "source": source, "options": ["bind"] }));
    });
    bundle.run().ok().stdout("replaced");
}

/// Runs a bundle whose /proc was tampered with: it must fail, or what it shows must be a procfs with its masks.
fn proc_is_real_or_refused(bundle: &Bundle) {
    bundle.sh("stat -f -c %t /proc; cat /proc/1/comm; head -c 1 /proc/kcore | wc -c; echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused");
    let output = run_or_refuse(bundle);
    if output.exit_code() == 0 {
        // 9fa0 is the magic number of procfs.
        output.stdout("9fa0\nsh\n0\nrefused");
    }
    bundle.assert_clean();
}

#[test]
fn cve_2019_19921_a_proc_that_is_a_link_into_a_volume_does_not_hide_the_masks() {
    let bundle = Bundle::busybox("cve_19921");
    let volume = bundle.outside("volume");
    fs::create_dir_all(volume.join("proc/sys/net/ipv4")).unwrap();
    fs::write(volume.join("proc/sys/net/ipv4/ip_forward"), "").unwrap();
    fs::remove_dir(bundle.rootfs("proc")).unwrap();
    symlink("/volume/proc", bundle.rootfs("proc")).unwrap();
    bundle.config(|config| {
        let mount = json!({ "destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"] });
        config["mounts"].as_array_mut().unwrap().insert(0, mount);
    });
    proc_is_real_or_refused(&bundle);
}

#[test]
fn cve_2019_19921_a_proc_exchanged_during_the_start_does_not_hide_the_masks() {
    let bundle = Bundle::busybox("cve_19921_race");
    fs::create_dir_all(bundle.rootfs("evil/sys/net/ipv4")).unwrap();
    symlink("/evil", bundle.rootfs("proc-link")).unwrap();
    let swapper = Swapper::start(&bundle, &bundle.rootfs("proc"), &bundle.rootfs("proc-link"));
    for _ in 0..RACES {
        bundle.sh("stat -f -c %t /proc; head -c 1 /proc/kcore | wc -c");
        let output = bundle.run();
        if output.exit_code() == 0 && output.out().starts_with("9fa0") {
            output.stdout("9fa0\n0");
        }
    }
    drop(swapper);
    bundle.assert_clean();
}

#[test]
fn cve_2021_30465_a_mount_target_exchanged_for_a_link_leads_nowhere() {
    only_for_myrt!(CVE_FIXED_LATER);
    let bundle = Bundle::busybox("cve_30465");
    let victim = Victim::new(&bundle);
    let volume = bundle.outside("volume");
    fs::create_dir_all(volume.join("real")).unwrap();
    symlink(&victim.dir, volume.join("link")).unwrap();
    bundle.config(|config| {
        config.mount(json!({ "destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"] }));
        config.mount(json!({ "destination": "/volume/real/made/here", "type": "tmpfs", "source": "tmpfs" }));
        config.mount(json!({ "destination": "/volume/real", "type": "tmpfs", "source": "tmpfs" }));
    });
    let swapper = Swapper::start(&bundle, &volume.join("real"), &volume.join("link"));
    for _ in 0..RACES {
        bundle.run();
        victim.assert_untouched();
    }
    drop(swapper);
    victim.assert_untouched();
    bundle.assert_clean();
}

#[test]
fn cve_2022_29162_exec_gets_no_inheritable_capabilities() {
    let bundle = Bundle::busybox("cve_29162");
    bundle.sleeps().run_detached();
    let status = ["grep", "CapInh", "/proc/self/status"];
    bundle.exec(status).ok().stdout("CapInh:\t0000000000000000");
    bundle
        .command(["exec", "--cap", "CAP_NET_RAW", &bundle.id])
        .args(status)
        .run()
        .ok()
        .stdout("CapInh:\t0000000000000000");
    bundle.command(["exec", "--user", "1000", &bundle.id]).args(status).run().ok().stdout("CapInh:\t0000000000000000");
}

#[test]
fn cve_2023_27561_a_proc_that_leads_through_a_volume_in_two_steps_does_not_hide_the_masks() {
    let bundle = Bundle::busybox("cve_27561");
    let volume = bundle.outside("volume");
    fs::create_dir_all(volume.join("real")).unwrap();
    symlink("real", volume.join("proc")).unwrap();
    fs::remove_dir(bundle.rootfs("proc")).unwrap();
    symlink("mnt/proc", bundle.rootfs("proc")).unwrap();
    bundle.config(|config| {
        let mount = json!({ "destination": "/mnt", "type": "bind", "source": volume, "options": ["rbind"] });
        config["mounts"].as_array_mut().unwrap().insert(0, mount);
    });
    proc_is_real_or_refused(&bundle);
}

#[test]
fn cve_2023_28642_a_proc_that_links_elsewhere_is_no_way_around_a_label() {
    for link in ["/tmp", "tmp/sub", "/etc/../tmp", "./root"] {
        let bundle = Bundle::busybox("cve_28642");
        fs::create_dir_all(bundle.rootfs("tmp/sub/self/attr")).unwrap();
        fs::create_dir_all(bundle.rootfs("root/self/attr")).unwrap();
        for file in ["tmp/sub/self/attr/exec", "root/self/attr/exec", "tmp/attr"] {
            fs::write(bundle.rootfs(file), "").unwrap();
        }
        fs::remove_dir(bundle.rootfs("proc")).unwrap();
        symlink(link, bundle.rootfs("proc")).unwrap();
        proc_is_real_or_refused(&bundle);
        for file in ["tmp/sub/self/attr/exec", "root/self/attr/exec"] {
            assert_eq!(fs::read_to_string(bundle.rootfs(file)).unwrap(), "", "{link}");
        }
    }
}

#[test]
fn cve_2024_21626_a_working_folder_behind_a_descriptor_is_not_the_hosts() {
    let bundle = Bundle::busybox("cve_21626");
    let victim = Victim::new(&bundle);
    let look = format!("cat {0} ../../../../../../../../..{0} 2> /dev/null; ls -di .; true", victim.file().display());
    // As a caller that holds a folder of the host open.
    let careless = ["/bin/sh", "-c", "exec \"$@\" 3</ 4</ 5</ 6</ 7</ 8</ 9</", "sh"];
    for fd in 3..16 {
        bundle.sh(&look).config(|config| config["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}")));
        let output = bundle.run_command().by(careless).run();
        output.out_lacks("untouched");
    }
    symlink("/proc/self/fd/7/", bundle.rootfs("work")).unwrap();
    bundle.config(|config| config["process"]["cwd"] = json!("/work"));
    bundle.run_command().by(careless).run().out_lacks("untouched");
    bundle.assert_clean();

    bundle.config(|config| config["process"]["cwd"] = json!("/"));
    bundle.sleeps().run_detached();
    for fd in 3..16 {
        let args = ["exec", "--cwd", &format!("/proc/self/fd/{fd}"), &bundle.id, "sh", "-c", &look];
        bundle.command(args).by(careless).run().out_lacks("untouched");
    }
    bundle.command(["exec", "--cwd", "/work", &bundle.id, "sh", "-c", &look]).by(careless).run().out_lacks("untouched");
}

#[test]
fn cve_2024_21626_a_program_behind_a_descriptor_is_not_the_hosts() {
    // The third attack of that advisory: the host's program runs inside, where its file can be had by /proc/self/exe.
    let bundle = Bundle::busybox("cve_21626_exec");
    let victim = Victim::new(&bundle);
    let echo = bundle.outside("echo");
    fs::copy(bundle.rootfs("bin/busybox"), &echo).unwrap();
    let through = |fd: i32| format!("/proc/self/fd/{fd}{}{}", "/..".repeat(12), echo.display());
    for fd in 3..20 {
        let link = bundle.rootfs("echo");
        let _ = fs::remove_file(&link);
        symlink(through(fd), &link).unwrap();
        bundle.args(["/echo", "from the host"]).run().out_lacks("from the host");
    }
    bundle.assert_clean();
    bundle.sleeps().run_detached();
    for fd in 3..20 {
        bundle.exec([through(fd).as_str(), "from the host"]).out_lacks("from the host");
    }
    victim.assert_untouched();
}

#[test]
fn cve_2024_21626_a_created_container_holds_nothing_of_the_host_open() {
    let bundle = Bundle::busybox("gate_fds");
    bundle.sleeps().create().ok();
    let pid = bundle.pid();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let entry = entry.unwrap();
        let fd: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
        // One that is gone by now was a visitor of the gate, such as `state`.
        let Ok(file) = fs::metadata(entry.path()) else { continue };
        let root = fs::metadata(format!("/proc/{pid}/root")).unwrap();
        let is_its_root = (file.dev(), file.ino()) == (root.dev(), root.ino());
        assert!(fd < 3 || !file.is_dir() || is_its_root, "{:?}", fs::read_link(entry.path()));
    }
}

#[test]
fn in_a_chroot_no_container_is_made_whose_exec_would_leave_it() {
    only_for_myrt!(CHROOT);
    let bundle = Bundle::busybox("chroot");
    bundle.sleeps();
    let folder = bundle.outside("chroot");
    fs::create_dir_all(&folder).unwrap();
    let script = "mount --rbind / \"$1\"; shift; exec chroot \"$@\"";
    let within = ["unshare", "-m", "sh", "-ec", script, "sh", folder.to_str().unwrap(), folder.to_str().unwrap()];
    bundle.run_command().by(within).run().fails().err_has("chroot");
}

#[test]
fn cve_2016_9962_the_root_of_a_user_namespace_gets_no_descriptor_of_who_enters_it() {
    let bundle = Bundle::busybox("cve_9962");
    let victim = Victim::new(&bundle);
    set_mode(&victim.dir, 0o755);
    bundle.with_probe().open_to_all().args(["probe", "grab", victim.file().to_str().unwrap(), "/tmp/stop"]);
    bundle.config(|config| {
        config.user_namespace(100_000, 65_536);
        config.capabilities(&["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SETUID", "CAP_SETGID"]);
    });
    let watch = bundle.run_detached();
    crate::util::until("the attacker watches", || watch.out().contains("watching").then_some(()));
    for _ in 0..RACES {
        bundle.exec(["true"]).ok();
    }
    bundle.file("tmp/stop", "");
    bundle.until_status("stopped");
    assert!(!watch.out().contains("GRABBED"), "{watch}");
}

#[test]
fn cve_2024_45310_no_file_is_made_on_the_host_through_an_exchanged_target() {
    only_for_myrt!(CVE_FIXED_LATER);
    let bundle = Bundle::busybox("cve_45310");
    let victim = Victim::new(&bundle);
    let volume = bundle.outside("volume");
    fs::create_dir_all(volume.join("real")).unwrap();
    symlink(&victim.dir, volume.join("link")).unwrap();
    fs::write(bundle.outside("source"), "").unwrap();
    bundle.config(|config| {
        config.mount(json!({ "destination": "/volume", "type": "bind", "source": volume, "options": ["rbind"] }));
        let source = bundle.outside("source");
        config.mount(
            json!({ "destination": "/volume/real/empty", "type": "bind", "source": source, "options": ["bind"] }),
        );
    });
    let swapper = Swapper::start(&bundle, &volume.join("real"), &volume.join("link"));
    for _ in 0..RACES {
        let _ = fs::remove_file(volume.join("real/empty"));
        bundle.run();
        victim.assert_untouched();
    }
    drop(swapper);
    bundle.assert_clean();
}

/// A /dev of the image's own, where `name` is a link to `target`, with the usual nodes beside it.
fn hostile_dev(bundle: &Bundle, name: &str, target: &str) {
    let dev = bundle.rootfs("dev");
    for (node, minor) in [("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9)] {
        rustix::fs::mknodat(
            CWD,
            dev.join(node),
            FileType::CharacterDevice,
            Mode::from_raw_mode(0o666),
            rustix::fs::makedev(1, minor),
        )
        .unwrap();
    }
    let _ = fs::remove_file(dev.join(name));
    symlink(target, dev.join(name)).unwrap();
    bundle.config(|config| without_mounts(config, "/dev"));
}

#[test]
fn cve_2025_31133_a_masked_path_is_not_masked_by_what_dev_null_links_to() {
    only_for_myrt!(CVE_FIXED_LATER);
    let bundle = Bundle::busybox("cve_31133");
    hostile_dev(&bundle, "null", "/proc/sys/net/ipv4/ip_forward");
    bundle.config(|config| config["linux"]["maskedPaths"] = json!(["/etc/passwd", "/proc/sysrq-trigger"]));
    bundle.sh("stat -c '%F %t:%T %s' /etc/passwd; cat /etc/passwd; echo 1 > /etc/passwd; head -c 4 /etc/passwd");
    let output = run_or_refuse(&bundle);
    // A mask that is the link's target would read back the digit.
    output.out_lacks("0\n").out_lacks("1\n");
    if output.exit_code() == 0 {
        output.out_has("character special file 1:3");
    }
    // And a target that is not there: nothing may be left unmasked in silence.
    fs::remove_file(bundle.rootfs("dev/null")).unwrap();
    symlink("/no/such/file", bundle.rootfs("dev/null")).unwrap();
    bundle.sh("cat /etc/passwd");
    run_or_refuse(&bundle).out_lacks("root:");
    bundle.assert_clean();
}

#[test]
fn cve_2025_31133_a_dev_null_exchanged_during_the_start_masks_nothing_else() {
    only_for_myrt!(CVE_FIXED_LATER);
    let bundle = Bundle::busybox("cve_31133_race");
    hostile_dev(&bundle, "null-link", "/proc/sys/net/ipv4/ip_forward");
    bundle.config(|config| config["linux"]["maskedPaths"] = json!(["/etc/passwd"]));
    let swapper = Swapper::start(&bundle, &bundle.rootfs("dev/null"), &bundle.rootfs("dev/null-link"));
    for _ in 0..RACES {
        bundle.sh("cat /etc/passwd; echo 1 > /etc/passwd; cat /etc/passwd");
        let output = bundle.run();
        assert_eq!(output.out(), "", "what lies on the masked path is not the null device: {output}");
    }
    drop(swapper);
    bundle.assert_clean();
}

/// Runs a bundle with a terminal to its end, wherever that is, and keeps the terminal open until then.
fn run_with_terminal(bundle: &Bundle) {
    bundle.config(|config| config["process"]["terminal"] = json!(true));
    let socket = bundle.outside("console.sock");
    let listener = FdSocket::listen(&socket);
    let mut create = bundle.create_command_with(["--console-socket", socket.to_str().unwrap()]).spawn();
    let mut terminal = None;
    crate::util::until("create ends or sends its terminal", || {
        if create.ended() {
            return Some(());
        }
        // A runtime that gives up closes the connection without a word.
        terminal = listener.try_receive().and_then(|(_, mut fds)| fds.pop()).map(Terminal::from);
        terminal.as_ref().map(|_| ())
    });
    if create.wait().exit_code() == 0 {
        bundle.start();
    }
    drop(terminal);
    bundle.delete_force().ok();
    fs::remove_file(socket).unwrap();
}

#[test]
fn cve_2025_52565_dev_console_is_not_mounted_through_a_link() {
    only_for_myrt!(CVE_FIXED_LATER);
    for target in ["/proc/sys/net/ipv4/ip_forward", "/etc/passwd", "/dev/pts/0", "/new/file"] {
        let bundle = Bundle::busybox("cve_52565");
        hostile_dev(&bundle, "console", target);
        bundle.config(|config| {
            config.mount(json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
                                 "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] }));
        });
        fs::create_dir(bundle.rootfs("dev/pts")).unwrap();
        bundle.sh("grep -E ' (/etc/passwd|/new/file|/proc/sys/net/ipv4/ip_forward) ' /proc/self/mountinfo > /tmp/mounted; true");
        run_with_terminal(&bundle);
        let mounted = fs::read_to_string(bundle.rootfs("tmp/mounted")).unwrap_or_default();
        assert_eq!(mounted, "", "the terminal was mounted on what /dev/console links to");
        assert!(!bundle.rootfs("new/file").exists());
        bundle.assert_clean();
    }
}

#[test]
fn cve_2025_52565_a_link_in_place_of_the_terminal_is_not_what_is_mounted() {
    let bundle = Bundle::busybox("cve_52565_pts");
    let victim = Victim::new(&bundle);
    // /dev/pts of the image's own: what the runtime finds there as /dev/pts/0 is not its terminal.
    hostile_dev(&bundle, "none", "nowhere");
    fs::create_dir(bundle.rootfs("dev/pts")).unwrap();
    for n in 0..4 {
        symlink(victim.file(), bundle.rootfs("dev/pts").join(n.to_string())).unwrap();
    }
    bundle.sh("cat /dev/console > /tmp/seen; true").config(|config| {
        config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
    });
    run_with_terminal(&bundle);
    victim.assert_untouched();
    assert!(!fs::read_to_string(bundle.rootfs("tmp/seen")).unwrap_or_default().contains("untouched"));
    bundle.assert_clean();
}

#[test]
fn cve_2025_52881_a_sysctl_is_written_to_procfs_or_not_at_all() {
    let bundle = Bundle::busybox("cve_52881");
    let victim = Victim::new(&bundle);
    fs::create_dir_all(bundle.rootfs("fake/sys/net/ipv4")).unwrap();
    symlink(victim.file(), bundle.rootfs("fake/sys/net/ipv4/ip_forward")).unwrap();
    fs::create_dir_all(bundle.rootfs("fake/self/attr")).unwrap();
    symlink(victim.file(), bundle.rootfs("fake/self/attr/exec")).unwrap();
    fs::remove_dir(bundle.rootfs("proc")).unwrap();
    symlink("/fake", bundle.rootfs("proc")).unwrap();
    bundle.sh("cat /proc/sys/net/ipv4/ip_forward");
    bundle.config(|config| config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" }));
    for with_proc in [true, false] {
        if !with_proc {
            bundle.config(|config| without_mounts(config, "/proc"));
        }
        run_or_refuse(&bundle);
        victim.assert_untouched();
        assert_eq!(fs::read_to_string(bundle.rootfs("fake/sys/net/ipv4/ip_forward")).unwrap(), "untouched");
    }
    bundle.assert_clean();
}

#[test]
fn cve_2025_52881_a_sysctl_does_not_follow_what_is_mounted_over_proc() {
    let bundle = Bundle::busybox("cve_52881_over");
    let fake = bundle.outside("fake");
    fs::create_dir_all(fake.join("net/ipv4")).unwrap();
    fs::write(fake.join("net/ipv4/ip_forward"), "untouched").unwrap();
    bundle.config(|config| {
        config["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
        // A path that only a link inside turns into one below /proc.
        config.mount(json!({ "destination": "/link/sys", "type": "bind", "source": fake, "options": ["rbind"] }));
    });
    symlink("/proc", bundle.rootfs("link")).unwrap();
    run_or_refuse(&bundle);
    assert_eq!(fs::read_to_string(fake.join("net/ipv4/ip_forward")).unwrap(), "untouched");
    bundle.assert_clean();
}

#[test]
fn cve_2025_52881_the_label_of_exec_is_written_to_procfs_or_not_at_all() {
    let bundle = Bundle::busybox("cve_52881_exec");
    bundle.config(|config| config.capabilities(&["CAP_SYS_ADMIN"]));
    bundle.sleeps().run_detached();
    // A container that may mount puts a folder of its own over /proc/self's files.
    bundle.exec([
        "sh",
        "-c",
        "mkdir -p /fake/self/attr /fake/sys; : > /fake/self/attr/exec; mount -o bind /fake /proc",
    ]);
    bundle.exec(["true"]);
    bundle.exec(["echo", "alive"]);
    assert_eq!(fs::read_to_string(bundle.rootfs("fake/self/attr/exec")).unwrap_or_default(), "");
    assert_eq!(bundle.status(), "running");
}

#[test]
fn cve_2026_30892_a_numeric_user_of_exec_is_that_user() {
    let bundle = Bundle::busybox("cve_30892");
    // An /etc/passwd of the image that calls root by a number.
    bundle.file("etc/passwd", "1:x:0:0::/root:/bin/sh\nroot:x:0:0::/root:/bin/sh\n").sleeps().run_detached();
    for (user, expected) in [("1", "1\n0"), ("1:1", "1\n1"), ("0", "0\n0"), ("65534", "65534\n0"), ("01", "1\n0")] {
        let output = bundle.command(["exec", "--user", user, &bundle.id, "sh", "-c", "id -u; id -g"]).run();
        if user != "01" || output.exit_code() == 0 {
            output.ok().stdout(expected);
        }
    }
}

#[test]
fn cve_2026_41579_a_dev_that_links_to_the_host_gets_no_files() {
    only_for_myrt!(CVE_FIXED_LATER);
    for up in [false, true] {
        let bundle = Bundle::busybox("cve_41579");
        let victim = Victim::new(&bundle);
        fs::remove_dir(bundle.rootfs("dev")).unwrap();
        let target = victim.dir.strip_prefix("/").unwrap();
        let link = if up { Path::new("../../../../../../../..").join(target) } else { victim.dir.clone() };
        symlink(link, bundle.rootfs("dev")).unwrap();
        run_or_refuse(&bundle);
        victim.assert_untouched();
        bundle.config(|config| without_mounts(config, "/dev"));
        run_or_refuse(&bundle);
        victim.assert_untouched();
        bundle.assert_clean();
    }
}

#[test]
fn cve_2026_88264_a_dev_console_that_links_to_the_host_makes_no_file() {
    let bundle = Bundle::busybox("cve_88264");
    let victim = Victim::new(&bundle);
    hostile_dev(&bundle, "console", victim.dir.join("made").to_str().unwrap());
    run_or_refuse(&bundle);
    victim.assert_untouched();
    run_with_terminal(&bundle);
    victim.assert_untouched();
    bundle.assert_clean();
}

#[test]
fn cve_2026_88265_a_dev_null_that_links_to_a_file_of_the_host_is_not_opened_for_the_streams() {
    only_for_myrt!(CVE_FIXED_LATER);
    for stdin_is_null in [true, false] {
        let bundle = Bundle::busybox("cve_88265");
        let victim = Victim::new(&bundle);
        hostile_dev(&bundle, "null", "/mnt/file");
        bundle.sh("echo from inside; echo x >&0; true").config(|config| {
            config.mount(json!({ "destination": "/mnt", "type": "bind", "source": victim.dir, "options": ["rbind"] }));
            config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 });
        });
        let null = || fs::File::options().read(true).write(true).open("/dev/null").unwrap();
        if stdin_is_null {
            bundle.run_command().spawn_with(null().into(), null().into(), null().into(), None).wait();
        } else {
            bundle.run_command().stdin("input").run();
        }
        victim.assert_untouched();
        bundle.assert_clean();
    }
}

#[test]
fn a_hook_of_the_container_cannot_be_replaced_by_the_container() {
    // startContainer hooks run inside: a hostile image may replace the file, but gains only what it has already.
    let bundle = Bundle::busybox("hook_inside");
    write_executable(
        bundle.rootfs("hook"),
        "#!/bin/sh\ngrep -E 'CapEff|NoNewPrivs' /proc/self/status > /hook.status\nls /proc/self/fd > /hook.fds\n",
    );
    bundle.config(|config| config["hooks"] = json!({ "startContainer": [{ "path": "/hook", "env": ["PATH=/bin"] }] }));
    bundle.run().ok();
    let fds = fs::read_to_string(bundle.rootfs("hook.fds")).unwrap();
    // Its three streams, and what ls opened itself.
    assert!(fds.lines().count() <= 4, "{fds}");
}

#[test]
fn cve_2019_14271_the_binary_holds_nothing_that_loads_modules() {
    only_for_myrt!(LOOKUPS);
    let program = fs::read(crate::util::runtime()).unwrap();
    let holds = |word: &[u8]| program.windows(word.len()).any(|window| window == word);
    assert!(holds(b"config.json"), "the search finds what is there");
    for word in ["libnss_", "nsswitch.conf"] {
        assert!(!holds(word.as_bytes()), "{word}: names are looked up, by files of whatever root it is in");
    }
}
