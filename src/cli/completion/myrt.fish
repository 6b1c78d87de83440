# Completion of myrt for fish; made by `myrt completion fish`.

# Whether the command on the line is $argv[1]; with "" whether there is none yet.
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
        else
            set command $word
            break
        end
    end
    test "$command" = "$argv[1]"
end

complete -c myrt -f
@TABLE@
