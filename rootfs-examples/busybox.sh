#!/usr/bin/env bash
# Makes the rootfs of example bundles from Debian's busybox-static: one static program and a link for each of its names.
#
#   rootfs-examples/busybox.sh [BUNDLE…]     default: every bundle of this folder
#
# It needs no root (but for installing the package) and can be run again: a rootfs is made anew.
. "$(dirname "$0")/../scripts/lib.sh"

case ${1:-} in -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit ;; esac
cd "$root/rootfs-examples"
[ $# -gt 0 ] || set -- $(dirname -- */config.json)

need_package busybox-static
busybox=$(PATH=/bin:/usr/bin command -v busybox)
for bundle; do
    [ -f "$bundle/config.json" ] || die "$bundle is not a bundle of rootfs-examples (no config.json in it)"
    rootfs=$bundle/rootfs
    say "making rootfs-examples/$rootfs"
    rm -rf "$rootfs" 2>/dev/null || as_root rm -rf "$rootfs" # debian.sh makes it root's
    mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp,var/www}
    chmod 1777 "$rootfs/tmp"
    cp "$busybox" "$rootfs/bin/busybox"
    "$busybox" --list | while read -r applet; do [ "$applet" = busybox ] || ln -s busybox "$rootfs/bin/$applet"; done
    # The places where config.json binds a file: in a user namespace the runtime has no right to make them.
    if [ -f "$bundle/show.sh" ]; then : >"$rootfs/show.sh"; fi
    echo 'root:x:0:0:root:/root:/bin/sh' >"$rootfs/etc/passwd"
    echo 'root:x:0:' >"$rootfs/etc/group"
done
