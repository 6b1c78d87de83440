//! The security room.
