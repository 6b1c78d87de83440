//! Device rules of config.json, read and put into the order that the kernel asks for.

use crate::bail;
use crate::error::{Error, Result};
use crate::plan::spec;

/// May make the node.
pub(super) const MKNOD: u8 = 1;
/// May read from it.
pub(super) const READ: u8 = 2;
/// May write to it.
pub(super) const WRITE: u8 = 4;
/// May do anything. The bits are those of the kernel's BPF_DEVCG_ACC_*.
pub(super) const ALL: u8 = MKNOD | READ | WRITE;

/// The two kinds of device nodes. The numbers are the kernel's BPF_DEVCG_DEV_*.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Block = 1,
    Char = 2,
}

/// Which nodes a rule is about; an absent number means every one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nodes {
    pub(super) kind: Kind,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
}

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) nodes: Nodes,
    pub(super) access: u8,
}

/// What holds for the container: the later of two rules wins, for each kind of access by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cgroup) struct Rules {
    /// What holds where no rule says anything.
    pub(super) default: bool,
    /// The rules, none of which only repeats the default.
    pub(super) list: Vec<Rule>,
}

/// What every container may have, whatever config.json says, as callers of an OCI runtime expect: making any node (opening
/// it is another matter), the harmless nodes of /dev, pseudo-terminals, and /dev/net/tun.
const ALWAYS: &[(Kind, Option<u32>, Option<u32>, u8)] = &[
    (Kind::Char, None, None, MKNOD),
    (Kind::Block, None, None, MKNOD),
    (Kind::Char, Some(1), Some(3), ALL),
    (Kind::Char, Some(1), Some(5), ALL),
    (Kind::Char, Some(1), Some(7), ALL),
    (Kind::Char, Some(1), Some(8), ALL),
    (Kind::Char, Some(1), Some(9), ALL),
    (Kind::Char, Some(5), Some(0), ALL),
    (Kind::Char, Some(5), Some(1), ALL),
    (Kind::Char, Some(5), Some(2), ALL),
    (Kind::Char, Some(10), Some(200), ALL),
    (Kind::Char, Some(136), None, ALL),
];

impl Rules {
    /// Reads `linux.resources.devices` and adds what every container may have. Without a rule everything else is denied.
    ///
    /// # Errors
    /// Where a rule's type, number or access is none.
    pub(in crate::cgroup) fn read(rules: &[spec::DeviceRule]) -> Result<Self> {
        let mut all = Self { default: false, list: Vec::new() };
        for (index, rule) in rules.iter().enumerate() {
            all.add(rule).map_err(|error| error.context(format!("linux.resources.devices[{index}]")))?;
        }
        for &(kind, major, minor, access) in ALWAYS {
            all.push(Rule { allow: true, nodes: Nodes { kind, major, minor }, access });
        }
        Ok(all)
    }

    fn add(&mut self, rule: &spec::DeviceRule) -> Result<()> {
        let access = access(rule.access.as_deref())?;
        let major = number(rule.major, "major")?;
        let minor = number(rule.minor, "minor")?;
        let kinds: &[Kind] = match rule.r#type.as_deref() {
            None | Some("" | "a") => &[Kind::Block, Kind::Char],
            Some("b") => &[Kind::Block],
            Some("c" | "u") => &[Kind::Char],
            Some(other) => bail!("type {other:?} is none of a, b, c"),
        };
        if kinds.len() == 2 && major.is_none() && minor.is_none() && access == ALL {
            *self = Self { default: rule.allow, list: Vec::new() };
            return Ok(());
        }
        for &kind in kinds {
            self.push(Rule { allow: rule.allow, nodes: Nodes { kind, major, minor }, access });
        }
        Ok(())
    }

    /// Adds a rule, unless it says what holds anyway.
    fn push(&mut self, rule: Rule) {
        if rule.allow != self.default || self.list.iter().any(|earlier| earlier.allow != rule.allow) {
            self.list.push(rule);
        }
    }

    /// The allowed nodes as systemd's DeviceAllow has them: a path or a class, and letters. Absent where it cannot say the
    /// rules (it has no words for one major number with any minor); systemd then stays out of it.
    pub(in crate::cgroup) fn for_systemd(&self) -> Option<Vec<(String, String)>> {
        if self.default || self.list.iter().any(|rule| !rule.allow) {
            return None;
        }
        let entry = |rule: &Rule| {
            let (folder, class) = match rule.nodes.kind {
                Kind::Block => ("block", "block-*"),
                Kind::Char => ("char", "char-*"),
            };
            let node = match (rule.nodes.major, rule.nodes.minor) {
                (Some(major), Some(minor)) => format!("/dev/{folder}/{major}:{minor}"),
                (None, None) => class.to_owned(),
                // Pseudo-terminals, the one class that every container needs.
                (Some(136), None) if rule.nodes.kind == Kind::Char => "char-pts".to_owned(),
                _ => return None,
            };
            Some((node, letters(rule.access)))
        };
        self.list.iter().map(entry).collect()
    }

    /// Whether everything is allowed, so that nothing has to be done.
    pub(in crate::cgroup) fn allow_all(&self) -> bool {
        self.default && self.list.is_empty()
    }
}

/// The letters of a set.
pub(super) fn letters(access: u8) -> String {
    [('r', READ), ('w', WRITE), ('m', MKNOD)]
        .iter()
        .filter(|(_, bit)| access & bit != 0)
        .map(|(letter, _)| letter)
        .collect()
}

/// Reads a set of letters; an absent one means all. An `a` beside others is a slip that other runtimes pass over.
fn access(letters: Option<&str>) -> Result<u8> {
    let Some(letters) = letters.filter(|letters| !letters.is_empty()) else { return Ok(ALL) };
    letters.chars().try_fold(0, |bits, letter| match letter {
        'm' => Ok(bits | MKNOD),
        'r' => Ok(bits | READ),
        'w' => Ok(bits | WRITE),
        'a' if letters.len() > 1 => Ok(bits),
        other => Err(Error::new(format!("access {other:?} is none of r, w, m"))),
    })
}

/// Reads a device number; an absent or negative one means every one.
fn number(number: Option<i64>, name: &str) -> Result<Option<u32>> {
    match number {
        None | Some(..0) => Ok(None),
        Some(value) => match u32::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => bail!("{name} {value} is too large"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Result<Rules> {
        Rules::read(&serde_json::from_str::<Vec<spec::DeviceRule>>(json).unwrap())
    }

    #[test]
    fn a_full_wildcard_starts_over() {
        let json = r#"[{"allow":true,"type":"c","major":7,"minor":1,"access":"r"},{"allow":false,"access":"rwm"}]"#;
        let all = rules(json).unwrap();
        assert_eq!((all.default, all.list.len()), (false, ALWAYS.len()));
        assert!(rules(r#"[{"allow":true}]"#).unwrap().allow_all());
        assert!(rules(r#"[{"allow":false},{"allow":true,"type":"a","access":"rwm"}]"#).unwrap().allow_all());
        assert!(!rules("[]").unwrap().allow_all());
    }

    #[test]
    fn a_partial_wildcard_does_not() {
        let all = rules(r#"[{"allow":true},{"allow":false,"access":"w"}]"#).unwrap();
        assert!(all.default);
        assert_eq!(all.list[0].access, WRITE);
        assert_eq!([all.list[0].nodes.kind, all.list[1].nodes.kind], [Kind::Block, Kind::Char]);
    }

    #[test]
    fn an_a_beside_other_letters_says_nothing() {
        let all = rules(r#"[{"allow":true},{"allow":false,"type":"c","access":"rwa"}]"#).unwrap();
        assert_eq!(all.list[0].access, READ | WRITE);
    }

    #[test]
    fn nonsense_names_its_entry() {
        let rows = [r#"{"type":"x"}"#, r#"{"access":"a"}"#, r#"{"access":"rx"}"#, r#"{"type":"c","major":4294967296}"#];
        for row in rows {
            let error = rules(&format!(r#"[{{"allow":false}},{row}]"#)).unwrap_err().to_string();
            assert!(error.starts_with("linux.resources.devices[1]: "), "{error}");
        }
    }
}
