# usage: supervise SIGNAL FOLDER COMMAND [ARGUMENT...]
# Runs one server and ends it, its folder too, when standard input closes: the kernel closes it when the process at
# the other end is gone, however it ended.
# Descriptor 3 is inherited by the server and everything it forks: its far end closes when the last of them is gone.
signal=$1 folder=$2
shift 2

"$@" </dev/null >>"$folder/server.log" 2>&1 &
server=$!
echo "$server"
exec 3>&-

# A server that has ended keeps its pid, as a zombie, until it is waited for; Postgres does not restart before that.
while read -r order; do
  [ "$order" = leave ] && break
  wait
  server=
  echo waited
done

if [ -n "$server" ]; then
  # A stopped process keeps a signal waiting until it is continued.
  kill -CONT "$server" $(cat "/proc/$server/task/$server/children" 2>/dev/null) 2>/dev/null
  kill -s "$signal" "$server" 2>/dev/null
  wait
fi
[ "$order" = leave ] || rm -rf "$folder"
