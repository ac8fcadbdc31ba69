# What an order leaves behind that was killed, or whose host lost its power. Whoever calls this holds the lock of all
# orders, so that none of them is at work.
# sweep: removes it. Begins in $S, where it may end anywhere: call it in a subshell.
sweep() {
  set +f
  for o in ./*/.new-ledger ./*/.new-journal; do
    [ ! -f "$o" ] || [ -L "$o" ] || rm -f -- "$o"
  done
  for l in /run/armilla.*.*.*.* /var/tmp/armilla.*.*.*.* "$scratch"/armilla.*.*.*.*; do
    ! abandoned "$l" || rm -rf -- "$l"
  done
  for l in ./*/drafts; do
    [ -f "$l" ] && [ ! -L "$l" ] || continue
    set -f
    (undraft "$l")
    rm -f -- "$l"
  done
} 2>/dev/null
# undraft LIST: removes the drafts from the directories that are listed, one a line.
undraft() {
  while IFS= read -r at; do
    case $at in '~'*) o=${at#'~'} at=$(home "${o%%/*}")/${o#*/} ;; esac
    (enter no "$at" && tidied)
  done <"$1"
} >/dev/null 2>&1
# tidied: removes the drafts in this directory, but for those of this conversation.
tidied() {
  set +f
  for o in ./.armilla-????????????????????????????????-*; do
    case $o in "./.armilla-$N-"*) continue ;; esac
    if [ -L "$o" ] || { [ -f "$o" ] && [ -O "$o" ]; }; then rm -f -- "$o"; fi
  done
  set -f
}
# mark_shell: $mark becomes what tells this shell from all others that this host ever ran: its boot, number and beginning.
mark_shell() {
  mark= boot=
  read -r boot </proc/sys/kernel/random/boot_id && read -r o </proc/self/stat || return
  mark=${boot%%-*}.${o%% *}
  # Its name, in parentheses, may hold anything.
  o=${o##*) }
  set -- $o
  mark=$mark.${20}
} 2>/dev/null
# abandoned DIRECTORY: whether it is one that `temporary` made for us in a shell that has ended.
abandoned() {
  [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] || return
  o=${1##*/armilla.}
  o=${o%.*}
  read -r boot </proc/sys/kernel/random/boot_id || return
  [ "${o%%.*}" = "${boot%%-*}" ] || return 0
  o=${o#*.}
  number "${o%%.*}" && number "${o#*.}" || return
  read -r line <"/proc/${o%%.*}/stat" || return 0
  line=${line##*) }
  began=${o#*.}
  set -- $line
  [ "${20}" != "$began" ]
}
