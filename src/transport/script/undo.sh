# What was there before a change, in undo/NAME beside the ledger:
#   version    of this format: 1
#   list       what was kept, a line each: `path PATH`, `unit UNIT` or `package NAME`
#   N/was      how the thing of line N was, in the words of was.sh
#   N/data     what was in it
#   restore    the program that puts it back, and needs nothing else
#   committed  is there when the change is well, undone when all was rolled back
# It is made beside its place and renamed, and a line is in the list only when all of its thing is on the disk: there is
# never half of one.
# undoing ENVIRONMENT MISSING: goes to the directory of all that is kept, with MISSING as `make` making it. Returns 66 where there is none.
undoing() {
  belonging "$1" "$2" || return
  if [ ! -e ./undo ] && [ ! -L ./undo ]; then
    [ "$2" = make ] || return 66
    mkdir ./undo && { sync . 2>/dev/null || sync; } || return
  fi
  if [ -L ./undo ] || [ ! -d ./undo ] || ! [ -O ./undo ]; then refuse "$S/$1/undo is no directory of armilla's: move it away"; return; fi
  cd -P ./undo
}
# alone: nobody else is at work in this directory as long as descriptor 5 is open.
alone() {
  exec 5>>./lock
  timeout 3600 flock 5 || refuse "$PWD cannot be locked: it is being rolled back since an hour, or this host has no flock"
}
# readable: what is in this directory has a format that we know.
readable() {
  version=
  { read -r version <./version; } 2>/dev/null
  [ "$version" = 1 ] || refuse "what was kept in $PWD is of a newer armilla, or damaged"
}
# snapshot ENVIRONMENT NAME SCRIPT LIST: SCRIPT and LIST are functions that write the program and what is touched.
snapshot() {
  undoing "$1" make || return
  name=$2 script=$3 list=$4
  if [ -f "./$name/list" ] && [ ! -e "./$name/committed" ] && [ ! -e "./$name/undone" ]; then
    cd -P "./$name" && alone && readable || return
    if [ -e ./undone ]; then refuse "what was kept of $name was rolled back meanwhile: plan again"; return; fi
    remember
    return
  fi
  rm -rf -- "./.new-$name" "./.old-$name" && mkdir "./.new-$name" && cd -P "./.new-$name" || return
  echo 1 >./version && : >./lock && : >./list && remember || return
  # crash point
  cd -P .. || return
  if [ -e "./$name" ]; then mv -T "./$name" "./.old-$name" || return; fi
  # crash point
  mv -T "./.new-$name" "./$name" && { sync . 2>/dev/null || sync; } || return
  # crash point
  rm -rf -- "./.old-$name"
}
# remember: adds what is not kept yet.
remember() {
  base=$PWD
  "$script" >./.new-restore && chmod 0700 ./.new-restore && mv -f -T ./.new-restore ./restore || full || return
  "$list" >./.wanted && cat ./list >./.new-list || full || return
  kept=$(wc -l <./list)
  while IFS= read -r line <&6; do
    keep_one "${line%% *}" "${line#* }" || return
    cd "$base" || return
  done 6<./.wanted
  rm -f ./.wanted
  # crash point
  { sync -f . 2>/dev/null || sync; } && mv -f -T ./.new-list ./list && { sync . 2>/dev/null || sync; } || full
}
full() { refuse "what was before cannot be kept in $base; is the disk full?"; }
# keep_one KIND NAME
keep_one() {
  case $1 in
    path) above "$2" && keep_thing path "$2" ;;
    *) keep_thing "$1" "$2" ;;
  esac
}
# above PATH: the directories over it that are missing, the uppermost first, so that it goes last.
above() {
  case $1 in '~'*) return 0 ;; esac
  rest=${1#/} at=
  while :; do
    case $rest in */*) ;; *) return 0 ;; esac
    at=$at/${rest%%/*} rest=${rest#*/}
    if [ ! -e "$at" ] && [ ! -L "$at" ]; then keep_thing path "$at" || return; fi
  done
}
# keep_thing KIND NAME
keep_thing() {
  if grep -q -F -x -e "$1 $2" "$base/.new-list"; then return 0; fi
  kept=$((kept + 1))
  rm -rf -- "$base/$kept" && mkdir "$base/$kept" || full || return
  # crash point
  case $1 in
    path) o=$(path_was "$2" "$base/$kept/data") ;;
    unit) o=$(unit_was "$2") ;;
    package) o=$(package_was "$2") ;;
  esac || { printf '%s\n' "$o"; return 1; }
  # crash point
  { printf '%s\n' "$o" >"$base/$kept/was" && printf '%s\n' "$1 $2" >>"$base/.new-list"; } || full
}
# path_was PATH DATA: how it is; what is in it goes to DATA.
path_was() {
  located "$1" || { printf none; return; }
  d=${place%/*}
  while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done
  if [ "$d" != "${place%/*}" ]; then
    if [ -d "${d:-/}" ] && [ ! -x "${d:-/}" ]; then refuse "permission denied: cannot look into $d"; return; fi
    printf none
    return
  fi
  enter no "$d" || return
  name=./${place##*/}
  o=$(attributes_of "$name") || return
  case $o in
    none) ;;
    file*)
      exec 7<"$name" || return
      if [ -L "$name" ] || [ ! "$name" -ef /proc/self/fd/7 ]; then refuse "$place was swapped meanwhile"; return; fi
      o="file $(stat -L -c '%u:%g 0%a' /proc/self/fd/7)" || return
      cat <&7 >"$2" || full || return
      ;;
    link*) readlink -n -- "$name" >"$2" || full || return ;;
    # What is unpacked is replaced as a whole and never written to, so that a second name of each file is a copy.
    tree*)
      alike=
      [ "$(stat -c %d -- "$name")" != "$(stat -c %d "$base")" ] || alike=-l
      cp -a $alike -- "$name" "$2" || full || return
      ;;
    directory*) ;;
    *) refuse "$place is not a file, link or directory, and nothing else can be rolled back"; return ;;
  esac
  printf %s "$o"
}
# commit ENVIRONMENT NAME
commit() {
  found "$1" "$2" || return
  alone && readable || return
  [ ! -e ./undone ] || refuse "the change of $2 was undone already" || return
  : >./committed && { sync ./committed . 2>/dev/null || sync; } || refuse "$PWD/committed cannot be written; is the disk full?"
}
# found ENVIRONMENT NAME: goes to what is kept under that name.
found() {
  undoing "$1" no
  case $? in
    0) ;;
    66) refuse "nothing was kept of $2 on this host"; return ;;
    *) return 1 ;;
  esac
  [ -f "./$2/list" ] && cd -P "./$2" || refuse "nothing was kept of $2 on this host"
}
# undo ENVIRONMENT NAME
undo() {
  found "$1" "$2" || return
  readable || return
  if [ -e ./undone ]; then printf %s "$N"; return; fi
  sh "$PWD/restore" 3>&-
}
