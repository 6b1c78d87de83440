#!/usr/bin/env bash
# A Docker Swarm of three machines on this one, with myrt as the runtime of each.
#
#   scripts/swarm.sh demo              shows it all: up, scale, update, drain, kill, start, down
#
#   scripts/swarm.sh up                makes it, with a web service of three tasks and a client that asks it for ever
#   scripts/swarm.sh scale COUNT       so many tasks
#   scripts/swarm.sh update VERSION    another version, two tasks at a time, each new one before its old one goes
#   scripts/swarm.sh drain NODE        its tasks go to other nodes (n2 or n3; n1 is the manager)
#   scripts/swarm.sh activate NODE     it may have tasks again
#   scripts/swarm.sh kill NODE         as if its plug were pulled: dockerd, containerd and all containers at once
#   scripts/swarm.sh start NODE        after kill
#   scripts/swarm.sh publish           one task a node, each published on port 80 of its node
#   scripts/swarm.sh status            nodes and tasks
#   scripts/swarm.sh requests          what the client has counted so far
#   scripts/swarm.sh docker NODE …     docker on a node
#   scripts/swarm.sh down              takes everything away
#
# A node is a dockerd with a containerd, data, host name, network, mounts and processes of its own; veth pairs join them to
# a bridge that is in a network namespace of its own. Nothing of this machine's own Docker or network is touched.
#
#   MYRT=PATH            the runtime, instead of a release build
#   MYRT_SWARM=FOLDER    where everything is kept (default: /var/lib/myrt-swarm); its name is that of the cgroup as well
#   MYRT_SWARM_OWNER=PID `down` happens when this process ends
. "$(dirname "$0")/lib.sh"

folder=${MYRT_SWARM:-/var/lib/myrt-swarm}
image=myrt.test/web:1
nodes=(n1 n2 n3)
patience=60 # seconds, for anything

on() { local node=$1; shift; docker --host "unix://$folder/$node/docker.sock" "$@"; }
address() { echo "10.77.0.${1#n}"; }
lives() { [ -f "$folder/$1/pid" ] && kill -0 "$(cat "$folder/$1/pid")" 2>/dev/null; }

# until_true WHAT COMMAND…: asks until it succeeds.
until_true() {
    local what=$1 end=$((SECONDS + patience)); shift
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "waited $patience s in vain until $what (logs: $folder/*/*.log)"
        sleep 0.1
    done
}

# --- what a node is ---

# world NAME COMMAND…: runs this script's COMMAND in namespaces of its own. What ends its first process ends all of it.
world() {
    local name=$1; shift
    mkdir -p "$folder/$name"
    rm -f "$folder/$name/made"
    setsid unshare --mount --uts --net --pid --mount-proc --fork --kill-child=KILL \
        "$BASH" "$0" "$@" >>"$folder/$name/world.log" 2>&1 </dev/null &
    echo $! >"$folder/$name/pid"
    disown
    until_true "$name has its namespaces" [ -f "$folder/$name/made" ]
}

# The bridge, and where a client from outside of the nodes would be.
inside_switch() {
    ip link set lo up
    ip link add pods type bridge
    ip addr add 10.77.0.254/24 dev pods
    ip link set pods up
    touch "$folder/switch/made"
    sleep infinity & wait
}

inside_node() {
    local node=$1 own=$folder/$1
    hostname "$node"
    # The machine's sockets and lock files are covered.
    mount --make-rshared /
    mount -t tmpfs -o mode=755 tmpfs /run
    ip link set lo up
    touch "$own/made"
    until_true "$node is wired" ip link show eth0
    echo 'disabled_plugins = ["io.containerd.grpc.v1.cri"]' >/run/containerd.toml
    containerd --config /run/containerd.toml --root "$own/containerd" --state /run/containerd \
        --address /run/containerd/containerd.sock >>"$own/containerd.log" 2>&1 &
    printf '{"runtimes": {"myrt": {"path": "%s"}}, "default-runtime": "myrt"}\n' "$(cat "$folder/myrt")" >/run/daemon.json
    dockerd --config-file /run/daemon.json --data-root "$own/docker" --exec-root /run/docker --pidfile /run/docker.pid \
        --containerd /run/containerd/containerd.sock --host "unix://$own/docker.sock" \
        --cgroup-parent "/$(basename "$folder")/$node" >>"$own/dockerd.log" 2>&1 &
    wait $!
}

boot() {
    local node=$1 switch pid
    switch=$(cat "$folder/switch/pid")
    world "$node" inside_node "$node"
    pid=$(cat "$folder/$node/pid")
    nsenter --net="/proc/$switch/ns/net" ip link add "$node" type veth peer name eth0 netns "$pid"
    nsenter --net="/proc/$switch/ns/net" ip link set "$node" master pods up
    nsenter --net="/proc/$pid/ns/net" ip addr add "$(address "$node")/24" dev eth0
    nsenter --net="/proc/$pid/ns/net" ip link set eth0 up
}

# unplug NAME: ends a world and takes its cgroups away.
unplug() {
    local name=$1 pid first path
    if lives "$name"; then
        pid=$(cat "$folder/$name/pid")
        first=$(cat "/proc/$pid/task/$pid/children" || true)
        kill -KILL "$pid" || true
        # The first process of a pid namespace ends after all others.
        for pid in $pid $first; do until_true "$name has ended" has_ended "$pid"; done
    fi
    rm -f "$folder/$name/pid"
    for path in /sys/fs/cgroup/{,*/}"$(basename "$folder")/$name"; do
        [ ! -d "$path" ] || until_true "$path is gone" remove_cgroup "$path"
    done
}
# Gone, or a zombie that waits for its parent.
has_ended() { [ ! -e "/proc/$1/exe" ]; }
remove_cgroup() { find "$1" -depth -type d -exec rmdir {} +; }

# --- the verbs ---

up() {
    local node token
    need_package docker.io containerd iproute2 iptables util-linux busybox-static
    if lives switch; then die "there is a swarm in $folder already (scripts/swarm.sh down ends it)"; fi
    if [ -z "${MYRT:-}" ]; then need_release; MYRT=$myrt; fi
    [ -x "$MYRT" ] || die "MYRT=$MYRT is not a program"
    down
    mkdir -p -m 700 "$folder"
    realpath "$MYRT" >"$folder/myrt"
    trap 'trap - ERR; down; exit 130' INT TERM HUP
    trap '[ $? = 0 ] || down' EXIT
    world switch inside_switch
    if [ -n "${MYRT_SWARM_OWNER:-}" ]; then
        setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" down' _ "$MYRT_SWARM_OWNER" "$0" >/dev/null 2>&1 </dev/null &
        echo $! >"$folder/watch"
        disown
    fi
    check_kernel

    say "three nodes, each with its own dockerd and containerd"
    for node in "${nodes[@]}"; do boot "$node"; done
    for node in "${nodes[@]}"; do until_true "dockerd of $node answers" on "$node" version; done

    say "one image, on all of them"
    make_image | on n1 import --change 'ENV PATH=/bin' --change 'CMD ["sh", "/www/serve"]' - "$image" >/dev/null
    on n1 save "$image" >"$folder/image.tar"
    for node in n2 n3; do on "$node" load --quiet --input "$folder/image.tar" >/dev/null; done
    rm "$folder/image.tar"

    say "n1 begins a swarm, n2 and n3 join"
    on n1 swarm init --advertise-addr "$(address n1)" --dispatcher-heartbeat 1s >/dev/null
    token=$(on n1 swarm join-token --quiet worker)
    for node in n2 n3; do
        on "$node" swarm join --advertise-addr "$(address "$node")" --token "$token" "$(address n1):2377" >/dev/null
    done
    for node in "${nodes[@]}"; do until_true "$node is ready" is_node "$node" Ready; done
    # The routing mesh needs IPVS, which not every kernel has. Names that resolve to all tasks need none of it.
    yes | on n1 network rm ingress >/dev/null 2>&1 || true
    on n1 network create --driver overlay --attachable --subnet 10.78.0.0/24 inner >/dev/null

    say "a web service of three tasks"
    on n1 service create --quiet --no-resolve-image --name web --replicas 3 --network inner --endpoint-mode dnsrr \
        --env VERSION=1 --stop-grace-period 3s --update-parallelism 2 --update-order start-first --update-monitor 1s \
        --health-cmd 'wget -q -O /dev/null http://127.0.0.1:8080/' --health-interval 1s --health-timeout 10s \
        --limit-memory 32m --limit-cpu 0.5 "$image" >/dev/null
    until_tasks 3
    say "a client that asks it for ever"
    on n1 run --detach --name client --network inner "$image" sh /www/ask >/dev/null
    until_true "the client has had an answer" answered 1
    trap - EXIT INT TERM HUP
}

check_kernel() {
    local net
    net=/proc/$(cat "$folder/switch/pid")/ns/net
    modprobe vxlan 2>/dev/null || true
    nsenter --net="$net" ip link add vxlan0 type vxlan id 1 dstport 4789 dev pods 2>/dev/null ||
        die "this kernel has no VXLAN (CONFIG_VXLAN, module vxlan), which overlay networks are made of"
    nsenter --net="$net" ip link del vxlan0
}

# A root filesystem of busybox as tar: a server that says who it is, and a client.
make_image() {
    local rootfs busybox
    rootfs=$(mktemp -d "$folder/rootfs.XXXXXX")
    busybox=$(PATH=/bin:/usr/bin command -v busybox)
    mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp,www/html}
    cp "$busybox" "$rootfs/bin/busybox"
    "$busybox" --list | while read -r applet; do [ "$applet" = busybox ] || ln -s busybox "$rootfs/bin/$applet"; done
    # httpd as process 1 does not hear SIGTERM: it serves until the grace period ends, while its name is gone already.
    printf 'echo "version $VERSION, task $(hostname)" >/www/html/index.html\nexec httpd -f -p "${PORT:-8080}" -h /www/html\n' \
        >"$rootfs/www/serve"
    # The C library of a static busybox cannot look up names; nslookup can by itself. It takes the first of the addresses.
    cat >"$rootfs/www/ask" <<'END'
while :; do
    address=$(nslookup web 127.0.0.11 2>/dev/null | sed -n 's/^Address: //p' | head -n 1)
    answer=$(timeout 3 wget -q -O - "http://$address:8080/" 2>&1) && echo "ok $answer" || echo "failed $address $answer"
    sleep 0.05
done
END
    tar -C "$rootfs" --owner=0 --group=0 --numeric-owner -c .
    rm -rf "$rootfs"
}

is_node() { [ "$(on n1 node ls --filter "name=$1" --format '{{.Status}} {{.Availability}}' | grep -c "$2")" = 1 ]; }
# Tasks that run, one a line: node and name.
running() {
    on n1 service ps web --filter desired-state=running --no-trunc --format '{{.Node}} {{.Name}} {{.CurrentState}}' |
        awk '$3 == "Running" { print $1, $2 }'
}
has_tasks() { [ "$(running | wc -l)" = "$1" ]; }
until_tasks() { until_true "$1 tasks run" has_tasks "$1"; }
runs_none() { ! running | grep -q "^$1 "; }

answers() { on n1 logs client 2>/dev/null; }
counted() { answers | awk '/^ok/ { ok++ } /^failed/ { failed++ } END { print ok + failed + 0, failed + 0 }'; }
answered() { [ "$(answers | grep -c '^ok')" -ge "$1" ]; }

count_of_tasks() { on n1 service inspect --format '{{.Spec.Mode.Replicated.Replicas}}' web; }

scale() { on n1 service scale --detach "web=$1" >/dev/null; until_tasks "$1"; }

update() {
    on n1 service update --quiet --no-resolve-image --env-add "VERSION=$1" web >/dev/null
    until_tasks "$(count_of_tasks)"
}

drain() {
    on n1 node update --availability drain "$1" >/dev/null
    until_true "no task runs on $1" runs_none "$1"
    until_tasks "$(count_of_tasks)"
}

activate() { on n1 node update --availability active "$1" >/dev/null; }

kill_node() {
    [ "$1" != n1 ] || die "n1 is the only manager: kill n2 or n3"
    lives "$1" || die "$1 does not live"
    unplug "$1"
    until_true "$1 is known to be down" is_node "$1" Down
    until_true "no task is thought to run on $1" runs_none "$1"
    until_tasks "$(count_of_tasks)"
}

start_node() {
    if lives "$1"; then die "$1 lives"; fi
    boot "$1"
    until_true "$1 is ready" is_node "$1" Ready
}

publish() {
    on n1 service create --quiet --no-resolve-image --name front --mode global --env VERSION=front --env PORT=80 \
        --publish mode=host,published=80,target=80 "$image" >/dev/null
    local node
    for node in "${nodes[@]}"; do
        until_true "$node answers on port 80" fetch "$node"
        echo "http://$(address "$node")/: $(fetch "$node")"
    done
}
# From where the bridge is, outside of all nodes.
fetch() { nsenter --net="/proc/$(cat "$folder/switch/pid")/ns/net" timeout 3 busybox wget -q -O - "http://$(address "$1")/"; }

status() {
    on n1 node ls --format 'table {{.Hostname}}\t{{.Status}}\t{{.Availability}}\t{{.ManagerStatus}}'
    running | sort | awk '{ tasks[$1] = tasks[$1] " " $2 } END { for (node in tasks) print node ":" tasks[node] }' | sort
}

requests() { counted | awk '{ print $1 " requests, " $2 " failed" }'; }

down() {
    local name path watch
    watch=$(cat "$folder/watch" 2>/dev/null || echo $$)
    [ "$watch" = $$ ] || kill -- "-$watch" 2>/dev/null || true
    for name in "${nodes[@]}" switch; do unplug "$name"; done
    for path in /sys/fs/cgroup/{,*/}"$(basename "$folder")"; do
        [ ! -d "$path" ] || until_true "$path is gone" remove_cgroup "$path"
    done
    rm -rf "$folder"
}

# --- the demonstration ---

# step WORDS COMMAND…: says it, does it, and what it cost the client.
step() {
    local before after
    say "$1"; shift
    before=$(counted)
    "$@"
    # Ten more answers, so that a failure just afterwards is counted as well.
    until_true "the client goes on" answered $((${before% *} - ${before#* } + 10))
    after=$(counted)
    status
    echo "the client: $((${after% *} - ${before% *})) requests, $((${after#* } - ${before#* })) failed"
}

demo() {
    local node
    trap 'trap - ERR; down; exit 130' INT TERM HUP
    up
    trap 'trap - ERR; down; exit 130' INT TERM HUP
    trap down EXIT
    for node in "${nodes[@]}"; do echo "runtime of $node: $(on "$node" info --format '{{.DefaultRuntime}}')"; done
    status
    step "scale: three tasks become six" scale 6
    step "a rolling update to version 2" update 2
    step "n2 is drained" drain n2
    step "n2 may work again; n3 loses its power" unplugged
    step "n3 comes back" start_node n3
    say "one more service: a task on every node, published on port 80 of the node"
    publish
    say "in all: $(requests)"
}
unplugged() { activate n2; kill_node n3; }

verb=${1:-}
case $verb in
inside_switch | inside_node) "$@"; exit ;;
-h | --help | '') sed -n '2,26s/^# \{0,1\}//p' "$0"; exit ;;
esac
[ "$(id -u)" = 0 ] || exec sudo -E "$0" "$@"
shift
case $verb in
up | demo | down) "$verb" ;;
scale | update | drain | activate | publish | status | requests | start | kill | docker)
    lives switch || die "there is no swarm in $folder (scripts/swarm.sh up makes one)"
    case $verb in kill | start) verb=${verb}_node ;; docker) verb=on ;; esac
    "$verb" "$@"
    ;;
*) die "unknown verb $verb (see scripts/swarm.sh --help)" ;;
esac
