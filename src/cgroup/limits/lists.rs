//! The limits that are lists: one write for each entry.

use super::{File, Version, Write};
use crate::bail;
use crate::error::Result;
use crate::plan::spec::{BlockIo, Resources, ThrottleDevice};

/// A throttle list: name in config.json, file of v1, key in v2's io.max, and where it is.
type Throttle = (&'static str, &'static str, &'static str, fn(&BlockIo) -> &[ThrottleDevice]);

/// The four of them.
const THROTTLES: [Throttle; 4] = [
    ("throttleReadBpsDevice", "blkio.throttle.read_bps_device", "rbps", |io| &io.throttle_read_bps_device),
    ("throttleWriteBpsDevice", "blkio.throttle.write_bps_device", "wbps", |io| &io.throttle_write_bps_device),
    ("throttleReadIOPSDevice", "blkio.throttle.read_iops_device", "riops", |io| &io.throttle_read_iops_device),
    ("throttleWriteIOPSDevice", "blkio.throttle.write_iops_device", "wiops", |io| &io.throttle_write_iops_device),
];

/// Rates and weights of single block devices.
pub(super) fn block_io(r: &Resources, version: Version, writes: &mut Vec<Write>) -> Result<()> {
    let Some(io) = &r.block_io else { return Ok(()) };
    for (index, device) in io.weight_device.iter().enumerate() {
        let field = |name| format!("blockIO.weightDevice[{index}].{name}");
        let line = |weight: u64| format!("{}:{} {weight}", device.major, device.minor);
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let files = match version {
                Version::V1 => vec![
                    File::new("blkio.bfq.weight_device", line(weight.into())),
                    File::new("blkio.weight_device", line(weight.into())),
                ],
                Version::V2 => vec![
                    File::new("io.bfq.weight", line(weight.into())),
                    File::new("io.weight", line(super::convert::io_weight(weight))),
                ],
            };
            writes.push(Write::new(field("weight"), version.pick("blkio", "io"), files));
        }
        if let Some(weight) = device.leaf_weight.filter(|weight| *weight != 0) {
            if version == Version::V2 {
                bail!("linux.resources.{}: cgroup v2 has no leaf weights", field("leafWeight"));
            }
            let file = File::new("blkio.leaf_weight_device", line(weight.into()));
            writes.push(Write::new(field("leafWeight"), "blkio", vec![file]));
        }
    }
    for (name, file, key, list) in THROTTLES {
        for (index, device) in list(io).iter().enumerate() {
            let number = format!("{}:{}", device.major, device.minor);
            let file = match (version, device.rate) {
                (Version::V1, rate) => File::new(file, format!("{number} {rate}")),
                // 0 takes a limit away on v1; v2 has a word for that.
                (Version::V2, 0) => File::new("io.max", format!("{number} {key}=max")),
                (Version::V2, rate) => File::new("io.max", format!("{number} {key}={rate}")),
            };
            writes.push(Write::new(format!("blockIO.{name}[{index}]"), version.pick("blkio", "io"), vec![file]));
        }
    }
    Ok(())
}

/// Huge pages: the limit on faults, and the one on reservations where the kernel has it.
pub(super) fn huge_pages(r: &Resources, version: Version, writes: &mut Vec<Write>) -> Result<()> {
    for (index, limit) in r.hugepage_limits.iter().enumerate() {
        let field = format!("hugepageLimits[{index}]");
        let size = &limit.page_size;
        if !size.ends_with('B') || !size.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            bail!("linux.resources.{field}.pageSize: {size:?} is no page size such as 2MB");
        }
        let end = version.pick("limit_in_bytes", "max");
        let value = limit.limit.to_string();
        let plain = File::new(format!("hugetlb.{size}.{end}"), value.clone());
        writes.push(Write::new(field.clone(), "hugetlb", vec![plain]));
        let mut reserved = Write::new(field, "hugetlb", vec![File::new(format!("hugetlb.{size}.rsvd.{end}"), value)]);
        reserved.lax = true;
        writes.push(reserved);
    }
    Ok(())
}

/// Priorities of network interfaces (v1's net_prio).
pub(super) fn network(r: &Resources, version: Version, writes: &mut Vec<Write>) -> Result<()> {
    let priorities = r.network.as_ref().map(|network| network.priorities.as_slice()).unwrap_or_default();
    for (index, entry) in priorities.iter().enumerate() {
        let field = format!("network.priorities[{index}]");
        if version == Version::V2 {
            bail!("linux.resources.{field}: cgroup v2 has no net_prio controller");
        }
        let file = File::new("net_prio.ifpriomap", format!("{} {}", entry.name, entry.priority));
        writes.push(Write::new(field, "net_prio", vec![file]));
    }
    Ok(())
}

/// RDMA handles and objects, the same in both versions.
pub(super) fn rdma(r: &Resources, writes: &mut Vec<Write>) {
    for (device, limit) in &r.rdma {
        let mut line = device.clone();
        let parts = [("hca_handle", limit.hca_handles), ("hca_object", limit.hca_objects)];
        for (key, value) in parts.into_iter().filter_map(|(key, value)| Some((key, value?))) {
            line.push_str(&format!(" {key}={value}"));
        }
        writes.push(Write::new(format!("rdma.{device}"), "rdma", vec![File::new("rdma.max", line)]));
    }
}

/// `unified`: files of v2 by name. A value of several lines is several writes.
pub(super) fn unified(r: &Resources, writes: &mut Vec<Write>) -> Result<()> {
    for (key, value) in &r.unified {
        let field = format!("unified[{key:?}]");
        let controller = match key.split_once('.') {
            Some((controller, rest)) if !controller.is_empty() && !rest.is_empty() && !key.contains('/') => controller,
            _ => bail!("linux.resources.{field}: not the name of a cgroup v2 file, such as memory.high"),
        };
        for line in value.lines() {
            let mut write = Write::new(field.clone(), controller, vec![File::new(key.clone(), line.to_owned())]);
            write.lax = false;
            writes.push(write);
        }
    }
    Ok(())
}
