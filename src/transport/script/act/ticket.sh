# By what right the steps are done, and what is written down meanwhile. Descriptor 9 is locked as long as any of our
# shells is at work here; 6 is the journal.
fenced() { frame fenced; printf '%s' "$1" >&3; finish; }
unable() { frame unable; printf '%s' "$1" >&3; finish; }
# admit LEASE FENCE
admit() {
  locking unable
  tick
  i=0 told=$((now + 200)) limit=$((now + 60000))
  until taken; do
    tick
    [ -z "$gone" ] || exit 1
    [ "$now" -lt "$limit" ] || unable 'an earlier order is still being carried out there after ten minutes of waiting'
    tell 'an earlier order is still being carried out there'
    sleep 0.2 2>/dev/null || sleep 1
  done
  desk >/dev/null || unable "$(desk)"
  [ -n "$line" ] && [ "$id" = "$1" ] && [ "$no" = "$2" ] || fenced "$line"
  cd /
  exec 8<&-
}
# taken: whether the place is ours now. It may have been removed while we waited for it.
taken() {
  stay no
  case $? in
    0) ;;
    66) fenced ;;
    *) unable "$why" ;;
  esac
  [ -e ./busy ] || fenced
  exec 9<>./busy
  flock -n 9 && [ ./busy -ef /proc/self/fd/9 ]
}
journal= stuck= beside=
# journal ENVIRONMENT FIRST each|one OVER COUNT [DRAFTS]: COUNT steps, each in a line of its own or all as one. DRAFTS writes
# the directories in which they will make drafts: a killed order could not remove them.
journal() {
  first=$2 counts=$3 over=$4 most=$5
  mended "$1" >/dev/null || unable "$(mended "$1")"
  { true >>./journal; } 2>/dev/null || unable "$S/$1/journal cannot be written; is the disk full?"
  exec 6>>./journal
  journal=$S/$1/journal
  [ ! -f ./drafts ] || (undraft ./drafts)
  if [ -n "$6" ]; then
    beside=$S/$1/drafts
    { "$6" >./drafts; } 2>/dev/null || unable "$beside cannot be written; is the disk full?"
  fi
  # crash point
  if [ "$first" = 0 ]; then
    read -r o </proc/sys/kernel/random/boot_id
    { { printf 'stage %s ' "$o" && intend && printf '\n'; } >&6; } 2>/dev/null &&
      { sync ./journal ${6:+./drafts} . 2>/dev/null || sync; } || unable "$journal cannot be written; is the disk full?"
  fi
  # crash point
  cd /
  exec 8<&-
}
# mended ENVIRONMENT: goes to where its journal is, and sees to it that this ends with a line.
mended() { belonging "$1" make && torn; }
# torn: a last line without an end is cut off: the power went while it was written.
torn() {
  [ ! -s ./journal ] || [ "$(tail -c 1 ./journal | wc -l)" -eq 1 ] && return
  head -n "$(wc -l <./journal)" ./journal >./.new-journal && { sync ./.new-journal 2>/dev/null || sync; } &&
    mv -f -T ./.new-journal ./journal && { sync . 2>/dev/null || sync; } || refuse "$S's journal cannot be repaired; is the disk full?"
}
# note WORD [CODE]: about the step $i. After a line that could not be written whole there is no other.
note() {
  [ -n "$journal" ] || return 0
  [ -z "$stuck" ] || return
  o=$first
  case $counts:$1 in
    each:*) o=$((first + i)) ;;
    one:begin) [ "$i" = 0 ] || return 0 ;;
    one:done) [ "$((i + 1))" = "$most" ] || return 0 ;;
  esac
  { printf '%s\n' "$1 $o${2:+ $2}" >&6; } 2>/dev/null && return
  stuck=yes
  return 1
}
# recorded: all was done.
recorded() {
  [ -n "$over" ] && [ -z "$stuck" ] || return 0
  # crash point
  { printf 'over\n' >&6; } 2>/dev/null
  # crash point
}
# tidy: we hold the lock, so that a file which only another order of ours makes, and renames or removes, has been given up.
tidy() { tidied; }
undrafted() { [ -z "$beside" ] || rm -f -- "$beside"; }
