//! Device rules as the exception list of a v1 devices cgroup.
//!
//! The kernel keeps one default and exceptions from it, without an order. Rules that punch a hole into a broader exception
//! cannot be said that way; the kernel would silently ignore them, so they are refused here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use super::rules::{Kind, MKNOD, Nodes, READ, Rules, WRITE, letters};
use crate::bail;
use crate::cgroup::file;
use crate::error::{Context, Result};

/// What a devices cgroup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct List {
    default: bool,
    exceptions: BTreeMap<Nodes, u8>,
}

impl List {
    /// Puts ordered rules into the kernel's form.
    fn of(rules: &Rules) -> Result<Self> {
        let mut list = Self { default: rules.default, exceptions: BTreeMap::new() };
        for rule in &rules.list {
            if rule.allow != rules.default {
                *list.exceptions.entry(rule.nodes).or_default() |= rule.access;
                continue;
            }
            for (nodes, access) in &mut list.exceptions {
                if within(nodes, &rule.nodes) {
                    *access &= !rule.access;
                } else if overlap(nodes, &rule.nodes) && *access & rule.access != 0 {
                    bail!(
                        "linux.resources.devices: cgroup v1 cannot take {} out of {}",
                        line(&rule.nodes, rule.access),
                        line(nodes, *access)
                    );
                }
            }
            list.exceptions.retain(|_, access| *access != 0);
        }
        Ok(list)
    }

    /// Reads devices.list. One that allows by default shows no exceptions.
    fn parse(text: &str) -> Self {
        let mut list = Self::default();
        for line in text.lines() {
            let mut words = line.split([' ', ':']);
            let kind = match words.next() {
                Some("b") => Kind::Block,
                Some("c") => Kind::Char,
                Some("a") => return Self { default: true, ..Self::default() },
                _ => continue,
            };
            let mut number = || words.next().and_then(|word| word.parse().ok());
            let (major, minor) = (number(), number());
            let bits = words.next().unwrap_or_default().chars().map(|letter| match letter {
                'r' => READ,
                'w' => WRITE,
                _ => MKNOD,
            });
            *list.exceptions.entry(Nodes { kind, major, minor }).or_default() |= bits.fold(0, |all, bit| all | bit);
        }
        list
    }

    /// The writes that lead from one list to another: file and line. What stays allowed is never denied in between, unless
    /// the default changes or cannot be told.
    fn steps(&self, target: &Self) -> Vec<(&'static str, String)> {
        let file = |allow: bool| if allow { "devices.allow" } else { "devices.deny" };
        let mut steps = Vec::new();
        let nothing = BTreeMap::new();
        let before = if self.default || target.default {
            steps.push((file(target.default), "a".to_owned()));
            &nothing
        } else {
            &self.exceptions
        };
        let rest = |access: u8, other: Option<&u8>| access & !other.copied().unwrap_or(0);
        for (nodes, access) in &target.exceptions {
            match rest(*access, before.get(nodes)) {
                0 => {}
                gained => steps.push((file(!target.default), line(nodes, gained))),
            }
        }
        for (nodes, access) in before {
            match rest(*access, target.exceptions.get(nodes)) {
                0 => {}
                lost => steps.push((file(target.default), line(nodes, lost))),
            }
        }
        steps
    }
}

/// Brings a devices cgroup to these rules.
///
/// # Errors
/// Where the rules cannot be said in cgroup v1, or the cgroup above does not have what they allow.
pub(super) fn apply(rules: &Rules, folder: &Path) -> Result<()> {
    let target = List::of(rules)?;
    let field = || format!("linux.resources.devices: {}", folder.display());
    let now = List::parse(&file::read(folder, "devices.list").context(field)?);
    if now.default && target.default && target.exceptions.is_empty() {
        return Ok(());
    }
    let mut open: Option<(&str, std::os::fd::OwnedFd)> = None;
    for (name, line) in now.steps(&target) {
        let file = match open.take() {
            Some((same, file)) if same == name => file,
            _ => file::open_for_writing(folder, name).context(field)?,
        };
        file::write_fd(&file, &line).context(|| format!("linux.resources.devices: write {line:?} to {name}")).map_err(
            |error| {
                error.hint("a cgroup can be given only what the one above it has: run where those devices are allowed")
            },
        )?;
        open = Some((name, file));
    }
    Ok(())
}

/// Whether all nodes of `inner` are among those of `outer`.
fn within(inner: &Nodes, outer: &Nodes) -> bool {
    let part = |inner: Option<u32>, outer: Option<u32>| outer.is_none() || inner == outer;
    inner.kind == outer.kind && part(inner.major, outer.major) && part(inner.minor, outer.minor)
}

/// Whether some node is among both.
fn overlap(a: &Nodes, b: &Nodes) -> bool {
    let meet = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
    a.kind == b.kind && meet(a.major, b.major) && meet(a.minor, b.minor)
}

/// A line as devices.allow takes it: `c 1:3 rwm`.
fn line(nodes: &Nodes, access: u8) -> String {
    let mut line = String::from(if nodes.kind == Kind::Char { "c " } else { "b " });
    let mut number = |number: Option<u32>, end: char| {
        match number {
            // A String never refuses.
            Some(number) => drop(write!(line, "{number}")),
            None => line.push('*'),
        }
        line.push(end);
    };
    number(nodes.major, ':');
    number(nodes.minor, ' ');
    line + &letters(access)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::spec;

    fn list(json: &str) -> Result<List> {
        List::of(&Rules::read(&serde_json::from_str::<Vec<spec::DeviceRule>>(json).unwrap()).unwrap())
    }

    #[test]
    fn only_differences_are_written() {
        let now = List::parse("c 1:3 rwm\nb *:* m\nc 7:1 r\n");
        let target = List::parse("c 1:3 r\nb *:* m\nc 8:* rw\n");
        let expected = [("devices.allow", "c 8:* rw"), ("devices.deny", "c 1:3 wm"), ("devices.deny", "c 7:1 r")];
        let steps = now.steps(&target);
        assert_eq!(steps.iter().map(|(file, line)| (*file, line.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn from_everything_to_a_list_and_back() {
        let all = List::parse("a *:* rwm\n");
        let few = List::parse("c 1:3 rwm\n");
        assert_eq!(all.steps(&few), [("devices.deny", "a".into()), ("devices.allow", "c 1:3 rwm".into())]);
        assert_eq!(few.steps(&all), [("devices.allow", "a".into())]);
    }

    #[test]
    fn a_later_rule_takes_back_what_it_covers() {
        let json = r#"[{"allow":false},{"allow":true,"type":"c","major":7,"minor":1,"access":"rw"},
            {"allow":false,"type":"c","major":7,"access":"w"}]"#;
        let key = Nodes { kind: Kind::Char, major: Some(7), minor: Some(1) };
        assert_eq!(list(json).unwrap().exceptions.get(&key), Some(&READ));
    }

    #[test]
    fn a_hole_is_refused() {
        let json =
            r#"[{"allow":false},{"allow":true,"type":"c","major":7},{"allow":false,"type":"c","major":7,"minor":1}]"#;
        let error = list(json).unwrap_err().to_string();
        assert!(error.contains("cannot take c 7:1 rwm out of c 7:* rwm"), "{error}");
    }
}
