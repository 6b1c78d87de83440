# Shared by the scripts of this folder: source it first. What it owns: the root of the checkout, packages, cargo, messages.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# cargo of rustup is in nobody's PATH under sudo or in a bare shell.
PATH=$PATH:${HOME:-/root}/.cargo/bin:/usr/local/sbin:/usr/sbin:/sbin

say() { printf '==> %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
trap 'printf "%s: line %s failed: %s\n" "$(basename "$0")" "$LINENO" "$BASH_COMMAND" >&2' ERR
set -E

# Runs a command as root: directly, or by sudo.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; return; fi
    command -v sudo >/dev/null || die "root is needed for: $* (run this script as root, or install sudo)"
    sudo "$@"
}

# need_package PACKAGE…: installs what is missing. Debian and its kin; elsewhere it says what to install.
need_package() {
    local package missing=() log
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || die "install what these Debian packages hold, then come back: ${missing[*]}"
    say "installing ${missing[*]}"
    log=$(mktemp)
    { as_root apt-get update -qq &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 </dev/null || { cat "$log" >&2; die "apt-get could not install ${missing[*]}"; }
    rm -f "$log"
}

# Under sudo the build belongs to the owner of the checkout, so that no file in it becomes root's.
builder() {
    if [ "$(id -u)" = 0 ] && [ "${SUDO_USER:-root}" != root ] && [ "$(stat -c %U "$root")" = "$SUDO_USER" ]; then
        echo "$SUDO_USER"
    fi
}

# as_builder COMMAND…: runs it, in the root of the checkout, as the one to whom the build belongs.
as_builder() {
    local user home
    user=$(builder)
    if [ -z "$user" ]; then (cd "$root" && "$@"); return; fi
    home=$(getent passwd "$user" | cut -d: -f6)
    (cd "$root" && runuser -u "$user" -- env HOME="$home" PATH="$home/.cargo/bin:$PATH" "$@")
}

# Rust from where it is; nobody's Rust is installed or updated here. The linker and a static libc come from Debian.
need_rust() {
    need_package gcc libc6-dev
    as_builder cargo --version >/dev/null 2>&1 || die "no Rust found: install it from https://rustup.rs, then come back"
}

# Where cargo puts a build of PROFILE: .cargo/config.toml names the target, so the host's triple is part of the path.
built() { echo "${CARGO_TARGET_DIR:-$root/target}/$(as_builder rustc -vV | sed -n 's/^host: //p')/$1"; }

# need_release [--bins]: builds the release of myrt, with --bins the programs beside it as well; sets $myrt.
need_release() {
    need_rust
    say "building myrt (release)"
    as_builder cargo build --release --locked "${1:---bin=myrt}"
    myrt=$(built release)/myrt
}

# test_program NAME: where cargo put a program of tests.
test_program() {
    as_builder cargo test --locked --test "$1" --no-run --message-format=json 2>/dev/null |
        python3 -c '
import json, sys
found = [m["executable"] for line in sys.stdin for m in [json.loads(line)]
         if m.get("reason") == "compiler-artifact" and m["target"]["name"] == sys.argv[1] and m.get("executable")]
print(found[-1])' "$1"
}
