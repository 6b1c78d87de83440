#!/usr/bin/env bash
# What a container start costs: myrt, runc, and youki when it is installed, beside the floor (what the kernel alone costs).
#
#   scripts/bench.sh [OPTIONS]         a table; numbers and pictures go to target/bench/
#
#   scripts/bench.sh image             what unpacking an image costs instead (--help tells more)
#   scripts/bench.sh sandbox           what a sandbox costs instead: start, build, diff, commit (likewise)
#
#   --pairs N         rounds of each case (default 60, at least 40 for figures that are to be believed)
#   --case PATTERN    only cases whose name matches this bash pattern, such as 'run*' (default: all)
#   --without NAME    leave a contender out (runc, youki, myrt, bare); may be repeated
#   --myrt FILE       measure this binary instead of building one
#   --scale N         start N sleeping containers of each contender as well, and take them down
#   --syscalls        count the system calls of one run of each (strace) instead of measuring
#   --instructions    count the user instructions of myrt's own code (callgrind) instead of measuring
#   --trace           draw the steps of one start of myrt as a waterfall instead of measuring
#   --trace-of FILE   draw the waterfall of a trace that is already there
#
# Rules: whole processes; contenders interleaved in one run; min, median, and the median of the ratios of each round to
# the floor; back to back and with 50 ms of idling (what waits for an RCU grace period hides in a tight loop); state
# directories on a tmpfs; a fresh copy of each binary; one config.json for all, with and without a cgroup namespace.
# Where the host is not on cgroup v2 alone, cgroup2 is mounted over /sys/fs/cgroup in a mount namespace of the benchmark.
. "$(dirname "$0")/lib.sh"

if [ "${1:-}" = image ]; then shift; exec "$BASH" "$root/scripts/bench/image.sh" "$@"; fi
if [ "${1:-}" = sandbox ]; then shift; exec "$BASH" "$root/scripts/bench/sandbox.sh" "$@"; fi

usage() { sed -n '2,/^\. /{/^\. /d;s/^# \{0,1\}//p}' "$0"; }
pairs=60 only='*' without=' ' given='' scale=0 mode=measure trace='' arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --pairs | --case | --without | --myrt | --scale | --trace-of) [ $# -gt 1 ] || die "$1 needs a value" ;;&
    --pairs) pairs=$2; shift ;;
    --case) only=$2; shift ;;
    --without) without+="$2 "; shift ;;
    --myrt) given=$(realpath "$2"); shift ;;
    --scale) scale=$2; shift ;;
    --syscalls | --instructions | --trace) mode=${1#--} ;;
    --trace-of) mode=trace trace=$2; shift ;;
    -h | --help) usage; exit ;;
    *) usage >&2; die "unknown argument $1" ;;
    esac
    shift
done
out=$root/target/bench
tools=$root/scripts/bench

case $mode in instructions | trace) without+='runc youki ' ;; esac # they look at myrt alone
wanted() { [[ $without != *" $1 "* ]]; }

# ---- set-up: as whoever calls, then once more as root in a mount namespace of its own

if [ -z "${MYRT_BENCH_INSIDE:-}" ]; then
    need_package gcc libc6-dev python3 busybox-static util-linux
    if [ -n "$trace" ]; then as_builder mkdir -p "$out"; exec python3 "$tools/report.py" waterfall "$trace" "$out/waterfall.svg"; fi
    if wanted runc; then need_package runc; fi
    if [ "$mode" = syscalls ]; then need_package strace; fi
    if [ "$mode" = instructions ]; then need_package valgrind; fi
    myrt=$given
    if wanted myrt && [ -z "$myrt" ]; then need_release; fi
    as_builder mkdir -p "$out"
    for tool in floor pairs; do as_builder gcc -O2 -Wall -Wextra -static -o "$out/$tool" "$tools/$tool.c"; done
    youki=$(PATH=$PATH:$(getent passwd "${SUDO_USER:-$(id -un)}" | cut -d: -f6)/.cargo/bin command -v youki || true)
    if wanted youki && [ -z "$youki" ]; then
        say "youki is not installed, so it is left out; to have it: cargo install youki --features v1,v2,seccomp"
    fi
    as_root env MYRT_BENCH_INSIDE=1 MYRT_BENCH_YOUKI="$youki" MYRT_BENCH_MYRT="$myrt" \
        unshare --mount --propagation private "$BASH" "$0" "${arguments[@]}"
    exit
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/myrt-bench.XXXXXX")
declare -A binary=()
oci=()                                  # contenders that are OCI runtimes
finish() {
    local name id
    # What runs on, such as a run that hung: every runtime keeps a folder a container in its state directory.
    for name in "${oci[@]}"; do
        for id in $(find "$work/state/$name" -mindepth 1 -maxdepth 1 -name 'bench-*' -printf '%f\n' 2>/dev/null); do
            runtime "$name" delete --force "$id" >/dev/null 2>&1 || true
        done
    done
    find /sys/fs/cgroup -mindepth 1 -maxdepth 1 -name "floor-$$*" -exec "$out/floor" remove {} \; 2>/dev/null || true
    umount -l "$work/state" 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 130' INT TERM

# A copy that cp made, not the linker's own file: how a file lies in the page cache is worth 40 µs. It stays on the disk:
# a runtime on a tmpfs would be another case.
contender() { # NAME FILE
    cp --reflink=never "$2" "$bin/$1"
    binary[$1]=$bin/$1
}
bin=$out/bin
rm -rf "$bin"; mkdir -p "$bin"
contender floor "$out/floor"
if wanted myrt; then contender myrt "$MYRT_BENCH_MYRT"; oci+=(myrt); fi
if wanted runc; then contender runc "$(command -v runc)"; oci+=(runc); fi
if wanted youki && [ -n "$MYRT_BENCH_YOUKI" ]; then contender youki "$MYRT_BENCH_YOUKI"; oci+=(youki); fi

rootfs=$work/rootfs
mkdir -p "$rootfs"/{bin,dev,etc,proc,sys,tmp} "$work/state" "$out"
cp --reflink=never "$(command -v busybox)" "$rootfs/bin/busybox"
for applet in true sleep sh cat; do ln -s busybox "$rootfs/bin/$applet"; done
python3 "$tools/bundles.py" "$work" "$rootfs"
mount -t tmpfs tmpfs "$work/state"

runtime() { # NAME ARGUMENT…: for calls that are not measured
    local name=$1; shift
    "${binary[$name]}" --root "$work/state/$name" "$@"
}

# Does a container with a limit of 2 MiB start? The memory controller is where the host has it, so this comes before the
# view of the cgroups changes. Tried several times: a runtime that is near the limit is lucky now and then.
small_memory() {
    local name ok tries=20 i
    for name in "${oci[@]}"; do
        ok=0
        for ((i = 0; i < tries; i++)); do
            if runtime "$name" run -b "$work/small" "bench-small-$i" </dev/null >/dev/null 2>"$work/said"; then ok=$((ok + 1))
            else cp "$work/said" "$out/small-$name.txt"; runtime "$name" delete --force "bench-small-$i" 2>/dev/null || true; fi
        done
        printf 'small,%s,%d,%d\n' "$name" "$ok" "$tries" >>"$facts"
    done
}

pure_v2() {
    if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
}

# ---- cases

csv=$out/runs.csv facts=$out/facts.csv

# measure CASE IDLE_MS CONTENDER… : `line_CASE NAME` fills the array `line` with the commands of a contender.
measure() {
    local case=$1 idle=$2 name words=() line; shift 2
    for name; do
        wanted "$name" || continue
        line=()
        "$describe" "$name"
        [ ${#words[@]} = 0 ] || words+=(--)
        words+=("$name" "${line[@]}")
    done
    "$out/pairs" -n "$pairs" -i "$idle" -c "$case" -o "$csv" "${words[@]}" >&2
}

floor_run() { line=("${binary[floor]}" run "$@" "$rootfs" "/sys/fs/cgroup/floor-$$" /bin/true); }

run_bundle() { # BUNDLE FLOOR_FLAGS… NAME
    local bundle=$1 name=${*: -1}
    case $name in
    floor) floor_run "${@:2:$#-2}" ;;
    bare) floor_run --bare "${@:2:$#-2}" ;;
    *) line=("${binary[$name]}" --root "$work/state/$name" run -b "$work/$bundle" "bench-${case:-run}-{u}") ;;
    esac
}
line_run() { run_bundle default "$1"; }
line_host() { run_bundle host --no-cgroupns "$1"; }
line_seccomp() {
    case $1 in
    *+seccomp) run_bundle seccomp "${1%+seccomp}" ;;
    *) run_bundle default "$1" ;;
    esac
}
line_steps() {
    local r=("${binary[$1]}" --root "$work/state/$1")
    if [ "$1" = floor ]; then floor_run; return; fi
    line=("${r[@]}" create -b "$work/default" "bench-${case}-{u}" + "${r[@]}" start "bench-${case}-{u}" + "${r[@]}" delete --force "bench-${case}-{u}")
}
line_exec() {
    local name=$1 flags=()
    case $name in
    floor | bare)
        [ "$name" = floor ] || flags=(--bare)
        line=("${binary[floor]}" exec "${flags[@]}" "$entered" "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$entered/cgroup")" /bin/true) ;;
    *) line=("${binary[$name]}" --root "$work/state/$name" exec bench-exec /bin/true) ;;
    esac
}

# Both back to back and with idling.
twice() { # CASE DESCRIBE CONTENDER…
    local case=$1 describe=$2; shift 2
    # shellcheck disable=SC2053 # a pattern is meant
    if [[ $case == $only ]]; then measure "$case" 0 "$@"; fi
    # shellcheck disable=SC2053
    if [[ $case-idle == $only ]]; then measure "$case-idle" 50 "$@"; fi
}

started() { # NAME ID: a sleeping container, detached
    runtime "$1" run --detach -b "$work/sleep" "$2" </dev/null >/dev/null
}

exec_case() {
    [[ exec == $only || exec-idle == $only ]] || return 0
    local name
    for name in "${oci[@]}"; do started "$name" bench-exec; done
    # The floor enters the first one's container: they are alike.
    entered=$(runtime "${oci[0]}" state bench-exec | python3 -c 'import json, sys; print(json.load(sys.stdin)["pid"])')
    twice exec line_exec floor bare "${oci[@]}"
    for name in "${oci[@]}"; do runtime "$name" delete --force bench-exec; done
}

kernel_memory() { awk '/^(Slab|PageTables|KernelStack):/ { sum += $2 } END { print sum }' /proc/meminfo; }

# N containers that sleep: the mean time to start one and to take one down, and the kernel's memory for one.
scale_case() {
    local name before after up down
    say "scale: $scale containers of each contender"
    for name in floor "${oci[@]}"; do
        if [ "$name" = floor ]; then
            up=("${binary[floor]}" run --detach "$rootfs" "/sys/fs/cgroup/floor-$$-{n}" /bin/sleep 86400)
            down=("${binary[floor]}" remove "/sys/fs/cgroup/floor-$$-{n}")
        else
            up=("${binary[$name]}" --root "$work/state/$name" run --detach -b "$work/sleep" "bench-{n}")
            down=("${binary[$name]}" --root "$work/state/$name" delete --force "bench-{n}")
        fi
        sleep 2 # what the last contender left is freed late
        before=$(kernel_memory)
        "$out/pairs" -s -n "$scale" -w 0 -c scale-up -o "$csv" "$name" "${up[@]}" >&2
        after=$(kernel_memory)
        printf 'kernel,%s,%d,%d\n' "$name" $(((after - before) / scale)) "$scale" >>"$facts"
        "$out/pairs" -s -n "$scale" -w 0 -c scale-down -o "$csv" "$name" "${down[@]}" >&2
    done
}

measure_all() {
    local name profiled=()
    echo "case,contender,round,microseconds,peak_kib" >"$csv"
    : >"$facts"
    awk '{ printf "load,machine,%d,100\n", $1 * 100 }' /proc/loadavg >>"$facts"
    for name in "${oci[@]}"; do printf 'size,%s,%d,0\n' "$name" "$(stat -c %s "${binary[$name]}")" >>"$facts"; done
    if [[ small == $only ]]; then small_memory; fi
    pure_v2
    say "case, contender, min µs, median µs, ratio, peak KiB"
    twice run line_run floor bare "${oci[@]}"
    twice run-host-cgroupns line_host floor bare "${oci[@]}"
    twice create-start-delete line_steps floor "${oci[@]}"
    if [ ${#oci[@]} -gt 0 ]; then exec_case; fi
    for name in "${oci[@]}"; do profiled+=("$name" "$name+seccomp"); done
    twice run-seccomp line_seccomp floor "${profiled[@]}"
    if [ "$scale" -gt 0 ]; then scale_case; fi
    python3 "$tools/report.py" report "$csv" "$facts" "$out"
}

count_syscalls() {
    local name line
    pure_v2
    for name in floor "${oci[@]}"; do
        line_run "$name"
        line=("${line[@]//\{u\}/0}")
        strace -f -c -o "$out/syscalls-$name.txt" "${line[@]}" </dev/null
        # The errors column of the total is empty when nothing failed.
        awk -v name="$name" '$NF == "total" {
            calls = NF > 5 ? $(NF - 2) : $(NF - 1); failed = NF > 5 ? $(NF - 1) : 0
            printf "%-8s %6d system calls, %d of them failed (with those of busybox true)\n", name, calls, failed
        }' "$out/syscalls-$name.txt"
    done
    say "by call: $out/syscalls-NAME.txt"
}

# Commands without a clone: valgrind follows none into other namespaces, and older ones lack some newer system calls.
count_instructions() {
    local verb
    pure_v2
    runtime myrt create -b "$work/default" bench-count </dev/null >/dev/null
    for verb in --version "state bench-count" "start bench-count"; do
        # shellcheck disable=SC2086 # the verb and its argument
        if valgrind --tool=callgrind --callgrind-out-file="$out/callgrind.${verb%% *}" "${binary[myrt]}" \
            --root "$work/state/myrt" $verb 2>"$work/said" >/dev/null; then
            printf 'myrt %-10s %12s user instructions\n' "${verb%% *}" "$(sed -n 's/.*Collected : //p' "$work/said")"
        else
            printf 'myrt %-10s not counted: %s\n' "${verb%% *}" "$(grep -v '^[-=]' "$work/said" | tail -n 1)"
        fi
    done
    say "by function: callgrind_annotate $out/callgrind.state (for names: cargo build --release --config profile.release.strip=false)"
}

draw_trace() {
    local i
    pure_v2
    for i in 1 2 3 4 5 6 7 8 9; do
        runtime myrt --trace "$work/trace-$i.json" run -b "$work/default" bench-trace </dev/null
    done
    python3 "$tools/report.py" waterfall "$work"/trace-?.json "$out/waterfall.svg"
}

case $mode in
measure) measure_all ;;
syscalls) count_syscalls ;;
instructions) count_instructions ;;
trace) draw_trace ;;
esac
# What was written belongs to whom the checkout belongs.
chown -R --reference="$root" "$out"
