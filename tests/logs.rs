//! `--log` and what is said when something fails: formats, levels, one record, texts that callers match.

use std::fs;

use crate::only_for_myrt;
use crate::util::{Bundle, Value, json};

/// The records of a JSON log.
fn records(bundle: &Bundle) -> Vec<Value> {
    let text = fs::read_to_string(bundle.outside("log.json")).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"))).collect()
}

fn with_log(bundle: &Bundle, args: &[&str]) -> crate::util::command::Output {
    let log = bundle.outside("log.json");
    bundle.globals(["--log", log.to_str().unwrap(), "--log-format", "json"], args).run()
}

#[test]
fn a_failure_leaves_exactly_one_record_of_level_error() {
    let bundle = Bundle::busybox("log_error");
    let dir = bundle.dir.to_str().unwrap();
    let failures: [&dyn Fn(); 4] = [
        &|| {
            with_log(&bundle, &["state", "no-such-container"]).fails();
        },
        &|| {
            with_log(&bundle, &["create", "--bundle", "/no/such/bundle", "x"]).fails();
        },
        &|| {
            bundle.args(["no-such-program"]);
            with_log(&bundle, &["run", "--bundle", dir, &bundle.id]).fails();
        },
        &|| {
            bundle.config(|config| config["process"]["cwd"] = json!("relative"));
            with_log(&bundle, &["create", "--bundle", dir, &bundle.id]).fails();
        },
    ];
    for failure in failures {
        let _ = fs::remove_file(bundle.outside("log.json"));
        failure();
        let records = records(&bundle);
        let errors: Vec<_> = records.iter().filter(|record| record["level"] == "error").collect();
        assert_eq!(errors.len(), 1, "{records:?}");
        let error = errors[0].as_object().unwrap();
        assert!(!error["msg"].as_str().unwrap().is_empty(), "{error:?}");
        let time = error["time"].as_str().unwrap();
        assert!(time.len() >= 20 && time.as_bytes()[4] == b'-' && time.as_bytes()[10] == b'T', "{time}");
        // podman parses the whole file as one object.
        assert_eq!(records.len(), 1, "{records:?}");
    }
}

#[test]
fn the_log_is_appended_to() {
    let bundle = Bundle::busybox("log_append");
    fs::write(bundle.outside("log.json"), "{\"level\":\"info\",\"msg\":\"mine\",\"time\":\"\"}\n").unwrap();
    with_log(&bundle, &["state", "no-such-container"]).fails();
    with_log(&bundle, &["state", "no-such-container"]).fails();
    let records = records(&bundle);
    assert_eq!(records.len(), 3);
    assert_eq!(records[0]["msg"], "mine");
}

#[test]
fn success_leaves_no_record() {
    let bundle = Bundle::busybox("log_success");
    with_log(&bundle, &["run", "--bundle", bundle.dir.to_str().unwrap(), &bundle.id]).ok();
    assert_eq!(records(&bundle), [] as [Value; 0]);
}

#[test]
fn stderr_says_it_as_well() {
    let bundle = Bundle::busybox("log_stderr");
    with_log(&bundle, &["state", "no-such-container"]).fails().err_has("container does not exist");
    bundle.command(["state", "no-such-container"]).run().fails().err_has("container does not exist");
}

#[test]
fn the_text_format_has_time_level_and_msg() {
    let bundle = Bundle::busybox("log_text");
    let log = bundle.outside("log.txt");
    bundle.globals(["--log", log.to_str().unwrap(), "--log-format", "text"], ["state", "nobody"]).run().fails();
    let text = fs::read_to_string(&log).unwrap();
    assert!(text.starts_with("time=\"") && text.contains("level=error msg=\"container does not exist"), "{text}");
    assert_eq!(text.lines().count(), 1, "{text}");
}

#[test]
fn an_unknown_log_format_is_refused() {
    let bundle = Bundle::busybox("log_format");
    bundle.globals(["--log-format", "xml"], ["list"]).run().fails();
    bundle.globals(["--log", "/no/such/folder/log"], ["list"]).run().fails();
}

#[test]
fn debug_says_more_and_is_still_json() {
    let bundle = Bundle::busybox("log_debug");
    let log = bundle.outside("log.json");
    let globals = ["--debug", "--log", log.to_str().unwrap(), "--log-format", "json"];
    bundle.globals(globals, ["run", "-b", bundle.dir.to_str().unwrap(), &bundle.id]).run().ok();
    let records = records(&bundle);
    assert!(!records.is_empty(), "--debug says what is done");
    assert!(records.iter().all(|record| record["level"] == "debug"), "{records:?}");
}

#[test]
fn flags_of_other_runtimes_are_accepted() {
    only_for_myrt!(CRUN_FLAGS);
    let bundle = Bundle::busybox("crun_flags");
    bundle.globals(["--log-level", "error", "--cgroup-manager", "cgroupfs", "--rootless", "auto"], ["list"]).run().ok();
    bundle.globals(["--criu", "/usr/sbin/criu"], ["list"]).run().ok();
    bundle.globals(["--cgroup-manager", "nonsense"], ["list"]).run().fails();
    let config = bundle.outside("other.json");
    fs::rename(bundle.dir.join("config.json"), &config).unwrap();
    let dir = bundle.dir.to_str().unwrap();
    bundle.command(["run", "--config", config.to_str().unwrap(), "-b", dir, &bundle.id]).run().ok();
}
