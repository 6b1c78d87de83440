// The stopwatch of bench.sh: runs whole commands in turn and says how long each took.
//
//   pairs [-n ROUNDS] [-w WARMUPS] [-i IDLE_MS] [-c CASE] [-o FILE] [-s] NAME COMMAND… [+ COMMAND…] [-- NAME COMMAND…]…
//
// Every contender is run once a round, in an order that is shuffled anew each round (by a fixed seed): the kernel still takes
// down what one has left behind while the next one runs, so that no one may always follow the same neighbour. `+` joins
// commands into one measured run (create + start + delete). `{n}` in an argument becomes the number of the round, `{u}` a
// number that no other run has. Measured is the time from the spawn to the reaped exit, and the peak resident memory of
// the largest process among the command and the children it waited for (the kernel counts in batches: ±256 KiB).
//
// Out: a table to stdout, one row a contender: min, median, and the median over the rounds of the ratio to the first
// contender of the same round. -o appends rows `case,contender,round,microseconds,peak_kib` to a CSV file. -s (series)
// also gives the mean, for runs that build up something. A command that fails ends the whole measurement: its exit code
// and what it said are printed. One that takes more than ten seconds hangs: it is killed, its run is taken once more, and
// the CSV file gets a row with `hung` for the time.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CONTENDERS 16
#define ARGS 64

#define PATIENCE 10 // seconds

struct contender { const char *name; char **words; int count, hung; double *micros; long peak; };
static struct contender contenders[CONTENDERS];
static int amount, said;
static volatile sig_atomic_t late;
extern char **environ;

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "pairs: %s: %s\n", what, strerror(errno));
    exit(2);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}

// The number that a hole in `word` asks for is put in; the answer lives in `buffer`, one after the other.
static char *fill(const char *word, int round, int unique, char **buffer) {
    const char *hole = strstr(word, "{n}");
    int number = hole ? round : unique;
    if (!hole) hole = strstr(word, "{u}");
    if (!hole) return (char *)word;
    char *start = *buffer;
    *buffer += sprintf(start, "%.*s%d%s", (int)(hole - word), word, number, hole + 3) + 1;
    return start;
}

static void tick(int signal) {
    (void)signal;
    late = 1;
}

// One command to its end. Orphans of a runtime (a detached container) come to us, the subreaper: they are reaped as they
// pass, and those still alive go on. Answers the peak memory in KiB, or -1 where it hung.
static long one(const struct contender *c, char **argv, posix_spawn_file_actions_t *files) {
    pid_t pid, got;
    int status;
    struct rusage usage;
    if ((errno = posix_spawn(&pid, argv[0], files, NULL, argv, environ))) fail(argv[0]);
    late = 0;
    alarm(PATIENCE);
    do {
        got = wait4(-1, &status, 0, &usage);
        if (late) kill(pid, SIGKILL);
    } while (got != pid && (got > 0 || errno == EINTR));
    alarm(0);
    if (got < 0) fail("wait4");
    if (late) return -1;
    if (status != 0) {
        char text[4096];
        ssize_t length = pread(said, text, sizeof text - 1, 0);
        text[length > 0 ? length : 0] = 0;
        fprintf(stderr, "pairs: %s failed (%s %d):", c->name, WIFEXITED(status) ? "exit" : "signal",
                WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        for (char **a = argv; *a; a++) fprintf(stderr, " %s", *a);
        fprintf(stderr, "\n%s", text);
        exit(1);
    }
    return usage.ru_maxrss;
}

// The microseconds of one run, or -1 where it hung.
static double measure(struct contender *c, int round, posix_spawn_file_actions_t *files) {
    static int unique;
    unique++;
    char *argv[ARGS + 1], space[8192], *buffer = space;
    double start = now();
    for (int i = 0; i < c->count;) {
        int length = 0;
        for (; i < c->count && strcmp(c->words[i], "+"); i++) argv[length++] = fill(c->words[i], round, unique, &buffer);
        i++;
        argv[length] = NULL;
        long peak = one(c, argv, files);
        if (peak > c->peak) c->peak = peak;
        if (peak < 0) start = 0;
    }
    double micros = start ? now() - start : -1;
    if (ftruncate(said, 0) < 0) fail("ftruncate");
    lseek(said, 0, SEEK_SET);
    return micros;
}

// Every order is as likely as another (Fisher and Yates); the same ones in every measurement (xorshift32).
static void shuffle(int *turns, int count) {
    static unsigned state = 2463534242u;
    for (int i = count - 1; i > 0; i--) {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        int other = state % (i + 1), turn = turns[i];
        turns[i] = turns[other];
        turns[other] = turn;
    }
}

static int order(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(const double *values, int n) {
    double *sorted = malloc(n * sizeof *sorted);
    memcpy(sorted, values, n * sizeof *sorted);
    qsort(sorted, n, sizeof *sorted, order);
    double middle = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    free(sorted);
    return middle;
}

int main(int argc, char **argv) {
    int rounds = 60, warmups = 3, idle = 0, series = 0, option;
    const char *name = "", *out = NULL;
    while ((option = getopt(argc, argv, "+n:w:i:c:o:s")) != -1) {
        switch (option) {
        case 'n': rounds = atoi(optarg); break;
        case 'w': warmups = atoi(optarg); break;
        case 'i': idle = atoi(optarg); break;
        case 'c': name = optarg; break;
        case 'o': out = optarg; break;
        case 's': series = 1; break;
        default: return 2;
        }
    }
    for (int i = optind; i < argc; i++) {
        if (amount == CONTENDERS) { fputs("pairs: too many contenders\n", stderr); return 2; }
        struct contender *c = &contenders[amount++];
        c->name = argv[i++];
        for (c->words = argv + i; i < argc && strcmp(argv[i], "--"); i++) c->count++;
        if (!c->count || c->count > ARGS) { fprintf(stderr, "pairs: %s: no command, or too long a one\n", c->name); return 2; }
        c->micros = calloc(rounds, sizeof *c->micros);
    }
    if (!amount || rounds < 1) { fputs("usage: pairs [-n ROUNDS] [-w WARMUPS] [-i IDLE_MS] [-c CASE] [-o FILE] [-s] NAME COMMAND… [+ COMMAND…] [-- NAME …]\n", stderr); return 2; }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) fail("prctl");
    if ((said = memfd_create("said", MFD_CLOEXEC)) < 0) fail("memfd_create");

    const struct sigaction alarmed = {.sa_handler = tick}; // no SA_RESTART: it has to interrupt the wait
    sigaction(SIGALRM, &alarmed, NULL);
    FILE *csv = out ? fopen(out, "ae") : NULL;
    if (out && !csv) fail(out);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&files, said, 2);

    const struct timespec pause = {idle / 1000, idle % 1000 * 1000000L};
    int turns[CONTENDERS];
    for (int i = 0; i < amount; i++) turns[i] = i;
    for (int round = -warmups; round < rounds; round++) {
        shuffle(turns, amount);
        for (int i = 0; i < amount; i++) {
            struct contender *c = &contenders[turns[i]];
            double micros;
            for (;;) {
                if (idle) nanosleep(&pause, NULL);
                if ((micros = measure(c, round, &files)) >= 0) break;
                fprintf(stderr, "pairs: %s hung in round %d and was killed\n", c->name, round);
                if (csv) fprintf(csv, "%s,%s,%d,hung,0\n", name, c->name, round);
                if (++c->hung == 5) { fprintf(stderr, "pairs: %s hung too often\n", c->name); return 1; }
            }
            if (round >= 0) c->micros[round] = micros;
        }
    }

    double *ratios = calloc(rounds, sizeof *ratios);
    for (int i = 0; i < amount; i++) {
        struct contender *c = &contenders[i];
        double least = c->micros[0], sum = 0;
        for (int r = 0; r < rounds; r++) {
            if (c->micros[r] < least) least = c->micros[r];
            sum += c->micros[r];
            ratios[r] = c->micros[r] / contenders[0].micros[r];
            if (csv) fprintf(csv, "%s,%s,%d,%.1f,%ld\n", name, c->name, r, c->micros[r], c->peak);
        }
        printf("%-26s %-12s %9.0f %9.0f %7.2f %8ld", name, c->name, least, median(c->micros, rounds), median(ratios, rounds), c->peak);
        if (series) printf(" %9.0f", sum / rounds);
        putchar('\n');
    }
    if (csv && fclose(csv)) fail(out);
    return 0;
}
