# Runs inside of the container: root here, an ordinary user outside.
echo "inside I am: $(id)"
echo "first id inside, first id on the host, how many: $(cat /proc/self/uid_map)"
echo "a file of the host's root shows as owned by: $(stat -c %u /bin/busybox)"
touch /tmp/mine && echo "my own file: $(stat -c %u /tmp/mine)"
