#!/usr/bin/env bash
# Installs what is missing and runs every check and test. It can be run again at any time.
#
#   scripts/test.sh [lint|unit|suite|images|engines|vm|all]      default: all
#
#   lint    rustfmt, clippy and rustdoc with warnings as errors, licences and duplicate versions, the scripts themselves
#   unit    the tests that live beside the code
#   suite   the black-box suite under tests/, as root and then as an ordinary user
#   images  myrt image: images made byte by byte, umoci as the measure, a registry on loopback (tests/image)
#   engines Docker, Podman, containerd and Swarm with myrt as their runtime (tests/engines)
#   vm      the black-box suite in a virtual machine with systemd, cgroup v2 and AppArmor (scripts/vm.sh test)
#
# MYRT_UNDER_TEST=/usr/bin/runc scripts/test.sh suite    runs the suite against another runtime, to check the tests
#
# As root, by sudo, or as a user who may sudo. Root's part needs no cargo: the built test program is run directly.
. "$(dirname "$0")/lib.sh"

# The tests that were run, for the last line.
passed=0 failed=0 ignored=0 started=$SECONDS

# cargo_test NAME COMMAND…: runs a test program, keeps its counts, goes on after a failure so that all are seen.
cargo_test() {
    local name=$1 said line before=$((passed + failed)); shift
    said=$(mktemp)
    say "$name"
    "$@" 2>&1 | tee "$said" || broken+=("$name")
    while read -r line; do
        passed=$((passed + $(sed -n 's/.* \([0-9]*\) passed.*/\1/p' <<<"$line")))
        failed=$((failed + $(sed -n 's/.* \([0-9]*\) failed.*/\1/p' <<<"$line")))
        ignored=$((ignored + $(sed -n 's/.* \([0-9]*\) ignored.*/\1/p' <<<"$line")))
    done < <(grep '^test result:' "$said" || true)
    # What ran no test, or died without a word, is a failure as well.
    if [ $((passed + failed)) = "$before" ] && [[ " ${broken[*]} " != *"$name"* ]]; then broken+=("$name: no test ran"); fi
    if [ ${#broken[@]} -gt 0 ] && [[ ${broken[-1]} = "$name"* ]] && ! grep -q '^test result: FAILED' "$said"; then failed=$((failed + 1)); fi
    # What failed stands once more at the end, where a long log is read.
    sed -n '/^failures:/,/^test result:/{/^test result:/!p}' "$said" >>"$failures"
    rm -f "$said"
}
broken=() failures=$(mktemp)

# check NAME COMMAND…: a check counts as one test.
check() {
    local name=$1; shift
    say "$name"
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); broken+=("$name"); fi
}

lint() {
    need_package python3
    check "rustfmt" as_builder cargo fmt --check
    check "clippy" as_builder cargo clippy --locked --all-targets --quiet -- -D warnings
    check "rustdoc" as_builder env RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items --quiet
    check "licences and duplicate versions" as_builder scripts/licences.py
    check "scripts parse" scripts_parse
}

scripts_parse() {
    local file
    for file in "$root"/scripts/*.sh "$root"/scripts/bench/*.sh "$root"/scripts/vm/{*.sh,agent,customize,rounds} "$root"/rootfs-examples/*.sh "$root"/.ci/run; do bash -n "$file" || return; done
    for file in "$root"/scripts/*.py "$root"/scripts/bench/*.py "$root"/scripts/install/*.py; do
        python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read(), sys.argv[1])' "$file" || return
    done
    for file in "$root"/rootfs-examples/*/config.json "$root"/scripts/bench/config.json; do
        python3 -m json.tool "$file" >/dev/null || { echo "$file is not JSON" >&2; return 1; }
    done
}

# The seccomp compiler is compared with libseccomp; without its header that test would say nothing.
unit() {
    need_package gcc libc6-dev libseccomp-dev
    cargo_test "unit tests" as_builder env MYRT_TEST_ORACLE=1 cargo test --locked --lib --bins
}

suite() {
    need_package python3 python3-pip busybox-static util-linux uidmap iproute2 nftables iptables procps gcc libc6-dev make strace e2fsprogs attr btrfs-progs xfsprogs patch passt slirp4netns \
        python3-setuptools python3-wheel
    local program user home
    say "building the black-box suite"
    as_builder cargo build --locked --bins
    as_builder cargo test --locked --test integration --no-run
    program=$(test_program integration)
    cd "$root"
    as_builder cargo test --locked --test sandbox --no-run
    cargo_test "sandboxes" as_root "$(test_program sandbox)"
    cargo_test "black-box suite as root" as_root env ${MYRT_UNDER_TEST:+MYRT_UNDER_TEST="$MYRT_UNDER_TEST"} "$program" --skip vm::

    # As an ordinary user, whoever calls or one made for this: the tests that need no root. The programs are copied to
    # where that user can read them.
    user=$(ordinary_user)
    home=$(mktemp -d /tmp/myrt-suite.XXXXXX)
    cp "$program" "$home/integration"
    cp "$(test_program sandbox)" "$home/sandbox"
    cp "$(built debug)/myrt" "$(built debug)/myrt-sandbox" "$home"
    as_root chown -R "$user" "$home"
    cargo_test "black-box suite as $user" as_user "$user" "$home" env MYRT_UNDER_TEST="${MYRT_UNDER_TEST:-$home/myrt}" "$home/integration" rootless::
    cargo_test "sandboxes as $user" as_user "$user" "$home" env MYRT_UNDER_TEST="$home/myrt" "$home/sandbox" rootless::
    as_root rm -rf "$home"
}

ordinary_user() {
    if [ "$(id -u)" != 0 ]; then id -un; return; fi
    if [ "${SUDO_USER:-root}" != root ]; then echo "$SUDO_USER"; return; fi
    if ! id myrt-test >/dev/null 2>&1; then
        say "making the user myrt-test, to run the suite as an ordinary user"
        useradd --system --create-home --shell /bin/sh myrt-test
    fi
    local file
    for file in /etc/subuid /etc/subgid; do
        grep -q '^myrt-test:' "$file" 2>/dev/null || echo 'myrt-test:1410720000:65536' >>"$file"
    done
    echo myrt-test
}

as_user() { # USER FOLDER COMMAND…
    local user=$1 folder=$2; shift 2
    if [ "$(id -un)" = "$user" ]; then (cd "$folder" && "$@"); return; fi
    (cd "$folder" && runuser -u "$user" -- env -u XDG_RUNTIME_DIR HOME="$folder" "$@")
}

images() {
    need_package python3 busybox-static util-linux uidmap umoci skopeo buildah runc docker-registry openssl mmdebstrap strace attr acl
    local program
    say "building the images' suite"
    as_builder cargo test --locked --test image --no-run
    program=$(test_program image)
    cd "$root"
    cargo_test "images" as_root "$program"
}

# Each engine is called as its users call it, with a wrapper of the release as its runtime; which calls they made is then
# held against the table of what engines call.
engines() {
    need_package docker.io docker-compose tini containerd containernetworking-plugins podman conmon buildah netavark \
        aardvark-dns slirp4netns catatonit busybox-static iproute2 iptables uidmap util-linux procps python3 python3-grpcio strace \
        umoci skopeo
    need_release --bins
    local program calls
    say "building the engines' suite"
    as_builder cargo test --locked --test engines --no-run
    program=$(test_program engines)
    calls=$(mktemp -d /tmp/myrt-calls.XXXXXX)
    chmod 755 "$calls" # an ordinary user's engine writes there as well
    cd "$root"
    cargo_test "engines" as_root env MYRT_CALLS="$calls" MYRT_UNDER_TEST="${MYRT_UNDER_TEST:-$myrt}" "$program" --skip contracts::
    cargo_test "what the engines called" as_root env MYRT_CALLS="$calls" "$program" contracts::
    as_root rm -rf "$calls"
}

# What runs in the machine says itself how many tests passed; here it is seen that the script tells the truth about the rest.
vm() {
    need_release --bins
    check "an exit code comes out of the machine" exits 7 env MYRT="$myrt" "$root/scripts/vm.sh" run -- sh -c 'exit 7'
    check "a machine that dies is told from a command that fails" \
        exits 125 env MYRT="$myrt" "$root/scripts/vm.sh" run -- sh -c 'echo c >/proc/sysrq-trigger; sleep 60'
    cargo_test "black-box suite in the virtual machine" env MYRT="$myrt" "$root/scripts/vm.sh" test
}

exits() { # CODE COMMAND…
    local wanted=$1 code=0; shift
    "$@" || code=$?
    [ "$code" = "$wanted" ] || { echo "exit code $code instead of $wanted: $*" >&2; return 1; }
}

case ${1:-all} in
lint | unit | suite | images | engines | vm) need_rust; "$1" ;;
all) need_rust; lint; unit; suite; images; engines; vm ;;
-h | --help) sed -n '2,15s/^# \{0,1\}//p' "$0"; exit ;;
*) die "unknown argument $1 (lint, unit, suite, images, engines, vm or all)" ;;
esac

echo
cat "$failures"
rm -f "$failures"
for name in "${broken[@]}"; do echo "failed: $name"; done
verdict=ok
if [ "$failed" -gt 0 ] || [ ${#broken[@]} -gt 0 ]; then verdict=FAILED; fi
echo "test result: $verdict. $passed passed; $failed failed; $ignored ignored; 0 measured; 0 filtered out; finished in $((SECONDS - started)).00s"
[ "$verdict" = ok ] || { trap - ERR; exit 1; }
