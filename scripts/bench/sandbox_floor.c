// The floor of a sandbox's start: the bare system calls of the mounts that `myrt sandbox run` makes, and nothing else.
//
//   sandbox_floor LAYERS OVERLAY… : UNCHANGING… : BIND… : PROTECTED… : PROGRAM [ARG…]
//
// LAYERS is a folder on a tmpfs; each OVERLAY, of which the first is /, is a mount of the host's that is seen writable; each
// UNCHANGING one that gets an overlay without a layer; each BIND one that is seen read-only, or a folder that is hidden; each
// PROTECTED path is made read-only by a bind over itself.
//
// In: an overlay for each; clone3 with new user, pid, network, ipc, uts and mount namespaces and the identity as id maps;
// the cgroup namespace; proc, dev, devpts, shm, mqueue, sysfs, cgroup2; six devices of the host bound read-only; pivot_root;
// masked and read-only paths; a first process that waits for the program; exec; taking it all down.
//
// Out: reading mountinfo, every check, the state and the notes of the box, protection of the binary and of paths, the
// seccomp filter, capabilities, closing of descriptors, the look at what was changed.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Every failed call ends the program: a floor that skipped a step would lie.
static long must(long result, const char *what) {
    if (result < 0) {
        fprintf(stderr, "sandbox_floor: %s: %s\n", what, strerror(errno));
        _exit(125);
    }
    return result;
}
#define MUST(call) must((long)(call), #call)
#define EACH(i, table) for (size_t i = 0; i < sizeof table / sizeof *table; i++)

// With a layer of this number; without one (-1) over an empty folder, since an overlay has two.
static int overlay(const char *layers, int number, const char *path) {
    char upper[4096], work[4096], both[8192];
    snprintf(upper, sizeof upper, number < 0 ? "%s/empty" : "%s/%d", layers, number);
    snprintf(work, sizeof work, "%s/%d-work", layers, number);
    if ((mkdir(upper, 0755) | (number < 0 ? 0 : mkdir(work, 0755))) < 0 && errno != EEXIST) must(-1, "mkdir");
    snprintf(both, sizeof both, number < 0 ? "%s:%s" : "%s", path, upper);
    int context = MUST(fsopen("overlay", FSOPEN_CLOEXEC));
    const char *options[][2] = {{"source", "overlay"}, {"lowerdir", both}, {"redirect_dir", "nofollow"}, {"metacopy", "off"},
                                {"index", "off"}, {"upperdir", upper}, {"workdir", work}};
    EACH(i, options)
        if (number >= 0 || i < 4) MUST(fsconfig(context, FSCONFIG_SET_STRING, options[i][0], options[i][1], 0));
    MUST(fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int made = MUST(fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NODEV | (number < 0 ? MOUNT_ATTR_RDONLY : 0)));
    close(context);
    return made;
}

static void write_file(pid_t pid, const char *name, const char *text) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int file = MUST(open(path, O_WRONLY | O_CLOEXEC));
    MUST(write(file, text, strlen(text)));
    close(file);
}

struct mount { const char *source, *target, *type; unsigned long flags; const char *data; };
static const struct mount mounts[] = {
    {"proc", "proc", "proc", 0, NULL},
    {"tmpfs", "dev", "tmpfs", MS_NOSUID | MS_STRICTATIME, "mode=755,size=65536k"},
    {"devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"},
    {"shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NOEXEC | MS_NODEV, "mode=1777"},
    {"mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NOEXEC | MS_NODEV, NULL},
    {"sysfs", "sys", "sysfs", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL},
    {"cgroup", "sys/fs/cgroup", "cgroup2", MS_NOSUID | MS_NOEXEC | MS_NODEV | MS_RDONLY, NULL},
};
static const char *const devices[] = {"null", "zero", "full", "random", "urandom", "tty"};
static const char *const links[][2] = {
    {"/proc/self/fd", "dev/fd"}, {"/proc/self/fd/0", "dev/stdin"}, {"/proc/self/fd/1", "dev/stdout"},
    {"/proc/self/fd/2", "dev/stderr"}, {"pts/ptmx", "dev/ptmx"},
};
static const char *const masked[] = {
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/sys/firmware", "/proc/scsi", "/proc/kmsg", "/proc/kpagecgroup", "/proc/kpagecount",
    "/proc/kpageflags", "/proc/vmcore",
};
static void put(int mount, const char *target) {
    int at = MUST(open(target, O_PATH | O_CLOEXEC));
    MUST(move_mount(mount, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
    close(at);
}

struct group { char **words; int count; };

static void filesystem(const int *overlays, struct group writable, struct group unchanging, struct group binds,
                       struct group protected) {
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(move_mount(overlays[0], "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH));
    MUST(fchdir(overlays[0]));
    for (int i = 1; i < writable.count; i++) put(overlays[i], writable.words[i] + 1);
    for (int i = 0; i < unchanging.count; i++) put(overlays[writable.count + i], unchanging.words[i] + 1);
    for (int i = 0; i < binds.count; i++) {
        int tree = MUST(open_tree(AT_FDCWD, binds.words[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
        put(tree, binds.words[i] + 1);
        struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV};
        MUST(mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
        close(tree);
    }
    EACH(i, mounts) {
        const struct mount *m = &mounts[i];
        if (!strncmp(m->target, "dev/", 4)) MUST(mkdir(m->target, 0755));
        MUST(mount(m->source, m->target, m->type, m->flags, m->data));
    }
    EACH(i, devices) {
        char from[32], to[32];
        snprintf(from, sizeof from, "/dev/%s", devices[i]);
        snprintf(to, sizeof to, "dev/%s", devices[i]);
        close(MUST(open(to, O_CREAT | O_WRONLY | O_CLOEXEC, 0666)));
        int tree = MUST(open_tree(AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
        put(tree, to);
        struct mount_attr attributes = {.attr_set = MOUNT_ATTR_RDONLY};
        MUST(mount_setattr(tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes));
        close(tree);
    }
    EACH(i, links) MUST(symlink(links[i][0], links[i][1]));
    MUST(syscall(SYS_pivot_root, ".", "."));
    MUST(umount2(".", MNT_DETACH));
    EACH(i, masked) {
        struct stat s;
        if (stat(masked[i], &s) < 0) continue;
        if (S_ISDIR(s.st_mode)) MUST(mount("tmpfs", masked[i], "tmpfs", MS_RDONLY, NULL));
        else MUST(mount("/dev/null", masked[i], NULL, MS_BIND, NULL));
    }
    // A bind begins with the flags of what it shows.
    struct mount_attr set = {.attr_set = MOUNT_ATTR_RDONLY}, cleared = {.attr_clr = MOUNT_ATTR_RDONLY};
    MUST(mount_setattr(AT_FDCWD, "/proc", 0, &set, sizeof set));
    for (int i = 0; i < protected.count; i++) MUST(mount(protected.words[i], protected.words[i], NULL, MS_BIND, NULL));
    MUST(mount_setattr(AT_FDCWD, "/proc", 0, &cleared, sizeof cleared));
}

static int wait_for(pid_t pid) {
    int status;
    MUST(waitpid(pid, &status, 0));
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

// The words up to the next colon, which is passed.
static struct group group(char ***at, char **end) {
    struct group found = {*at, 0};
    while (*at < end && strcmp(**at, ":")) (*at)++, found.count++;
    if (*at < end) (*at)++;
    return found;
}

int main(int argc, char **argv) {
    char **at = argv + 2, **end = argv + argc;
    int overlays[64], gate[2];
    struct group writable = group(&at, end), unchanging = group(&at, end), binds = group(&at, end), protected = group(&at, end);
    if (writable.count < 1 || writable.count + unchanging.count > 64 || at >= end) {
        fputs("usage: sandbox_floor LAYERS OVERLAY… : UNCHANGING… : BIND… : PROTECTED… : PROGRAM [ARG…]\n", stderr);
        return 2;
    }
    for (int i = 0; i < writable.count; i++) overlays[i] = overlay(argv[1], i, writable.words[i]);
    for (int i = 0; i < unchanging.count; i++)
        overlays[writable.count + i] = overlay(argv[1], -1, unchanging.words[i]);
    MUST(pipe2(gate, O_CLOEXEC));
    struct clone_args args = {.flags = CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNS,
                              .exit_signal = SIGCHLD};
    pid_t pid = MUST(syscall(SYS_clone3, &args, sizeof args));
    if (pid == 0) {
        char ready;
        MUST(read(gate[0], &ready, 1));
        MUST(unshare(CLONE_NEWCGROUP));
        filesystem(overlays, writable, unchanging, binds, protected);
        pid_t inner = MUST(fork());
        if (inner == 0) {
            execvp(at[0], at);
            must(-1, "exec");
        }
        _exit(wait_for(inner));
    }
    write_file(pid, "uid_map", "0 0 4294967295\n");
    write_file(pid, "gid_map", "0 0 4294967295\n");
    MUST(write(gate[1], "x", 1));
    return wait_for(pid);
}
