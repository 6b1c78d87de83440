//! How a program that asks for hosts looks their names up: in /etc/hosts, then by DNS, and in no other way.
//!
//! /etc/nsswitch.conf may name modules, which libc would load by dlopen(3). A static program cannot do so safely: a module
//! brings the host's own libc along, of whatever version that is. So the file has no say. For `myrt-image` alone: the
//! engine looks nothing up (`no_lookups.rs`).

/// Says so to libc. Before the first look-up, and before any thread.
pub fn files_and_dns_only() {
    #[cfg(target_env = "gnu")]
    {
        unsafe extern "C" {
            fn __nss_configure_lookup(database: *const libc::c_char, services: *const libc::c_char) -> libc::c_int;
        }
        // SAFETY: both are strings that end in a zero byte; libc copies what it keeps. No other thread is in a look-up.
        unsafe { __nss_configure_lookup(c"hosts".as_ptr(), c"files dns".as_ptr()) };
    }
}
