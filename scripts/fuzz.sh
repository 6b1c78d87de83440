#!/usr/bin/env bash
# Mutates layers and documents of images for longer than the unit tests do, and stops at the first mutation that does harm.
#
#   scripts/fuzz.sh [SECONDS] [FROM]      default: a minute, from a number that the time gives
#
# The same number is the same mutation on any machine: what fails says its number, and `scripts/fuzz.sh 1 NUMBER` does it
# again. As root more is tried: owners and devices.
. "$(dirname "$0")/lib.sh"

[[ ${1:-} != -* ]] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit; }
seconds=${1:-60} from=${2:-$(date +%s)} each=200 tried=0
need_rust
say "building the unit tests"
as_builder cargo test --locked --quiet --lib --no-run
say "mutations from number $from on"
end=$((SECONDS + seconds))
while [ "$tried" = 0 ] || [ "$SECONDS" -lt "$end" ]; do
    said=$(as_builder env MYRT_FUZZ_FROM=$((from + tried)) MYRT_FUZZ_COUNT=$each \
        cargo test --locked --quiet --lib image::fuzzing 2>&1) || { echo "$said" >&2; die "a mutation did harm, see above"; }
    grep -q ' 2 passed' <<<"$said" || { echo "$said" >&2; die "the two tests did not run"; }
    tried=$((tried + each))
done
echo "$tried mutations of each seed, from $from on: no harm"
