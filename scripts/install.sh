#!/usr/bin/env bash
# Installs myrt: the binary, manual pages, completions; and adds it as a runtime to the configuration of engines.
#
#   scripts/install.sh [OPTIONS]              builds the release and installs it
#   scripts/install.sh --uninstall [ENGINES]  takes everything out again, or myrt out of those engines only
#
#   --docker        /etc/docker/daemon.json: docker run --runtime myrt ...
#   --podman        /etc/containers/containers.conf.d/50-myrt.conf: podman --runtime myrt run ...
#   --containerd    /etc/containerd/config.toml: a RuntimeClass whose handler is myrt
#   --crio          /etc/crio/crio.conf.d/50-myrt.conf: likewise
#   --default       makes it the default of Docker, Podman and CRI-O
#   --restart       lets the engines read their configuration; without it the script says how, and does not
#   --binary FILE   installs this binary instead of building one
#   --prefix DIR    default: /usr/local
#   --destdir DIR   puts everything below DIR, as if that were / (for packages and for tests)
#
# It can be run again at any time. An engine's file keeps all that others wrote in it, also what they write later; it is
# replaced whole or not at all, and one that cannot be parsed stops the script before anything is changed.
. "$(dirname "$0")/lib.sh"

usage() { sed -n '2,/^\. /{/^\. /d;s/^# \{0,1\}//p}' "$0"; }
engines=() options=() myrt='' prefix=/usr/local destdir='' restart='' uninstall='' arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --binary | --prefix | --destdir) [ -n "${2:-}" ] || die "$1 needs a value" ;;&
    --docker | --podman | --containerd | --crio) engines+=("${1#--}") ;;
    --default) options+=(--default) ;;
    --restart) restart=yes ;;
    --uninstall) uninstall=yes ;;
    --binary) myrt=$(realpath -e "$2"); shift ;;
    --prefix) prefix=${2%/}; shift ;;
    --destdir) mkdir -p "$2"; destdir=$(realpath "$2"); shift ;;
    -h | --help) usage; exit ;;
    *) usage >&2; die "unknown argument $1" ;;
    esac
    shift
done
[[ $prefix == /* ]] || die "--prefix needs an absolute path, since engines look for the binary from everywhere"
[ -z "$destdir" ] || [ -z "$restart" ] || die "--restart and --destdir exclude each other: engines read what is below /"
[ ${#options[@]} = 0 ] || [ ${#engines[@]} -gt 0 ] || die "--default needs an engine"

if [ -z "$myrt$uninstall" ]; then need_release --bins; arguments+=(--binary "$myrt"); fi
if [ -z "$destdir" ] && [ "$(id -u)" != 0 ]; then as_root "$BASH" "$0" "${arguments[@]}"; exit; fi
need_package python3

# Each file that was made, and each folder with a slash at its end, in this order.
list=$destdir/var/lib/myrt-install/files

configure() { # VERB ARGUMENT…: prints the engines whose files were changed
    python3 -B "$root/scripts/install/configure.py" "$@" ${destdir:+--destdir "$destdir"}
}

note() { grep -qxF -e "$1" "$list" || echo "$1" >>"$list"; }

folder() { # makes a folder and those above it
    [ -d "$destdir$1" ] && return
    folder "$(dirname "$1")"
    note "$1/"
    mkdir -m 755 "$destdir$1"
}

# place MODE PATH: standard input becomes the file, by a rename: a container may be running from the old binary.
place() {
    folder "$(dirname "$2")"
    note "$2"
    cat >"$destdir$2.myrt-new"
    chmod "$1" "$destdir$2.myrt-new"
    mv -f "$destdir$2.myrt-new" "$destdir$2"
}

install_files() {
    local pages page shell file
    mkdir -p -m 700 "$(dirname "$list")"
    touch "$list"
    place 755 "$prefix/bin/myrt" <"$myrt"
    local program
    for program in myrt-image myrt-sandbox; do
        if [ -e "$(dirname "$myrt")/$program" ]; then place 755 "$prefix/bin/$program" <"$(dirname "$myrt")/$program"; fi
    done
    pages=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder is known now
    trap "rm -rf '$pages'" EXIT
    "$myrt" man "$pages"
    for program in image sandbox; do
        if [ -e "$(dirname "$myrt")/myrt-$program" ]; then "$myrt" "$program" man "$pages"; fi
    done
    for page in "$pages"/*; do place 644 "$prefix/share/man/man1/${page##*/}" <"$page"; done
    while read -r shell file; do
        "$myrt" completion "$shell" >"$pages/completion"
        place 644 "$prefix/share/$file" <"$pages/completion"
    done <<END
bash bash-completion/completions/myrt
zsh zsh/$([ "$prefix" = /usr ] && echo vendor-completions || echo site-functions)/_myrt
fish fish/vendor_completions.d/myrt.fish
END
    say "installed $prefix/bin/myrt, its manual pages and completions${destdir:+, below $destdir}"
}

uninstall_files() {
    local path
    [ -e "$list" ] || { say "no files of an earlier run"; return; }
    while read -r path; do
        case $path in
        */) rmdir --ignore-fail-on-non-empty "$destdir$path" 2>/dev/null || true ;;
        *) rm -f "$destdir$path" "$destdir$path.myrt-new" ;;
        esac
    done < <(tac "$list")
    rm -f "$list"
    rmdir --ignore-fail-on-non-empty "$(dirname "$list")"
    say "removed the binary, manual pages and completions"
}

# What makes an engine see its new configuration. dockerd re-reads runtimes while it runs, but forgets none.
next_step() { # ENGINE
    case $1${uninstall:+-removed} in
    docker) echo systemctl reload docker ;;
    podman*) ;; # every command reads it
    docker-removed) echo systemctl restart docker ;;
    *) echo systemctl restart "${1%-removed}" ;;
    esac
}

if [ -n "$uninstall" ]; then
    everything=''
    if [ ${#engines[@]} = 0 ]; then everything=yes engines=(docker podman containerd crio); fi
    changed=$(configure remove "${engines[@]}") || exit
    if [ -n "$everything" ]; then uninstall_files; fi
else
    [[ $("$myrt" --version) == "myrt "* ]] || die "$myrt is not myrt"
    configure check "$prefix/bin/myrt" "${engines[@]}" "${options[@]}" || exit
    install_files
    changed=$(configure add "$prefix/bin/myrt" "${engines[@]}" "${options[@]}") || exit
fi

for engine in $changed; do
    step=$(next_step "$engine")
    if [ -z "$step" ]; then continue; fi
    if [ -z "$restart" ]; then say "next, when it suits you: $step"; continue; fi
    say "$step"
    $step
done
