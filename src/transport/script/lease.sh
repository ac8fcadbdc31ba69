# The rule by which this host lets somebody work on it: the same as `grant` in src/lease.rs.
trap '' PIPE
# cannot TEXT: the end, without an answer.
cannot() { frame unable; printf '%s' "$1" >&3; over; exit 0; }
# told WORD: about the lease that is there.
told() { frame "$1" "$silent" "$busy_"; printf '%s' "$line" >&3; }
# guard: only one at a time beyond this point, and of a directory that is still there.
guard() {
  tries=0
  while :; do
    stay "$1"
    case $? in
      0) ;;
      66) return 66 ;;
      *) cannot "$why" ;;
    esac
    if { true >>./guard; } 2>/dev/null; then
      exec 7>>./guard
      flock -n 7 || limit 20 flock 7 || cannot 'another process has held the guard of its lease for 20 s'
      [ ./guard -ef /proc/self/fd/7 ] && return
    elif [ "$tries" -gt 2 ]; then cannot "$S/guard cannot be written; is the disk full?"
    fi
    tries=$((tries + 1))
    [ "$tries" -lt 50 ] || cannot "$S comes and goes"
    cd /
  done
}
# idle: takes 9 so that no order begins until this script ends. Who only looks holds it for no time.
idle() {
  { true >>./busy; } 2>/dev/null || cannot "$S/busy cannot be written; is the disk full?"
  exec 9>>./busy
  flock -n 9 || { sleep 0.1 2>/dev/null && flock -n 9; } || { sleep 0.2 2>/dev/null && flock -n 9; }
}
# counted: what the time says about the lease that is there.
counted() {
  read -r boot </proc/sys/kernel/random/boot_id
  read -r up _ </proc/uptime
  up=${up%%.*} silent=$up
  # What is wrong is asked for again: a process of its own for words that are hardly ever said costs more.
  desk >/dev/null || cannot "$(desk)"
  [ -n "$line" ] || return 0
  if [ "$was" = "$boot" ]; then
    silent=$((up - beat))
    [ "$silent" -ge 0 ] || silent=0
  fi
  left=$((seconds - silent))
  [ "$left" -ge 0 ] || left=0
}
write() { o=$(record "$@") || cannot "$o"; }
# grant LEASE: the fence, and the lease under it.
grant() {
  if printf '%s\n' "$fence" >./.new-fence && printf '%s\n' "$1" "$boot $up" >./.new-lease &&
    { sync ./.new-fence ./.new-lease 2>/dev/null || sync; } &&
    mv -f -T ./.new-fence ./fence && mv -f -T ./.new-lease ./lease; then sync . 2>/dev/null || sync; return; fi
  rm -f ./.new-fence ./.new-lease
  cannot "$S/lease cannot be written; is the disk full?"
}
# look: nothing is made, and nobody is kept waiting.
look() {
  stay no
  case $? in
    0) ;;
    66) frame free; return ;;
    *) cannot "$why" ;;
  esac
  counted
  if [ -z "$line" ]; then frame free; return; fi
  busy_=no
  if [ -e ./busy ]; then
    (exec 9<./busy; flock -n -s 9)
    [ $? != 1 ] || busy_=yes
  fi
  told taken
}
# acquire ID INSTEAD_OF BEFORE AFTER: the lease is what is BEFORE its fence, the fence, and AFTER.
acquire() {
  guard make
  counted
  if [ -n "$line" ] && [ "$id" = "$1" ]; then
    write lease "$line" "$boot $up"
    frame granted "$fence"
    return
  fi
  busy_=no
  idle || busy_=yes
  if [ -n "$line" ]; then
    if [ "$busy_" = yes ]; then told taken; return; fi
    if [ "$left" != 0 ] && [ "$id" != "$2" ]; then told taken; return; fi
  fi
  [ "$busy_" = yes ] || (sweep)
  # A power loss may have kept the lease without its fence.
  [ "${no:-0}" -le "$fence" ] || fence=$no
  fence=$((fence + 1))
  grant "$3$fence$4"
  frame granted "$fence"
}
# mine ID: whether it is there; if not, that is the answer.
mine() {
  guard no
  if [ $? = 66 ]; then frame lost; return 1; fi
  counted
  [ -z "$line" ] || [ "$id" != "$1" ] || return 0
  if [ -z "$line" ]; then frame lost; return 1; fi
  busy_=no
  idle || busy_=yes
  told lost
  return 1
}
renew() {
  mine "$1" || return 0
  write lease "$line" "$boot $up"
  frame granted "$fence"
}
release() {
  mine "$1" || return 0
  if ! idle; then
    # Who has it is refused from now on, and nobody else gets in before what runs is over.
    case $id in ended-*) ;; *) id=ended-$id ;; esac
    write lease '{"version":1,"id":"'"$id"'","fence":'"$no"',"seconds":0'"${rest#"$seconds"}" "$was $beat"
    frame free
    return
  fi
  # What was killed since the lease began has nobody else who removes it before the next one.
  (sweep)
  # What a power loss brings back ends by itself, as any lease does.
  rm -f ./lease || cannot "$S/lease cannot be removed"
  frame free
  leave
}
# leave: where no environment is left, nothing is. An order that is still being carried out keeps its place.
leave() {
  set +f
  for o in ./*/; do break; done
  set -f
  [ ! -d "$o" ] && idle || return 0
  rm -f ./fence ./busy ./guard ./.new-*
  cd / && rmdir "$S" && rmdir "${S%/*}"
} 2>/dev/null
locking cannot
