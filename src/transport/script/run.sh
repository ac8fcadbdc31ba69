# What only runs one program and passes on what it says: its standard output goes to 3 and its standard error to 2 as
# they come, between a beginning and an end that only this conversation knows.
# begin LIMIT
begin() {
  t=$1
  printf '%s begin;' "$N" >&3
  printf '%s begin;' "$N" >&2
  tick
  began=$now
}
# listen PROGRAM: until it has ended. When nobody listens to us any more, it and all it started is ended.
listen() {
  beats "$1" &
  heart=$!
  wait "$1"
  code=$?
  kill "$heart" 2>/dev/null
  overdue "$code" "$began" && code=124
  printf '%s end %s;' "$N" "$code" >&2
  printf '%s end %s;' "$N" "$code" >&3
}
# beats PROGRAM: a sign of life every second; who cannot send it any more ends the program.
beats() {
  trap '' PIPE
  while sleep 1 3>&- 2>/dev/null; do
    printf '%s beat;' "$N" 2>/dev/null >&3 || break
  done
  kill -TERM "$1" 2>/dev/null
}
