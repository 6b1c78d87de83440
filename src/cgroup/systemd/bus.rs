//! Talking to systemd's manager over D-Bus.
//!
//! Root asks on the system bus, anybody else on the own session's; where there is no bus daemon, systemd's private socket
//! does as well. A job is waited for by asking for it until it is gone, which needs no subscription and works on both.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use zbus::connection::Builder;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant};

use super::identity;
use super::private::Private;
use super::properties::{Property, Value};
use crate::bail;
use crate::error::{Error, Result};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// How long one call, and one job, may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to systemd's manager.
pub(super) struct Manager {
    connection: Connection,
    /// Whether a bus daemon is in between, which wants to know for whom a message is.
    bus: bool,
}

/// Auxiliary units of StartTransientUnit; never any.
type NoUnits = Vec<(String, Vec<(String, Variant<'static>)>)>;

impl Manager {
    /// Connects to the system's manager, or to the user's own.
    ///
    /// # Errors
    /// Where neither the bus nor the private socket answers.
    pub(super) fn connect(user: bool) -> Result<Self> {
        let mut failures = Vec::new();
        for (address, bus) in addresses(user) {
            for uid in identity::names() {
                let builder = if bus {
                    Ok(Builder::address(address.as_str()))
                } else {
                    Private::connect(&address).map(|socket| Builder::socket(socket).p2p()).map_err(zbus::Error::from)
                };
                let connect =
                    |builder: Builder<'_>| zbus::block_on(builder.user_id(uid).method_timeout(PATIENCE).build());
                match builder.and_then(connect) {
                    Ok(connection) => return Ok(Self { connection, bus }),
                    Err(error) => failures.push(format!("{address}: {error}")),
                }
            }
        }
        failures.dedup();
        let which = if user { "this user's systemd manager" } else { "systemd" };
        Err(Error::new(format!("{which} cannot be reached over D-Bus ({})", failures.join("; "))).hint(if user {
            "log in with a session of systemd (loginctl enable-linger USER keeps its manager running), set XDG_RUNTIME_DIR, \
             or use the cgroupfs driver (without --systemd-cgroup)"
        } else {
            "is systemd running here? Otherwise use the cgroupfs driver (without --systemd-cgroup)"
        }))
    }

    fn call<B: serde::Serialize + zbus::DynamicType>(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &B,
    ) -> zbus::Result<zbus::Message> {
        let destination = self.bus.then_some(NAME);
        zbus::block_on(self.connection.call_method(destination, path, Some(interface), method, body))
    }

    /// Starts a transient unit and waits until it runs.
    ///
    /// # Errors
    /// Where systemd refuses, or the job fails; with EEXIST where somebody else's unit of that name runs.
    pub(super) fn start(&self, unit: &str, properties: &[Property]) -> Result<()> {
        let body = (unit, "replace", variants(properties), NoUnits::new());
        let start = || self.call(PATH, MANAGER, "StartTransientUnit", &body);
        let reply = match start() {
            // A leftover that failed keeps its name until it is reset.
            Err(error) if is(&error, "UnitExists") => {
                self.reset(unit);
                start()
            }
            other => other,
        };
        let what = || format!("systemd: start the unit {unit}");
        let job = reply.map_err(|error| match is(&error, "UnitExists") {
            true => Error::call(what(), Errno::EXIST)
                .hint("another container uses it: choose another linux.cgroupsPath, or end that one"),
            false => explain(&error, what()),
        })?;
        let job: OwnedObjectPath = job.body().deserialize().map_err(|error| explain(&error, what()))?;
        self.wait(job.as_str(), unit)?;
        match self.state(unit).as_deref() {
            Some("active") => Ok(()),
            state => {
                self.reset(unit);
                let state = state.unwrap_or("gone");
                Err(Error::new(format!("{}: it is {state} instead of active; see `systemctl status {unit}`", what())).hint(
                    "a user's manager can take only processes of that user's own session: start from one, for instance by \
                     `systemd-run --user --scope`",
                ))
            }
        }
    }

    /// Changes properties of a running unit, until the next boot.
    ///
    /// # Errors
    /// Where systemd refuses.
    pub(super) fn set(&self, unit: &str, properties: &[Property]) -> Result<()> {
        let body = (unit, true, variants(properties));
        let reply = self.call(PATH, MANAGER, "SetUnitProperties", &body);
        reply.map(drop).map_err(|error| explain(&error, format!("systemd: change the unit {unit}")))
    }

    /// Moves a process into the cgroup of a unit that delegates it. A user's manager has the system's do what it may not.
    ///
    /// # Errors
    /// Where systemd refuses.
    pub(super) fn attach(&self, unit: &str, pid: u32) -> Result<()> {
        let reply = self.call(PATH, MANAGER, "AttachProcessesToUnit", &(unit, "", vec![pid]));
        reply.map(drop).map_err(|error| explain(&error, format!("systemd: move process {pid} into the unit {unit}")))
    }

    /// Stops a unit and forgets it, also if it failed. One that is gone is fine.
    ///
    /// # Errors
    /// Where systemd refuses.
    pub(super) fn stop(&self, unit: &str) -> Result<()> {
        let what = || format!("systemd: stop the unit {unit}");
        match self.call(PATH, MANAGER, "StopUnit", &(unit, "replace")) {
            Ok(reply) => {
                let job: OwnedObjectPath = reply.body().deserialize().map_err(|error| explain(&error, what()))?;
                self.wait(job.as_str(), unit)?;
            }
            Err(error) if is(&error, "NoSuchUnit") => return Ok(()),
            Err(error) => return Err(explain(&error, what())),
        }
        self.reset(unit);
        Ok(())
    }

    /// The manager's version, such as `252.30-1`.
    ///
    /// # Errors
    /// Where it does not say.
    pub(super) fn version(&self) -> Result<String> {
        self.property(PATH, MANAGER, "Version")
            .ok_or_else(|| Error::new("systemd answers on D-Bus, but does not say its version"))
    }

    /// Waits until a job is done: its object is gone then.
    fn wait(&self, job: &str, unit: &str) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let mut pause = Duration::from_micros(500);
        while self.property(job, "org.freedesktop.systemd1.Job", "State").is_some() {
            if Instant::now() > end {
                bail!(
                    "systemd: the job for {unit} is not done after {} seconds; see `systemctl list-jobs`",
                    PATIENCE.as_secs()
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
        Ok(())
    }

    /// `active`, `failed` and so on; absent where there is no such unit.
    fn state(&self, unit: &str) -> Option<String> {
        let reply = self.call(PATH, MANAGER, "GetUnit", &(unit,)).ok()?;
        let path: OwnedObjectPath = reply.body().deserialize().ok()?;
        self.property(path.as_str(), "org.freedesktop.systemd1.Unit", "ActiveState")
    }

    fn property(&self, path: &str, interface: &str, name: &str) -> Option<String> {
        let reply = self.call(path, PROPERTIES, "Get", &(interface, name)).ok()?;
        let value: OwnedVariant = reply.body().deserialize().ok()?;
        String::try_from(value).ok()
    }

    /// Makes systemd forget that a unit failed; that it did not is no matter.
    fn reset(&self, unit: &str) {
        drop(self.call(PATH, MANAGER, "ResetFailedUnit", &(unit,)));
    }
}

/// Where to knock, and whether a bus daemon opens.
fn addresses(user: bool) -> Vec<(String, bool)> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if !user {
        let system =
            variable("DBUS_SYSTEM_BUS_ADDRESS").unwrap_or_else(|| "unix:path=/run/dbus/system_bus_socket".to_owned());
        return vec![(system, true), ("/run/systemd/private".to_owned(), false)];
    }
    let uid = identity::outer_uid();
    let folder = variable("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from(format!("/run/user/{uid}")), PathBuf::from);
    let session = variable("DBUS_SESSION_BUS_ADDRESS").unwrap_or_else(|| format!("unix:path={}/bus", folder.display()));
    vec![(session, true), (format!("{}/systemd/private", folder.display()), false)]
}

/// Whether a reply is the error of this name.
fn is(error: &zbus::Error, name: &str) -> bool {
    matches!(error, zbus::Error::MethodError(full, ..) if full.ends_with(name))
}

fn explain(error: &zbus::Error, what: String) -> Error {
    let said = Error::new(format!("{what}: {error}"));
    let text = error.to_string();
    if text.contains("AccessDenied") || text.contains("authentication required") || text.contains("not been provided") {
        return said.hint("systemd asks for authentication: run as root, or as a user with an own systemd session");
    }
    if ["ServiceUnknown", "NameHasNoOwner", "Spawn."].iter().any(|name| text.contains(name)) {
        return said
            .hint("a D-Bus bus answers, but systemd is not on it: use the cgroupfs driver (without --systemd-cgroup)");
    }
    if text.contains("unknown property") {
        return said.hint(
            "this systemd is too old for one of the limits or annotations: use the cgroupfs driver, or leave it out",
        );
    }
    said
}

/// The properties as D-Bus has them.
fn variants(properties: &[Property]) -> Vec<(String, Variant<'static>)> {
    let variant = |value: &Value| match value.clone() {
        Value::Bool(value) => Variant::new(value),
        Value::Byte(value) => Variant::new(value),
        Value::I16(value) => Variant::new(value),
        Value::U16(value) => Variant::new(value),
        Value::I32(value) => Variant::new(value),
        Value::U32(value) => Variant::new(value),
        Value::I64(value) => Variant::new(value),
        Value::U64(value) => Variant::new(value),
        Value::Double(value) => Variant::new(value),
        Value::Text(value) => Variant::new(value),
        Value::Texts(value) => Variant::new(value),
        Value::Bytes(value) => Variant::new(value),
        Value::Numbers(value) => Variant::new(value),
        Value::Pairs(value) => Variant::new(value),
    };
    properties.iter().map(|(name, value)| (name.clone(), variant(value))).collect()
}
