#!/usr/bin/env bash
# From a fresh Debian with Rust to a running container: installs what is missing, builds myrt, makes a bundle from Debian's
# busybox, runs it. As root, by sudo, or as a user who may sudo. It can be run again at any time.
. "$(dirname "$0")/lib.sh"

case ${1:-} in
-h | --help) sed -n '2,3s/^# //p' "$0"; exit ;;
'') ;;
*) die "unknown argument $1 (it takes none)" ;;
esac

need_release
need_package busybox-static
as_builder rootfs-examples/busybox.sh hello

say "running it: ${myrt#"$root"/} run rootfs-examples/hello"
cd "$root"
as_root "$myrt" run rootfs-examples/hello

say "done; next: rootfs-examples/README.md has more bundles, each with one command"
