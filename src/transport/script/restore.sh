# Puts back what was there before a change, and needs nothing but the directory it is in: see undo.sh for what that holds.
# `restore early` while the host is still starting: it does not wait for units. Done again it gives the same end.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
unset CDPATH ENV BASH_ENV LANGUAGE POSIXLY_CORRECT IFS
umask 077
set -f
scratch=${TMPDIR:-/tmp}
block=
nl='
'
[ "${1:-}" != early ] || block=--no-block
case $0 in */*) cd -P -- "${0%/*}" || exit ;; esac
here=$PWD
exec 5>>"$here/lock"
timeout 3600 flock 5 || { echo "$here cannot be locked: it is being rolled back since an hour, or this host has no flock"; exit 1; }
version=
{ read -r version <"$here/version"; } 2>/dev/null
if [ "$version" != 1 ] || [ ! -f "$here/list" ]; then echo "what was kept in $here is of a newer armilla, or damaged"; exit 1; fi
[ ! -e "$here/undone" ] || exit 0
# changing: from here on something is different from what it was a moment ago. It is remembered for the case that we are cut off.
changing() { [ -e "$here/begun" ] || { : >"$here/begun" && { sync "$here/begun" "$here" 2>/dev/null || sync; }; }; }
# program SECONDS PROGRAM ARGUMENT...: its output goes to a file, so that a daemon it leaves behind holds nothing of ours.
program() {
  t=$1
  shift
  (umask 022 && cd / && exec timeout -k 5 "$t" "$@" >"$here/said" 2>&1 </dev/null 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-) && return
  tail -c 4096 "$here/said"
  return 1
}
# each FUNCTION KIND: calls FUNCTION NUMBER NAME for everything of that kind, what was touched last first.
each() {
  n=$(wc -l <"$here/list")
  sed -e '1!G' -e 'h' -e '$!d' "$here/list" >"$here/.turned" || return
  while IFS= read -r line <&4; do
    if [ "${line%% *}" = "$2" ]; then
      # crash point
      o=$("$1" "$n" "${line#* }" 2>&1) || complain "$line: $o"
    fi
    n=$((n - 1))
  done 4<"$here/.turned"
}
# complain TEXT: the same thing may be tried twice, and is told once, by its first line.
complain() {
  touch "$here/.wrong"
  if ! grep -q -F -x -e "${1%%"$nl"*}" "$here/.wrong"; then printf '%s\n' "$1" >>"$here/.wrong"; fi
}
# was NUMBER: how it was, in $was.
was() {
  was=
  { IFS= read -r was <"$here/$1/was"; } 2>/dev/null
  [ -n "$was" ] || refuse "how it was is not known: $here/$1/was is damaged"
}
runs() { case $1 in active*|activating*|reloading*|refreshing*) ;; *) return 1 ;; esac; }
starts() { case $1 in *' enabled'*) ;; *) return 1 ;; esac; }
# halt NUMBER UNIT: one that did not run or did not start with the host does not do so now, while its file is still there.
halt() {
  was "$1" || return
  now=$(unit_was "$2")
  wrong=
  if ! runs "$was" && runs "$now"; then changing && program 600 systemctl stop -- "$2" || wrong=1; fi
  if ! starts "$was" && starts "$now"; then changing && program 60 systemctl disable -- "$2" || wrong=1; fi
  case $was:$now in failed*) ;; *:failed*) program 60 systemctl reset-failed -- "$2" >/dev/null || : ;; esac
  [ -z "$wrong" ]
}
# run NUMBER UNIT: one that ran runs, and has read what is there again.
run() {
  was "$1" || return
  now=$(unit_was "$2")
  wrong=
  if starts "$was" && ! starts "$now"; then changing && program 60 systemctl enable -- "$2" || wrong=1; fi
  if runs "$was"; then
    # What fell over too often would not be started again.
    program 60 systemctl reset-failed -- "$2" >/dev/null || :
    verb=start
    # What is in use is not taken away from under those who use it.
    case $2 in *.mount|*.automount|*.swap|*.target|*.slice) ;; *) [ ! -e "$here/begun" ] || verb=restart ;; esac
    if [ "$verb" = restart ] || ! runs "$now"; then program 600 systemctl $block "$verb" -- "$2" || wrong=1; fi
  fi
  [ -z "$wrong" ]
}
# away NUMBER PATH: what was not there goes. A directory stays as long as something is in it.
away() {
  was "$1" || return
  [ "$was" = none ] && located "$2" || return 0
  [ -d "${place%/*}/" ] || return 0
  enter no "${place%/*}" || return
  name=./${place##*/} old=./.armilla-old-${place##*/}
  if is_unpacked "$name"; then changing && rm -rf -- "$old" && mv -T -- "$name" "$old" && rm -rf -- "$old"
  elif [ -d "$name" ] && [ ! -L "$name" ]; then rmdir -- "$name" 2>/dev/null || :
  elif [ -e "$name" ] || [ -L "$name" ]; then changing && rm -f -- "$name" && { sync . 2>/dev/null || sync; }
  fi
}
# back NUMBER PATH: what was there comes back, beside its place and renamed.
back() {
  was "$1" || return
  [ "$was" != none ] || return 0
  located "$2" || { refuse "$2: there is no such user with a home directory any more"; return; }
  enter make "${place%/*}" || return
  name=./${place##*/} new=./.armilla-new-${place##*/} old=./.armilla-old-${place##*/} data=$here/$1/data
  now=$(attributes_of "$name") || return
  ! same || return 0
  changing && rm -rf -- "$new" || return
  case $was in
    directory*) ;;
    file*) make_file ;;
    link*) make_link ;;
    tree*) make_tree ;;
    *) false ;;
  esac || { rm -rf -- "$new"; refuse "$place cannot be restored; is the disk full?"; return; }
  # crash point
  vacate || return
  # crash point
  case $was in
    directory*) mend ;;
    *) mv -f -T -- "$new" "$name" ;;
  esac || return
  { sync . 2>/dev/null || sync; } && rm -rf -- "$old"
}
# same: whether nothing is to be done.
same() {
  case $was in
    file*) [ "$now" = "$was" ] && [ "$(sha256sum <"$name")" = "$(sha256sum <"$data")" ] ;;
    link*) [ "$now" = "$was" ] && [ "$(readlink -n -- "$name" | od -An -tx1)" = "$(od -An -tx1 <"$data")" ] ;;
    # Where it is no second name of the same file, it is the directory itself that was left alone.
    tree*)
      case $now in tree*) ;; *) return 1 ;; esac
      [ "$name/.armilla-archive" -ef "$data/.armilla-archive" ] ||
        { [ "$now" = "$was" ] && [ "$(sha256sum <"$name/.armilla-archive")" = "$(sha256sum <"$data/.armilla-archive")" ]; }
      ;;
    *) [ "$now" = "$was" ] ;;
  esac
}
make_file() {
  o=${was#file }
  (
    set -C
    exec 7>"$new" || exit
    set +C
    f=/proc/self/fd/7
    chown -- "${o% *}" "$f" && cat <"$data" >&7 && chmod -- "${o#* }" "$f" && { sync "$f" 2>/dev/null || sync; }
  )
}
make_link() {
  o=$(cat "$data"; printf .)
  ln -s -- "${o%.}" "$new" && chown -h -- "${was#link }" "$new"
}
make_tree() {
  alike=
  [ "$(stat -c %d .)" != "$(stat -c %d "$data")" ] || alike=-l
  cp -a $alike -- "$data" "$new" && { sync -f "$new" 2>/dev/null || sync; }
}
# vacate: what is in the place makes room, if another kind of thing is to be there.
vacate() {
  case ${was%% *}:${now%% *} in
    *:none|directory:directory|file:file|file:link|file:other|link:file|link:link|link:other) return 0 ;;
    directory:file|directory:link|directory:other) rm -f -- "$name" ;;
    *:directory) rmdir -- "$name" 2>/dev/null || refuse "$place is a directory now, with something in it: it is not removed" ;;
    *) rm -rf -- "$old" && mv -T -- "$name" "$old" ;;
  esac
}
# mend: the directory is there, with its owner and mode.
mend() {
  o=${was#directory }
  [ -d "$name" ] || mkdir -- "$name" || return
  exec 8<.
  cd -P -- "$name" && [ .. -ef /proc/self/fd/8 ] || { refuse "$place became a symbolic link"; return; }
  # Five digits: with four, chmod leaves the set-group-ID bit of a directory as it is.
  chown -- "${o% *}" . && chmod -- "00${o#* 0}" . && cd -P ..
}
# version NUMBER NAME: the package as it was.
version() {
  was "$1" || return
  now=$(package_was "$2")
  [ "$now" != "$was" ] || return 0
  if [ "$was" = other ]; then refuse 'it cannot be restored: this host has no apt'; return; fi
  changing
  program 1800 dpkg --configure -a --force-confdef --force-confold >/dev/null || :
  case $now in *' hold') program 60 apt-mark unhold -- "$2" || return ;; esac
  case $was in
    none) removed program 1800 sh -c "$purging" purge "$2" ;;
    left) removed program 1800 apt-get remove -y -q -o DPkg::Lock::Timeout=300 -- "$2" ;;
    half*) refuse 'it was installed only by half, and that cannot be restored' ;;
    *) older "$2" "${was%% *}" && marked "$2" "${was#* }" ;;
  esac
}
# removed PROGRAM...
removed() { o=$("$@") || refuse "it was not there, and cannot be removed: $o"; }
# going ARGUMENT...: the packages that apt would take away.
going() {
  apt-get -s -q -o APT::AutoRemove::SuggestsImportant=false "$@" 2>/dev/null 9>&- | sed -n -e 's/^Purg \([^ ]*\).*/\1/p' -e 's/^Remv \([^ ]*\).*/\1/p'
}
# older NAME VERSION: what came with the newer one and is needed by nothing without it goes; what nothing needed before stays.
older() {
  [ "${now%% *}" != "$2" ] || return 0
  idle=" $(going autoremove | tr '\n' ' ')" more=
  for o in $(going install --auto-remove --no-install-recommends --allow-downgrades --allow-change-held-packages -- "$1=$2"); do
    case $idle in *" $o "*) ;; *) more="$more $o-" ;; esac
  done
  o=$(program 1800 apt-get install -y -q --purge --no-install-recommends --allow-downgrades --allow-change-held-packages \
    -o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold -- "$1=$2" $more) && return
  refuse "it cannot be restored to the version $2: $o"
}
# marked NAME MARKS
marked() { program 60 apt-mark "${2% *}" -- "$1" && { [ "${2#* }" = unhold ] || program 60 apt-mark hold -- "$1"; }; }
# told: the journal of the host says so, too. A last line without an end was being written when the power went.
told() {
  journal=${here%/undo/*}/journal
  cd -P "${journal%/*}" || return
  if [ -s ./journal ] && [ "$(tail -c 1 ./journal | wc -l)" -ne 1 ]; then
    head -n "$(wc -l <./journal)" ./journal >./.new-journal && mv -f -T ./.new-journal ./journal || return
  fi
  printf 'undone %s\n' "${here##*/}" >>./journal && { sync ./journal . 2>/dev/null || sync; } || return
  # crash point
  : >"$here/undone" && { sync "$here/undone" "$here" 2>/dev/null || sync; }
}
export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=l
rm -f "$here/.wrong"
each halt unit
each away path
each version package
each back path
each away path
if [ -e "$here/begun" ] && grep -q -e '^unit ' -e '^path .*/systemd/' "$here/list" && command -v systemctl >/dev/null 2>&1; then
  o=$(program 60 systemctl daemon-reload) || complain "$o"
fi
each run unit
rm -f "$here/.turned" "$here/said"
if [ -s "$here/.wrong" ]; then
  cat "$here/.wrong"
  exit 1
fi
rm -f "$here/.wrong"
# crash point
told || { echo "$here: what was rolled back cannot be recorded; is the disk full?"; exit 1; }
