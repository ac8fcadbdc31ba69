# How steps are done. A step is a function; it succeeds, or complains and returns another code than 0.
gone=
trap 'gone=1' HUP INT TERM PIPE
trap '[ -z "$T" ] || rm -rf -- "$T"; discard; undrafted' EXIT
T= drafts=
# temporary: $T becomes a directory only we can look into. Its name says whose it is; see `abandoned`.
temporary() {
  mark_shell
  o=armilla.${mark:+$mark.}XXXXXXXXXXXX
  T=$(mktemp -d "/run/$o" 2>/dev/null || mktemp -d "/var/tmp/$o" 2>/dev/null || mktemp -d "$scratch/$o") || T=
}
finish() { over; exit 0; }
# tidy: what orders that were killed left here goes, where nobody but us can be at work.
tidy() { :; }
# undrafted: says that no draft is left, where drafts were announced.
undrafted() { :; }
# note WORD: writes down what becomes of the step, where there is a journal.
note() { :; }
# step INDEX FUNCTION: does one; after the first that fails, or when nobody listens any more, no other begins.
step() {
  [ -z "$gone" ] || exit 1
  i=$1
  tick
  say begin "$i" "$now" || exit 1
  [ -z "$gone" ] || exit 1
  # crash point
  if [ -e /run/armilla-late ]; then complaint='this host rolls everything back: the time for the change is over' code=85
  elif note begin; then
    # crash point
    complaint=$("$2" 2>&1 6>&-)
    code=$?
    # crash point
    # First for those who come later: perhaps nobody listens any more.
    if [ "$code" = 0 ]; then note 'done'; else note failed "$code"; fi
    # crash point
  else complaint="$journal cannot be written, and without it no step starts; is the disk full?" code=1
  fi
  tick
  if [ "$code" != 0 ]; then
    discard
    persist
    frame failed "$i" "$now" "$code"
    printf '%s' "$complaint" >&3
    shut
    finish
  fi
  if [ "$complaint" = "$N" ]; then say skipped "$i" "$now"; else say done "$i" "$now"; fi
}
# tell TEXT MORE: its first line, and more, every two seconds at most.
tell() {
  [ "$now" -ge "$told" ] || return 0
  told=$((now + 200))
  frame waiting "$i"
  printf '%.300s%s' "${1%%"$nl"*}" "$2" >&3
  shut
}
