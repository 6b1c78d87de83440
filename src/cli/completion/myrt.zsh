#compdef myrt
# Completion of myrt for zsh; made by `myrt completion zsh`.

# What may follow a command, or stand before it, as _arguments takes it.
_myrt_flags() {
    case $1 in
@TABLE@
    *) flags=() ;;
    esac
}

_myrt_command() {
    local -a commands=(
@COMMANDS@
    )
    _describe command commands
}

_myrt_id() {
    local -a ids=(${(f)"$(command myrt $root list -q 2>/dev/null)"})
    compadd -a ids
}

_myrt_box() {
    local -a names=(${(f)"$(command myrt sandbox list -q 2>/dev/null)"})
    compadd -a names
}

# What is below a command is another program's, which tells of it.
_myrt_below() {
    (( ${+functions[_myrt_below_$1]} )) || eval "$(command myrt $1 completion zsh 2>/dev/null)"
    (( ${+functions[_myrt_below_$1]} )) && _myrt_below_$1
}

_myrt() {
    local context state state_descr line curcontext=$curcontext
    local -A opt_args
    local -a flags root
    _myrt_flags ''
    _arguments -s -C -A '-*' $flags ':command:_myrt_command' '*::word:->word' && return
    [[ $state == word ]] || return 1
    (( ${+opt_args[--root]} )) && root=(--root ${(Q)opt_args[--root]})
    if [[ $line[1] == (@BELOW@) ]]; then
        _myrt_below $line[1]
        return
    fi
    _myrt_flags $line[1]
    _arguments -s $flags
}

# Autoloaded it is the function itself; sourced it has to be made known.
if [[ $funcstack[1] == _myrt ]]; then
    _myrt "$@"
else
    compdef _myrt myrt
fi
