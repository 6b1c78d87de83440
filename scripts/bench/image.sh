#!/usr/bin/env bash
# What unpacking an image costs: myrt, umoci, skopeo and the limits, on a tmpfs. scripts/bench.sh image calls it.
#
#   scripts/bench.sh image [--rounds N] [--myrt FILE] [--archive FILE]
#
#   --rounds N       default 5: some five minutes on two idle cores
#   --myrt FILE      measure this binary, with myrt-image beside it, instead of building one
#   --archive FILE   a root filesystem as a tar, instead of a Debian 12 of about 500 MB, which is made once (target/bench)
. "$(dirname "$0")/../lib.sh"

rounds=5 myrt='' archive=''
while [ $# -gt 0 ]; do
    case $1 in
    --rounds | --myrt | --archive) [ $# -gt 1 ] || die "$1 needs a value" ;;&
    --rounds) rounds=$2; shift ;;
    --myrt) myrt=$(realpath -e "$2"); shift ;;
    --archive) archive=$(realpath -e "$2"); shift ;;
    -h | --help) sed -n '2,8s/^# \{0,1\}//p' "$0"; exit ;;
    *) die "unknown argument $1" ;;
    esac
    shift
done
need_package python3 umoci skopeo zstd time util-linux
if [ -z "$myrt" ]; then need_release --bins; fi
out=$root/target/bench
as_builder mkdir -p "$out"
if [ -z "$archive" ]; then
    archive=$out/debian.tar
    if [ ! -e "$archive" ]; then
        need_package mmdebstrap
        say "making a Debian 12 of about 500 MB"
        as_root mmdebstrap --quiet --format=tar --variant=standard --include=python3,git,vim bookworm "$archive.new"
        as_root mv "$archive.new" "$archive"
    fi
fi
# shellcheck disable=SC2016 # the variables are of the inner shell
as_root unshare --mount --propagation private "$BASH" -ec '
    work=$(mktemp -d /tmp/myrt-bench.XXXXXX)
    trap "umount -l $work 2>/dev/null; rmdir $work" EXIT
    mount -t tmpfs -o size=8g none "$work"
    python3 -B "$1" "$work" "$2" "$3" "$4"
' bench "$root/scripts/bench/image.py" "$archive" "$myrt" "$rounds"
