//! Limits of a run: memory, CPUs, processes. They hold in a cgroup of the run's own, which goes with it; without limits
//! there is none, and the box stays in its caller's.

use std::os::fd::AsFd;

use crate::bail;
use crate::cgroup::{Driver, OF_BOXES, driver_of_user};
use crate::error::{Context, Error, Result};
use crate::plan::Plan;
use crate::plan::spec::{Cpu, DeviceRule, Memory, Pids};

/// The period of the CPU's share, in microseconds: the kernel's own.
const PERIOD: u64 = 100_000;
/// The least that the kernel takes for a quota, likewise.
const LEAST_QUOTA: i64 = 1_000;

/// What a run may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of memory, with what is swapped out.
    pub memory: Option<i64>,
    /// Most time on CPUs.
    pub cpus: Option<Cpus>,
    /// Most processes and threads of the program.
    pub pids: Option<u32>,
}

/// A share of the CPUs, kept as microseconds in each [`PERIOD`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpus(i64);

impl Cpus {
    /// Of a number such as 1.5.
    ///
    /// # Errors
    /// Where it is less than the kernel can count, or no number.
    pub fn new(number: f64) -> Result<Self> {
        let quota = (number * PERIOD as f64).round();
        if !(quota >= LEAST_QUOTA as f64 && quota < 1e12) {
            bail!("a number of CPUs is expected, such as 2 or 0.5, and at least 0.01");
        }
        Ok(Self(quota as i64))
    }
}

/// The fields by which the engine names what it refuses, and the flags that asked for them.
const FLAGS: [(&str, &str); 3] =
    [("linux.resources.memory.", "--memory"), ("linux.resources.cpu.", "--cpus"), ("linux.resources.pids.", "--pids")];

/// What an ordinary user can do who may make no cgroup.
const NOT_DELEGATED: &str = "a session of systemd can give you one (`loginctl enable-linger USER` keeps it, \
                             XDG_RUNTIME_DIR names it); or run it as root";

impl Limits {
    /// Refuses what cannot be meant.
    ///
    /// # Errors
    /// Names the flag.
    pub(super) fn check(&self) -> Result<()> {
        if self.memory.is_some_and(|bytes| bytes <= 0) {
            bail!("--memory: a number of bytes above 0 is expected");
        }
        if self.pids == Some(0) {
            bail!("--pids: at least 1 is expected, for the program itself");
        }
        Ok(())
    }

    /// Whether there are none, so that the run gets no cgroup.
    pub(super) fn are_none(&self) -> bool {
        *self == Self::default()
    }

    /// Puts them into a plan; gives who has to make the cgroup. `folder` is the box's: what lies there is the box's alone,
    /// as its cgroup has to be.
    ///
    /// # Errors
    /// Where the box cannot be looked at.
    pub(super) fn impose(&self, plan: &mut Plan, name: &str, folder: impl AsFd, driver: Driver) -> Result<Driver> {
        if self.are_none() {
            return Ok(Driver::Disabled);
        }
        let is_root = rustix::process::geteuid().is_root();
        let driver = match driver {
            Driver::Cgroupfs if !is_root => driver_of_user(),
            asked => asked,
        };
        let found = rustix::fs::fstat(folder).context(|| format!("stat the box {name}"))?;
        let unique = format!("{name}-{:x}-{}", found.st_dev, found.st_ino);
        plan.cgroups_path = Some(match driver {
            Driver::Systemd => format!(":{OF_BOXES}:{unique}"),
            _ if is_root => format!("/{OF_BOXES}/{unique}"),
            // An ordinary user makes cgroups beside the own one at most.
            _ => format!("{OF_BOXES}/{unique}"),
        });
        let resources = &mut plan.resources;
        // No device of the host's files can be opened inside, whatever a cgroup says (`layers::attributes`); and an ordinary
        // user may attach no program to one.
        resources.devices = vec![DeviceRule { allow: true, ..DeviceRule::default() }];
        resources.memory = self.memory.map(|bytes| Memory {
            limit: Some(bytes),
            // Memory and swap together; a kernel without swap has no file for it.
            swap: std::fs::exists("/proc/swaps").unwrap_or(false).then_some(bytes),
            ..Memory::default()
        });
        resources.cpu = self.cpus.map(|Cpus(quota)| Cpu { quota: Some(quota), period: Some(PERIOD), ..Cpu::default() });
        // The first process of a box is the runtime's own.
        resources.pids = self.pids.map(|count| Pids { limit: Some(i64::from(count) + 1) });
        Ok(driver)
    }

    /// A sentence about what the limit of memory has done, where it has done anything.
    pub(super) fn tell(&self, killed: u64) -> Option<String> {
        let limit = self.memory.filter(|_| killed > 0)?;
        let processes = if killed == 1 { "a process".to_owned() } else { format!("{killed} processes") };
        Some(format!("the {limit} bytes of --memory were used up: the kernel has killed {processes} of the program"))
    }

    /// Says which flag could not be had, and for want of what.
    pub(super) fn explain(&self, error: Error) -> Error {
        if *self == Self::default() {
            return error;
        }
        let text = error.to_string();
        let flag = FLAGS.iter().find(|(field, _)| text.contains(field)).map(|(_, flag)| *flag);
        match flag {
            Some(flag) => error.context(flag),
            None if text.contains("cgroup") => {
                let error = error.context("--memory, --cpus, --pids need a cgroup");
                if rustix::process::geteuid().is_root() { error } else { error.hint(NOT_DELEGATED) }
            }
            None => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_numbers() {
        for (number, quota) in [(1.0, 100_000), (0.5, 50_000), (0.01, 1_000), (64.0, 6_400_000)] {
            assert_eq!(Cpus::new(number).unwrap(), Cpus(quota));
        }
        for number in [0.0, 0.009, -1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert!(Cpus::new(number).is_err(), "{number}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let refused = |limits: Limits| limits.check().unwrap_err().to_string();
        assert!(refused(Limits { memory: Some(-1), ..Limits::default() }).starts_with("--memory"));
        assert!(refused(Limits { pids: Some(0), ..Limits::default() }).starts_with("--pids"));
        Limits { memory: Some(1), cpus: None, pids: Some(1) }.check().unwrap();
    }
}
