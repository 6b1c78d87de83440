# Runs inside of the container: three refused calls, and that the rest works. Each refusal is a rule of config.json.
touch /tmp/file && echo "touch works"
mkdir /tmp/folder || echo "mkdir was refused, with the default errno (1, EPERM)"
chmod 700 /tmp/file || echo "chmod was refused, with errno 28 (ENOSPC), which config.json chose"
kill -CONT $$ && echo "kill works for SIGCONT"
kill -USR1 $$ || echo "kill was refused for signal 10 alone, by a rule on its second argument"
