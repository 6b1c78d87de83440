//! Properties of a container's unit: pure functions from limits and annotations (systemd.resource-control(5),
//! org.freedesktop.systemd1(5)).

use super::annotations::{in_microseconds, parse, wrong};
use crate::cgroup::limits::{swap_alone, weight_of_shares};
use crate::cgroup::record::Unit;
use crate::error::{Error, Result};
use crate::plan::spec::Resources;

/// A value of D-Bus, of the types that properties of units have.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::cgroup) enum Value {
    Bool(bool),
    Byte(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Double(f64),
    Text(String),
    Texts(Vec<String>),
    Bytes(Vec<u8>),
    Numbers(Vec<u32>),
    /// Such as DeviceAllow.
    Pairs(Vec<(String, String)>),
}

/// A property and its value.
pub(in crate::cgroup) type Property = (String, Value);

/// The kernel's default period of a CPU quota, in microseconds.
const PERIOD: u64 = 100_000;

/// Properties of a new scope.
pub(super) fn of_new_unit(unit: &Unit, r: &Resources, v2: bool, pid: u32) -> Result<Vec<Property>> {
    let mut all: Vec<Property> = vec![
        ("Description".into(), Value::Text(format!("container {}", unit.name))),
        ("Slice".into(), Value::Text(unit.slice.clone())),
        // The cgroups below are the container's own business.
        ("Delegate".into(), Value::Bool(true)),
        ("PIDs".into(), Value::Numbers(vec![pid])),
        ("DefaultDependencies".into(), Value::Bool(false)),
        // One that failed, and whose container was never deleted, is not kept for ever.
        ("CollectMode".into(), Value::Text("inactive-or-failed".into())),
    ];
    let accounting =
        ["MemoryAccounting", "CPUAccounting", "TasksAccounting", if v2 { "IOAccounting" } else { "BlockIOAccounting" }];
    all.extend(accounting.map(|name| (name.to_owned(), Value::Bool(true))));
    // The kernel kills one process or all; systemd would otherwise stop the unit after the first.
    match r.unified.get("memory.oom.group").map(|value| value.trim()) {
        Some("0") => all.push(("OOMPolicy".into(), Value::Text("continue".into()))),
        Some("1") => all.push(("OOMPolicy".into(), Value::Text("kill".into()))),
        _ => {}
    }
    all.extend(of_limits(r, v2)?);
    for (name, text) in &unit.properties {
        let value = parse(text).ok_or_else(|| wrong(name, text))?;
        let (name, value) = in_microseconds(name, value)?;
        all.retain(|(other, _)| *other != name);
        all.push((name, value));
    }
    Ok(all)
}

/// Properties for limits, on creation and on update.
pub(super) fn of_limits(r: &Resources, v2: bool) -> Result<Vec<Property>> {
    let mut all = Vec::new();
    let mut number = |name: &str, value: u64| all.push((name.to_owned(), Value::U64(value)));
    // Unlimited is the largest number to systemd.
    let bytes = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
    let memory = r.memory.clone().unwrap_or_default();
    let said = |value: Option<i64>| value.filter(|value| *value != 0);
    if let Some(limit) = said(memory.limit) {
        number(if v2 { "MemoryMax" } else { "MemoryLimit" }, bytes(limit));
    }
    if v2 {
        if let Some(low) = said(memory.reservation) {
            number("MemoryLow", bytes(low));
        }
        if let Some(swap) = swap_alone(memory.swap.unwrap_or(0), memory.limit.unwrap_or(0))? {
            number("MemorySwapMax", bytes(swap));
        }
    }
    let cpu = r.cpu.clone().unwrap_or_default();
    match (v2, cpu.shares.filter(|shares| *shares != 0)) {
        // Weight 0 is systemd's word for idle.
        (true, _) if cpu.idle == Some(1) => number("CPUWeight", 0),
        (true, Some(shares)) => number("CPUWeight", weight_of_shares(shares)),
        (false, Some(shares)) => number("CPUShares", shares),
        (_, None) => {}
    }
    let period = cpu.period.filter(|period| *period != 0);
    if let Some(period) = period {
        number("CPUQuotaPeriodUSec", period);
    }
    if let Some(quota) = said(cpu.quota) {
        number("CPUQuotaPerSecUSec", quota_per_second(quota, period.unwrap_or(PERIOD)));
    }
    if let Some(limit) = r.pids.as_ref().and_then(|pids| pids.limit) {
        number("TasksMax", if limit > 0 { bytes(limit) } else { u64::MAX });
    }
    let weight = r.block_io.as_ref().and_then(|io| io.weight).filter(|weight| *weight != 0);
    match (v2, weight) {
        (true, Some(weight)) => number("IOWeight", crate::cgroup::limits::io_weight(weight)),
        (false, Some(weight)) => number("BlockIOWeight", weight.into()),
        (_, None) => {}
    }
    if v2 {
        for (name, list) in [("AllowedCPUs", &cpu.cpus), ("AllowedMemoryNodes", &cpu.mems)] {
            if let Some(list) = list.as_deref().filter(|list| !list.is_empty()) {
                all.push((name.to_owned(), Value::Bytes(bits(list)?)));
            }
        }
        of_unified(r, &mut all)?;
    } else {
        all.extend(of_devices(r)?);
    }
    Ok(all)
}

/// Those of the `unified` files that systemd knows; the others are only written to the cgroup.
fn of_unified(r: &Resources, all: &mut Vec<Property>) -> Result<()> {
    const NUMBERS: [(&str, &str); 7] = [
        ("memory.min", "MemoryMin"),
        ("memory.low", "MemoryLow"),
        ("memory.high", "MemoryHigh"),
        ("memory.max", "MemoryMax"),
        ("memory.swap.max", "MemorySwapMax"),
        ("pids.max", "TasksMax"),
        ("cpu.weight", "CPUWeight"),
    ];
    const SETS: [(&str, &str); 2] = [("cpuset.cpus", "AllowedCPUs"), ("cpuset.mems", "AllowedMemoryNodes")];
    for (key, value) in &r.unified {
        let value = value.trim();
        let wrong = || Error::new(format!("linux.resources.unified[{key:?}]: {value:?} is no value for it"));
        let mut set = |name: &str, value: Value| {
            all.retain(|(other, _)| other != name);
            all.push((name.to_owned(), value));
        };
        if let Some((_, name)) = NUMBERS.iter().find(|(file, _)| file == key) {
            let number = if value == "max" { u64::MAX } else { value.parse().map_err(|_| wrong())? };
            set(name, Value::U64(number));
        } else if let Some((_, name)) = SETS.iter().find(|(file, _)| file == key) {
            set(name, Value::Bytes(bits(value)?));
        } else if key == "cpu.max" {
            let mut words = value.split_whitespace();
            let quota = match words.next().ok_or_else(wrong)? {
                "max" => -1,
                quota => quota.parse().map_err(|_| wrong())?,
            };
            let period = words.next().map_or(Ok(PERIOD), str::parse).map_err(|_| wrong())?;
            set("CPUQuotaPeriodUSec", Value::U64(period));
            set("CPUQuotaPerSecUSec", Value::U64(quota_per_second(quota, period)));
        }
    }
    Ok(())
}

/// On v1 systemd writes the devices cgroup itself, now and again on every reload; so it has to know the list. On v2 all
/// device programs must agree, and ours is enough.
fn of_devices(r: &Resources) -> Result<Vec<Property>> {
    let rules = crate::cgroup::devices::Rules::read(&r.devices)?;
    Ok(match rules.for_systemd() {
        None => Vec::new(),
        Some(allowed) => vec![
            ("DevicePolicy".to_owned(), Value::Text("strict".to_owned())),
            ("DeviceAllow".to_owned(), Value::Pairs(allowed)),
        ],
    })
}

/// Microseconds of CPU a second, rounded up to the whole per cent that systemd keeps.
fn quota_per_second(quota: i64, period: u64) -> u64 {
    match u64::try_from(quota) {
        Ok(quota) => (quota.saturating_mul(1_000_000) / period.max(1)).div_ceil(10_000) * 10_000,
        Err(_) => u64::MAX,
    }
}

/// A list such as `0-2,8` as a bit mask, lowest byte first.
fn bits(list: &str) -> Result<Vec<u8>> {
    let wrong = || Error::new(format!("linux.resources.cpu: {list:?} is no list such as 0-2,8"));
    let mut mask = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<u16>().ok().filter(|number| *number < 8192).ok_or_else(wrong);
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        for bit in first..=last {
            let byte = usize::from(bit / 8);
            if mask.len() <= byte {
                mask.resize(byte + 1, 0);
            }
            mask[byte] |= 1 << (bit % 8);
        }
    }
    if mask.is_empty() { Err(wrong()) } else { Ok(mask) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(json: &str, v2: bool) -> Vec<Property> {
        of_limits(&serde_json::from_str(json).unwrap(), v2).unwrap()
    }

    #[test]
    fn limits_become_properties() {
        let json = r#"{"memory":{"limit":1000,"swap":1500,"reservation":500},"pids":{"limit":0},
            "cpu":{"shares":1024,"quota":33333,"period":100000,"cpus":"0,8"},"unified":{"memory.high":"max","cpu.max":"50000"}}"#;
        let u64 = |name: &str, value| (name.to_owned(), Value::U64(value));
        let expected = vec![
            u64("MemoryMax", 1000),
            u64("MemoryLow", 500),
            u64("MemorySwapMax", 500),
            u64("CPUWeight", 100),
            u64("TasksMax", u64::MAX),
            ("AllowedCPUs".into(), Value::Bytes(vec![1, 1])),
            u64("CPUQuotaPeriodUSec", 100_000),
            u64("CPUQuotaPerSecUSec", 500_000),
            u64("MemoryHigh", u64::MAX),
        ];
        assert_eq!(limits(json, true), expected);
        let v1 =
            limits(r#"{"memory":{"limit":-1},"cpu":{"shares":512,"quota":33333},"devices":[{"allow":true}]}"#, false);
        assert_eq!(v1, [u64("MemoryLimit", u64::MAX), u64("CPUShares", 512), u64("CPUQuotaPerSecUSec", 340_000)]);
        assert_eq!(limits(r#"{"cpu":{"idle":1,"shares":2}}"#, true), [u64("CPUWeight", 0)]);
    }

    #[test]
    fn a_v1_unit_knows_its_devices() {
        let all = limits(
            r#"{"devices":[{"allow":false},{"allow":true,"type":"b","major":8,"minor":1,"access":"r"}]}"#,
            false,
        );
        let Value::Pairs(pairs) = &all[1].1 else { panic!("{all:?}") };
        assert!(pairs.contains(&("/dev/block/8:1".into(), "r".into())), "{pairs:?}");
        assert!(pairs.contains(&("/dev/char/1:3".into(), "rwm".into())), "{pairs:?}");
        assert!(pairs.contains(&("char-*".into(), "m".into())), "{pairs:?}");
    }

    #[test]
    fn a_new_unit() {
        let properties =
            vec![("TimeoutStopSec".to_owned(), "uint64 5".to_owned()), ("Delegate".to_owned(), "false".to_owned())];
        let unit = Unit { name: "a.scope".into(), slice: "b.slice".into(), user: false, properties };
        let all = of_new_unit(&unit, &Resources::default(), true, 7).unwrap();
        let get = |name: &str| all.iter().find(|(found, _)| found == name).map(|(_, value)| value);
        assert_eq!(get("PIDs"), Some(&Value::Numbers(vec![7])));
        assert_eq!(get("Slice"), Some(&Value::Text("b.slice".into())));
        assert_eq!(get("TimeoutStopUSec"), Some(&Value::U64(5_000_000)));
        assert_eq!(get("Delegate"), Some(&Value::Bool(false)));
    }

    #[test]
    fn lists_become_masks() {
        assert_eq!(bits("0-3,9").unwrap(), [0x0f, 0x02]);
        for list in ["", "a", "3-1", "99999"] {
            assert!(bits(list).is_err(), "{list}");
        }
    }
}
