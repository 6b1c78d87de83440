//! The cgroup room.
