#!/bin/bash
# A dockerd with a world of its own: mount, pid and network namespaces, its own containerd, data and cgroup.
#
#   dockerd.sh FOLDER CGROUP RUNTIME [DOCKERD-ARGUMENT…]
#
# It lives as long as its standard input is open, so that it ends with whoever started it, however that one ends; what
# was made is then removed. Of the words on standard input `stop` ends dockerd alone and `start` starts it again; each is
# written to FOLDER/done when it is done. FOLDER/pid tells the first process of the namespaces.
set -euo pipefail
folder=$1 cgroup=$2 runtime=$3
shift 3

inside() {
    local word pid
    # This /proc is still the one outside: it tells our pid there.
    read -r pid _ </proc/self/stat
    mount -t proc proc /proc
    mount --make-rshared /
    # The machine's sockets and lock files are covered: a containerd that runs there would be used otherwise.
    mount -t tmpfs -o mode=755 tmpfs /run
    # Each container costs some forty fsyncs, one after the other; on a busy disk fifty containers took
    # more than a minute.
    mkdir "$folder/docker" "$folder/containerd"
    mount -t tmpfs -o mode=710 tmpfs "$folder/docker"
    mount -t tmpfs -o mode=710 tmpfs "$folder/containerd"
    ip link set lo up
    # dockerd needs nothing of what containerd offers to Kubernetes.
    echo 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' >/run/containerd.toml
    containerd --config /run/containerd.toml --root "$folder/containerd" --state /run/containerd \
        --address /run/containerd/containerd.sock >"$folder/containerd.log" 2>&1 </dev/null &
    printf '{"runtimes": {"myrt": {"path": "%s"}}, "default-runtime": "myrt"}\n' "$runtime" >/run/daemon.json
    start "$@"
    echo "$pid" >"$folder/pid.new"
    mv "$folder/pid.new" "$folder/pid"
    while read -r word; do
        case $word in
        stop) kill "$dockerd"; wait "$dockerd" || true ;;
        start) start "$@" ;;
        esac
        echo "$word" >>"$folder/done"
    done
}

start() {
    # Its BuildKit calls what is named runc, whatever the runtimes are.
    PATH=$folder/buildkit:$PATH dockerd --data-root "$folder/docker" --exec-root /run/docker --pidfile /run/docker.pid \
        --config-file /run/daemon.json --containerd /run/containerd/containerd.sock \
        --host "unix://$folder/docker.sock" --cgroup-parent "/$cgroup" "$@" >>"$folder/dockerd.log" 2>&1 </dev/null &
    dockerd=$!
}

# A process in a frozen cgroup does not die, and the first process of a pid namespace waits for all others.
thaw() {
    local file
    for file in $(cgroups -name freezer.state); do echo THAWED >"$file"; done
    for file in $(cgroups -name cgroup.freeze); do echo 0 >"$file"; done
}

# cgroups TEST…: find below our cgroup in every hierarchy, children first.
cgroups() {
    local path
    for path in /sys/fs/cgroup/"$cgroup" /sys/fs/cgroup/*/"$cgroup"; do
        if [ -d "$path" ]; then find "$path" -depth "$@" 2>/dev/null || true; fi
    done
}

if [ -n "${MYRT_INSIDE-}" ]; then
    inside "$@"
    # No container may be started any more when those that are frozen have been thawed.
    disown "$dockerd"
    kill -KILL "$dockerd" 2>/dev/null || true
    thaw
    exit
fi
trap '' INT TERM HUP
MYRT_INSIDE=1 unshare --mount --net --pid --fork --kill-child "$BASH" "$0" "$folder" "$cgroup" "$runtime" "$@" || true
for path in $(cgroups -type d); do rmdir "$path" || true; done
rm -rf "$folder"
