//! Annotations that are properties of the unit: `org.systemd.property.NAME`, with a value in GVariant's text form.

use std::collections::BTreeMap;

use super::properties::{Property, Value};
use crate::bail;
use crate::error::{Error, Result};

/// What their names begin with.
const ANNOTATION: &str = "org.systemd.property.";

/// Picks the annotations that are properties, and checks that each can be read.
///
/// # Errors
/// Where a name or a value is none.
pub(in crate::cgroup) fn from_annotations(annotations: &BTreeMap<String, String>) -> Result<Vec<(String, String)>> {
    let mut all = Vec::new();
    for (key, text) in annotations {
        let Some(name) = key.strip_prefix(ANNOTATION) else { continue };
        if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            bail!("annotations[{key:?}]: {name:?} is no name of a property of systemd");
        }
        in_microseconds(name, parse(text).ok_or_else(|| wrong(name, text))?)?;
        all.push((name.to_owned(), text.clone()));
    }
    Ok(all)
}

/// The refusal of a value.
pub(super) fn wrong(name: &str, text: &str) -> Error {
    Error::new(format!("annotations[\"{ANNOTATION}{name}\"]: {text:?} is no value"))
        .hint("values are in GVariant's text form: true, 'text', uint64 5, ['a', 'b']")
}

/// Properties named `…Sec` in unit files are `…USec` on the bus, in microseconds.
pub(super) fn in_microseconds(name: &str, value: Value) -> Result<Property> {
    let Some(stem) = name.strip_suffix("Sec").filter(|stem| stem.ends_with(|end: char| end.is_ascii_lowercase()))
    else {
        return Ok((name.to_owned(), value));
    };
    let seconds = match value {
        Value::Byte(value) => f64::from(value),
        Value::I16(value) => f64::from(value),
        Value::U16(value) => f64::from(value),
        Value::I32(value) => f64::from(value),
        Value::U32(value) => f64::from(value),
        Value::I64(value) => value as f64,
        Value::U64(value) => value as f64,
        Value::Double(value) => value,
        _ => bail!("annotations[\"{ANNOTATION}{name}\"]: a number of seconds is needed"),
    };
    Ok((format!("{stem}USec"), Value::U64((seconds * 1e6) as u64)))
}

/// Reads a value in GVariant's text form: what properties of units need of it.
pub(super) fn parse(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some(inner) = text.strip_prefix("@as").map(str::trim_start).unwrap_or(text).strip_prefix('[') {
        let inner = inner.strip_suffix(']')?.trim();
        let items = if inner.is_empty() { Vec::new() } else { split(inner)? };
        return items.iter().map(|item| quoted(item)).collect::<Option<_>>().map(Value::Texts);
    }
    if let Some(text) = quoted(text) {
        return Some(Value::Text(text));
    }
    Some(match text.split_once(char::is_whitespace).map(|(word, rest)| (word, rest.trim())) {
        Some(("byte", value)) => Value::Byte(value.parse().ok()?),
        Some(("int16", value)) => Value::I16(value.parse().ok()?),
        Some(("uint16", value)) => Value::U16(value.parse().ok()?),
        Some(("int32", value)) => Value::I32(value.parse().ok()?),
        Some(("uint32", value)) => Value::U32(value.parse().ok()?),
        Some(("int64", value)) => Value::I64(value.parse().ok()?),
        Some(("uint64", value)) => Value::U64(value.parse().ok()?),
        Some(("double", value)) => Value::Double(value.parse().ok()?),
        Some(("boolean", value)) => Value::Bool(value.parse().ok()?),
        Some(("string", value)) => Value::Text(quoted(value)?),
        Some(_) => return None,
        None if text == "true" || text == "false" => Value::Bool(text == "true"),
        None if text.contains('.') => Value::Double(text.parse().ok()?),
        None => Value::I32(text.parse().ok()?),
    })
}

/// The text between two quotes of one kind; a backslash keeps the next letter as it is.
fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|first| matches!(first, '\'' | '"'))?;
    let mut letters = text[1..].chars();
    let mut result = String::new();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => result.push(letters.next()?),
            letter if letter == quote => return letters.next().is_none().then_some(result),
            letter => result.push(letter),
        }
    }
    None
}

/// Splits a list at the commas that are not inside quotes.
fn split(text: &str) -> Option<Vec<&str>> {
    let mut parts = Vec::new();
    let (mut start, mut quote, mut escaped) = (0, None, false);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, ',') => {
                parts.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    quote.is_none().then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_annotations() {
        let rows = [
            ("true", Some(Value::Bool(true))),
            ("5", Some(Value::I32(5))),
            ("uint64 5", Some(Value::U64(5))),
            ("'a b'", Some(Value::Text("a b".into()))),
            (r#""it\"s""#, Some(Value::Text("it\"s".into()))),
            ("['a', \"b,c\"]", Some(Value::Texts(vec!["a".into(), "b,c".into()]))),
            ("@as []", Some(Value::Texts(Vec::new()))),
            ("1.5", Some(Value::Double(1.5))),
            ("", None),
            ("'a", None),
            ("'a'b'", None),
            ("nonsense", None),
            ("uint32 -1", None),
        ];
        for (text, expected) in rows {
            assert_eq!(parse(text), expected, "{text}");
        }
        let one = |key: &str, value: &str| from_annotations(&BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert_eq!(one("org.systemd.property.After", "['a']").unwrap().len(), 1);
        assert_eq!(one("other", "x").unwrap().len(), 0);
        assert!(one("org.systemd.property.x/y", "true").is_err());
        assert!(one("org.systemd.property.StopSec", "'x'").is_err());
    }
}
