//! Names and numbers of signals, as a person or a caller writes them.

use std::ffi::OsStr;

/// Names without SIG; numbers differ between architectures, so libc has them.
const NAMES: &[(&str, i32)] = &[
    ("HUP", libc::SIGHUP),
    ("INT", libc::SIGINT),
    ("QUIT", libc::SIGQUIT),
    ("ILL", libc::SIGILL),
    ("TRAP", libc::SIGTRAP),
    ("ABRT", libc::SIGABRT),
    ("IOT", libc::SIGIOT),
    ("BUS", libc::SIGBUS),
    ("FPE", libc::SIGFPE),
    ("KILL", libc::SIGKILL),
    ("USR1", libc::SIGUSR1),
    ("SEGV", libc::SIGSEGV),
    ("USR2", libc::SIGUSR2),
    ("PIPE", libc::SIGPIPE),
    ("ALRM", libc::SIGALRM),
    ("TERM", libc::SIGTERM),
    ("STKFLT", libc::SIGSTKFLT),
    ("CHLD", libc::SIGCHLD),
    ("CLD", libc::SIGCHLD),
    ("CONT", libc::SIGCONT),
    ("STOP", libc::SIGSTOP),
    ("TSTP", libc::SIGTSTP),
    ("TTIN", libc::SIGTTIN),
    ("TTOU", libc::SIGTTOU),
    ("URG", libc::SIGURG),
    ("XCPU", libc::SIGXCPU),
    ("XFSZ", libc::SIGXFSZ),
    ("VTALRM", libc::SIGVTALRM),
    ("PROF", libc::SIGPROF),
    ("WINCH", libc::SIGWINCH),
    ("IO", libc::SIGIO),
    ("POLL", libc::SIGPOLL),
    ("PWR", libc::SIGPWR),
    ("SYS", libc::SIGSYS),
];

/// The first real-time signal that programs can use: the C library keeps two below it. It is part of the interface of
/// callers, who count from it whatever library they have.
const RTMIN: i32 = 34;
/// The last one, and the highest number of all.
const RTMAX: i32 = 64;

/// Reads a number from 0 to 64 (0 is no signal, only the question whether one could be sent, kill(2)), a name with or without SIG in any case, or `RTMIN+n` and `RTMAX-n`.
///
/// # Errors
/// What is expected.
pub fn parse(text: &OsStr) -> Result<i32, String> {
    let read = || {
        let text = text.to_str()?.to_ascii_uppercase();
        if let Ok(number) = text.parse() {
            return Some(number);
        }
        let name = text.strip_prefix("SIG").unwrap_or(&text);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Some(*number);
        }
        let steps = |rest: &str, sign| match rest {
            "" => Some(0),
            _ => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
        };
        let from_min = name.strip_prefix("RTMIN").and_then(|rest| Some(RTMIN + steps(rest, '+')?));
        let number = from_min.or_else(|| Some(RTMAX - steps(name.strip_prefix("RTMAX")?, '-')?))?;
        (RTMIN..=RTMAX).contains(&number).then_some(number)
    };
    let number = read().filter(|number| (0..=RTMAX).contains(number));
    number.ok_or_else(|| "a signal's name, such as TERM or SIGTERM, or its number is expected".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        let cases = [
            ("TERM", 15),
            ("SIGTERM", 15),
            ("sigkill", 9),
            ("9", 9),
            ("0", 0),
            ("64", 64),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax-1", 63),
            ("RTMAX", 64),
        ];
        for (text, number) in cases {
            assert_eq!(parse(text.as_ref()), Ok(number), "{text}");
        }
        for text in ["", "65", "-9", "SIG", "FOO", "RTMIN+31", "RTMIN-1", "RTMAX+1", "RTMIN+-1", "SIGSIGTERM"] {
            assert!(parse(text.as_ref()).is_err(), "{text}");
        }
    }
}
