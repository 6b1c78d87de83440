//! Lists of numbers as the kernel writes them for CPUs and NUMA nodes: `0-3,7` (cpuset(7), "List format").

use crate::bail;
use crate::error::{Error, Result};

/// More CPUs or nodes than any kernel supports (CONFIG_NR_CPUS is at most 8192).
const MAX: u32 = 8192;

/// Reads a list; the numbers come in order, each once. `field` is named in a refusal.
pub(super) fn parse(text: &str, field: &str) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first, field, text)?, number(last, field, text)?);
        if first > last {
            bail!("{field}: the range {part:?} ends before it starts");
        }
        numbers.extend(first..=last);
    }
    if numbers.is_empty() {
        bail!("{field}: {text:?} names nothing");
    }
    numbers.sort_unstable();
    numbers.dedup();
    Ok(numbers)
}

fn number(text: &str, field: &str, list: &str) -> Result<u32> {
    match text.trim().parse() {
        Ok(number) if number < MAX => Ok(number),
        Ok(number) => bail!("{field}: {number} is beyond the {MAX} that Linux supports"),
        Err(_) => Err(Error::new(format!("{field}: {list:?} is no list of numbers")).hint("write it as 0-3,7")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_refused() {
        assert_eq!(parse("0-3,7", "f").unwrap(), [0, 1, 2, 3, 7]);
        assert_eq!(parse(" 5 , 1-2,2", "f").unwrap(), [1, 2, 5]);
        for wrong in ["", ",", "3-1", "a", "1-", "-1", "9000", "1-2-3"] {
            assert!(parse(wrong, "f").unwrap_err().to_string().starts_with("f: "), "{wrong}");
        }
    }
}
