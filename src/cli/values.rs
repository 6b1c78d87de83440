//! Values of flags: how each type of a field is read from text.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

/// A field of a struct of flags.
pub trait Value {
    /// Whether a value follows the flag; a switch has none.
    const TAKES_VALUE: bool = true;
    /// Whether one that comes again adds to the ones before.
    const MANY: bool = false;
    /// All values, where they are few.
    const CHOICES: &'static [&'static str] = &[];

    /// Takes what was typed. A flag that comes again replaces, or adds to a list.
    ///
    /// # Errors
    /// Why the text cannot be read.
    fn set(&mut self, text: &OsStr) -> Result<(), String>;
}

impl Value for bool {
    const TAKES_VALUE: bool = false;

    fn set(&mut self, text: &OsStr) -> Result<(), String> {
        *self = match text.to_str() {
            Some("true" | "1") => true,
            Some("false" | "0") => false,
            _ => return Err("true or false is expected".to_owned()),
        };
        Ok(())
    }
}

impl<T: FromText> Value for Option<T> {
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn set(&mut self, text: &OsStr) -> Result<(), String> {
        // Callers write `--console-socket ""` for "none".
        *self = if text.is_empty() { None } else { Some(T::from_text(text)?) };
        Ok(())
    }
}

impl<T: FromText> Value for Vec<T> {
    const MANY: bool = true;
    const CHOICES: &'static [&'static str] = T::CHOICES;

    fn set(&mut self, text: &OsStr) -> Result<(), String> {
        self.push(T::from_text(text)?);
        Ok(())
    }
}

/// What one piece of text can be read as.
pub trait FromText: Sized {
    /// All values, where they are few.
    const CHOICES: &'static [&'static str] = &[];

    /// Reads it.
    ///
    /// # Errors
    /// Why not.
    fn from_text(text: &OsStr) -> Result<Self, String>;
}

impl FromText for PathBuf {
    fn from_text(text: &OsStr) -> Result<Self, String> {
        Ok(text.into())
    }
}

impl FromText for String {
    fn from_text(text: &OsStr) -> Result<Self, String> {
        text.to_str().map(str::to_owned).ok_or_else(|| "not UTF-8".to_owned())
    }
}

macro_rules! from_number {
    ($($type:ty),*) => {$(
        impl FromText for $type {
            fn from_text(text: &OsStr) -> Result<Self, String> {
                let text = text.to_str().unwrap_or_default();
                text.parse().map_err(|_| format!("a number from {} to {} is expected", <$type>::MIN, <$type>::MAX))
            }
        }
    )*};
}
from_number!(u16, u32, u64, i64);

/// Gives a type the names of its values: `choices! { Format { "table" => Self::Table, … } }`.
#[macro_export]
macro_rules! choices {
    ($type:ty { $($name:literal => $value:expr),* $(,)? }) => {
        impl $crate::cli::values::FromText for $type {
            const CHOICES: &'static [&'static str] = &[$($name),*];

            fn from_text(text: &std::ffi::OsStr) -> $crate::error::Result<Self, String> {
                match text.to_str() {
                    $(Some($name) => Ok($value),)*
                    _ => Err(format!("one of {} is expected", Self::CHOICES.join(", "))),
                }
            }
        }
    };
}

/// Bytes: a plain number, or one with a k, m, g or t behind it (powers of 1024). -1 is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub i64);

impl FromText for Size {
    fn from_text(text: &OsStr) -> Result<Self, String> {
        let why = || "bytes are expected, such as 1048576, 512k, 64M or 2g".to_owned();
        let text = text.to_str().ok_or_else(why)?.to_ascii_lowercase();
        // 64m, 64mb and 64mib mean the same.
        let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
        let shift = match &text[digits.len()..] {
            "" | "b" => 0,
            "k" | "kb" | "kib" => 10,
            "m" | "mb" | "mib" => 20,
            "g" | "gb" | "gib" => 30,
            "t" | "tb" | "tib" => 40,
            _ => return Err(why()),
        };
        let number: i64 = digits.parse().map_err(|_| why())?;
        if number < 0 && shift > 0 {
            return Err(why());
        }
        number.checked_mul(1 << shift).map(Self).ok_or_else(why)
    }
}

impl FromText for Duration {
    /// Go's durations, `1m30s` or `500ms`; a bare number is seconds.
    fn from_text(text: &OsStr) -> Result<Self, String> {
        const UNITS: [(&str, f64); 7] =
            [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let why = || "a time is expected, such as 5s, 500ms or 1m30s".to_owned();
        let mut rest = text.to_str().ok_or_else(why)?;
        let mut seconds = 0.0;
        loop {
            let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').unwrap_or(rest.len());
            let number: f64 = rest[..digits].parse().map_err(|_| why())?;
            let after = &rest[digits..];
            let unit = after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
            let factor = match &after[..unit] {
                "" => 1.0,
                name => UNITS.iter().find(|(unit, _)| *unit == name).ok_or_else(why)?.1,
            };
            seconds += number * factor;
            rest = &after[unit..];
            if rest.is_empty() {
                return Self::try_from_secs_f64(seconds).map_err(|_| why());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromText>(text: &str) -> Option<T> {
        T::from_text(text.as_ref()).ok()
    }

    #[test]
    fn sizes_are_bytes_unless_they_say_more() {
        let cases = [
            ("0", 0),
            ("-1", -1),
            ("1048576", 1 << 20),
            ("512k", 512 << 10),
            ("64M", 64 << 20),
            ("2g", 2 << 30),
            ("3MiB", 3 << 20),
            ("1t", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(read(text), Some(Size(bytes)), "{text}");
        }
        for text in ["", "k", "1x", "1.5g", "-1k", "9999999999t", "1 k", "é"] {
            assert_eq!(read::<Size>(text), None, "{text}");
        }
    }

    #[test]
    fn durations_are_gos() {
        let cases = [("5s", 5_000), ("500ms", 500), ("1m30s", 90_000), ("1h", 3_600_000), ("2", 2_000), ("0.5s", 500)];
        for (text, milliseconds) in cases {
            assert_eq!(read(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "s", "5x", "-1s", "1e99h", "."] {
            assert_eq!(read::<Duration>(text), None, "{text}");
        }
    }

    #[test]
    fn an_empty_value_is_none() {
        let mut socket = Some(PathBuf::from("/x"));
        socket.set("".as_ref()).unwrap();
        assert_eq!(socket, None);
    }
}
