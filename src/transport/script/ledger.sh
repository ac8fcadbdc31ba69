# What is owned on this host, and what was done since that was written.
# belonging ENVIRONMENT MISSING: goes to its directory, with MISSING as `make` making it. Returns 66 where there is none.
belonging() {
  kept "$2" || return
  if [ ! -e "./$1" ] && [ ! -L "./$1" ]; then
    [ "$2" = make ] || return 66
    mkdir "./$1" && { sync . 2>/dev/null || sync; } || return
  fi
  if [ -L "./$1" ] || [ ! -d "./$1" ] || ! [ -O "./$1" ]; then refuse "$S/$1 is no directory of armilla's: move it away"; return; fi
  cd -P "./$1"
}
# save ENVIRONMENT BYTES FUNCTION ARGUMENT...: FUNCTION fills the new ledger $f; then BYTES of the journal go.
save() {
  path=$S/$1/ledger owner= group= mode=00600 new=./.new-ledger worked=$2
  belonging "$1" make || return
  shift 2
  if [ -e "$new" ] || [ -L "$new" ]; then rm -f -- "$new"; fi
  # crash point
  if (fill "$@") && mv -f -T -- "$new" ./ledger && { sync . 2>/dev/null || sync; }; then forget "$worked"; return; fi
  rm -f -- "$new"
  return 1
}
# clear ENVIRONMENT BYTES: nothing is owned there any more.
clear() {
  belonging "$1" no
  case $? in 0) ;; 66) return 0 ;; *) return 1 ;; esac
  rm -f ./ledger ./.new-ledger && { sync . 2>/dev/null || sync; } && forget "$2" || return
  cd .. && { [ -e "./$1/journal" ] || [ -e "./$1/backup" ] || [ -e "./$1/undo" ] || rmdir "./$1"; }
}
# adopt FROM TO: what is kept for an environment of a project that was not known belongs to one from now on.
adopt() {
  kept no
  case $? in 0) ;; 66) return 0 ;; *) return 1 ;; esac
  [ -e "./$1" ] || [ -L "./$1" ] || return 0
  if [ -L "./$1" ] || [ ! -d "./$1" ] || ! [ -O "./$1" ]; then refuse "$S/$1 is no directory of armilla's: move it away"; return; fi
  # A rollback timer names the directory that it is in.
  set +f
  for o in "./$1"/armed/*/armed; do
    if [ -e "$o" ]; then
      set -f
      refuse "a rollback timer is armed in $S/$1: confirm or await it, then adopt again"
      return
    fi
  done
  set -f
  if [ -e "./$2/ledger" ] || [ -e "./$2/journal" ]; then refuse "$S/$2 already exists, and so is $S/$1: move one of them away"; return; fi
  # crash point
  mv -T -- "./$1" "./$2" || return
  sync . 2>/dev/null || sync
}
# forget BYTES: takes them off the front of the journal. A line without an end does not count.
forget() {
  # crash point
  [ -e ./journal ] || return 0
  tail -c "+$(($1 + 1))" ./journal >./.new-journal || return
  if [ ! -s ./.new-journal ] || [ "$(wc -l <./.new-journal)" -eq 0 ]; then rm -f ./.new-journal ./journal; return; fi
  { sync ./.new-journal 2>/dev/null || sync; } && mv -f -T ./.new-journal ./journal && { sync . 2>/dev/null || sync; }
}
# copy ENVIRONMENT GENERATION PATH: keeps what is at PATH, if it is a file, in a place below backup/ that only we can look into.
copy() {
  [ -f "$3" ] && [ ! -L "$3" ] || return 0
  enter no "${3%/*}" || return
  exec 7<"./${3##*/}" || return
  [ ! -L "./${3##*/}" ] && [ "./${3##*/}" -ef /proc/self/fd/7 ] || { refuse "$3 was swapped meanwhile"; return; }
  o=$(stat -L -c '%u:%g %a' /proc/self/fd/7) || return
  belonging "$1" make || return
  (umask 077 && mkdir -p "./backup/$2${3%/*}" && cat <&7 >"./backup/$2$3") || {
    refuse "no copy of $3 can be kept in $S/$1/backup; is the disk full?"
    return
  }
  # Who it belonged to is told where we may; what it was allowed to do as another user it is not any more.
  chown "${o% *}" "./backup/$2$3" 2>/dev/null
  o=${o#* } o=${o#"${o%???}"}
  chmod "0$o" "./backup/$2$3" || return
  sync "./backup/$2$3" 2>/dev/null || sync
}
# uncopy ENVIRONMENT: removes all copies, and what was there before changes that are over.
uncopy() {
  belonging "$1" no
  case $? in 0) ;; 66) return 0 ;; *) return 1 ;; esac
  rm -rf ./backup || return
  [ -d ./undo ] && [ ! -L ./undo ] || return 0
  set +f
  rm -rf ./undo/.new-* ./undo/.old-*
  for o in ./undo/*/; do
    if [ -e "${o}committed" ] || [ -e "${o}undone" ]; then rm -rf -- "$o"; fi
  done
  set -f
  rmdir ./undo 2>/dev/null || :
}
