# Steps that need the package manager, which may be at work for somebody else.
# refresh: the package lists; waits for others who hold the lock.
refresh() {
  patience=600
  if [ -s /var/lib/dpkg/status ] && has apt-get; then
    unlocked 300 /var/lib/apt/lists/lock || return
    # A proxy that hangs is given up, and asked again. Nothing is asked ahead: apt waits without end for the answer if the
    # proxy closes the connection first.
    patience=90
    refreshed 'get lock' apt-get update -q -o APT::Update::Error-Mode=any -o Acquire::http::Timeout=30 -o Acquire::Retries=2 -o Acquire::http::Pipeline-Depth=0
  elif has dnf; then refreshed 'waiting for process' dnf -q -y makecache
  elif has yum; then refreshed 'holding the yum lock' yum -q -y makecache
  elif has zypper; then refreshed 'is locked by' zypper --non-interactive --quiet refresh
  elif has apk; then refreshed 'lock database' apk update -q
  elif has pacman; then refreshed 'lock database' pacman -Sy --noconfirm
  else refuse 'this host has no package manager that armilla knows'
  fi
}
# unlocked SECONDS FILE...: waits until no other program holds a lock on one of them, and says which one it is.
unlocked() {
  tick
  patience=$1 limit=$((now + $1 * 100)) told=0
  shift
  while holder "$@"; do
    if [ "$now" -ge "$limit" ]; then refuse "$held: waited $patience s for it to end"; return; fi
    tell "$held"
    sleep 1
    tick
  done
}
# holder FILE...: whether there is one; $held is its number and its name: what
# was typed may have a secret in it. The locks of apt and dpkg are POSIX's.
holder() {
  while read -r _ kind _ _ holder _; do
    case $kind:$holder in POSIX:*[!0-9]*|POSIX:) continue ;; POSIX:*) ;; *) continue ;; esac
    set +f
    for o in "/proc/$holder/fd"/*; do
      for f do
        [ "$o" -ef "$f" ] || continue
        set -f
        o=$(tr -d '[:cntrl:]' <"/proc/$holder/comm")
        held="$f is locked by process $holder ($o)"
        return
      done
    done
    set -f
  done </proc/locks 2>/dev/null
  return 1
}
# refreshed LOCKED PROGRAM ARGUMENT...: again while it complains that it is LOCKED, and once if it did not end within
# $patience seconds: apt may wait for ever where a proxy sent half an answer. What it has by then it does not fetch again.
refreshed() {
  locked=$1
  shift
  tick
  limit=$((now + 30000)) told=0
  while :; do
    o=$(umask 022; export DEBIAN_FRONTEND=noninteractive; timeout -k 5 "$patience" "$@" 2>&1 >/dev/null 3>&- 9>&-)
    code=$?
    [ "$code" != 0 ] || return 0
    tick
    if [ "$code:$patience" = 124:90 ]; then
      tell "$1 did not end within $patience s, and is asked once more"
      patience=600
      continue
    fi
    case $o in *"$locked"*) ;; *) break ;; esac
    [ "$now" -lt "$limit" ] || break
    tell "$o"
    sleep 2
  done
  printf '%s' "$o" | tail -c 16384
  return "$code"
}
