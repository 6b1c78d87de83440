//! The few text forms in which cgroup files state numbers.

use std::collections::BTreeMap;
use std::path::Path;

use rustix::io::Errno;

use super::{Psi, PsiData};
use crate::cgroup::file;
use crate::error::{Context, Result};

/// Reads a file; absent where the kernel or the controller does not have it.
pub(super) fn text(folder: &Path, name: &str) -> Result<Option<String>> {
    match file::read(folder, name) {
        Ok(text) => Ok(Some(text)),
        Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno).context(|| format!("read {}/{name}", folder.display())),
    }
}

/// A file with one number; `max` is the largest one, a missing file 0.
pub(super) fn number(folder: &Path, name: &str) -> Result<u64> {
    Ok(text(folder, name)?.map_or(0, |text| amount(text.trim())))
}

/// A number as the kernel writes it.
pub(super) fn amount(word: &str) -> u64 {
    if word == "max" { u64::MAX } else { word.parse().unwrap_or(0) }
}

/// Lines of a name and a number each.
pub(super) fn table(folder: &Path, name: &str) -> Result<BTreeMap<String, u64>> {
    let text = text(folder, name)?.unwrap_or_default();
    let pair = |line: &str| line.split_once(' ').map(|(key, value)| (key.to_owned(), amount(value.trim())));
    Ok(text.lines().filter_map(pair).collect())
}

/// A pressure file; absent where the kernel does not keep it.
pub(super) fn pressure(folder: &Path, name: &str) -> Result<Option<Psi>> {
    Ok(text(folder, name)?.map(|text| psi(&text)))
}

fn psi(text: &str) -> Psi {
    let mut psi = Psi::default();
    for line in text.lines() {
        let mut words = line.split(' ');
        let data = match words.next() {
            Some("some") => &mut psi.some,
            Some("full") => &mut psi.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => data.avg10 = value.parse().unwrap_or(0.0),
                "avg60" => data.avg60 = value.parse().unwrap_or(0.0),
                "avg300" => data.avg300 = value.parse().unwrap_or(0.0),
                "total" => *data = PsiData { total: amount(value), ..data.clone() },
                _ => {}
            }
        }
    }
    psi
}

/// A list such as `0-2,7`.
pub(super) fn list(text: &str) -> Vec<u16> {
    let mut all = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) {
            all.extend(first..=last);
        }
    }
    all
}

/// The sizes of huge pages that this kernel has, as cgroup files are named: `2MB`, `1GB`.
pub(super) fn page_sizes() -> Vec<String> {
    let Ok(folder) = file::open_folder(rustix::fs::CWD, "/sys/kernel/mm/hugepages") else { return Vec::new() };
    let names = file::children(folder).unwrap_or_default();
    names.iter().filter_map(|name| page_size(name.to_str()?)).collect()
}

fn page_size(name: &str) -> Option<String> {
    let kilobytes: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
    Some(match kilobytes {
        0x0010_0000.. => format!("{}GB", kilobytes >> 20),
        1024.. => format!("{}MB", kilobytes >> 10),
        _ => format!("{kilobytes}KB"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        let read = psi(text);
        assert_eq!((read.some.avg10, read.some.avg60, read.some.total, read.full.total), (1.5, 0.25, 77, 5));
        assert_eq!(list("0-2,7\n"), [0, 1, 2, 7]);
        assert_eq!(list("\n"), [0u16; 0]);
        assert_eq!((amount("max"), amount("12"), amount("x")), (u64::MAX, 12, 0));
        let sizes = ["hugepages-2048kB", "hugepages-1048576kB", "hugepages-64kB", "x"].map(page_size);
        assert_eq!(sizes, [Some("2MB".into()), Some("1GB".into()), Some("64KB".into()), None]);
    }
}
