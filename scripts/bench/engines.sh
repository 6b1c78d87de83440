#!/usr/bin/env bash
# What a container costs under Docker and Podman: whole commands of the engine, with myrt, runc and crun as its runtime.
#
#   scripts/bench/engines.sh [OPTIONS]     a table in Markdown; every run goes to target/bench/engines.csv
#
#   --rounds N        rounds of each case (default 20)
#   --case PATTERN    only cases whose name matches this bash pattern, such as 'docker*' (default: all)
#   --without NAME    leave a runtime out (runc, crun, myrt); may be repeated
#   --myrt FILE       measure this binary instead of building one
#   --v1              on a hybrid host: with cgroup v1 alone, instead of v2 alone
#
# As in bench.sh: whole processes, runtimes interleaved in one run, min, median, and the median of the ratios of each round
# to the first runtime. Docker and Podman have data, sockets, cgroups, and mount, pid and network namespaces of their own;
# what runs on the machine already is not seen and does not see them. Where the host is not on cgroup v2 alone, cgroup2 is
# mounted over /sys/fs/cgroup in that mount namespace, so Podman is told to set no limit of processes. A runtime that cannot
# start a container here is left out, with what it says.
. "$(dirname "$0")/../lib.sh"

usage() { sed -n '2,/^\. /{/^\. /d;s/^# \{0,1\}//p}' "$0"; }
rounds=20 only='*' without=' ' given='' v1='' arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --rounds | --case | --without | --myrt) [ $# -gt 1 ] || die "$1 needs a value" ;;&
    --rounds) rounds=$2; shift ;;
    --case) only=$2; shift ;;
    --without) without+="$2 "; shift ;;
    --myrt) given=$(realpath -e "$2"); shift ;;
    --v1) v1=yes ;;
    -h | --help) usage; exit ;;
    *) usage >&2; die "unknown argument $1" ;;
    esac
    shift
done
out=$root/target/bench
csv=$out/engines.csv
wanted() { [[ $without != *" $1 "* ]]; }

# ---- outside: what is needed; then once more as root, in namespaces

if [ -z "${MYRT_BENCH_WORK:-}" ]; then
    need_package docker.io containerd podman containernetworking-plugins runc crun busybox-static gcc libc6-dev python3 iproute2 iptables util-linux
    myrt=$given
    if wanted myrt && [ -z "$myrt" ]; then need_release; fi
    as_builder mkdir -p "$out"
    as_builder gcc -O2 -Wall -Wextra -static -o "$out/pairs" "$root/scripts/bench/pairs.c"
    if [ "$(id -u)" != 0 ]; then as_root env MYRT_BENCH_MYRT="$myrt" "$BASH" "$0" "${arguments[@]}" ${myrt:+--myrt "$myrt"}; exit; fi
    work=$(mktemp -d /tmp/myrt-engines.XXXXXX)
    group=${work##*/}
    finish() {
        local path
        # The namespaces are gone, and with them every process; a cgroup is free a moment later.
        for path in /sys/fs/cgroup/"$group" /sys/fs/cgroup/*/"$group"; do
            for _ in {1..100}; do
                [ -d "$path" ] || break
                find "$path" -depth -type d -exec rmdir {} \; 2>/dev/null || sleep 0.05
            done
        done
        rm -rf "$work"
        chown -R --reference="$root" "$out"
    }
    trap finish EXIT
    # KILL: unshare ignores the others while it waits; its end is the end of all that lives in the namespaces.
    trap 'kill -KILL "$inside"; exit 130' INT TERM
    status=0
    MYRT_BENCH_WORK=$work MYRT_BENCH_MYRT=$myrt unshare --mount --propagation private --net --pid --fork --kill-child \
        "$BASH" "$0" "${arguments[@]}" &
    inside=$!
    wait "$inside" || status=$?
    exit "$status"
fi

# ---- inside

work=$MYRT_BENCH_WORK group=/${MYRT_BENCH_WORK##*/}
mount -t proc proc /proc
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
if [ -n "$v1" ]; then
    [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ] || die "--v1: this host is on cgroup v2"
    if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
elif [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then mount -t cgroup2 cgroup2 /sys/fs/cgroup; fi
for folder in etc var/lib; do # keys, locks and addresses that engines keep there
    mkdir -p "$work/up/$folder" "$work/work/$folder"
    mount -t overlay overlay -o "lowerdir=/$folder,upperdir=$work/up/$folder,workdir=$work/work/$folder" "/$folder"
done
ip link set lo up

# Fresh copies, as in bench.sh. The first one is what the others are compared with.
bin=$work/bin runtimes=()
mkdir "$bin"
for name in runc crun myrt; do
    wanted "$name" || continue
    file=$MYRT_BENCH_MYRT
    [ "$name" = myrt ] || file=$(command -v "$name")
    cp --reflink=never "$file" "$bin/$name"
    runtimes+=("$name")
done

mkdir -p "$work/rootfs/bin"
cp "$(command -v busybox)" "$work/rootfs/bin/busybox"
for applet in true sleep sh; do ln -s busybox "$work/rootfs/bin/$applet"; done

set_up_docker() {
    local name list=()
    for name in "${runtimes[@]}"; do [ "$name" = runc ] || list+=("\"$name\": {\"path\": \"$bin/$name\"}"); done
    (IFS=,; echo "{\"runtimes\": {${list[*]}}}") >"$work/daemon.json"
    PATH=$bin:$PATH dockerd --config-file "$work/daemon.json" --data-root "$work/docker" --exec-root /run/docker \
        --pidfile /run/docker.pid --host unix:///run/docker.sock --cgroup-parent "$group" >"$work/dockerd.log" 2>&1 &
    export DOCKER_HOST=unix:///run/docker.sock
    for _ in {1..300}; do docker version >/dev/null 2>&1 && break; sleep 0.1; done
    tar -C "$work/rootfs" -c . | docker import - busybox >/dev/null || { tail "$work/dockerd.log" >&2; die "no dockerd"; }
    start "$(command -v docker)" run -d --network none --runtime
}

# Podman asks for a million open files and processes; that is not everywhere to be had, and equal for all here.
set_up_podman() {
    local name
    cat >"$work/containers.conf" <<END
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
    export CONTAINERS_CONF=$work/containers.conf
    podman=("$(command -v podman)" --root "$work/podman" --runroot /run/podman --tmpdir /run/libpod)
    tar -C "$work/rootfs" -c . | "${podman[@]}" import - busybox >/dev/null 2>&1 || die "podman import failed"
    start "${podman[@]}" run -d --network none --cgroup-parent "$group" --runtime
}

# start COMMAND…: for each runtime a container that stays; `started` are those that can.
start() {
    local name option
    started=()
    for name in "${runtimes[@]}"; do
        option=$name
        [[ $1 == */docker ]] || option=$bin/$name
        if "$@" "$option" --name "bench-$name" busybox sleep 86400 >"$work/said" 2>&1; then started+=("$name")
        else say "${1##*/}: $name is left out: $(grep -m 1 -i error "$work/said")"; fi
    done
}

docker_none() { line=("$(command -v docker)" run --rm --network none --runtime "$1" busybox true); }
docker_bridge() { line=("$(command -v docker)" run --rm --runtime "$1" busybox true); }
docker_exec() { line=("$(command -v docker)" exec "bench-$1" true); }
podman_none() { line=("${podman[@]}" --runtime "$bin/$1" run --rm --cgroup-parent "$group" --network none busybox true); }
podman_bridge() { line=("${podman[@]}" --runtime "$bin/$1" run --rm --cgroup-parent "$group" busybox true); }
podman_exec() { line=("${podman[@]}" --runtime "$bin/$1" exec "bench-$1" true); }

echo "case,contender,round,microseconds,peak_kib" >"$csv"
say "load average $(cut -d' ' -f1 /proc/loadavg) on $(nproc) processors when it began"
for engine in docker podman; do
    ready=''
    for kind in none bridge exec; do
        # shellcheck disable=SC2053 # a pattern is meant
        [[ $engine-$kind == $only ]] || continue
        [ -n "$ready" ] || { say "setting up $engine"; "set_up_$engine"; ready=yes; }
        words=()
        for name in "${started[@]}"; do
            "${engine}_$kind" "$name"
            [ ${#words[@]} = 0 ] || words+=(--)
            words+=("$name" "${line[@]}")
        done
        "$out/pairs" -n "$rounds" -c "$engine-$kind" -o "$csv" "${words[@]}" >&2
    done
done
say "load average $(cut -d' ' -f1 /proc/loadavg) when it ended"
python3 "$root/scripts/bench/report.py" engines "$csv"
