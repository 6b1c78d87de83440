//! `linux.seccomp`: actions, errno values, arguments, architectures, notification, and that a filter holds for exec too.

use std::os::fd::AsRawFd as _;

use crate::util::tty::FdSocket;
use crate::util::{Bundle, Value, json};

/// A bundle whose probe makes one system call.
fn calling(name: &str, args: &[&str], seccomp: Value) -> Bundle {
    let bundle = Bundle::busybox(name);
    let line: Vec<_> = ["probe"].iter().chain(args).map(ToString::to_string).collect();
    bundle.with_probe().args(line).config(|config| config["linux"]["seccomp"] = seccomp);
    bundle
}

/// A filter that allows all but these rules.
fn filter(rules: Value) -> Value {
    json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"], "syscalls": rules })
}

const GETPPID: i64 = libc::SYS_getppid;
const KCMP: i64 = libc::SYS_kcmp;

#[test]
fn errno_is_what_the_program_gets() {
    let call = GETPPID.to_string();
    let bundle = calling("seccomp_errno", &["syscall", &call], filter(json!([])));
    bundle.run().ok().stdout("0");
    for (rule, expected) in [
        (json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO" }), "-1"),
        (json!({ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38 }), "-38"),
        (json!({ "names": ["getpid", "getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 }), "-95"),
        (json!({ "names": ["no_such_syscall", "getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 7 }), "-7"),
    ] {
        bundle.config(|config| config["linux"]["seccomp"] = filter(json!([rule])));
        bundle.run().ok().stdout(expected);
    }
}

#[test]
fn kill_ends_the_process_with_sigsys() {
    let call = GETPPID.to_string();
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let rules = json!([{ "names": ["getppid"], "action": action }]);
        let bundle = calling("seccomp_kill", &["syscall", &call], filter(rules));
        bundle.run().code(128 + libc::SIGSYS);
    }
}

#[test]
fn trap_raises_sigsys_with_the_number() {
    let call = GETPPID.to_string();
    let rules = json!([{ "names": ["getppid"], "action": "SCMP_ACT_TRAP" }]);
    let bundle = calling("seccomp_trap", &["trap", &call], filter(rules));
    bundle.run().ok().stdout(&format!("SIGSYS for {call}"));
}

#[test]
fn log_lets_pass() {
    let call = GETPPID.to_string();
    let rules = json!([{ "names": ["getppid"], "action": "SCMP_ACT_LOG" }]);
    calling("seccomp_log", &["syscall", &call], filter(rules)).run().ok().stdout("0");
}

#[test]
fn trace_without_a_tracer_is_enosys() {
    let call = GETPPID.to_string();
    let rules = json!([{ "names": ["getppid"], "action": "SCMP_ACT_TRACE", "errnoRet": 5 }]);
    calling("seccomp_trace", &["syscall", &call], filter(rules)).run().ok().stdout("-38");
}

#[test]
fn every_operator_compares_arguments() {
    // kcmp(2) with nonsense answers ESRCH, so that -1 (EPERM) is the filter.
    let call = KCMP.to_string();
    let (big, mask) = (0xffff_ffff_0000_0005_u64, 0xf0_u64);
    for (op, value, two, hits, misses) in [
        ("SCMP_CMP_EQ", 100_000, 0, vec![100_000], vec![99_999, 100_001]),
        ("SCMP_CMP_NE", 100_000, 0, vec![99_999], vec![100_000]),
        ("SCMP_CMP_LT", 100_000, 0, vec![99_999], vec![100_000, 100_001]),
        ("SCMP_CMP_LE", 100_000, 0, vec![99_999, 100_000], vec![100_001]),
        ("SCMP_CMP_GT", 100_000, 0, vec![100_001], vec![99_999, 100_000]),
        ("SCMP_CMP_GE", 100_000, 0, vec![100_000, 100_001], vec![99_999]),
        ("SCMP_CMP_MASKED_EQ", mask, 0x50, vec![0x1f5f, 0x50], vec![0x60, 0x1f6f]),
        // Both halves of 64 bits count.
        ("SCMP_CMP_EQ", big, 0, vec![big], vec![5, 0xffff_ffff_0000_0004]),
        ("SCMP_CMP_GT", 0xffff_ffff, 0, vec![0x1_0000_0000], vec![0xffff_ffff, 5]),
    ] {
        let args = json!([{ "index": 3, "op": op, "value": value, "valueTwo": two }]);
        let rules = json!([{ "names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "args": args }]);
        let bundle = calling("seccomp_args", &[], filter(rules));
        let script = hits.iter().chain(&misses).map(|arg| {
            let arg = i64::from_ne_bytes(u64::to_ne_bytes(*arg));
            format!("probe syscall {call} 999999 999999 0 {arg} 0; ")
        });
        bundle.sh(&script.collect::<String>());
        let expected = hits.iter().map(|_| "-1").chain(misses.iter().map(|_| "-3"));
        assert_eq!(bundle.run().ok().lines(), expected.collect::<Vec<_>>(), "{op} {value:#x}");
    }
}

#[test]
fn all_conditions_of_a_rule_must_hold() {
    let call = KCMP.to_string();
    let args =
        json!([{ "index": 2, "op": "SCMP_CMP_EQ", "value": 1 }, { "index": 3, "op": "SCMP_CMP_EQ", "value": 2 }]);
    let rules = json!([{ "names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "args": args }]);
    let bundle = calling("seccomp_and", &[], filter(rules));
    bundle.sh(&format!(
        "probe syscall {call} 999999 999999 1 2 0; probe syscall {call} 999999 999999 1 3 0; \
         probe syscall {call} 999999 999999 0 2 0"
    ));
    bundle.run().ok().stdout("-1\n-3\n-3");
}

#[test]
fn a_list_of_what_is_allowed_works_with_a_default_of_errno() {
    let bundle = Bundle::busybox("seccomp_allow");
    // All that busybox, the probe and a runtime's last steps need; getppid is not in it.
    let allowed = [
        "access",
        "arch_prctl",
        "brk",
        "capget",
        "capset",
        "chdir",
        "clone",
        "clone3",
        "close",
        "close_range",
        "dup",
        "dup2",
        "dup3",
        "epoll_ctl",
        "epoll_pwait",
        "epoll_wait",
        "execve",
        "execveat",
        "exit",
        "exit_group",
        "faccessat2",
        "fchdir",
        "fcntl",
        "fork",
        "fstat",
        "fstatfs",
        "futex",
        "getcwd",
        "getdents64",
        "getegid",
        "geteuid",
        "getgid",
        "getpgrp",
        "getpid",
        "getrandom",
        "getrlimit",
        "gettid",
        "getuid",
        "ioctl",
        "lseek",
        "lstat",
        "madvise",
        "mmap",
        "mprotect",
        "mremap",
        "munmap",
        "nanosleep",
        "newfstatat",
        "open",
        "openat",
        "openat2",
        "pipe2",
        "poll",
        "prctl",
        "prlimit64",
        "read",
        "readlink",
        "readlinkat",
        "rseq",
        "rt_sigaction",
        "rt_sigprocmask",
        "rt_sigreturn",
        "sched_getaffinity",
        "sched_yield",
        "seccomp",
        "sendmsg",
        "recvmsg",
        "set_robust_list",
        "set_tid_address",
        "setgid",
        "setgroups",
        "setuid",
        "sigaltstack",
        "stat",
        "statfs",
        "statx",
        "tgkill",
        "umask",
        "uname",
        "vfork",
        "wait4",
        "write",
        "writev",
    ];
    bundle.with_probe().sh(&format!("echo before; probe syscall {GETPPID}")).config(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 77, "architectures": ["SCMP_ARCH_X86_64"],
            "syscalls": [{ "names": allowed.as_slice(), "action": "SCMP_ACT_ALLOW" }],
        });
        // With no_new_privs the filter is loaded last, without the right to administer.
        config["process"]["noNewPrivileges"] = json!(true);
    });
    bundle.run().ok().stdout("before\n-77");
}

#[test]
fn without_no_new_privs_a_filter_is_loaded_all_the_same() {
    // A call that no runtime makes: without no_new_privs its own last steps run under the filter.
    let rules = json!([{ "names": ["kcmp"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9 }]);
    let bundle = calling("seccomp_privs", &["syscall", &KCMP.to_string(), "999999", "999999", "0"], filter(rules));
    bundle.config(|config| config["process"]["noNewPrivileges"] = json!(false));
    bundle.run().ok().stdout("-9");
}

#[test]
fn the_mode_is_seen_in_status_and_exec_gets_the_filter_too() {
    let rules = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9 }]);
    let bundle = calling("seccomp_exec", &[], filter(rules));
    bundle.sleeps().run_detached();
    bundle.exec(["grep", "Seccomp:", "/proc/self/status"]).ok().stdout("Seccomp:\t2");
    bundle.exec(["probe", "syscall", &GETPPID.to_string()]).ok().stdout("-9");
}

#[test]
fn without_seccomp_there_is_no_filter() {
    let bundle = Bundle::busybox("seccomp_none");
    bundle.args(["grep", "Seccomp:", "/proc/self/status"]).run().ok().stdout("Seccomp:\t0");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_32_bit_entry_is_filtered_by_its_own_numbers() {
    // 64 is getppid of i386, and 20 is getpid there.
    let rules = json!([{ "names": ["getppid"], "action": "SCMP_ACT_ERRNO", "errnoRet": 9 }]);
    let bundle = calling("seccomp_i386", &["int80", "64"], filter(rules));
    bundle.run().ok().stdout("-9");
    bundle.args(["probe", "int80", "20"]).run().ok().stdout("1");
    // 110 is getppid of x86_64 and something else on i386: numbers must not be mixed.
    bundle.args(["probe", "syscall", "110"]).run().ok().stdout("-9");
}

#[test]
#[cfg(target_arch = "x86_64")]
fn an_architecture_that_is_not_listed_is_killed() {
    let bundle = calling("seccomp_arch", &["int80", "20"], filter(json!([])));
    bundle.config(|config| config["linux"]["seccomp"]["architectures"] = json!(["SCMP_ARCH_X86_64"]));
    bundle.run().code(128 + libc::SIGSYS);
}

#[test]
fn an_unknown_action_operator_architecture_or_flag_is_refused() {
    let bundle = Bundle::busybox("seccomp_bad");
    let rule = |action: &str, op: &str| json!([{ "names": ["kcmp"], "action": action, "args": [{ "index": 0, "op": op, "value": 0 }] }]);
    for bad in [
        json!({ "defaultAction": "SCMP_ACT_NONSENSE" }),
        filter(rule("SCMP_ACT_NONSENSE", "SCMP_CMP_EQ")),
        filter(rule("SCMP_ACT_ERRNO", "SCMP_CMP_NONSENSE")),
        json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NONSENSE"],
                "syscalls": rule("SCMP_ACT_ERRNO", "SCMP_CMP_EQ") }),
        filter(json!([{ "names": ["kcmp"], "action": "SCMP_ACT_ERRNO",
                        "args": [{ "index": 6, "op": "SCMP_CMP_EQ", "value": 0 }] }])),
    ] {
        bundle.config(|config| config["linux"]["seccomp"] = bad);
        bundle.run().fails();
        bundle.assert_clean();
    }
}

#[test]
fn an_empty_filter_that_allows_all_changes_nothing() {
    let bundle = Bundle::busybox("seccomp_empty");
    bundle.config(|config| config["linux"]["seccomp"] = json!({ "defaultAction": "SCMP_ACT_ALLOW" }));
    bundle.run().ok();
}

#[test]
fn the_listener_receives_the_notify_descriptor_and_the_state() {
    let rules = json!([{ "names": ["getppid"], "action": "SCMP_ACT_NOTIFY" }]);
    let bundle = calling("seccomp_notify", &["syscall", &GETPPID.to_string()], filter(rules));
    let path = bundle.outside("notify.sock");
    bundle.config(|config| {
        config["linux"]["seccomp"]["listenerPath"] = json!(path);
        config["linux"]["seccomp"]["listenerMetadata"] = json!("some metadata");
    });
    let listener = FdSocket::listen(&path);
    let run = bundle.run_command().spawn();
    let (text, fds) = listener.receive();
    let message: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"));
    assert_eq!(message["fds"], json!(["seccompFd"]), "{message}");
    assert_eq!(message["metadata"], "some metadata", "{message}");
    assert!(message["pid"].as_i64().unwrap() > 1, "{message}");
    assert_eq!(message["state"]["id"], bundle.id, "{message}");
    assert_eq!(fds.len(), 1);
    let link = std::fs::read_link(format!("/proc/self/fd/{}", fds[0].as_raw_fd())).unwrap();
    assert_eq!(link.to_str().unwrap(), "anon_inode:seccomp notify");
    // Nobody answers: when the descriptor closes, the call ends with ENOSYS.
    drop(fds);
    run.wait().ok().stdout("-38");
}

#[test]
fn notify_without_a_listener_is_refused() {
    let rules = json!([{ "names": ["getppid"], "action": "SCMP_ACT_NOTIFY" }]);
    let bundle = calling("seccomp_no_listener", &["syscall", "39"], filter(rules));
    bundle.run().fails();
    bundle.config(|config| config["linux"]["seccomp"]["listenerPath"] = json!("/no/such/socket"));
    bundle.run().fails();
    bundle.assert_clean();
}

#[test]
fn a_long_list_for_three_architectures_compiles_and_holds() {
    let bundle = Bundle::busybox("seccomp_long");
    // What container managers forbid to a container without capabilities, here by name instead of by omission.
    let denied = [
        "acct",
        "add_key",
        "bpf",
        "clock_adjtime",
        "clock_settime",
        "create_module",
        "delete_module",
        "finit_module",
        "fsconfig",
        "fsmount",
        "fsopen",
        "fspick",
        "get_kernel_syms",
        "init_module",
        "ioperm",
        "iopl",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "lookup_dcookie",
        "mount",
        "mount_setattr",
        "move_mount",
        "name_to_handle_at",
        "nfsservctl",
        "open_by_handle_at",
        "open_tree",
        "perf_event_open",
        "pivot_root",
        "quotactl",
        "reboot",
        "request_key",
        "setns",
        "settimeofday",
        "stime",
        "swapoff",
        "swapon",
        "sysfs",
        "umount",
        "umount2",
        "unshare",
        "uselib",
        "userfaultfd",
        "ustat",
        "vm86",
        "vm86old",
    ];
    bundle.with_probe().sh(&format!("unshare -u true; probe syscall {KCMP} 1 1 0 0 0; echo done")).config(|config| {
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
            "syscalls": [{ "names": denied.as_slice(), "action": "SCMP_ACT_ERRNO", "errnoRet": 1 }],
        });
    });
    bundle.run().ok().stdout("-1\ndone").err_has("ermitted");
}
