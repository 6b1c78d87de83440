// The floor: what the kernel alone costs for a container of the default spec. bench.sh compares every runtime with it.
//
//   floor run    [OPTIONS] ROOTFS CGROUP PROGRAM [ARG…]    CGROUP: a cgroup v2 folder that does not exist yet
//   floor exec   [OPTIONS] PID CGROUP PROGRAM [ARG…]       CGROUP: the cgroup v2 folder of the running container
//   floor remove CGROUP                                    kills what is inside, waits, removes the folder
//
//   --no-cgroupns   the spec names no cgroup namespace: /sys/fs/cgroup is a bind of the host's
//   --detach        run: leave the container running
//   --bare          leave out what is marked (b) below
//
// In, for the default spec (bench/config.json): mkdir of the cgroup; clone3 straight into it with new pid, network, ipc,
// uts and mount namespaces; the cgroup namespace; private propagation; the seven mounts with their flags; six device
// nodes and the links of /dev; loopback (b); hostname; pivot_root and detach of the old root; ten masked paths and five
// read-only ones (b); the read-only root; the device program of the cgroup (b); RLIMIT_NOFILE, bounding, effective,
// permitted, inheritable and ambient sets, no_new_privs, groups, gid, uid (b); exec; wait by pidfd; rmdir of the cgroup.
//
// Out, because the spec does not ask the kernel for it, though a runtime may owe it to its user: reading config.json,
// every check, a state file, protection of paths against symlinks, protection of the runtime's own binary, closing of
// inherited descriptors, a session keyring, error reports of the child, signal forwarding, reading back of any kind.
//
// Static glibc, as the runtimes are: a program without a libc would start some 0.3 ms faster still.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int cgroupns = 1, detach = 0, bare = 0;

// Every failed call ends the program: a floor that skipped a step would lie.
static long must(long result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
        _exit(125);
    }
    return result;
}
#define MUST(call) must((long)(call), #call)

// The device program: the six devices of the spec, the terminals and mknod of anything; all else is refused. The checks
// are the plainest that work: load type, access, major and minor, compare.
struct rule { int type; int major; int minor; };
static const struct rule rules[] = {
    {BPF_DEVCG_DEV_CHAR, 1, 3}, {BPF_DEVCG_DEV_CHAR, 1, 5}, {BPF_DEVCG_DEV_CHAR, 1, 7},   {BPF_DEVCG_DEV_CHAR, 1, 8},
    {BPF_DEVCG_DEV_CHAR, 1, 9}, {BPF_DEVCG_DEV_CHAR, 5, 0}, {BPF_DEVCG_DEV_CHAR, 5, 2}, {BPF_DEVCG_DEV_CHAR, 136, -1},
};

static void devices(int cgroup) {
    struct bpf_insn p[64];
    int n = 0;
#define INSN(c, d, s, o, i) p[n++] = (struct bpf_insn){.code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i)}
    INSN(BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0);        // r2 = type | access << 16
    INSN(BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0);        // r3 = r2
    INSN(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16);       // r3 = access
    INSN(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff);   // r2 = type
    INSN(BPF_LDX | BPF_MEM | BPF_W, 4, 1, 4, 0);        // r4 = major
    INSN(BPF_LDX | BPF_MEM | BPF_W, 5, 1, 8, 0);        // r5 = minor
    INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1);      // r0 = allowed
    INSN(BPF_JMP32 | BPF_JNE | BPF_K, 3, 0, 1, BPF_DEVCG_ACC_MKNOD);
    INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        int skip = rules[i].minor < 0 ? 2 : 3;
        INSN(BPF_JMP32 | BPF_JNE | BPF_K, 2, 0, skip, rules[i].type);
        INSN(BPF_JMP32 | BPF_JNE | BPF_K, 4, 0, skip - 1, rules[i].major);
        if (rules[i].minor >= 0) INSN(BPF_JMP32 | BPF_JNE | BPF_K, 5, 0, 1, rules[i].minor);
        INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    }
    INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0);
    INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
    union bpf_attr load = {.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE, .insns = (uintptr_t)p, .insn_cnt = n,
                           .license = (uintptr_t) "Apache"};
    int program = MUST(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof load));
    union bpf_attr attach = {.target_fd = cgroup, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE,
                             .attach_flags = BPF_F_ALLOW_MULTI};
    MUST(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof attach));
    close(program);
}

struct mount { const char *source, *target, *type; unsigned long flags; const char *data; };
static const struct mount mounts[] = {
    {"proc", "proc", "proc", 0, NULL},
    {"tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"},
    {"devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620,gid=5"},
    {"shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777,size=65536k"},
    {"mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL},
    {"sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL},
};
static const struct { const char *name; int major, minor; } nodes[] = {
    {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7}, {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
};
static const char *const links[][2] = {
    {"/proc/self/fd", "dev/fd"},       {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
    {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"},         {"/proc/kcore", "dev/core"},
};
static const char *const masked[] = {
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
    "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
};
static const char *const readonly[] = {"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"};
#define EACH(i, table) for (size_t i = 0; i < sizeof table / sizeof *table; i++)

static void filesystem(const char *rootfs) {
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
    MUST(chdir(rootfs));
    EACH(i, mounts) {
        const struct mount *m = &mounts[i];
        if (!strncmp(m->target, "dev/", 4)) MUST(mkdir(m->target, 0755));
        MUST(mount(m->source, m->target, m->type, m->flags, m->data));
    }
    unsigned long flags = MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RELATIME | MS_RDONLY;
    if (cgroupns) {
        MUST(mount("cgroup", "sys/fs/cgroup", "cgroup2", flags, NULL));
    } else {
        // A mount of cgroup2 from the host's namespace waits for an RCU grace period; a bind does not.
        MUST(mount("/sys/fs/cgroup", "sys/fs/cgroup", NULL, MS_BIND, NULL));
        MUST(mount(NULL, "sys/fs/cgroup", NULL, MS_BIND | MS_REMOUNT | flags, NULL));
    }
    umask(0);
    EACH(i, nodes) MUST(mknod(nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)));
    umask(022);
    EACH(i, links) MUST(symlink(links[i][0], links[i][1]));
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    if (!bare) {
        EACH(i, readonly) {
            if (mount(readonly[i], readonly[i], NULL, MS_BIND | MS_REC, NULL) < 0) continue;
            MUST(mount(NULL, readonly[i], NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
        }
        EACH(i, masked) {
            struct stat s;
            if (stat(masked[i], &s) < 0) continue;
            if (S_ISDIR(s.st_mode)) MUST(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
            else MUST(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
        }
    }
    MUST(mount(NULL, "/", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
}

static void loopback(void) {
    int s = MUST(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    MUST(ioctl(s, SIOCSIFFLAGS, &lo));
    close(s);
}

static void privileges(void) {
    const struct rlimit files = {1024, 1024};
    const uint64_t keep = 1ull << CAP_AUDIT_WRITE | 1ull << CAP_KILL | 1ull << CAP_NET_BIND_SERVICE;
    MUST(setrlimit(RLIMIT_NOFILE, &files));
    for (int cap = 0; cap < 64; cap++)
        if (!(keep >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) break; // EINVAL: beyond the kernel's last
    MUST(syscall(SYS_setgroups, 0, NULL));
    MUST(syscall(SYS_setresgid, 0, 0, 0));
    MUST(syscall(SYS_setresuid, 0, 0, 0));
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{keep, keep, keep}, {0, 0, 0}};
    MUST(syscall(SYS_capset, &header, data));
    for (int cap = 0; cap < 64; cap++)
        if (keep >> cap & 1) MUST(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0));
    MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static _Noreturn void become(char **program) {
    static char *const env[] = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm", NULL};
    if (!bare) privileges();
    execve(program[0], program, env);
    must(-1, "execve");
    _exit(125);
}

// Clones into `cgroup` with `flags` and answers 0 in the child, the pid in the parent, where `pidfd` is set.
static pid_t clone_into(int cgroup, unsigned long long flags, int *pidfd) {
    struct clone_args args = {.flags = flags | CLONE_INTO_CGROUP | CLONE_PIDFD, .pidfd = (uintptr_t)pidfd,
                              .exit_signal = SIGCHLD, .cgroup = cgroup};
    return MUST(syscall(SYS_clone3, &args, sizeof args));
}

static int result_of(int pidfd) {
    siginfo_t info = {0};
    MUST(waitid(P_PIDFD, pidfd, &info, WEXITED));
    return info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
}

static int run(const char *rootfs, const char *path, char **program) {
    MUST(mkdir(path, 0755));
    int cgroup = MUST(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)), pidfd;
    if (!bare) devices(cgroup);
    pid_t pid = clone_into(cgroup, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS, &pidfd);
    if (pid == 0) {
        // Only now: a namespace made by the clone itself would have the parent's cgroup as its root.
        if (cgroupns) MUST(unshare(CLONE_NEWCGROUP));
        MUST(setsid());
        if (!bare) loopback();
        filesystem(rootfs);
        MUST(sethostname("floor", 5));
        become(program);
    }
    if (detach) return 0;
    int result = result_of(pidfd);
    MUST(rmdir(path));
    return result;
}

static int enter(const char *target, const char *path, char **program) {
    int container = MUST(syscall(SYS_pidfd_open, atoi(target), 0)), pidfd;
    int cgroup = MUST(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    MUST(setns(container, CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS |
                              (cgroupns ? CLONE_NEWCGROUP : 0)));
    if (clone_into(cgroup, 0, &pidfd) == 0) {
        MUST(setsid());
        become(program);
    }
    return result_of(pidfd);
}

static int take_down(const char *path) {
    int cgroup = MUST(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int kill = MUST(openat(cgroup, "cgroup.kill", O_WRONLY | O_CLOEXEC));
    MUST(write(kill, "1", 1));
    // cgroup.events wakes its poller when the last process is gone.
    int events = MUST(openat(cgroup, "cgroup.events", O_RDONLY | O_CLOEXEC));
    for (;;) {
        char text[128] = {0};
        MUST(pread(events, text, sizeof text - 1, 0));
        if (strstr(text, "populated 0")) break;
        struct pollfd change = {events, POLLPRI, 0};
        MUST(poll(&change, 1, -1));
    }
    MUST(rmdir(path));
    return 0;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    char **arg = argv + 2;
    for (; argc > 2 && *arg && !strncmp(*arg, "--", 2); arg++) {
        if (!strcmp(*arg, "--no-cgroupns")) cgroupns = 0;
        else if (!strcmp(*arg, "--detach")) detach = 1;
        else if (!strcmp(*arg, "--bare")) bare = 1;
        else mode = "";
    }
    int left = argv + argc - arg;
    if (!strcmp(mode, "run") && left >= 3) return run(arg[0], arg[1], arg + 2);
    if (!strcmp(mode, "exec") && left >= 3) return enter(arg[0], arg[1], arg + 2);
    if (!strcmp(mode, "remove") && left == 1) return take_down(arg[0]);
    fputs("usage: floor run|exec [--no-cgroupns] [--bare] [--detach] ROOTFS|PID CGROUP PROGRAM [ARG…]\n"
          "       floor remove CGROUP\n", stderr);
    return 2;
}
