# Read by scripts/vm.sh: takes the black-box suite into the machine. What is done there stands in scripts/vm/rounds.

vm_test() {
    local program
    case ${1:-} in --list) bash "$root/scripts/vm/rounds" --list; return ;; esac
    need_rust
    need_package python3 gcc libc6-dev
    say "building the black-box suite"
    as_builder cargo test --locked --test integration --no-run --quiet
    program=$(test_program integration)
    prepare
    mkdir -p "$job/fs/suite"
    cp "$program" "$job/fs/suite/integration"
    # The machine has no compiler.
    cc -static -Os -Wall -o "$job/fs/suite/probe" "$root/tests/util/probe.c"
    cp "$root/scripts/vm/rounds" "$job/fs/suite/rounds"
    # MYRT_UNDER_TEST names another runtime inside the machine, such as /usr/bin/crun.
    printf '%q ' env ${MYRT_UNDER_TEST:+MYRT_UNDER_TEST="$MYRT_UNDER_TEST"} bash /suite/rounds "$@" >"$job/fs/job/run"
    boot "$job" 2400 </dev/null
    exit "$code"
}
