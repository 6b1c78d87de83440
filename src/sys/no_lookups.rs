//! Names of hosts and users are never looked up by the runtime, and these definitions see to it that they cannot be.
//!
//! zbus refers to libc's look-ups on paths that a client of systemd never takes. In a static glibc they bring the name
//! service switch along, which loads modules by dlopen(3) from whatever root it finds itself in: the way by which files of a
//! container came to run with the rights of a runtime (CVE-2019-14271). Defined here, the linker takes none of it, and
//! the program is a tenth smaller. This is a part of the programs `myrt` and `myrt-sandbox`, not of the
//! library.
#![allow(unsafe_code, reason = "symbols of C, with C's pointers")]

use std::ffi::{c_char, c_int, c_void};

/// getaddrinfo(3): no host has a name.
#[unsafe(no_mangle)]
extern "C" fn getaddrinfo(_: *const c_char, _: *const c_char, _: *const c_void, _: *mut c_void) -> c_int {
    libc::EAI_FAIL
}

/// freeaddrinfo(3): [`getaddrinfo`] gives nothing that could be given back.
#[unsafe(no_mangle)]
extern "C" fn freeaddrinfo(_: *mut c_void) {}

/// getpwuid_r(3): no user is found.
///
/// # Safety
/// `result` points to a pointer, as the manual page demands of the caller.
#[unsafe(no_mangle)]
unsafe extern "C" fn getpwuid_r(
    _: libc::uid_t,
    _: *mut c_void,
    _: *mut c_char,
    _: libc::size_t,
    result: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller gives a valid pointer.
    unsafe { *result = std::ptr::null_mut() };
    0
}

/// The name service switch: there is none to configure. What `myrt-image` asks of it (`lookups.rs`) is in the library.
#[unsafe(no_mangle)]
extern "C" fn __nss_configure_lookup(_: *const c_char, _: *const c_char) -> c_int {
    -1
}

/// getgrouplist(3): no user is in a group.
#[unsafe(no_mangle)]
extern "C" fn getgrouplist(_: *const c_char, _: libc::gid_t, _: *mut libc::gid_t, _: *mut c_int) -> c_int {
    -1
}
