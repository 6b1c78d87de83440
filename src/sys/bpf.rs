//! bpf(2), as far as device programs of cgroups need it: load, attach, replace, find, detach.
//!
//! The structures are the leading parts of the kernel's `union bpf_attr` (include/uapi/linux/bpf.h), each with the size
//! that the call at hand reads.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

const PROG_LOAD: libc::c_long = 5;
const PROG_ATTACH: libc::c_long = 8;
const PROG_DETACH: libc::c_long = 9;
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;

const PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const REPLACE: u32 = 4;

/// How many programs one cgroup can have (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: usize = 64;

/// One instruction of eBPF, as the kernel reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register in the lower half, source register in the upper.
    pub registers: u8,
    /// Jump distance, or offset of a load.
    pub offset: i16,
    /// Operand.
    pub immediate: i32,
}

/// The name of a program, as the kernel keeps it.
pub type Name = [u8; 16];

#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: Name,
}

#[repr(C)]
struct Attach {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

#[repr(C)]
struct Query {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
}

#[repr(C)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct InfoByFd {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The leading part of `struct bpf_prog_info`, up to the name.
#[repr(C)]
#[derive(Default)]
struct Info {
    before: [u64; 8],
    name: Name,
}

/// Calls bpf(2) with one of the structures above.
fn bpf<T>(command: libc::c_long, attributes: &mut T) -> Result<libc::c_long, Errno> {
    // SAFETY: the pointer and the size describe one live, exclusively borrowed structure of plain integers, laid out as the
    // kernel's. Addresses inside it are made by the callers below from buffers that outlive the call.
    super::check(unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size_of::<T>()) })
}

/// A descriptor as the kernel's structures hold it; never negative, since it is open.
fn number(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().unsigned_abs()
}

/// Takes over the descriptor that a call has just returned.
fn own(fd: libc::c_long) -> Result<OwnedFd, Errno> {
    let fd = i32::try_from(fd).map_err(|_| Errno::BADF)?;
    // SAFETY: the kernel has just made this descriptor for us (bpf(2) sets CLOEXEC itself), so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Loads a device program under this name.
///
/// # Errors
/// EPERM without CAP_BPF or CAP_SYS_ADMIN (before 5.11 also at RLIMIT_MEMLOCK), EINVAL where the kernel lacks
/// CONFIG_CGROUP_BPF or the verifier refuses.
pub fn load_device_program(code: &[Instruction], name: Name) -> Result<OwnedFd, Errno> {
    let license = c"Dual MIT/GPL";
    let mut attributes = Load {
        prog_type: PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(code.len()).map_err(|_| Errno::TOOBIG)?,
        insns: code.as_ptr().addr() as u64,
        license: license.as_ptr().addr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
        prog_name: name,
    };
    own(bpf(PROG_LOAD, &mut attributes)?)
}

/// Attaches a device program to a cgroup, beside those of others, or in place of `instead`.
///
/// # Errors
/// EPERM without the right, or where a cgroup above forbids programs below it; ENOENT where `instead` is not attached.
pub fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    instead: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attributes = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: ALLOW_MULTI | if instead.is_some() { REPLACE } else { 0 },
        replace_bpf_fd: instead.map_or(0, number),
    };
    bpf(PROG_ATTACH, &mut attributes).map(drop)
}

/// Takes a device program off a cgroup.
///
/// # Errors
/// ENOENT where it is not attached.
pub fn detach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut attributes = Attach {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: ATTACH_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    bpf(PROG_DETACH, &mut attributes).map(drop)
}

/// The device program of this name on a cgroup, if one is attached.
///
/// # Errors
/// EPERM without the right, EINVAL where the kernel lacks CONFIG_CGROUP_BPF.
pub fn find_device_program(cgroup: BorrowedFd<'_>, name: Name) -> Result<Option<OwnedFd>, Errno> {
    let mut ids = [0u32; MAX_PROGRAMS];
    let mut attributes = Query {
        target_fd: number(cgroup),
        attach_type: ATTACH_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: ids.as_mut_ptr().addr() as u64,
        prog_cnt: MAX_PROGRAMS as u32,
        padding: 0,
    };
    bpf(PROG_QUERY, &mut attributes)?;
    for id in ids.into_iter().take(attributes.prog_cnt as usize) {
        let program = own(bpf(PROG_GET_FD_BY_ID, &mut ById { id, next_id: 0, open_flags: 0 })?)?;
        let mut info = Info::default();
        let mut attributes = InfoByFd {
            bpf_fd: number(&program),
            info_len: size_of::<Info>() as u32,
            info: std::ptr::from_mut(&mut info).addr() as u64,
        };
        bpf(OBJ_GET_INFO_BY_FD, &mut attributes)?;
        if info.name == name {
            return Ok(Some(program));
        }
    }
    Ok(None)
}
