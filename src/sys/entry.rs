//! The very first instructions of the program: it makes sure that it runs from a place that nobody can write to.
//!
//! A container can reach the binary of whoever is about to exec in it: through /proc/PID/exe of a process that has joined
//! it, or by an entrypoint (or `#!` interpreter, or ELF loader) named /proc/self/exe. Written to, that binary runs as
//! root on the host at the next start (CVE-2019-5736). So before a command that enters a container does anything, it
//! executes itself once more through a detached, read-only mount of its own file: every such path then ends in EROFS,
//! whatever the container's rights, and no byte is copied. Once it runs, the mount becomes noexec: a container cannot
//! make a process out of our binary, and so cannot keep a descriptor of it, with which it could hold write access for an
//! instant at a time (the kernel takes that before it looks at the mount) and fail starts on the host with ETXTBSY.
//!
//! This happens ahead of libc's own start-up, which costs more than all of it: the ELF entry point is `myrt_entry`, and
//! `_start` comes after. Hence the rules here: no libc, no thread-local, no static that holds a pointer (nothing is
//! relocated yet), no call that the compiler could turn into memcpy or strlen (those are resolved later).
//!
//! [`ensure_protected`] looks again once libc is there. It takes the same way where the entry point is not ours (other
//! architectures, and builds without optimisation, which would break the rules above). Where the mount cannot be had (an
//! ordinary user), a binary that the user cannot write to is safe, and any other is copied into sealed memory.

use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, SealFlags, StatVfsMountFlags};

use super::check;
use super::mount::{self, Attributes, Tree};
use super::nsfs;
use crate::error::{Context, Result};

/// Words of a command line that make the command one that enters a container. A word too many costs a re-exec, a word
/// too few the protection, so that the whole line is searched, and a path to the command changes nothing.
macro_rules! enters_a_container {
    ($word:expr) => {
        same($word, c"run".as_ptr())
            || same($word, c"create".as_ptr())
            || same($word, c"exec".as_ptr())
            || same($word, c"restore".as_ptr())
    };
}

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    // The kernel hands over the stack in rsp and an exit function in rdx; _start wants both untouched.
    ".globl myrt_entry",
    ".type myrt_entry,@function",
    "myrt_entry:",
    "xor ebp, ebp",
    "mov rbx, rdx",
    "mov r12, rsp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {first}",
    "mov rsp, r12",
    "mov rdx, rbx",
    "jmp _start",
    first = sym first,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl myrt_entry",
    ".type myrt_entry,@function",
    "myrt_entry:",
    "mov x29, #0",
    "mov x19, x0",
    "mov x0, sp",
    "bl {first}",
    "mov x0, x19",
    "b _start",
    first = sym first,
);

/// Looks at the command line and, where it matters, executes the binary again through a read-only mount, or another program
/// of ours that stands beside it. Comes back in every other case, failure included: [`ensure_protected`] notices the one, and
/// whoever asked for the other tries it again and says why not.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
extern "C" fn first(stack: *const usize) {
    // SAFETY: at the entry the stack holds argc, argv, a null, the environment and a null (System V ABI, "Initial Process
    // Stack"). Reads are volatile so that no loop becomes a call into libc.
    unsafe {
        let count = stack.read_volatile();
        let args = stack.add(1).cast::<*const c_char>();
        let env = args.add(count + 1);
        let mut index = 1;
        while index < count {
            let word = args.add(index).read_volatile();
            // As the first word they are the command; elsewhere they may be anything, which is found out with libc's help.
            let (sandbox, image) = (same(word, c"sandbox".as_ptr()), same(word, c"image".as_ptr()));
            if sandbox && index == 1 {
                exec_beside(c"myrt-sandbox".as_ptr(), true, args, env);
            }
            if image && index == 1 {
                exec_beside(c"myrt-image".as_ptr(), false, args, env);
            }
            if sandbox || image {
                return;
            }
            if enters_a_container!(word) {
                exec_read_only(c"/proc/self/exe".as_ptr(), args, env);
                return;
            }
            index += 1;
        }
    }
}

/// Whether two C strings are the same.
///
/// # Safety
/// Both end with NUL.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn same(a: *const c_char, b: *const c_char) -> bool {
    let mut at = 0;
    loop {
        // SAFETY: neither string has ended before `at`.
        let (left, right) = unsafe { (a.add(at).read_volatile(), b.add(at).read_volatile()) };
        if left != right {
            return false;
        }
        if left == 0 {
            return true;
        }
        at += 1;
    }
}

/// statfs(2), open_tree(2), mount_setattr(2), execveat(2); gives up at the first that fails, and where the file is on a
/// read-only mount already.
///
/// # Safety
/// `file` is a C string, `args` and `env` are arrays of them that end with null.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn exec_read_only(file: *const c_char, args: *const *const c_char, env: *const *const c_char) {
    const CLONE: usize = 1; // OPEN_TREE_CLONE, and not CLOEXEC: `forbid_exec` needs the descriptor
    const ST_RDONLY: i64 = 1;
    // struct statfs: f_flags is word 10 of its 15 on both architectures (f_fsid takes one). Not zeroed: that may be a call.
    let mut statfs = MaybeUninit::<[i64; 16]>::uninit();
    // attr_set: MOUNT_ATTR_RDONLY; attr_clr, propagation, userns_fd.
    let read_only = [1_u64, 0, 0, 0];
    let (file, empty) = (file as usize, c"".as_ptr() as usize);
    // SAFETY: all pointers are to locals, literals or the kernel's own arrays; raw calls touch nothing else.
    unsafe {
        if raw(libc::SYS_statfs, [file, statfs.as_mut_ptr() as usize, 0, 0, 0]) != 0 {
            return;
        }
        if statfs.as_ptr().cast::<i64>().add(10).read_volatile() & ST_RDONLY != 0 {
            return;
        }
        let mut tree = raw(libc::SYS_open_tree, [AT_CWD, file, CLONE, 0, 0]);
        if (0..3).contains(&tree) {
            // The place of a standard stream that the caller has left closed: it must not become one.
            let higher = raw(libc::SYS_fcntl, [tree as usize, libc::F_DUPFD as usize, 3, 0, 0]);
            raw(libc::SYS_close, [tree as usize, 0, 0, 0, 0]);
            tree = higher;
        }
        if tree < 0 {
            return;
        }
        let tree = tree as usize;
        let size = size_of_val(&read_only);
        if raw(libc::SYS_mount_setattr, [tree, empty, AT_EMPTY, (&raw const read_only) as usize, size]) == 0 {
            raw(libc::SYS_execveat, [tree, empty, args as usize, env as usize, AT_EMPTY]);
        }
        raw(libc::SYS_close, [tree, 0, 0, 0, 0]);
    }
}

/// Executes the program of this name in the folder of this one's file, with this one's words; `protected`: through a read-only
/// mount where that can be had, so that it need not begin twice. Gives up where that cannot be.
///
/// # Safety
/// `name` is a C string shorter than [`LONGEST`], `args` and `env` are arrays of C strings that end with null.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
unsafe fn exec_beside(name: *const c_char, protected: bool, args: *const *const c_char, env: *const *const c_char) {
    let mut path = MaybeUninit::<[u8; PATH]>::uninit();
    let start = path.as_mut_ptr().cast::<u8>();
    let link = c"/proc/self/exe".as_ptr() as usize;
    // SAFETY: as above. What is written lies within the array: the link leaves room for a name of ours, and each place that is
    // read was written by the kernel or here.
    unsafe {
        let length = raw(libc::SYS_readlinkat, [AT_CWD, link, start as usize, PATH - LONGEST, 0]);
        // Nobody knows where a file without a path is, and one that was cut is none.
        if length < 1 || length as usize == PATH - LONGEST || start.read_volatile() != b'/' {
            return;
        }
        let mut end = length as usize;
        while start.add(end - 1).read_volatile() != b'/' {
            end -= 1;
        }
        if end == length as usize {
            return;
        }
        let mut at = 0;
        loop {
            let byte = name.cast::<u8>().add(at).read_volatile();
            start.add(end + at).write_volatile(byte);
            if byte == 0 {
                break;
            }
            at += 1;
        }
        if protected {
            exec_read_only(start.cast(), args, env);
        }
        raw(libc::SYS_execveat, [AT_CWD, start as usize, args as usize, env as usize, 0]);
    }
}

/// The working folder, as a descriptor.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const AT_CWD: usize = libc::AT_FDCWD as usize;
/// For a descriptor alone.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const AT_EMPTY: usize = libc::AT_EMPTY_PATH as usize;
/// Room for a path, and for the longest name of a program of ours within it.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const PATH: usize = 4096;
/// See [`PATH`].
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
const LONGEST: usize = 16;

/// A system call without libc: its result, or its errno below zero.
///
/// # Safety
/// The arguments are what the call expects.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn raw(number: libc::c_long, args: [usize; 5]) -> isize {
    let result;
    // SAFETY: the kernel's calling convention; it keeps all registers but rax, rcx and r11.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") args[0], in("rsi") args[1], in("rdx") args[2], in("r10") args[3], in("r8") args[4],
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}

/// A system call without libc: its result, or its errno below zero.
///
/// # Safety
/// The arguments are what the call expects.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn raw(number: libc::c_long, args: [usize; 5]) -> isize {
    let result;
    // SAFETY: the kernel's calling convention; it keeps all registers but x0.
    unsafe {
        core::arch::asm!(
            "svc 0",
            in("x8") number as isize,
            inlateout("x0") args[0] as isize => result,
            in("x1") args[1], in("x2") args[2], in("x3") args[3], in("x4") args[4],
            options(nostack),
        );
    }
    result
}

/// The words of the command line, as libc gives them to `main`.
///
/// # Safety
/// `words` is an array of `count` C strings.
pub unsafe fn words(count: i32, words: *const *const c_char) -> Vec<OsString> {
    // SAFETY: each is a C string, by the caller's promise.
    let word = |index| unsafe { CStr::from_ptr(*words.add(index)) };
    (0..usize::try_from(count).unwrap_or(0)).map(|index| OsStr::from_bytes(word(index).to_bytes()).to_owned()).collect()
}

/// Opens /dev/null for each standard stream that the caller has left closed: the next file that is opened would become
/// one, and what is meant for a person would be written into it.
pub fn open_missing_streams() {
    let mut streams = [0, 1, 2].map(|fd| libc::pollfd { fd, events: 0, revents: 0 });
    // SAFETY: the array is as long as is said. A stream that fails here stays as it was.
    if unsafe { libc::poll(streams.as_mut_ptr(), 3, 0) } <= 0 {
        return;
    }
    for stream in streams.iter().filter(|stream| stream.revents & libc::POLLNVAL != 0) {
        // SAFETY: a C string and numbers. The lowest free number is this stream's, since those below are open by now.
        let fd = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        debug_assert_eq!(fd, stream.fd);
    }
}

/// For commands that enter a container: comes back when the running binary cannot be written to from inside one, and
/// executes a sealed copy of it otherwise.
///
/// Gives the mount that the binary runs from, where that is our own. It may be let go of at any time, and best of all while
/// nobody waits for us: the kernel takes a mount away only when every CPU has passed by.
///
/// # Errors
/// Where neither holds: the command must not go on.
pub fn ensure_protected() -> Result<Option<OwnedFd>> {
    let what = || "protect the runtime's own binary";
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let exe = rustix::fs::openat(CWD, "/proc/self/exe", flags, Mode::empty()).context(what)?;
    if rustix::fs::fstatvfs(&exe).context(what)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return forbid_exec(&exe).context(what);
    }
    if is_sealed(&exe) {
        return Ok(None);
    }
    if !rustix::process::geteuid().is_root() && nobody_here_can_write(&exe).context(what)? {
        return Ok(None);
    }
    if let Ok(mount) = read_only_mount("/proc/self/exe") {
        exec_again(&mount);
    }
    let copy = sealed_copy(exe.as_fd()).context(what)?;
    Err(exec_again(&copy)).context(what)
}

/// Makes the mount that we run from noexec, where it is our own: then its descriptor is still open, and the kernel says
/// its number as the name that was executed, `/dev/fd/N` (execveat(2)). Gives it, with a number that no exec keeps.
fn forbid_exec(exe: &OwnedFd) -> Result<Option<OwnedFd>, rustix::io::Errno> {
    // SAFETY: the auxiliary vector holds null or a C string of the kernel's, which lives as long as the process.
    let name = unsafe {
        match libc::getauxval(libc::AT_EXECFN) as *const c_char {
            name if name.is_null() => return Ok(None),
            name => CStr::from_ptr(name),
        }
    };
    let number = name.to_str().ok().and_then(|name| name.strip_prefix("/dev/fd/")?.parse().ok());
    let Some(number) = number.filter(|number: &i32| *number > 2) else { return Ok(None) };
    // SAFETY: fcntl copies the descriptor, whoever owns it, or says that there is none.
    let Ok(copy) = check(unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) }.into()) else { return Ok(None) };
    // SAFETY: it was made just now.
    let mount = unsafe { OwnedFd::from_raw_fd(copy as i32) };
    let (found, own) = (rustix::fs::fstat(&mount)?, rustix::fs::fstat(exe)?);
    if (found.st_dev, found.st_ino) != (own.st_dev, own.st_ino) {
        return Ok(None);
    }
    // SAFETY: it is the one that this process was executed through; nothing here has taken it over.
    drop(unsafe { OwnedFd::from_raw_fd(number) });
    mount::set_attributes(&mount, false, Attributes { set: libc::MOUNT_ATTR_NOEXEC, ..Attributes::default() })?;
    Ok(Some(mount))
}

/// Executes another program of ours with this one's words, through a mount of its own as `ensure_protected` makes it for the
/// running one, so that it need not begin twice. Comes back only with the reason why not.
pub fn exec_protected(file: &OwnedFd) -> rustix::io::Errno {
    if let Ok(mount) = read_only_mount(&format!("/proc/self/fd/{}", file.as_raw_fd())) {
        exec_again(&mount);
    }
    exec_again(file)
}

/// A binary through a mount of its own, as the entry point makes it.
fn read_only_mount(file: &str) -> Result<OwnedFd, rustix::io::Errno> {
    let tree = Tree::open(Path::new(file), false)?.into_fd();
    mount::set_attributes(&tree, false, Attributes { set: libc::MOUNT_ATTR_RDONLY, ..Attributes::default() })?;
    // Kept through the exec, for `forbid_exec`.
    rustix::io::fcntl_setfd(&tree, rustix::io::FdFlags::empty())?;
    Ok(tree)
}

/// Whether this is a file of memory that can never change.
fn is_sealed(exe: &OwnedFd) -> bool {
    rustix::fs::fcntl_get_seals(exe).is_ok_and(|seals| seals.contains(SealFlags::WRITE))
}

/// Whether the file belongs to root and only root may write it: then neither an ordinary user nor any id that he can map
/// into a container may.
fn nobody_here_can_write(exe: &OwnedFd) -> Result<bool, rustix::io::Errno> {
    let stat = rustix::fs::fstat(exe)?;
    Ok(stat.st_uid == 0 && stat.st_mode & 0o022 == 0 && nsfs::in_first_user_namespace())
}

/// Copies the binary into memory that is then sealed against every change.
fn sealed_copy(exe: BorrowedFd<'_>) -> Result<OwnedFd, rustix::io::Errno> {
    // Linux 6.3 wants to know whether it will be executed; before, the flag is unknown.
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create("myrt", flags | MemfdFlags::EXEC)
        .or_else(|_| rustix::fs::memfd_create("myrt", flags))?;
    let mut rest = rustix::fs::fstat(exe)?.st_size as usize;
    while rest > 0 {
        match rustix::fs::sendfile(&copy, exe, None, rest)? {
            0 => return Err(rustix::io::Errno::IO),
            sent => rest = rest.saturating_sub(sent),
        }
    }
    rustix::fs::fcntl_add_seals(&copy, SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL)?;
    Ok(copy)
}

/// Executes a descriptor with this process's own arguments and environment; comes back only with the reason why not.
pub fn exec_again(file: &OwnedFd) -> rustix::io::Errno {
    let strings = |list: Vec<Vec<u8>>| list.into_iter().filter_map(|s| CString::new(s).ok()).collect::<Vec<_>>();
    // Without std's own start-up, std::env::args knows nothing on some libcs.
    let line = std::fs::read("/proc/self/cmdline").unwrap_or_default();
    let args = strings(line.split_inclusive(|byte| *byte == 0).map(|word| word[..word.len() - 1].to_vec()).collect());
    let env =
        strings(std::env::vars_os().map(|(name, value)| [name.into_vec(), value.into_vec()].join(&b'=')).collect());
    let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>();
    let (argv, envp) = (pointers(&args), pointers(&env));
    // SAFETY: both arrays end with null and outlive the call, which comes back only on failure.
    let result = unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        )
    };
    check(result).err().unwrap_or(rustix::io::Errno::IO)
}
