# Steps that start a program.
# perform LIMIT FUNCTION [CODE OTHER]: a program; its output goes to files, so that a daemon it leaves behind holds nothing
# of ours. Where it ends with CODE, the function OTHER does it in its place.
perform() {
  housed || return
  execute "$1" "$2" && return
  if [ "$code" = "${3:-none}" ]; then "$4"; return; fi
  lament
  [ "$code" != 124 ] || echo "it took longer than $t s and was ended"
  return "$code"
}
# execute LIMIT FUNCTION: without a word about how it went. $code is 124 if it ran out of time.
execute() {
  t=$1 code=1
  tick
  began=$now
  ("$2" >"$T/out" 2>"$T/err" 3>&-)
  code=$?
  overdue "$code" "$began" && code=124
  return "$code"
}
# lament: what the program said last.
lament() {
  if [ -s "$T/err" ]; then f=$T/err; else f=$T/out; fi
  tail -c 16384 "$f" | tr -d '\000'
}
# unless GUARD_LIMIT GUARD LIMIT FUNCTION: a program where the guard fails. One that does not answer in time says nothing.
unless() {
  housed || return
  execute "$1" "$2"
  case $? in
    0) printf %s "$N" ;;
    124) refuse "the guard did not answer within $1 s: $(lament)" ;;
    *) perform "$3" "$4" ;;
  esac
}
# housed: whether there is a place for what programs say.
housed() { [ -n "$T" ] || refuse 'no place for a temporary directory in /run, /var/tmp and TMPDIR'; }
