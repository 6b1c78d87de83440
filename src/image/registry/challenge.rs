//! `WWW-Authenticate` (RFC 9110, 11.6.1): what a registry wants before it answers.

/// One way to be let in, with what it says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The scheme, in lower-case letters: `basic`, `bearer`.
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter, by its name in lower-case letters.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

/// All that a header offers. What cannot be understood is skipped.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',', '=', '"']);
        let end = rest.find([' ', '\t', ',', '=', '"']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        if word.is_empty() {
            return challenges;
        }
        let word = word.to_ascii_lowercase();
        let Some(value) = behind.trim_start().strip_prefix('=') else {
            challenges.push(Challenge { scheme: word, parameters: Vec::new() });
            rest = behind;
            continue;
        };
        let (value, behind) = value_of(value.trim_start());
        if let Some(challenge) = challenges.last_mut() {
            challenge.parameters.push((word, value));
        }
        rest = behind;
    }
}

/// A value, quoted or not, and what stands behind it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            letter => value.push(letter),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn several_challenges_of_one_header_are_told_apart() {
        let header =
            r#"Basic realm="a, \"b\"", Bearer realm="https://x/token",service=reg,scope="repository:a:pull,push""#;
        let [basic, bearer] = &parse(header)[..] else { panic!("{:?}", parse(header)) };
        assert_eq!((basic.scheme.as_str(), basic.parameter("realm")), ("basic", Some("a, \"b\"")));
        assert_eq!(bearer.scheme, "bearer");
        assert_eq!(bearer.parameter("realm"), Some("https://x/token"));
        assert_eq!(bearer.parameter("service"), Some("reg"));
        assert_eq!(bearer.parameter("scope"), Some("repository:a:pull,push"));
        assert_eq!(bearer.parameter("error"), None);
    }

    #[test]
    fn other_spellings_are_understood() {
        assert_eq!(parse("BEARER Realm = \"x\"")[0].parameter("realm"), Some("x"));
        assert_eq!(parse("Negotiate, Basic")[1].scheme, "basic");
        assert_eq!(parse("Basic realm=\"unended")[0].parameter("realm"), Some("unended"));
        assert!(parse("").is_empty());
        assert!(parse(",,==\"\"").is_empty());
    }

    proptest! {
        #[test]
        fn anything_is_read_to_its_end(header in "[a\"\\\\=, \t\u{e9}]{0,40}") {
            parse(&header);
        }
    }
}
