# Completion of myrt for fish; made by `myrt completion fish`.

# Whether the command on the line is $argv[1], such as run or "sandbox run"; with "" whether there is none yet.
function __myrt_at
    set -l command ''
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $word
            # The flags before a command that take a value.
            contains -- (string replace -r '^--?' '' -- $word) @VALUED@
            and set skip 1
        else if test -n "$command"
            set command "$command $word"
            break
        else
            set command $word
            contains -- $word @BELOW@
            or break
        end
    end
    test "$command" = "$argv[1]"
end

complete -c myrt -f
@TABLE@
# What is below a command is another program's, which tells of it.
for program in @BELOW@
    command myrt $program completion fish 2>/dev/null | source
end
