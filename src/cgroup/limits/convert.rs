//! Numbers that mean one thing in config.json, which speaks cgroup v1, and another in cgroup v2.

use crate::bail;
use crate::error::Result;

/// cpu.shares (2 to 262144) as cpu.weight (1 to 10000), on the curve that keeps the default the default: 1024 becomes 100.
///
/// The exponent is quadratic in the logarithm: 10^((l² + 125 l) / 612 − 7 / 34) with l = log2(shares), rounded up. Runtimes
/// changed to it from a straight line, which made 39 of the default.
pub(in crate::cgroup) fn weight_of_shares(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = log.mul_add(log, 125.0 * log) / 612.0 - 7.0 / 34.0;
            // An exact value may come out a hair too high, and rounding up would add one.
            (10f64.powf(exponent) - 1e-6).ceil() as u64
        }
    }
}

/// blkio weight (10 to 1000) as io.weight (1 to 10000), on a straight line.
pub(in crate::cgroup) fn io_weight(weight: u16) -> u64 {
    1 + u64::from(weight).saturating_sub(10) * 9999 / 990
}

/// memory.swap.max from config.json's memory+swap and memory: v2 counts swap alone. 0 is "not said", −1 unlimited.
///
/// # Errors
/// Where the sum cannot be taken apart.
pub(in crate::cgroup) fn swap_alone(swap: i64, memory: i64) -> Result<Option<i64>> {
    Ok(match (swap, memory) {
        // On v1 unlimited memory is only accepted together with unlimited memory+swap, so it has come to mean both.
        (0, -1) | (-1, _) => Some(-1),
        (0, _) => None,
        (swap, -1) => Some(swap),
        (_, 0) => {
            bail!("linux.resources.memory.swap: memory+swap cannot be limited without linux.resources.memory.limit")
        }
        (swap, memory) if swap < memory => {
            bail!("linux.resources.memory.swap: {swap} is memory and swap together, so not below the limit {memory}")
        }
        (swap, memory) => Some(swap - memory),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares() {
        for (shares, weight) in
            [(0, 1), (2, 1), (1024, 100), (512, 59), (2048, 174), (262_144, 10_000), (u64::MAX, 10_000)]
        {
            assert_eq!(weight_of_shares(shares), weight, "{shares}");
        }
        let all: Vec<u64> = (2..262_144).step_by(997).map(weight_of_shares).collect();
        assert!(all.is_sorted());
    }

    #[test]
    fn weights() {
        assert_eq!([io_weight(10), io_weight(1000), io_weight(500), io_weight(1)], [1, 10_000, 4950, 1]);
    }

    #[test]
    fn swap() {
        let rows = [
            ((0, 0), None),
            ((0, 100), None),
            ((0, -1), Some(-1)),
            ((-1, 100), Some(-1)),
            ((-1, 0), Some(-1)),
            ((300, 100), Some(200)),
            ((100, 100), Some(0)),
            ((300, -1), Some(300)),
        ];
        for ((swap, memory), expected) in rows {
            assert_eq!(swap_alone(swap, memory).unwrap(), expected, "{swap} {memory}");
        }
        assert!(swap_alone(100, 0).is_err());
        assert!(swap_alone(50, 100).is_err());
    }
}
