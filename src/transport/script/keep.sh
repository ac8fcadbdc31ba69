# What armilla keeps on this host, in the directory $S.
# kept MISSING: goes to $S, with MISSING as `make` making it. Returns 66 where there is none.
kept() {
  [ -n "$S" ] || { refuse 'this user has no home directory to keep anything in: HOME is not set'; return; }
  if [ ! -e "$S" ] && [ ! -L "$S" ] && [ "$1" != make ]; then return 66; fi
  enter "$1" "${S%/*}" || return
  exec 8<.
  if [ -L ./host ]; then refuse "$S is a symbolic link, and armilla keeps nothing behind one: remove it"; return; fi
  # Somebody else may be making it, too.
  [ -e ./host ] || mkdir ./host 2>/dev/null || [ -d ./host ] || mkdir ./host || return
  cd -P ./host || return
  [ .. -ef /proc/self/fd/8 ] || { refuse "$S became a symbolic link"; return; }
  # Where nobody else can write now, nobody else makes it so that they can.
  if [ -n "$sure" ] && [ -O . ]; then return; fi
  d=$(stat -c '%u:%a' .) || return
  [ "${d%%:*}" = "$me" ] || { refuse "$S belongs to another user (number ${d%%:*}): armilla believes nothing in it; move it away"; return; }
  case $d in *[2367]|*[2367]?) refuse "others can write in $S: armilla believes nothing in it; move it away"; return ;; esac
  sure=yes
}
sure=
# stay MISSING: the same, and again if somebody else made or removed it meanwhile. What was wrong is in $why.
stay() {
  for again in 1 2 3 4 5; do
    kept "$1" >/dev/null 2>&1
    code=$?
    case $code in 0|66) return "$code" ;; esac
    why=$(kept "$1" 2>&1)
    sleep 0.05 2>/dev/null || sleep 1
  done
  return 1
}
# record NAME TEXT...: a file of these lines in the place of the old one, flushed to disk.
record() {
  record=$1
  shift
  if printf '%s\n' "$@" >"./.new-$record" && { sync "./.new-$record" 2>/dev/null || sync; } &&
    mv -f -T -- "./.new-$record" "./$record"; then sync . 2>/dev/null || sync; return 0; fi
  rm -f "./.new-$record"
  refuse "$S/$record cannot be written; is the disk full?"
}
number() { case $1 in ''|*[!0-9]*|???????????????????*) return 1 ;; esac; }
# desk: what is written down: the lease as $line, of it $id, $no and $seconds; $was and $beat, the boot and its second
# of the last sign of life; and $fence.
desk() {
  line= id= no= seconds= was= beat= fence=0
  if [ -e ./fence ]; then
    read -r fence <./fence
    number "$fence" || { refuse "$S/fence is damaged: it must hold one number"; return; }
  fi
  [ -e ./lease ] || return 0
  { IFS= read -r line; read -r was beat; } <./lease
  o=${line#'{"version":1,"id":"'}
  id=${o%%\"*}
  rest=${o#*'","fence":'}
  no=${rest%%,*}
  rest=${rest#*',"seconds":'}
  seconds=${rest%%,*}
  if [ "$o" = "$line" ] || ! number "$no" || ! number "$seconds" || ! number "$beat"; then
    refuse "$S/lease is damaged, or of a newer armilla: look at it, and remove it if it is damaged"
    return
  fi
}
# locking END: END hears it where nothing can be locked here.
locking() { has flock || "$1" 'this host has no flock: add the package util-linux'; }
