#!/usr/bin/env bash
# Makes the rootfs of a bundle from Debian's own packages by mmdebstrap: a minimal Debian with apt.
#
#   rootfs-examples/debian.sh [BUNDLE [SUITE]]      default: hello bookworm
#
# It takes a minute and 200 MB. Run `rootfs-examples/busybox.sh BUNDLE` to go back.
. "$(dirname "$0")/../scripts/lib.sh"

case ${1:-} in -h | --help) sed -n '2,6s/^# \{0,1\}//p' "$0"; exit ;; esac
bundle=${1:-hello} suite=${2:-bookworm}
cd "$root/rootfs-examples"
[ -f "$bundle/config.json" ] || die "$bundle is not a bundle of rootfs-examples (no config.json in it)"

need_package mmdebstrap debian-archive-keyring
say "making rootfs-examples/$bundle/rootfs: Debian $suite, minbase"
as_root rm -rf "$bundle/rootfs" "$bundle/rootfs.new"
# As root, so that the files belong to whom their packages say; device nodes are the runtime's affair.
as_root mmdebstrap --quiet --variant=minbase --skip=output/dev "$suite" "$bundle/rootfs.new"
as_root mv "$bundle/rootfs.new" "$bundle/rootfs"
