#!/usr/bin/env bash
# A privileged virtual machine as a test bed: Debian with systemd, cgroup v2 and all its controllers, AppArmor, crun and runc.
#
#   scripts/vm.sh test [ROUND…]               the black-box suite inside (root, user; cgroupfs, systemd), then the peers
#   scripts/vm.sh run [OPTION…] [--] CMD…     runs one command as root; its output comes live, its exit code is the script's
#   scripts/vm.sh shell [OPTION…]             a shell inside; `exit` ends the machine, Ctrl-A X ends it at once
#   scripts/vm.sh build                       makes the machine's disk, which the others do when it is missing
#
#   --copy PATH[:GUEST]    puts a file or folder of yours there (default: the same name in /); may be repeated. Owners are
#                          kept when root calls; an ordinary user's files become root's.
#   --timeout SECONDS      for run: ends a machine that is still at it (default 1800)
#
# Each machine begins from the same disk and forgets what was done in it. myrt is /usr/local/bin/myrt inside, with the
# programs beside it: the release of this checkout, or what MYRT names. The host needs KVM for speed only; without it the
# machine is emulated. VM_MIRROR names another Debian mirror than mmdebstrap's default, VM_APPEND adds to the kernel's
# command line.
# An exit code of 125 says that the machine failed, not the command.
. "$(dirname "$0")/lib.sh"

vm=$root/target/vm
suite=bookworm
# Heartbeats come every five seconds; on a crowded host an emulated machine may miss many.
silence=120 boot_patience=400

# --- the disk ---------------------------------------------------------------------------------------------------------

# The recipe is all that decides what is on the disk: when it changes, so does the folder.
disk() { echo "$vm/$( (echo "$suite"; cat "$root"/scripts/vm/{packages,init,agent,customize}) | sha256sum | cut -c1-12)"; }

build() {
    local made work begun=$SECONDS packages
    made=$(disk)
    [ -e "$made/disk.img" ] && return
    as_builder mkdir -p "$vm"
    # One at a time; who waited finds it made. What a killed one left goes.
    exec {lock}>"$vm/lock"
    flock "$lock"
    [ -e "$made/disk.img" ] && return
    as_root rm -rf "$vm"/making.*
    need_package mmdebstrap e2fsprogs cpio
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || need_package debian-archive-keyring
    say "making the machine's disk (once; some 150 MB of Debian packages)"
    # A folder of root's own until it is whole; one rename makes it visible.
    work=$(as_root mktemp -d "$vm/making.XXXXXX")
    packages=$(sed 's/ *#.*//' "$root/scripts/vm/packages" | grep . | paste -sd,)
    as_root mmdebstrap --quiet --variant=minbase --include="$packages" --customize-hook="$root/scripts/vm/customize" \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' "$suite" "$work/root" ${VM_MIRROR:+"$VM_MIRROR"} </dev/null ||
        { as_root rm -rf "$work"; die "mmdebstrap could not make the machine's root"; }
    as_root mv "$work/root/boot/initrd.gz" "$work/initrd.gz"
    as_root cp "$work"/root/boot/vmlinuz-* "$work/vmlinuz"
    as_root mke2fs -q -t ext4 -d "$work/root" "$work/disk.img" 2G >/dev/null
    as_root rm -rf "$work/root"
    as_root chmod -R a+rX "$work"
    # An older recipe's disk is of no use any more.
    as_root find "$vm" -mindepth 1 -maxdepth 1 -type d -name '[0-9a-f]*' -exec rm -rf {} +
    as_root mv "$work" "$made"
    exec {lock}>&-
    say "the machine's disk is made: $((SECONDS - begun)) s, $(du -sh "$made" | cut -f1)"
}

# --- the machine ------------------------------------------------------------------------------------------------------

# accelerator: `kvm` when a guest really comes up by it: /dev/kvm may be there and a guest yet never run its first
# instruction, as in some nested machines. That costs the whole wait, so the answer is kept until the host's next boot.
accelerator() {
    local known
    known=$vm/kvm-$(cat /proc/sys/kernel/random/boot_id)
    if [ -w /dev/kvm ] && [ ! -e "$known-fails" ]; then
        if [[ $(timeout 10 qemu-system-x86_64 -accel kvm -cpu host -m 256M -nodefaults -display none -no-reboot \
            -kernel "$(disk)/vmlinuz" -initrd "$(disk)/initrd.gz" -append "console=ttyS0 quiet panic=-1 vm.probe" \
            -serial stdio </dev/null 2>/dev/null || true) = *'the guest is alive'* ]]; then
            echo kvm
            return
        fi
        { rm -f "$vm"/kvm-* && touch "$known-fails"; } 2>/dev/null || true
    fi
    echo tcg,thread=multi
}

# boot JOB SECONDS: starts a machine on the folder JOB/fs (copied to its /), streams its output, sets $code to the job's.
boot() {
    local job=$1 patience=$2 accel cpu=max made word owner begun=$SECONDS streams=() terminal=(-serial null)
    made=$(disk)
    accel=$(accelerator)
    [ "$accel" = kvm ] && cpu=host
    owner=()
    [ "$(id -u)" = 0 ] || owner=(--owner=0 --group=0)
    tar -C "$job/fs" "${owner[@]}" -cf "$job/job.tar" .
    truncate -s 512M "$job/swap"
    mkfifo "$job/out" "$job/err" "$job/status"
    cat "$job/out" & streams+=($!)
    cat "$job/err" >&2 & streams+=($!)
    exec {status}<>"$job/status"
    [ -e "$job/fs/job/shell" ] && terminal=(-chardev stdio,id=tty,mux=on,signal=off -serial chardev:tty)

    nice -n "${VM_NICE:-0}" qemu-system-x86_64 -machine q35 -accel "$accel" -cpu "$cpu" -smp 2 -m 2G -nodefaults \
        -display none -no-reboot -kernel "$made/vmlinuz" -initrd "$made/initrd.gz" \
        -append "console=ttyS0 quiet systemd.show_status=0 psi=1 panic=-1 mitigations=off hugepages=8 ${VM_APPEND:-}" \
        -drive "file=$made/disk.img,format=raw,if=virtio,snapshot=on" \
        -drive "file=$job/job.tar,format=raw,if=virtio,readonly=on" -drive "file=$job/swap,format=raw,if=virtio" \
        -netdev user,id=net,restrict=on -device virtio-net-pci,netdev=net,romfile= -device virtio-rng-pci \
        -device virtio-serial-pci \
        -chardev "file,id=out,path=$job/out,append=on" -device virtserialport,chardev=out,name=vm.out \
        -chardev "file,id=err,path=$job/err,append=on" -device virtserialport,chardev=err,name=vm.err \
        -chardev "file,id=status,path=$job/status,append=on" -device virtserialport,chardev=status,name=vm.status \
        -serial "file:$job/console" "${terminal[@]}" <&0 2>"$job/qemu" &
    machine=$!

    local limit=$boot_patience heard=$begun
    code=125 why=
    while :; do
        # read in short steps: a machine that dies says nothing.
        if read -r -t 1 word <&"$status"; then
            heard=$SECONDS limit=$silence
            case $word in
            up) [ -n "${quiet:-}" ] || say "the machine is up: $((SECONDS - begun)) s (${accel%%,*})" ;;
            exit\ *) code=${word#exit }; break ;;
            esac
        elif ! kill -0 "$machine" 2>/dev/null; then
            why="the machine ended before the job did"; break
        elif [ $((SECONDS - heard)) -gt "$limit" ]; then
            why="the machine hangs: it has said nothing for $limit s, so it was ended"; break
        elif [ $((SECONDS - begun)) -gt "$patience" ]; then
            why="the job was not done after $patience s (--timeout), so the machine was ended"; break
        fi
    done
    end_machine
    wait "${streams[@]}" || true
    exec {status}>&-
    if [ -n "$why" ]; then
        { cat "$job/qemu"; tail -n 30 "$job/console"; } >&2
        say "$why; above is the end of its console"
    fi
}

# The machine powers off by itself after its job; one that does not is ended: politely, or the shell would report a kill.
end_machine() {
    local tries
    [ -n "${machine:-}" ] || return 0
    [ -z "${why:-}" ] || kill -TERM "$machine" 2>/dev/null || true
    for tries in {1..100}; do
        kill -0 "$machine" 2>/dev/null || break
        [ "$tries" != 50 ] || kill -TERM "$machine" 2>/dev/null || true
        sleep 0.1
    done
    kill -KILL "$machine" 2>/dev/null || true
    wait "$machine" 2>/dev/null || true
    machine=
}

# --- the commands -----------------------------------------------------------------------------------------------------

job=
clean_up() {
    why=interrupted end_machine
    [ -z "$job" ] || rm -rf "$job"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# prepare: the disk, the emulator, the runtime, and an empty job.
prepare() {
    need_package qemu-system-x86 util-linux
    build
    if [ -z "${MYRT:-}" ]; then need_release --bins; MYRT=$myrt; fi
    job=$(mktemp -d "${TMPDIR:-/var/tmp}/myrt-vm.XXXXXX")
    mkdir -p "$job/fs/job" "$job/fs/usr/local/bin"
    install -m 755 "$MYRT" "$job/fs/usr/local/bin/myrt"
    # The programs that it becomes for some commands.
    local beside
    for beside in "${MYRT%/*}"/myrt-{sandbox,image}; do
        [ ! -x "$beside" ] || install -m 755 "$beside" "$job/fs/usr/local/bin/"
    done
}

# copy PATH[:GUEST]
copy() {
    local from=${1%%:*} to
    [ -e "$from" ] || die "--copy $1: there is no $from"
    case $1 in *:*) to=${1#*:} ;; *) to=/$(basename "$(realpath "$from")") ;; esac
    mkdir -p "$job/fs/$(dirname "$to")"
    cp -aT "$from" "$job/fs/$to"
}

# The options that run and shell share; sets $rest to what follows them.
options() {
    local copies=() one
    timeout=1800
    while [ $# -gt 0 ]; do
        case $1 in
        --copy) [ $# -gt 1 ] || die "--copy needs PATH[:GUEST]"; copies+=("$2"); shift 2 ;;
        --timeout) [[ ${2:-} =~ ^[0-9]+$ ]] || die "--timeout needs a number of seconds"; timeout=$2; shift 2 ;;
        --) shift; break ;;
        -*) die "unknown option $1 (--help says which there are)" ;;
        *) break ;;
        esac
    done
    rest=("$@")
    prepare
    for one in "${copies[@]}"; do copy "$one"; done
}

run() {
    options "$@"
    [ ${#rest[@]} -gt 0 ] || die "run needs a command: scripts/vm.sh run -- myrt check"
    printf '%q ' "${rest[@]}" >"$job/fs/job/run"
    boot "$job" "$timeout" </dev/null
    exit "$code"
}

shell() {
    options "$@"
    [ -t 0 ] || die "shell needs a terminal"
    stty -a | sed -n 's/.*rows \([0-9]*\); columns \([0-9]*\).*/rows \1 columns \2/p' >"$job/fs/job/shell"
    say "booting (about half a minute where it is emulated); exit ends it, Ctrl-A X ends it at once"
    boot "$job" 1000000
    exit "$code"
}

command=${1:-}
[ $# = 0 ] || shift
case $command in
build) need_package qemu-system-x86; build; say "the disk: $(disk)/disk.img" ;;
run | shell) "$command" "$@" ;;
test) . "$root/scripts/vm/test.sh"; vm_test "$@" ;;
-h | --help | '') sed -n '2,18s/^# \{0,1\}//p' "$0"; [ -n "$command" ] || exit 2 ;;
*) die "unknown command $command (run, shell, test or build)" ;;
esac
