//! AppArmor: profiles are entered at the exec and enforced, for the container and for what is executed in it.

use serde_json::{Value, json};

use super::bundle;
use crate::only_for_myrt;
use crate::util::{Bundle, TestCommand};

/// A loaded profile, unloaded when it is dropped.
struct Profile {
    name: String,
    text: String,
}

impl Profile {
    /// Everything but what `rules` say.
    fn load(name: &str, rules: &str) -> Self {
        let name = format!("myrt-test-{name}-{}", std::process::id());
        let text = format!(
            "profile {name} flags=(attach_disconnected,mediate_deleted) {{\n\
             file,\n capability,\n network,\n mount,\n umount,\n signal,\n ptrace,\n{rules}\n}}\n"
        );
        Self::load_text(name, text)
    }

    fn load_text(name: String, text: String) -> Self {
        TestCommand::new(["apparmor_parser", "--replace", "--skip-cache"]).stdin(&text).run().ok();
        Self { name, text }
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        TestCommand::new(["apparmor_parser", "--remove"]).stdin(&self.text).run();
    }
}

fn confined(name: &str, profile: &str) -> Bundle {
    let bundle = bundle(name);
    bundle.config(|config| config["process"]["apparmorProfile"] = json!(profile));
    bundle
}

/// What a process says of itself; the newer folder is AppArmor's own.
const WHO: &str = "cat /proc/self/attr/apparmor/current";
const DENY: &str = "deny /etc/secret rwk,";
const TRY: &str = "cat /proc/self/attr/apparmor/current; echo x > /tmp/free && echo free; (echo x > /etc/secret) 2>&1";

#[test]
fn a_profile_is_entered_and_enforced() {
    let profile = Profile::load("enforced", DENY);
    let bundle = confined("aa_enforced", &profile.name);
    for no_new_privileges in [true, false] {
        bundle.config(|config| config["process"]["noNewPrivileges"] = json!(no_new_privileges));
        let output = bundle.sh(TRY).run();
        output.out_has(&format!("{} (enforce)", profile.name)).out_has("free").out_has("Permission denied");
    }
}

#[test]
fn exec_is_in_the_profile_too() {
    let profile = Profile::load("exec", DENY);
    let bundle = confined("aa_exec", &profile.name);
    bundle.sleeps().run_detached();
    let output = bundle.exec(["sh", "-c", TRY]);
    output.out_has(&format!("{} (enforce)", profile.name)).out_has("Permission denied");
}

#[test]
fn exec_can_name_another_profile() {
    let (first, second) = (Profile::load("first", ""), Profile::load("second", DENY));
    let bundle = confined("aa_exec_other", &first.name);
    bundle.sleeps().run_detached();
    let args = ["exec", "--apparmor", &second.name, &bundle.id, "sh", "-c", TRY];
    bundle.command(args).run().out_has(&format!("{} (enforce)", second.name)).out_has("Permission denied");
    let process = bundle.outside("process.json");
    let text = json!({ "args": ["sh", "-c", TRY], "cwd": "/", "env": ["PATH=/bin"], "user": { "uid": 0, "gid": 0 },
                       "apparmorProfile": second.name });
    std::fs::write(&process, text.to_string()).unwrap();
    let args = ["exec", "--process", process.to_str().unwrap(), &bundle.id];
    bundle.command(args).run().out_has(&format!("{} (enforce)", second.name)).out_has("Permission denied");
}

#[test]
fn without_a_profile_or_by_the_word_unconfined_nothing_confines() {
    let bundle = confined("aa_unconfined", "unconfined");
    bundle.sh(WHO).run().ok().stdout("unconfined");
    bundle.config(|config| config["process"]["apparmorProfile"] = Value::Null).run().ok().stdout("unconfined");
}

#[test]
fn a_profile_that_is_not_loaded_is_named_with_the_remedy() {
    only_for_myrt!(APPARMOR_HINT);
    let bundle = confined("aa_missing", "no-such-profile");
    for output in [bundle.create(), bundle.run()] {
        output.fails().err_has("process.apparmorProfile").err_has("no-such-profile").err_has("apparmor_parser");
        bundle.assert_clean();
    }
    bundle.sleeps().config(|config| config["process"]["apparmorProfile"] = Value::Null).run_detached();
    let output = bundle.command(["exec", "--apparmor", "no-such-profile", &bundle.id, "true"]).run();
    output.fails().err_has("no-such-profile").err_has("apparmor_parser");
    assert_eq!(bundle.status(), "running");
}

#[test]
fn a_container_does_not_get_out_by_writing_its_own_attributes() {
    let profile = Profile::load("cage", DENY);
    let bundle = confined("aa_cage", &profile.name);
    let script = "for file in current exec; do for text in 'changeprofile unconfined' 'exec unconfined' 'permprofile unconfined' \
                  'changehat 0^unconfined'; do echo \"$text\" > /proc/self/attr/apparmor/$file; echo \"$text\" > /proc/self/attr/$file; \
                  done; done 2>/dev/null; cat /proc/self/attr/apparmor/current; (echo x > /etc/secret) 2>&1";
    for no_new_privileges in [true, false] {
        bundle.config(|config| {
            config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            config["linux"]["readonlyPaths"] = Value::Null;
            config["linux"]["maskedPaths"] = Value::Null;
        });
        let output = bundle.sh(script).run();
        output.out_has(&format!("{} (enforce)", profile.name)).out_has("Permission denied").out_lacks("unconfined");
    }
}

#[test]
fn a_profile_like_dockers_lets_an_ordinary_container_run() {
    let name = format!("myrt-test-default-{}", std::process::id());
    // The rules that Docker's template has, in its order.
    let text = format!(
        "#include <tunables/global>\nprofile {name} flags=(attach_disconnected,mediate_deleted) {{\n\
         #include <abstractions/base>\n network,\n capability,\n file,\n umount,\n signal (receive) peer=unconfined,\n\
         signal (send,receive) peer={name},\n deny @{{PROC}}/* w,\n deny @{{PROC}}/{{[^1-9],[^1-9][^0-9],[^1-9s][^0-9y][^0-9s],[^1-9][^0-9][^0-9][^0-9]*}}/** w,\n\
         deny @{{PROC}}/sysrq-trigger rwklx,\n deny @{{PROC}}/kcore rwklx,\n deny mount,\n deny /sys/[^f]*/** wklx,\n\
         deny /sys/firmware/** rwklx,\n deny /sys/kernel/security/** rwklx,\n ptrace (trace,read,tracedby,readby) peer={name},\n}}\n"
    );
    let profile = Profile::load_text(name, text);
    let bundle = confined("aa_default", &profile.name);
    bundle.config(|config| {
        config["process"]["capabilities"]["bounding"] = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
        config["process"]["capabilities"]["effective"] = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
        config["process"]["capabilities"]["permitted"] = json!(["CAP_SYS_ADMIN", "CAP_KILL"]);
        config["linux"]["readonlyPaths"] = Value::Null;
        config["linux"]["maskedPaths"] = Value::Null;
    });
    // The one capability that would otherwise allow it.
    let output = bundle.sh("mount -t tmpfs none /mnt 2>&1 || echo no mount; (echo h > /proc/sysrq-trigger) 2>&1").run();
    output.out_has("no mount").out_has("ermission denied");
    bundle.sleeps().run_detached();
    bundle.exec(["sh", "-c", WHO]).ok().stdout(&format!("{} (enforce)", profile.name));
    bundle.kill("TERM").ok();
    bundle.until_status("stopped");
}
