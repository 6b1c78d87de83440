//! Which field stands at a place of a JSON text, for messages: the parser knows line and column only, and a parser that
//! keeps track of the fields doubles the code of every type that it reads.

/// A value that is open at the place.
enum Open {
    /// An object, and the key whose value it is at.
    Object(Option<String>),
    /// An array, and the index that it is at.
    Array(usize),
}

/// The path of the field at a place, such as `mounts[1].options`; empty at the top. `line` and `column` are serde_json's:
/// lines count from 1, the column is the number of bytes read of the line.
pub(super) fn at(text: &[u8], line: usize, column: usize) -> String {
    let start =
        text.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1)).map(<[u8]>::len).sum::<usize>();
    let read = &text[..(start + column).min(text.len())];
    let mut open = Vec::new();
    let mut rest = read;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'{' => open.push(Open::Object(None)),
            b'[' => open.push(Open::Array(0)),
            b'}' | b']' => drop(open.pop()),
            b',' => match open.last_mut() {
                Some(Open::Object(key)) => *key = None,
                Some(Open::Array(index)) => *index += 1,
                None => {}
            },
            b'"' => {
                let length = string_length(rest);
                // In an object, a string without a key before it is the key.
                if let Some(Open::Object(key @ None)) = open.last_mut() {
                    *key = Some(String::from_utf8_lossy(&rest[..length]).into_owned());
                }
                rest = rest.get(length + 1..).unwrap_or_default();
            }
            _ => {}
        }
    }
    // A value of the wrong type is refused at its first byte: what it holds does not matter.
    if matches!(read.last(), Some(b'{' | b'[')) {
        open.pop();
    }
    let mut path = String::new();
    for value in open {
        match value {
            Open::Object(Some(key)) if path.is_empty() => path.push_str(&key),
            Open::Object(Some(key)) => path.extend([".", &key]),
            Open::Object(None) => {}
            Open::Array(index) => path.push_str(&format!("[{index}]")),
        }
    }
    path
}

/// The number of bytes before the closing quote, or all where there is none.
fn string_length(text: &[u8]) -> usize {
    let mut escaped = false;
    let end = text.iter().position(|byte| {
        let closes = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        closes
    });
    end.unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_field_at_the_end_of_what_was_read() {
        for (text, path) in [
            ("", ""),
            ("{", ""),
            (r#"{"a": 1, "b": {"c": [1, {"d": tr"#, "b.c[1].d"),
            (r#"{"a": {"b": 1}, "c": 2"#, "c"),
            (r#"{"a": ["x", ["y"], "z""#, "a[2]"),
            (r#"{"a": "\"}]{[", "b\\": 1"#, r"b\\"),
            (r#"{"a": {"b": ["#, "a.b"),
            (r#"{"a": {"#, "a"),
        ] {
            assert_eq!(at(text.as_bytes(), 1, text.len()), path, "{text}");
        }
        assert_eq!(at(b"{\n\"a\": [\n1,\n2,\n3]}", 4, 1), "a[1]");
    }
}
