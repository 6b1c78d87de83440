//! Paths and contents as text: what a box wrote may hold any byte, and what is shown must neither move a cursor nor be
//! ambiguous.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// A path for people and for files of ours: control characters, letters that are not seen or turn the direction, backslashes
/// and what is not UTF-8 as `\xNN`. Reversible.
pub fn shown(path: &Path) -> String {
    // Most are, and there may be many.
    let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\';
    if let Some(plain) = path.to_str().filter(|text| text.bytes().all(is_plain)) {
        return plain.to_owned();
    }
    let mut text = String::new();
    escaped(&mut text, path.as_os_str().as_bytes(), |letter| letter == '\\' || moves(letter) || hides(letter));
    text
}

/// A line of a file for people: what would move a terminal's cursor as `\xNN`, but for tabs, and what is not UTF-8.
pub fn shown_line(line: &[u8]) -> String {
    let mut text = String::new();
    escaped(&mut text, line, |letter| letter != '\t' && moves(letter));
    text
}

/// Whether a file can be shown line by line as it is: UTF-8 that no terminal takes for a command. Tabs are, and lines that
/// end as on other systems.
pub fn is_plain(content: &[u8]) -> bool {
    let line = |line: &[u8]| {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        std::str::from_utf8(line).is_ok_and(|line| !line.chars().any(|letter| letter != '\t' && moves(letter)))
    };
    content.split_inclusive(|byte| *byte == b'\n').all(line)
}

/// Control characters, ends of lines and paragraphs, and what turns the direction of writing.
fn moves(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Letters of no width, by which two names look the same.
fn hides(letter: char) -> bool {
    matches!(letter, '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

fn escaped(text: &mut String, bytes: &[u8], is_escaped: impl Fn(char) -> bool) {
    let escape = |text: &mut String, byte: u8| text.push_str(&format!("\\x{byte:02x}"));
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if is_escaped(letter) {
                letter.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| escape(text, byte));
            } else {
                text.push(letter);
            }
        }
        chunk.invalid().iter().for_each(|byte| escape(text, *byte));
    }
}

/// A path as a word that a shell takes for it.
pub fn quoted(path: &Path) -> String {
    let text = shown(path);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=,@+%".contains(&byte);
    match path.to_str() {
        Some(plain) if plain.bytes().all(is_plain) => text,
        Some(plain) if plain == text => format!("'{}'", text.replace('\'', r"'\''")),
        // Not every shell knows this, but none knows the bytes in another form that a terminal stands.
        _ => format!("$'{}'", text.replace('\'', r"\'")),
    }
}

/// The path that [`shown`] gave this text.
pub fn read(text: &str) -> PathBuf {
    if !text.contains('\\') {
        return PathBuf::from(text);
    }
    PathBuf::from(OsString::from_vec(bytes(text.as_bytes()).map(|(byte, _)| byte).collect()))
}

/// The bytes of such a text, each with whether it was written as `\xNN`.
pub(super) fn bytes(text: &[u8]) -> impl Iterator<Item = (u8, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (&byte, after) = rest.split_first()?;
        let code = after.strip_prefix(b"x").and_then(|after| std::str::from_utf8(after.get(..2)?).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) if byte == b'\\' => {
                rest = &after[3..];
                Some((code, true))
            }
            _ => {
                rest = after;
                Some((byte, false))
            }
        }
    })
}

/// Bytes for people: `1.2 MiB`.
pub fn size(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1024.0;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// For fields of our own files.
pub(super) mod as_text {
    use std::path::{Path, PathBuf};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::shown(path))
    }

    pub(crate) fn deserialize<'a, D: Deserializer<'a>>(deserializer: D) -> Result<PathBuf, D::Error> {
        Ok(super::read(&String::deserialize(deserializer)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_path_back() {
        for (path, wanted) in [
            (&b"/plain/x-1"[..], "/plain/x-1"),
            (b"/a b", "'/a b'"),
            (b"/it's", r"'/it'\''s'"),
            (b"/new\nline's\xff", r"$'/new\x0aline\'s\xff'"),
        ] {
            let path = PathBuf::from(OsString::from_vec(path.to_vec()));
            assert_eq!(quoted(&path), wanted);
            let script = format!("printf %s {}", quoted(&path));
            if let Ok(said) = std::process::Command::new("bash").args(["-c", &script]).output() {
                assert_eq!(said.stdout, path.as_os_str().as_bytes());
            }
        }
    }

    #[test]
    fn every_path_comes_back() {
        for bytes in [
            &b"/plain/\xc3\xbc"[..],
            b"/new\nline\ttab",
            b"/bad\xff\xfe",
            b"/back\\x41\\",
            b"/\x1b[31m",
            b"/\xc2\x85",
            b"/\xe2\x80\xaegpj.exe",
            b"/zero\xe2\x80\x8bwidth",
        ] {
            let path = PathBuf::from(OsString::from_vec(bytes.to_vec()));
            let text = shown(&path);
            assert!(!text.chars().any(|letter| moves(letter) || hides(letter)), "{text}");
            assert_eq!(read(&text), path, "{text}");
        }
        assert_eq!(shown(Path::new("/ü x")), "/ü x");
        assert_eq!(shown(Path::new("a\nb")), "a\\x0ab");
    }

    #[test]
    fn what_is_plain_can_be_shown_as_it_is() {
        for (content, plain) in [
            (&b"a\tb\nc"[..], true),
            (b"dos\r\nlines\r\n", true),
            ("ümläut \u{200d}".as_bytes(), true),
            (b"over\rwritten\n", false),
            (b"\x1b[2J", false),
            (b"latin \xfc\n", false),
            ("trojan \u{202e} source".as_bytes(), false),
            (b"null\0", false),
        ] {
            assert_eq!(is_plain(content), plain, "{content:?}");
        }
        assert_eq!(shown_line(b"a\t\x1b[2J\xfc\\"), "a\t\\x1b[2J\\xfc\\");
    }
}
