# Completion of myrt for bash; made by `myrt completion bash`.

# What may follow a command, or stand before it: its flags (NAME=WHAT takes a value), what else is understood and not
# offered, its first word, and whether its words are somebody else's from then on.
_myrt_table() {
    flags='' more='' first='' rest='' below=''
    case $1 in
@TABLE@
    *) return 1 ;;
    esac
}

# The same for what is below the command $1: that is another program's, which tells of it.
_myrt_below() {
    declare -F "_myrt_table_$1" >/dev/null || eval "$(command myrt "$1" completion bash 2>/dev/null)"
    declare -F "_myrt_table_$1" >/dev/null && "_myrt_table_$1" "$2"
}

# What the flag $1 takes, into `what`; fails for a switch. One dash is as good as two.
_myrt_takes() {
    local flag name=${1#-}
    name=${name#-}
    [[ ${#name} -gt 1 ]] && name=--$name || name=-$name
    for flag in $flags $more; do
        [[ $flag == "$name"=* ]] && what=${flag#*=} && return
    done
    return 1
}

_myrt() {
    local IFS=$' \t\n' flags more first rest below what='' want='' glued='' command='' count=0 root=() list='' i word
    local cur=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    _myrt_table ''
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == +([=:]) ]]; then
            # Lines are split here as well: what follows is still the same word.
            [[ $want ]] || glued=1
        elif [[ $glued ]]; then
            glued=''
        elif [[ $want ]]; then
            [[ $want == -?(-)root ]] && root=(--root "$word")
            want=''
        elif [[ $word == -- ]]; then
            flags='' more=''
        elif [[ $word == -* ]]; then
            _myrt_takes "$word" && want=$word
        elif [[ ! $command || $below ]]; then
            command=${command:+$command }$word
            _myrt_table "$command" || return 0
        elif [[ $rest ]]; then
            return 0
        else
            count=$((count + 1))
        fi
    done
    [[ $glued ]] && return 0
    if [[ $cur == +([=:]) ]]; then
        [[ $want ]] || return 0
        cur=''
    fi
    if [[ ! $want ]]; then
        what=''
        if [[ $cur == -* ]]; then
            for word in $flags; do
                list+=" ${word%%=*}"
            done
        elif [[ $count -eq 0 ]]; then
            what=$first
        fi
    fi
    case $what in
    DIR) compopt -o dirnames ;;
    FILE) compopt -o default ;;
    BOX) list=$(command myrt sandbox list -q 2>/dev/null) ;;
    ID) list=$(command myrt "${root[@]}" list -q 2>/dev/null) ;;
    ?*) list=${what//|/ } ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$list" -- "$cur")
}

complete -F _myrt myrt
