//! The security room.
pub mod rdt;
