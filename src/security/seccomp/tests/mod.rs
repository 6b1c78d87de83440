//! The compiler against the plain meaning of profiles, and against libseccomp where it is installed.

mod interpreter;
mod oracle;
mod profiles;

use super::*;
use interpreter::{Call, run};

const X86_64: u32 = 0xc000_003e;
const X86: u32 = 0x4000_0003;
const ALLOW: u32 = 0x7fff_0000;
const EPERM: u32 = 0x0005_0001;
const ENOSYS: u32 = 0x0005_0026;
const KILL: u32 = 0;

fn plan(json: serde_json::Value) -> plan::Seccomp {
    plan::Seccomp::new(&serde_json::from_value(json).unwrap()).unwrap()
}

fn call(audit: u32, number: u32, args: [u64; 6]) -> Call {
    Call { number, audit, args }
}

#[test]
fn a_program_goes_through_a_wire_in_parts() {
    let program = compile(&plan::default_seccomp::filter()).unwrap();
    let parts: Vec<Vec<u8>> = program.parts(100).collect();
    assert!(parts.len() > 10 && parts.iter().all(|part| part.len() <= 100));
    let again = Program::of_parts(&parts).unwrap();
    let bytes = |program: &Program| program.parts(usize::MAX >> 1).collect::<Vec<_>>();
    assert_eq!(bytes(&again), bytes(&program));
    assert!(Program::of_parts(&[]).is_none() && Program::of_parts(&[vec![1, 2, 3]]).is_none());
    assert!(Program::of_parts(&[parts[0].clone(), vec![0; 9]]).is_none());
}

#[test]
fn unknown_architectures_and_new_calls() {
    let program = compile(&plan(serde_json::json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [{"names": ["read", "close_range", "socket"], "action": "SCMP_ACT_ALLOW"}],
    })))
    .unwrap();
    let of = |audit, number, first| run(&program.code, &call(audit, number, [first, 0, 0, 0, 0, 0]));
    assert_eq!(of(X86_64, 0, 0), ALLOW);
    assert_eq!(of(X86_64, 1, 0), EPERM);
    assert_eq!(of(X86_64, 436, 0), ALLOW);
    assert_eq!(of(X86_64, 437, 0), ENOSYS);
    assert_eq!(of(X86_64, 0x4000_0000, 0), KILL);
    assert_eq!(of(X86_64, u32::MAX, 0), EPERM);
    assert_eq!(of(X86, 3, 0), ALLOW);
    assert_eq!(of(X86, 359, 0), ALLOW);
    assert_eq!(of(X86, 102, 1), ALLOW);
    assert_eq!(of(X86, 102, 2), EPERM);
    assert_eq!(of(0xc000_00b7, 0, 0), KILL);
}

#[test]
fn whether_one_may_sleep_behind_the_filter() {
    let rule =
        |action: &str, args: serde_json::Value| serde_json::json!({"names": ["futex"], "action": action, "args": args});
    let first_is_one = serde_json::json!([{"index": 0, "value": 1, "op": "SCMP_CMP_EQ"}]);
    for (default, rules, allowed) in [
        ("SCMP_ACT_ALLOW", vec![], true),
        ("SCMP_ACT_ERRNO", vec![], false),
        ("SCMP_ACT_ERRNO", vec![rule("SCMP_ACT_ALLOW", serde_json::json!([]))], true),
        ("SCMP_ACT_ALLOW", vec![rule("SCMP_ACT_NOTIFY", serde_json::json!([]))], false),
        ("SCMP_ACT_ALLOW", vec![rule("SCMP_ACT_KILL", first_is_one)], false),
    ] {
        let json = serde_json::json!({"defaultAction": default, "syscalls": rules, "listenerPath": "/run/agent"});
        assert_eq!(compile(&plan(json.clone())).unwrap().allows_futex(), allowed, "{json}");
    }
}

#[test]
fn a_contradiction_is_refused_by_its_places() {
    let rule = |action: &str| {
        serde_json::json!({"names": ["personality"], "action": action,
            "args": [{"index": 0, "value": 8, "op": "SCMP_CMP_EQ"}]})
    };
    let profile = plan(serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [rule("SCMP_ACT_LOG"), rule("SCMP_ACT_ERRNO")]}));
    let Err(error) = compile(&profile) else { panic!("compiled") };
    let text = error.to_string();
    assert!(text.contains("syscalls[0] and [1]") && text.contains("personality"), "{text}");
}

#[test]
fn a_filter_that_is_too_long_is_refused() {
    let rules: Vec<_> = (0..3000)
        .map(|value| {
            serde_json::json!({"names": ["ioctl"], "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 1, "value": value, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let profile = plan(serde_json::json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules}));
    let Err(error) = compile(&profile) else { panic!("compiled") };
    assert!(error.to_string().contains("Linux takes 4096"), "{error}");
}

#[test]
fn long_jumps_reach() {
    // Each value is an action of its own, so that nothing can be shared and everything is far from everything.
    let names: Vec<_> = plan::syscalls::NATIVE.all().map(|call| plan::syscalls::NATIVE.name(call)).collect();
    let rules: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(value, name)| {
            serde_json::json!({"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": value + 100,
                "args": [{"index": 5, "value": value, "op": "SCMP_CMP_EQ"}]})
        })
        .collect();
    let program = compile(&plan(serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}))).unwrap();
    for (value, name) in names.iter().enumerate() {
        let number = plan::syscalls::NATIVE.number(plan::syscalls::NATIVE.find(name).unwrap(), 0);
        let Some(number) = number else { continue };
        let hit = run(&program.code, &call(X86_64, number, [0, 0, 0, 0, 0, value as u64]));
        assert_eq!(hit, 0x0005_0000 | (value as u32 + 100), "{name}");
        assert_eq!(run(&program.code, &call(X86_64, number, [0, 0, 0, 0, 0, 1 << 32])), ALLOW);
    }
}

#[test]
fn the_kernel_takes_it() {
    // A thread of its own, since a filter cannot be taken back; it allows everything but one call.
    let profile = plan(serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_TSYNC"],
        "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_ERRNO", "errnoRet": 77}]}));
    let program = compile(&profile).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            assert!(program.install().unwrap().is_none());
            let error = rustix::process::getpriority_process(None).unwrap_err();
            assert_eq!(error.raw_os_error(), 77);
        });
    });
}

#[test]
fn a_listener_is_given() {
    let profile = plan(serde_json::json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x",
        "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"],
        "syscalls": [{"names": ["getpriority"], "action": "SCMP_ACT_NOTIFY"}]}));
    let program = compile(&profile).unwrap();
    assert!(program.uses_notify());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            rustix::thread::set_no_new_privs(true).unwrap();
            let listener = program.install().unwrap().unwrap();
            assert!(rustix::io::fcntl_getfd(&listener).unwrap().contains(rustix::io::FdFlags::CLOEXEC));
            drop(listener);
            // Nobody listens any more.
            assert_eq!(rustix::process::getpriority_process(None).unwrap_err(), Errno::NOSYS);
        });
    });
}

#[test]
fn the_kernel_says_which_flags_it_has() {
    assert!(supported_flags().contains(&"SECCOMP_FILTER_FLAG_LOG"));
}
