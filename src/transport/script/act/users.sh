# Accounts that are in use.
# unused USER: waits until none of its processes is left, and says which one is. Who logged in a moment ago is still
# there: systemd keeps the manager of a user for ten seconds.
unused() {
  uid=$(id -u -- "$1" 2>/dev/null) || return 0
  tick
  limit=$((now + 3000)) told=0
  while used "$uid"; do
    held="user $1 is used by process $p ($o)"
    if [ "$now" -ge "$limit" ]; then refuse "$held: waited 30 s for it to end"; return; fi
    tell "$held"
    sleep 1
    tick
  done
}
# used UID: whether a process is; $p is its number, $o its name.
used() {
  set +f
  p=$(grep -lsE "^Uid:.*[[:blank:]]$1([[:blank:]]|\$)" /proc/[0-9]*/status)
  set -f
  p=${p%%/status*} p=${p##*/}
  [ -n "$p" ] || return
  o=$(tr -d '[:cntrl:]' 2>/dev/null <"/proc/$p/comm")
}
