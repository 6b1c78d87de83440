#!/bin/bash
# A machine of its own for Podman: namespaces of every kind but user, a /run, /dev/shm and cgroup tree that nobody else sees.
#
#   podman_machine.sh FOLDER CGROUP
#
# Says the host's pid of its first process on stdout, and lives until stdin ends. The end of that process is the end of
# every container, conmon and mount; then this script removes the cgroups and the folder. Stdin ends with whoever started
# it, however that died.
set -eu
folder=$1 cgroup=$2
trap '' INT TERM HUP

cgroups() { # The folders of CGROUP in each hierarchy, or in the only one.
    if [ -e /sys/fs/cgroup/cgroup.controllers ]; then echo "/sys/fs/cgroup/$cgroup"; return; fi
    local hierarchy
    for hierarchy in /sys/fs/cgroup/*/; do
        [ -L "${hierarchy%/}" ] || echo "$hierarchy$cgroup"
    done
}

take_down() {
    local path try
    for path in $(cgroups); do
        for try in {1..200}; do
            # From the leaves up; a dead process leaves its cgroup a moment later.
            find "$path" -depth -type d -exec rmdir {} \; 2>/dev/null
            [ -e "$path" ] || break
            sleep 0.02
        done
    done
    # FOLDER/storage had its overlays in a mount namespace that is gone now.
    rm -rf "$folder"
}
trap 'set +e; take_down' EXIT

for path in $(cgroups); do
    mkdir -p "$path"
    if [ -e "$path/cpuset.mems" ] && [ ! -e "$path/cgroup.controllers" ]; then
        cat "${path%/*}/cpuset.cpus" >"$path/cpuset.cpus"
        cat "${path%/*}/cpuset.mems" >"$path/cpuset.mems"
    fi
done

# In a subshell: this one stays outside, so that it can remove what it made.
(
    for path in $(cgroups); do echo "$BASHPID" >"$path/cgroup.procs"; done
    exec unshare --mount --pid --fork --kill-child --net --ipc --uts --cgroup --propagation private /bin/bash -euc '
        read -r pid _ </proc/self/stat
        resolv=$(readlink -f /etc/resolv.conf) servers=$(cat /etc/resolv.conf 2>/dev/null || true)
        mount -t proc proc /proc
        hierarchies=$(grep -v "^0:" /proc/self/cgroup | cut -d: -f2)
        was_v2= hybrid=
        [ ! -e /sys/fs/cgroup/cgroup.controllers ] || was_v2=1
        [ ! -e /sys/fs/cgroup/unified ] || hybrid=1
        # What the host has mounted below would still be listed, and podman takes down whatever is listed below /sys/kernel.
        umount --recursive --lazy /sys
        mount -t sysfs sysfs /sys
        if [ "$was_v2" ]; then
            mount -t cgroup2 cgroup2 /sys/fs/cgroup
            # The root of this tree may hold no process, or it could pass no controller on.
            mkdir /sys/fs/cgroup/init
            echo $$ >/sys/fs/cgroup/init/cgroup.procs
        else
            mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
            for names in $hierarchies; do
                mkdir "/sys/fs/cgroup/${names#name=}"
                option=$names
                [ "$names" = "${names#name=}" ] || option=none,$names
                mount -t cgroup -o "$option" cgroup "/sys/fs/cgroup/${names#name=}"
                for name in ${names//,/ }; do
                    [ -e "/sys/fs/cgroup/${name#name=}" ] || ln -s "$names" "/sys/fs/cgroup/$name"
                done
            done
            if [ "$hybrid" ]; then
                mkdir /sys/fs/cgroup/unified
                mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified
            fi
        fi
        mount -t tmpfs -o mode=755 tmpfs /run
        mount -t tmpfs -o mode=1777 tmpfs /dev/shm
        case $resolv in /run/*) mkdir -p "${resolv%/*}"; echo "$servers" >"$resolv" ;; esac
        # What slirp4netns opens is everyone'"'"'s on most machines; here it is made so.
        for device in net/tun:10:200 fuse:10:229; do
            IFS=: read -r name major minor <<<"$device"
            [ -e "/dev/$name" ] || continue
            mknod "/run/${name#*/}" c "$major" "$minor"
            chmod 666 "/run/${name#*/}"
            mount --bind "/run/${name#*/}" "/dev/$name"
        done
        [ -z "${MYRT_CALLS:-}" ] || mount --bind "$MYRT_CALLS" "$0/calls"
        hostname machine
        ip link set lo up
        echo 1 >/proc/sys/net/ipv4/ip_forward
        mount --make-rshared /
        echo "$pid"
        # Not exec: as the first process the shell also takes in those whose parents are gone.
        cat >/dev/null
    ' "$folder"
) || true
