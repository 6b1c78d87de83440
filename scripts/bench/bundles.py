#!/usr/bin/env python3
"""Writes the bundles of bench.sh below a folder, one a variant of config.json; the rootfs is shared.

  bundles.py FOLDER ROOTFS

| bundle   | differs from bench/config.json by |
| default  | nothing |
| host     | no cgroup namespace |
| sleep    | runs `sleep`, for exec and for the scale test |
| seccomp  | a profile of the size and shape of an engine's default one: a few hundred names, three architectures, a few
             rules on arguments; the names are those of the kernel's headers without the ones that NOT_ALLOWED lists |
| small    | a memory limit of 2 MiB |
"""

import copy
import json
import pathlib
import platform
import re
import subprocess
import sys

# What reaches outside of a container or has no use in one: modules, mounts, clocks, the kernel's keys and logs, swap,
# tracing by descriptors of the kernel, namespaces, obsolete calls.
NOT_ALLOWED = re.compile(
    r"^(_sysctl|acct|add_key|afs_syscall|bdflush|bpf|break|clock_settime(64)?|clone3|create_module|delete_module"
    r"|fanotify_init|finit_module|fsconfig|fsmount|fsopen|fspick|ftime|get_kernel_syms|get_mempolicy|getpmsg|gtty"
    r"|idle|init_module|io_uring_\w+|ioperm|iopl|kcmp|kexec_\w+|keyctl|lock|lookup_dcookie|mbind|migrate_pages|mount"
    r"|mount_setattr|move_mount|move_pages|mpx|nfsservctl|open_by_handle_at|open_tree|perf_event_open|pivot_root"
    r"|prof|profil|putpmsg|query_module|quotactl\w*|reboot|request_key|security|set_mempolicy\w*|setdomainname"
    r"|sethostname|setns|settimeofday|stime|stty|swapoff|swapon|sysfs|syslog|tuxcall|ulimit|umount2?|unshare|uselib"
    r"|userfaultfd|ustat|vhangup|vm86(old)?|vserver|clone|personality|socket)$"
)

ARCHITECTURES = {
    "x86_64": (["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"], ["asm/unistd_64.h", "asm/unistd_32.h"]),
    "aarch64": (["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"], ["asm/unistd.h"]),
}


def names(headers):
    """Every system call that the kernel's headers define."""
    found = set()
    for header in headers:
        text = subprocess.run(
            ["gcc", "-E", "-dM", "-include", header, "-x", "c", "/dev/null"], capture_output=True, text=True, check=True
        ).stdout
        found.update(re.findall(r"^#define __NR_(\w+) ", text, re.MULTILINE))
    return sorted(name for name in found if not name.startswith(("syscalls", "arch_specific")))


def profile():
    """A filter of the shape that engines give to every container."""
    architectures, headers = ARCHITECTURES.get(platform.machine(), ([], ["asm/unistd.h"]))
    errno = {"action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    allow = {"action": "SCMP_ACT_ALLOW"}
    namespaces = 0x7E020000
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures,
        "syscalls": [
            {"names": [name for name in names(headers) if not NOT_ALLOWED.match(name)], **allow},
            {"names": ["socket"], **allow, "args": [{"index": 0, "value": 40, "op": "SCMP_CMP_NE"}]},
            {
                "names": ["clone"],
                **allow,
                "args": [{"index": 0, "value": namespaces, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
            },
            {"names": ["clone3"], **errno},
            *(
                {"names": ["personality"], **allow, "args": [{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}]}
                for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)
            ),
        ],
    }


def main(folder, rootfs):
    base = json.loads((pathlib.Path(__file__).parent / "config.json").read_text())
    base["root"]["path"] = str(pathlib.Path(rootfs).resolve())
    variants = {name: copy.deepcopy(base) for name in ("default", "host", "sleep", "seccomp", "small")}
    spaces = variants["host"]["linux"]["namespaces"]
    variants["host"]["linux"]["namespaces"] = [space for space in spaces if space["type"] != "cgroup"]
    variants["sleep"]["process"]["args"] = ["/bin/sleep", "86400"]
    variants["seccomp"]["linux"]["seccomp"] = profile()
    variants["small"]["linux"]["resources"]["memory"] = {"limit": 2 << 20}
    for name, config in variants.items():
        bundle = pathlib.Path(folder) / name
        bundle.mkdir(parents=True, exist_ok=True)
        (bundle / "config.json").write_text(json.dumps(config, indent=1))


main(*sys.argv[1:])
