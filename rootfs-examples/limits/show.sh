# Runs inside of the container: runs into each of its three limits and says what happened.
pids=/sys/fs/cgroup/pids.max cpu=/sys/fs/cgroup/cpu.stat
[ -e $pids ] || pids=/sys/fs/cgroup/pids/pids.max cpu=/sys/fs/cgroup/cpu/cpu.stat

echo "processes: the limit is $(cat $pids); starting 30 at once"
sh -c 'i=0; while [ $i -lt 30 ]; do sleep 1 & i=$((i + 1)); done; wait' 2>&1 | tail -n 1
sleep 1

echo "memory: 16 MiB; writing 64 MiB into a tmpfs"
dd if=/dev/zero of=/tmp/big bs=1M count=64 2>/dev/null
code=$?
rm -f /tmp/big
[ $code = 137 ] && echo "the kernel killed the writer (exit code 137)" || echo "NOT KILLED: exit code $code"

echo "cpu: a fifth of one; one second of work"
before=$(sed -n 's/^nr_throttled //p' $cpu)
timeout 1 sh -c 'while :; do :; done' 2>/dev/null
echo "held back $(($(sed -n 's/^nr_throttled //p' $cpu) - before)) times"
