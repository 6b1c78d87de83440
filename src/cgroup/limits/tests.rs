//! The tables, as text: what is asked for, and what would be written where.

use super::*;
use crate::cgroup::record::Tree;

fn record(trees: &[&str]) -> Record {
    let trees = trees.iter().map(|name| Tree {
        controllers: (*name).to_owned(),
        mount: format!("/cg/{name}").into(),
        path: "/c1".to_owned(),
        kept: 0,
    });
    Record { trees: trees.collect(), ..Record::default() }
}

/// The writes as `file=value` lines, alternatives joined by a bar.
fn lines(trees: &[&str], json: &str) -> Result<Vec<String>> {
    let resources: Resources = serde_json::from_str(json).unwrap();
    let writes = writes(&resources, &record(trees))?;
    let line = |(write, folder): &(Write, Option<std::path::PathBuf>)| {
        let files: Vec<_> = write.files.iter().map(|file| format!("{}={}", file.name, file.value)).collect();
        let folder = folder.as_ref().map_or("-".into(), |folder| folder.display().to_string());
        format!("{folder} {}{}", files.join("|"), if write.lax { " lax" } else { "" })
    };
    Ok(writes.all.iter().map(line).collect())
}

const V1: &[&str] = &["cpu,cpuacct", "cpuset", "memory", "pids", "blkio", "net_cls", "net_prio", "hugetlb"];

#[test]
fn the_same_request_in_both_versions() {
    let rows: &[(&str, &[&str], &[&str])] = &[
        (
            r#"{"memory":{"limit":1000,"swap":3000,"reservation":500}}"#,
            &["memory.limit_in_bytes=1000", "memory.memsw.limit_in_bytes=3000", "memory.soft_limit_in_bytes=500"],
            &["memory.max=1000", "memory.swap.max=2000", "memory.low=500"],
        ),
        (
            r#"{"memory":{"limit":-1}}"#,
            &["memory.limit_in_bytes=-1 lax", "memory.memsw.limit_in_bytes=-1 lax"],
            &["memory.max=max lax", "memory.swap.max=max lax"],
        ),
        (r#"{"memory":{"limit":0,"swap":0}}"#, &[], &[]),
        (r#"{"memory":{"disableOOMKiller":false}}"#, &["memory.oom_control=0 lax"], &[]),
        (
            r#"{"cpu":{"shares":1024,"quota":50000,"period":100000,"burst":1000}}"#,
            &["cpu.shares=1024 lax", "cpu.cfs_period_us=100000", "cpu.cfs_quota_us=50000", "cpu.cfs_burst_us=1000"],
            &["cpu.weight=100 lax", "cpu.max=50000 100000", "cpu.max.burst=1000"],
        ),
        (r#"{"cpu":{"period":100000}}"#, &["cpu.cfs_period_us=100000"], &["cpu.max=100000"]),
        (r#"{"cpu":{"quota":-1}}"#, &["cpu.cfs_quota_us=-1 lax"], &["cpu.max=max lax"]),
        (
            r#"{"cpu":{"cpus":"0-1","mems":"0"}}"#,
            &["cpuset.cpus=0-1", "cpuset.mems=0"],
            &["cpuset.cpus=0-1", "cpuset.mems=0"],
        ),
        (r#"{"pids":{"limit":7}}"#, &["pids.max=7"], &["pids.max=7"]),
        (r#"{"pids":{"limit":0}}"#, &["pids.max=max lax"], &["pids.max=max lax"]),
        (r#"{"pids":{"limit":-1}}"#, &["pids.max=max lax"], &["pids.max=max lax"]),
        (
            r#"{"blockIO":{"weight":500}}"#,
            &["blkio.bfq.weight=500|blkio.weight=500"],
            &["io.bfq.weight=500|io.weight=4950"],
        ),
        (
            r#"{"blockIO":{"weightDevice":[{"major":8,"minor":0,"weight":100}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":1024}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":16,"rate":0}]}}"#,
            &[
                "blkio.bfq.weight_device=8:0 100|blkio.weight_device=8:0 100",
                "blkio.throttle.read_bps_device=8:0 1024",
                "blkio.throttle.write_iops_device=8:16 0",
            ],
            &["io.bfq.weight=8:0 100|io.weight=8:0 910", "io.max=8:0 rbps=1024", "io.max=8:16 wiops=max lax"],
        ),
        (
            r#"{"hugepageLimits":[{"pageSize":"2MB","limit":4194304}]}"#,
            &["hugetlb.2MB.limit_in_bytes=4194304", "hugetlb.2MB.rsvd.limit_in_bytes=4194304 lax"],
            &["hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304 lax"],
        ),
    ];
    for (json, v1, v2) in rows {
        let bare = |lines: Vec<String>| -> Vec<String> {
            lines.iter().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
        };
        assert_eq!(bare(lines(V1, json).unwrap()), *v1, "{json}");
        assert_eq!(bare(lines(&[""], json).unwrap()), *v2, "{json}");
    }
}

#[test]
fn what_only_one_version_has() {
    let v1_only = [
        r#"{"memory":{"swappiness":10}}"#,
        r#"{"memory":{"disableOOMKiller":true}}"#,
        r#"{"cpu":{"realtimeRuntime":5}}"#,
        r#"{"cpu":{"realtimePeriod":5}}"#,
        r#"{"network":{"classID":5}}"#,
        r#"{"network":{"priorities":[{"name":"eth0","priority":5}]}}"#,
        r#"{"blockIO":{"leafWeight":5}}"#,
    ];
    for json in v1_only {
        assert_eq!(lines(V1, json).unwrap().len(), 1, "{json}");
        let error = lines(&[""], json).unwrap_err().to_string();
        assert!(error.contains("linux.resources."), "{error}");
    }
    let unified = r#"{"unified":{"memory.high":"100"}}"#;
    assert!(lines(V1, unified).unwrap_err().to_string().contains("cgroup v1"));
    assert_eq!(lines(&[""], unified).unwrap(), ["/cg/c1 memory.high=100"]);
}

#[test]
fn a_hybrid_host_takes_each_controller_where_it_is() {
    let json = r#"{"memory":{"limit":5},"hugepageLimits":[{"pageSize":"2MB","limit":0}]}"#;
    let expected =
        ["/cg/memory/c1 memory.limit_in_bytes=5", "/cg/c1 hugetlb.2MB.max=0", "/cg/c1 hugetlb.2MB.rsvd.max=0 lax"];
    assert_eq!(lines(&["memory", ""], json).unwrap(), expected);
}

#[test]
fn nonsense_is_refused() {
    let rows = [
        r#"{"unified":{"memory/high":"1"}}"#,
        r#"{"unified":{"high":"1"}}"#,
        r#"{"unified":{".x":"1"}}"#,
        r#"{"unified":{"a.b/../../c":"1"}}"#,
        r#"{"memory":{"swap":5}}"#,
        r#"{"memory":{"swap":5,"limit":6}}"#,
        r#"{"hugepageLimits":[{"pageSize":"../x","limit":0}]}"#,
    ];
    for json in rows {
        assert!(lines(&[""], json).is_err(), "{json}");
    }
    assert!(lines(V1, r#"{"memory":{"swappiness":101}}"#).is_err());
    assert!(lines(V1, r#"{"cpu":{"shares":1}}"#).is_err());
}

#[test]
fn a_field_without_effect_is_said() {
    let resources: Resources = serde_json::from_str(r#"{"memory":{"kernel":5,"useHierarchy":false}}"#).unwrap();
    assert_eq!(writes(&resources, &record(&[""])).unwrap().warnings.len(), 2);
}

#[test]
fn a_missing_controller_is_named_and_no_limit_is_no_loss() {
    let error = |json: &str| {
        let resources: Resources = serde_json::from_str(json).unwrap();
        writes(&resources, &record(&[])).unwrap().apply(false, || {})
    };
    let text = error(r#"{"memory":{"limit":5}}"#).unwrap_err().to_string();
    assert!(text.contains("linux.resources.memory.limit") && text.contains("memory controller"), "{text}");
    error(r#"{"memory":{"limit":-1},"pids":{"limit":0},"cpu":{"shares":1024,"quota":-1}}"#).unwrap();
}

#[test]
fn a_file_whose_controller_is_just_coming_is_waited_for() {
    let mount = std::env::temp_dir().join(format!("myrt-limits-{}", std::process::id()));
    let folder = mount.join("c1");
    std::fs::create_dir_all(&folder).unwrap();
    let tree = Tree { controllers: String::new(), mount: mount.clone(), path: "/c1".to_owned(), kept: 0 };
    let record = Record { trees: vec![tree], ..Record::default() };
    let resources: Resources =
        serde_json::from_str(r#"{"memory":{"limit":5},"pids":{"limit":-1},"cpu":{"idle":1}}"#).unwrap();
    let arrives = |name: &str| std::fs::write(folder.join(name), "").unwrap();
    let wait = || ["memory.max", "pids.max", "cpu.idle"].into_iter().for_each(arrives);
    let apply = |wait: &dyn Fn()| writes(&resources, &record).unwrap().apply(false, wait);

    std::fs::write(folder.join("cgroup.controllers"), "cpu").unwrap();
    let refused = apply(&|| {}).unwrap_err().to_string();
    assert!(refused.contains("linux.resources.memory.limit"), "{refused}");
    std::fs::write(folder.join("cgroup.controllers"), "cpu memory pids").unwrap();
    apply(&wait).unwrap();
    let text = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    assert_eq!([text("memory.max"), text("pids.max"), text("cpu.idle")], ["5", "max", "1"]);
    std::fs::remove_dir_all(&mount).unwrap();
}
