#!/usr/bin/env bash
# What a sandbox costs: its start, a build inside, a diff and a commit. scripts/bench.sh sandbox calls it.
#
#   scripts/bench.sh sandbox [--rounds N] [--files N] [--case start|build|changes|move] [--on DIR] [--myrt FILE]
#
#   --rounds N       of each case (default 40 for starts; builds: a twentieth, changes: a fifth, at least 3)
#   --files N        changed files (default 10000)
#   --case NAME      this one alone
#   --on DIR         have files and boxes in a folder made there, on a disk, instead of on a tmpfs
#   --myrt FILE      measure this binary, with myrt-sandbox beside it, instead of building one
#
# start: whole processes, interleaved, ratios to the first: the bare system calls of the same mounts (sandbox_floor.c);
# bubblewrap with a plain bind of /; a shell script of unshare and mount -t overlay; myrt. build: 500 generated C files
# compiled by make inside, beside outside. changes: diff of files of 1000 bytes, half of them new and half replaced, and
# commit beside cp -a of the same files, without and with a sync -f that makes it as safe from a power cut. move: diff of a
# folder that was moved with that many files in it. On two CPUs that nobody else uses, all of it takes a few minutes.
. "$(dirname "$0")/../lib.sh"

rounds=40 files=10000 only='*' on='' myrt=''
while [ $# -gt 0 ]; do
    case $1 in
    --rounds | --files | --case | --on | --myrt) [ $# -gt 1 ] || die "$1 needs a value" ;;&
    --rounds) rounds=$2; shift ;;
    --files) files=$2; shift ;;
    --case) only=$2; shift ;;
    --on) on=$(realpath -e "$2"); shift ;;
    --myrt) myrt=$(realpath -e "$2"); shift ;;
    -h | --help) sed -n '2,17s/^# \{0,1\}//p' "$0"; exit ;;
    *) die "unknown argument $1" ;;
    esac
    shift
done

out=$root/target/bench
if [ -z "${MYRT_BENCH_INSIDE:-}" ]; then
    need_package gcc libc6-dev make python3 util-linux bubblewrap
    if [ -z "$myrt" ]; then need_release --bins; fi
    as_builder mkdir -p "$out"
    for tool in sandbox_floor pairs; do as_builder gcc -O2 -Wall -Wextra -static -o "$out/$tool" "$root/scripts/bench/$tool.c"; done
    as_root env MYRT_BENCH_INSIDE=1 unshare --mount --propagation private \
        "$BASH" "$0" --rounds "$rounds" --files "$files" --case "$only" --myrt "$myrt" ${on:+--on "$on"}
    exit
fi

work=$(mktemp -d "${on:-/tmp}/myrt-bench.XXXXXX")
trap 'cd /; [ -n "$on" ] || umount -l "$work" 2>/dev/null || true; rm -rf --one-file-system "$work"' EXIT
trap 'exit 130' INT TERM
[ -n "$on" ] || mount -t tmpfs -o mode=700 tmpfs "$work"
# One hierarchy to mount for all.
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
exec </dev/null
bin=$work/bin
mkdir "$bin"
cp --reflink=never "$myrt" "$(dirname "$myrt")/myrt-sandbox" "$bin/"
sandbox() { local verb=$1; shift; "$bin/myrt" sandbox "$verb" --store "$work/store" "$@"; }
say "load $(cut -d' ' -f1-3 /proc/loadavg), $(nproc) CPUs, $(uname -r)"
# shellcheck disable=SC2053 # a pattern is meant
wanted() { [[ $1 == $only ]]; }

# mounts KIND: of a mountinfo on standard input, the places of overlays without a layer (unchanging), of what is bound beside
# the kernel's own (binds), or of what is bound over itself in /proc (protected).
mounts() {
    python3 -c '
import re, sys
def path(word): return re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), word)
for line in map(str.split, sys.stdin):
    place, kind, options = path(line[4]), line[line.index("-") + 1], line[-1]
    if kind == "overlay":
        found = "layer" if "upperdir=" in options else "unchanging"
    elif re.match(r"/(proc|sys|dev)(/|$)", place):
        found = "protected" if kind == "proc" and place == "/proc" + line[3] else "fresh"
    else:
        found = "binds"
    if found == sys.argv[1]:
        print(place)' "$1"
}

# What the box has a layer for, the floor has as well: /, the tmpfs of the benchmark, and what else the host has mounted; what
# the box has read-only or hides; and what of /proc it protects.
start_case() {
    local overlays unchanging binds protected seen
    mkdir -p "$work/layers" "$work/script/upper" "$work/script/work" "$work/script/root"
    cat >"$work/by-script" <<'SCRIPT'
#!/bin/sh
exec unshare --mount --pid --fork --ipc --uts --net --kill-child sh -ec '
    mount -t overlay -o lowerdir=/,upperdir='"$1"'/upper,workdir='"$1"'/work overlay '"$1"'/root
    mount -t proc proc '"$1"'/root/proc; mount --rbind /dev '"$1"'/root/dev; mount --rbind /sys '"$1"'/root/sys
    exec chroot '"$1"'/root /bin/true'
SCRIPT
    chmod +x "$work/by-script"
    sandbox run --quiet --name start /bin/true
    mapfile -t overlays < <(python3 -c '
import json, sys
print(*sorted(layer["path"] for layer in json.load(open(sys.argv[1]))["layers"]), sep="\n")' "$work/store/start/box.json")
    seen=$(sandbox run --quiet --name start cat /proc/self/mountinfo)
    mapfile -t unchanging < <(mounts unchanging <<<"$seen")
    mapfile -t binds < <(mounts binds <<<"$seen")
    mapfile -t protected < <(mounts protected <<<"$seen")
    say "overlays of ${overlays[*]}, without a layer of ${unchanging[*]:-none}, binds of ${binds[*]}, ${#protected[@]} in /proc"
    say "case, contender, min µs, median µs, ratio, peak KiB"
    "$out/pairs" -n "$rounds" -c start \
        floor "$out/sandbox_floor" "$work/layers" "${overlays[@]}" : "${unchanging[@]}" : "${binds[@]}" : "${protected[@]}" : \
        /bin/true -- \
        bwrap "$(command -v bwrap)" --unshare-all --bind / / --dev /dev --proc /proc /bin/true -- \
        script "$work/by-script" "$work/script" -- \
        myrt "$bin/myrt" sandbox run --quiet --store "$work/store" --name start /bin/true
}

# milliseconds COMMAND…: how long it took.
milliseconds() {
    local begin end
    begin=$(date +%s%N)
    "$@" >/dev/null
    end=$(date +%s%N)
    echo $(((end - begin) / 1000000))
}

# compare NAME WHAT OTHER FILE: minima and medians of two columns, and the median of their ratios.
compare() {
    python3 - "$@" <<'PYTHON'
import statistics, sys
name, what, other, file = sys.argv[1:]
pairs = [tuple(map(float, line.split())) for line in open(file)]
a, b = zip(*pairs)
middle, least = statistics.median, min
ratio = middle(x / y for x, y in pairs)
print(f"{name:8} {what:22} {least(a):6.0f} {middle(a):6.0f} ms   {other:32} {least(b):6.0f} {middle(b):6.0f} ms   ratio {ratio:.2f}")
PYTHON
}

# share PART: so many of the rounds, three at least.
share() { echo $((rounds / $1 > 3 ? rounds / $1 : 3)); }

build_case() {
    local i inside outside tree=$work/tree
    mkdir "$tree"
    python3 - "$tree" <<'PYTHON'
import sys
for i in range(500):
    with open(f"{sys.argv[1]}/f{i}.c", "w") as file:
        file.write("#include <stdio.h>\n#include <string.h>\n")
        for j in range(20):
            file.write(f"int f{i}_{j}(const char *s) {{ char b[99]; snprintf(b, sizeof b, \"%s{j}\", s); return strlen(b); }}\n")
with open(f"{sys.argv[1]}/Makefile", "w") as file:
    file.write("objects = $(patsubst %.c,%.o,$(wildcard *.c))\nlib.a: $(objects)\n\tar rc $@ $^\n")
PYTHON
    local build=(make --silent -C "$tree" -j "$(nproc)")
    # The first one of all reads compiler and headers from the disk.
    "${build[@]}" >/dev/null
    for ((i = 0; i < $(share 20); i++)); do
        find "$tree" -name '*.[oa]' -delete
        # Neither is always the first.
        if [ $((i % 2)) = 0 ]; then inside=$(milliseconds sandbox run --quiet --name build "${build[@]}"); fi
        outside=$(milliseconds "${build[@]}")
        find "$tree" -name '*.[oa]' -delete
        if [ $((i % 2)) = 1 ]; then inside=$(milliseconds sandbox run --quiet --name build "${build[@]}"); fi
        echo "$inside $outside" >>"$work/builds"
        sandbox discard build
    done
    compare build inside outside "$work/builds"
}

# copied COMMAND…: milliseconds of cp -a of the host's files, with what comes after it.
copied() { rm -rf "$work/copy"; mkdir "$work/copy"; milliseconds sh -ec "cp -a '$host' '$work/copy'; $1"; }

changes_case() {
    local i host=$work/host commit
    for ((i = 0; i < $(share 5); i++)); do
        rm -rf "$host"
        mkdir "$host"
        make_files "$host" 1 old
        cd "$host"
        sandbox run --quiet --name changes python3 -c "$PROGRAM" . 0 new
        echo "$(milliseconds sandbox diff changes) 1000" >>"$work/diffs"
        # What was written before is not the commit's to wait for.
        sync -f "$work"
        commit=$(milliseconds sandbox commit changes)
        cd /
        echo "$commit $(copied :)" >>"$work/commits"
        sync -f "$work"
        echo "$commit $(copied "sync -f '$work'")" >>"$work/synced"
        sandbox discard changes
    done
    compare diff "of $files files" "the second that it may take" "$work/diffs"
    compare commit "of $files files" "cp -a" "$work/commits"
    compare commit "of $files files" "cp -a, sync -f" "$work/synced"
}

move_case() {
    local i host=$work/host
    for ((i = 0; i < $(share 10); i++)); do
        rm -rf "$host"
        mkdir -p "$host/old"
        make_files "$host/old" 0 old
        cd "$host"
        sandbox run --quiet --name move mv old new
        echo "$(milliseconds sandbox diff move) 1000" >>"$work/moves"
        cd /
        sandbox discard move
    done
    compare move "diff of $files files" "the second that it may take" "$work/moves"
}

PROGRAM="
import os, sys
top, step, word = sys.argv[1], 1 + int(sys.argv[2]), sys.argv[3]
for i in range(0, $files, step):
    folder = f'{top}/{i // 500}'
    os.makedirs(folder, exist_ok=True)
    with open(f'{folder}/{i}', 'w') as file:
        file.write((word + ' ') * 250)
"
make_files() { python3 -c "$PROGRAM" "$@"; }

if wanted start; then start_case; fi
if wanted build; then build_case; fi
if wanted changes; then changes_case; fi
if wanted move; then move_case; fi
say "load $(cut -d' ' -f1-3 /proc/loadavg)"
