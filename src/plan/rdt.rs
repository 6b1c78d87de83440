//! `linux.intelRdt`: what can be known without the resctrl filesystem.

use super::spec;
use crate::bail;
use crate::error::Result;

/// Folders of the resctrl root that are no groups (the kernel's Documentation/filesystems/resctrl.rst).
const RESERVED: [&str; 5] = [".", "..", "info", "mon_groups", "mon_data"];

/// Checks the group's name and that each line of a schemata is one line.
///
/// # Errors
/// Names the field.
pub(super) fn check(rdt: &spec::IntelRdt) -> Result<()> {
    if let Some(name) = rdt.clos_id.as_deref() {
        // "/" is the default group, the root of resctrl.
        let is_name = !name.is_empty() && !name.contains(['/', '\0', '\n']) && !RESERVED.contains(&name);
        if name != "/" && !is_name {
            bail!("linux.intelRdt.closID: {name:?} is not the name of a group");
        }
    }
    for (index, line) in rdt.schemata.iter().flatten().enumerate() {
        check_lines(line, &format!("linux.intelRdt.schemata[{index}]"))?;
        if line.trim_end_matches('\n').contains('\n') {
            bail!("linux.intelRdt.schemata[{index}]: more than one line");
        }
    }
    check_lines(rdt.l3_cache_schema.as_deref().unwrap_or_default(), "linux.intelRdt.l3CacheSchema")?;
    check_lines(rdt.mem_bw_schema.as_deref().unwrap_or_default(), "linux.intelRdt.memBwSchema")
}

/// Each line is `RESOURCE:DOMAIN=VALUE;DOMAIN=VALUE`; which resources there are is the kernel's business.
fn check_lines(schema: &str, field: &str) -> Result<()> {
    for line in schema.lines().filter(|line| !line.trim().is_empty()) {
        let values = line.split_once(':').map(|(_, values)| values);
        if !values.is_some_and(|values| values.split(';').all(|value| value.contains('='))) {
            bail!("{field}: {line:?} is not of the form \"L3:0=ff;1=f0\"");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_field() {
        for (json, words) in [
            (r#"{"closID": ".."}"#, "linux.intelRdt.closID: "),
            (r#"{"closID": "a/b"}"#, "linux.intelRdt.closID: "),
            (r#"{"closID": "info"}"#, "linux.intelRdt.closID: "),
            (r#"{"closID": ""}"#, "linux.intelRdt.closID: "),
            (r#"{"schemata": ["L3:0=f", "x"]}"#, "linux.intelRdt.schemata[1]: "),
            (r#"{"schemata": ["L3:0=f\nMB:0=10"]}"#, "linux.intelRdt.schemata[0]: more than one line"),
            (r#"{"l3CacheSchema": "ff"}"#, "linux.intelRdt.l3CacheSchema: "),
            (r#"{"memBwSchema": "MB:70"}"#, "linux.intelRdt.memBwSchema: "),
        ] {
            let error = check(&serde_json::from_str(json).unwrap()).unwrap_err().to_string();
            assert!(error.starts_with(words), "{json} gave {error:?}");
        }
        for json in [
            r#"{"closID": "/"}"#,
            r#"{"closID": "guaranteed", "l3CacheSchema": "L3:0=ff;1=f0\nMB:0=20\n", "memBwSchema": "MB:0=70;1=20"}"#,
            r#"{"enableMonitoring": true, "schemata": ["L2:0=3", "MB:0=10"]}"#,
        ] {
            check(&serde_json::from_str(json).unwrap()).unwrap();
        }
    }
}
