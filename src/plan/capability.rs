//! The names of capabilities(7), and sets of them as bits.

/// Names without the prefix `CAP_`; the place is the number (include/uapi/linux/capability.h).
pub const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Bits of all capabilities that have a name here.
pub const ALL: u64 = (1 << NAMES.len()) - 1;
/// CAP_SYS_ADMIN, which loading a seccomp filter without no_new_privs needs.
pub const SYS_ADMIN: u64 = 1 << 21;

/// The bit of a name, in any case, with or without `CAP_`.
pub fn bit(name: &str) -> Option<u64> {
    let short = match name.get(..4) {
        Some(prefix) if prefix.eq_ignore_ascii_case("CAP_") => &name[4..],
        _ => name,
    };
    let number = NAMES.iter().position(|known| known.eq_ignore_ascii_case(short))?;
    Some(1 << number)
}

/// The names of a set, for messages: `CAP_CHOWN, CAP_KILL`.
pub fn names(set: u64) -> String {
    let mut text = String::new();
    for number in (0..u64::BITS).filter(|number| set & (1 << number) != 0) {
        if !text.is_empty() {
            text.push_str(", ");
        }
        match NAMES.get(number as usize) {
            Some(name) => text.extend(["CAP_", name]),
            None => text.push_str(&format!("capability {number}")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_dress() {
        assert_eq!(bit("CAP_SYS_ADMIN"), Some(SYS_ADMIN));
        assert_eq!(bit("sys_admin"), Some(SYS_ADMIN));
        assert_eq!(bit("cap_checkpoint_restore"), Some(1 << 40));
        assert_eq!(bit("CAP_"), None);
        assert_eq!(bit("é"), None);
        assert_eq!(names(SYS_ADMIN | 1), "CAP_CHOWN, CAP_SYS_ADMIN");
    }
}
