/* What busybox cannot show of a process's own attributes. Each use prints one line or a few, and nothing else. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* What sched_getattr(2) fills, in its first version. */
struct attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static long number(const char *text) { return strtol(text, NULL, 0); }

/* keyring: the serial number of the session keyring. */
static int keyring(char **argv)
{
	(void)argv;
	printf("%ld\n", syscall(SYS_keyctl, 0 /* GET_KEYRING_ID */, -3 /* session */, 0));
	return 0;
}

/* sched: policy nice priority flags runtime deadline period */
static int sched(char **argv)
{
	(void)argv;
	struct attributes got = { 0 };
	if (syscall(SYS_sched_getattr, 0, &got, sizeof got, 0))
		return 1;
	printf("%u %d %u %llu %llu %llu %llu\n", got.policy, got.nice, got.priority, (unsigned long long)got.flags,
	       (unsigned long long)got.runtime, (unsigned long long)got.deadline, (unsigned long long)got.period);
	return 0;
}

/* ioprio: class priority */
static int ioprio(char **argv)
{
	(void)argv;
	long got = syscall(SYS_ioprio_get, 1, 0);
	printf("%ld %ld\n", got >> 13, got & 0x1fff);
	return 0;
}

/* mempolicy: mode, first word of the node mask */
static int mempolicy(char **argv)
{
	(void)argv;
	int mode = -1;
	unsigned long nodes[64] = { 0 };
	if (syscall(SYS_get_mempolicy, &mode, nodes, 64 * 64, NULL, 0))
		perror("get_mempolicy");
	printf("%d %lx\n", mode, nodes[0]);
	return 0;
}

/* personality: in hexadecimal */
static int persona(char **argv)
{
	(void)argv;
	printf("%x\n", personality(0xffffffff));
	return 0;
}

/* syscall NUMBER ARG...: result, or the errno's number with a minus */
static int raw_syscall(char **argv)
{
	long args[7] = { 0 };
	for (int i = 0; argv[i] && i < 7; i++)
		args[i] = number(argv[i]);
	long result = syscall(args[0], args[1], args[2], args[3], args[4], args[5], args[6]);
	printf("%ld\n", result < 0 ? (long)-errno : result);
	return 0;
}

/* int80 NUMBER ARG ARG: the same through the 32-bit entry of x86 */
static int int80(char **argv)
{
#ifdef __x86_64__
	long result, nr = number(argv[0]), a = argv[1] ? number(argv[1]) : 0, b = argv[1] && argv[2] ? number(argv[2]) : 0;
	__asm__ volatile("int $0x80" : "=a"(result) : "a"(nr), "b"(a), "c"(b), "d"(0) : "memory", "r8", "r9", "r10", "r11");
	printf("%ld\n", (long)(int32_t)result);
#else
	printf("0\n");
	(void)argv;
#endif
	return 0;
}

/* clock NAME: seconds of that clock */
static int show_clock(char **argv)
{
	struct timespec now;
	if (clock_gettime(strcmp(argv[0], "boottime") ? CLOCK_MONOTONIC : CLOCK_BOOTTIME, &now))
		return 1;
	printf("%lld\n", (long long)now.tv_sec);
	return 0;
}

static void on_sys(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	char text[64];
	int length = snprintf(text, sizeof text, "SIGSYS for %d\n", info->si_syscall);
	_exit(write(1, text, length) == length ? 0 : 1);
}

/* trap NUMBER: the system call, with a handler for SIGSYS that says which it was */
static int trap(char **argv)
{
	struct sigaction action = { .sa_sigaction = on_sys, .sa_flags = SA_SIGINFO };
	sigaction(SIGSYS, &action, NULL);
	return raw_syscall(argv);
}

/* eat MEGABYTES: touches that much memory, then says so */
static int eat(char **argv)
{
	size_t size = number(argv[0]) << 20;
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return 1;
	for (size_t at = 0; at < size; at += 4096)
		memory[at] = 1;
	puts("eaten");
	return 0;
}

/* hold MEGABYTES: touches that much memory, says so and keeps it until it is killed */
static int hold(char **argv)
{
	if (eat(argv))
		return 1;
	puts("holding");
	fflush(stdout);
	for (;;)
		pause();
}

/* huge MEGABYTES UNRESERVED: maps that much of huge pages, reserved or not, and touches them */
static int huge(char **argv)
{
	size_t size = number(argv[0]) << 20;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | (number(argv[1]) ? MAP_NORESERVE : 0);
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (memory == MAP_FAILED)
		return printf("mmap %d\n", errno), 0;
	for (size_t at = 0; at < size; at += 2 << 20)
		memory[at] = 1;
	puts("touched");
	return 0;
}

/* write PATH TEXT: opens for writing only, without creating and without cutting; says the errno of what fails */
static int write_to(char **argv)
{
	int fd = open(argv[0], O_WRONLY);
	if (fd < 0)
		return printf("open %d\n", errno), 0;
	if (write(fd, argv[1], strlen(argv[1])) < 0)
		return printf("write %d\n", errno), 0;
	puts("written");
	return 0;
}

/* Opens the exe of a process that runs the file with this inode, the runtime's copy that the test has made; below zero
   when there is none now. No other file is ever attacked: a test that wins must not harm the machine. */
static int open_runtime_exe(const char *inode)
{
	struct stat exe;
	for (int pid = 1; pid < 2000; pid++) {
		char path[64];
		snprintf(path, sizeof path, "/proc/%d/exe", pid);
		int fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (fstat(fd, &exe) == 0 && exe.st_ino == strtoull(inode, NULL, 10))
			return fd;
		close(fd);
	}
	return -1;
}

/* overwrite STOP INODE: until the file STOP exists, looks for such a process and tries to write to its exe as the attackers of
   CVE-2019-5736 did: holds a descriptor of it read-only, and opens that for writing again and again, also after the
   process has ended */
static int overwrite(char **argv)
{
	puts("watching");
	fflush(stdout);
	while (access(argv[0], F_OK)) {
		char path[64];
		int fd = open_runtime_exe(argv[1]);
		if (fd < 0)
			continue;
		puts("seen");
		fflush(stdout);
		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		for (int i = 0; i < 5000; i++) {
			int out = open(path, O_WRONLY);
			if (out >= 0) {
				if (write(out, "#!/bin/overwritten\n", 19) == 19)
					puts("WRITTEN"), fflush(stdout);
				close(out);
				break;
			}
		}
		close(fd);
	}
	puts("done");
	return 0;
}

/* hammer STOP INODE: gets hold of such an exe once, says so, and then asks to write to it without end: even a request that is
   refused may stand in the way of who wants to execute the file */
static int hammer(char **argv)
{
	char path[64];
	int fd = -1;
	puts("watching");
	fflush(stdout);
	while (fd < 0 && access(argv[0], F_OK))
		fd = open_runtime_exe(argv[1]);
	puts("held");
	fflush(stdout);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	while (access(argv[0], F_OK))
		for (int i = 0; i < 1000; i++) {
			int out = open(path, O_WRONLY);
			if (out >= 0)
				close(out);
		}
	puts("done");
	return 0;
}

/* swap A B STOP: exchanges two paths as fast as it can until the file STOP exists */
static int swap(char **argv)
{
	while (access(argv[2], F_OK))
		for (int i = 0; i < 200; i++)
			syscall(SYS_renameat2, AT_FDCWD, argv[0], AT_FDCWD, argv[1], 2 /* RENAME_EXCHANGE */);
	return 0;
}

/* grab FILE STOP: takes descriptors out of every other process that it may (pidfd_getfd), and says so when FILE can be
   reached from one of them; until the file STOP exists */
static int grab(char **argv)
{
	char path[512];
	snprintf(path, sizeof path, "../../../../../../../../../../../..%s", argv[0]);
	puts("watching");
	fflush(stdout);
	for (int pid = 1; access(argv[1], F_OK); pid = pid % 400 + 1) {
		int process = pid == getpid() ? -1 : syscall(SYS_pidfd_open, pid, 0);
		for (int fd = 3; process >= 0 && fd < 32; fd++) {
			int got = syscall(SYS_pidfd_getfd, process, fd, 0);
			if (got < 0)
				continue;
			if (!faccessat(got, path, F_OK, 0)) {
				printf("GRABBED %d\n", fd);
				fflush(stdout);
			}
			close(got);
		}
		if (process >= 0)
			close(process);
	}
	puts("done");
	return 0;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(char **);
	} uses[] = {
		{ "keyring", keyring },	    { "sched", sched },	       { "ioprio", ioprio }, { "mempolicy", mempolicy },
		{ "personality", persona }, { "syscall", raw_syscall }, { "int80", int80 },   { "clock", show_clock },
		{ "trap", trap },	    { "eat", eat },	       { "write", write_to }, { "overwrite", overwrite },
		{ "swap", swap },	    { "hammer", hammer },	      { "grab", grab },
		{ "hold", hold },	    { "huge", huge },
	};
	for (size_t i = 0; argc > 1 && i < sizeof uses / sizeof *uses; i++)
		if (!strcmp(argv[1], uses[i].name))
			return uses[i].run(argv + 2);
	return 2;
}
