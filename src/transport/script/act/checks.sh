# Waiting until something holds.
nap() { sleep 0.5 2>/dev/null || sleep 1; }
# await CHECK WITHIN STABLE MOST (in hundredths of a second): CHECK is a function that sets $why when it does not hold, and
# returns 2 when it never will. What remains of the time is in $t, in whole seconds. An answer that was not given before
# begins WITHIN anew, but never goes beyond MOST: the same rules as in plan/wait.rs.
await() {
  tick
  start=$now fresh=$now told=$((now + 200)) since= heard=
  while :; do
    ends "$2" "$4"
    t=$(((end - now + 99) / 100))
    [ "$t" -gt 0 ] || t=1
    why= cut= asked=$now
    "$1"
    case $? in
      0)
        tick
        since=${since:-$now}
        [ $((now - since)) -lt "$3" ] || return 0
        hear ''
        why="holds for $(((now - since) / 100)) s of $((($3 + 99) / 100)) s"
        ;;
      2) refuse "$why"; return ;;
      *) tick; since=; hurried || hear "$why" ;;
    esac
    ends "$2" "$4"
    [ "$now" -lt "$end" ] || { overlong "$2" "$4"; return; }
    tell "$why" " ($(((end - now) / 100)) s left)"
    nap
    tick
  done
}
# hurried: whether the question ran out of a time that was cut short: that says nothing about the answer.
hurried() { [ -n "$cut" ] && [ "$((now - asked))" -ge "$((t * 100 - 50))" ]; }
# ends WITHIN MOST: $end becomes when the wait is over if nothing new is answered.
ends() {
  end=$((fresh + $1))
  [ "$end" -le $((start + $2)) ] || end=$((start + $2))
}
# hear ANSWER: one that was not given before is news. The first is none unless all is well: nothing came before it.
hear() {
  o=$(printf %s "$1" | cksum)
  case $heard in *"($o)"*) return ;; esac
  [ -n "$1" ] && [ -z "$heard" ] || fresh=$now
  heard="$heard($o)"
}
# overlong WITHIN MOST
overlong() {
  if [ "$end" -ge $((start + $2)) ]; then o="$((($2 + 99) / 100)) s in all"
  elif [ "$fresh" != "$start" ]; then o="$((($1 + 99) / 100)) s of the last news"
  else o="$((($1 + 99) / 100)) s"
  fi
  refuse "not within $o: $why"
}
# at_most LIMIT: of the time that remains, one question gets this much.
at_most() { if [ "$t" -lt "$1" ]; then cut=yes; else t=$1; fi; }
# open LIMIT ADDRESS PORT HEX LOOPBACK
open() {
  at_most "$1"
  port "$2" "$3" "$4" "$5"
  case $? in
    0) ;;
    1) why="$2 port $3 does not accept connections"; return 1 ;;
    *) why="asking for $2 port $3 needs bash or nc on the host"; return 2 ;;
  esac
}
closed() {
  open "$@"
  case $? in
    0) why="$2 port $3 accepts connections"; return 1 ;;
    1) return 0 ;;
    *) return 2 ;;
  esac
}
active() {
  if ! has systemctl; then why='this host has no systemctl'; return 2; fi
  o=$(limit 10 systemctl is-active -- "$1" 2>&1 3>&-)
  why="$1 is ${o:-in no known state}"
  case $o in active|activating) ;; *) return 1 ;; esac
  o=$(limit 10 systemctl show --property=SubState,NRestarts,ActiveEnterTimestampMonotonic -- "$1" 2>/dev/null 3>&-)
  if restarts "$o"; then why="$1 fails, and systemd keeps restarting it"; return 1; fi
  case $why in *' is active') ;; *) return 1 ;; esac
}
# restarts PROPERTIES: whether systemd keeps restarting it: it waits for the next start, or was restarted so recently that
# the next failure may be near. See step/unit.rs.
restarts() {
  o=$nl$1$nl
  case $o in *"${nl}SubState=auto-restart"*) return 0 ;; esac
  case $o in *"${nl}NRestarts="[1-9]*) ;; *) return 1 ;; esac
  case $o in *"${nl}ActiveEnterTimestampMonotonic="[1-9]*) ;; *) return 1 ;; esac
  p=${o#*"${nl}NRestarts="} o=${o#*"${nl}ActiveEnterTimestampMonotonic="}
  p=${p%%"$nl"*} o=${o%%"$nl"*}
  [ "$p" -lt 3 ] || p=3
  tick
  [ $((now - o / 10000)) -lt $((p * 1000)) ]
}
# answers LIMIT FUNCTION PATTERN: PATTERN is empty when any output will do.
answers() {
  at_most "$1"
  began=$now
  o=$({ { "$2" 2>"$T/err" 3>&- 4>&-; printf '%s\n' "$?" >&4; } | timeout $((t + 6)) tail -c 65536 | tr -d '\000'; } 4>&1)
  code=${o%%"$nl"*}
  case $o in *"$nl"*) o=${o#*"$nl"} ;; *) o= ;; esac
  o=${o#"${o%%[![:space:]]*}"}
  o=${o%"${o##*[![:space:]]}"}
  if overdue "$code" "$began"; then why="no answer within $1 s"; return 1; fi
  if [ "$code" != 0 ]; then
    [ -n "$o" ] || o=$(tail -c 1024 "$T/err" | tr -d '\000')
    why="exit code $code: $o"
    return 1
  fi
  [ -n "$3" ] || return 0
  why="the answer is: $o"
  case $o in *"$nl"*) return 1 ;; esac
  like "$3" "$o" -x
}
# like PATTERN TEXT OPTION...: whether a line of it matches; 2 if the pattern is none.
like() {
  p=$1 o=$2
  shift 2
  printf '%s\n' "$o" | grep -E -q "$@" -e "$p" 2>/dev/null
  case $? in 0) ;; 1) return 1 ;; *) why="not an extended regular expression: $p"; return 2 ;; esac
}
# web LIMIT URL METHOD TRUST: the answer's $head and $body, without carriage returns, its first line and its $code.
web() {
  at_most "$1"
  o=$({ fetch "$2" "$3" "$4" 2>"$T/err"; printf '\n'; } | head -c 262144 | tr -d '\000\r')
  case $o in
    HTTP/*) head=${o%%"$nl$nl"*} body=${o#"$head"} body=${body#"$nl$nl"} ;;
    *) head=$(tr -d '\000\r' <"$T/err" | sed -n -e '/^ /!d' -e 's/^ *//' -e '/^HTTP\//{h;b e' -e '}' -e H -e :e -e '${x;p;}') body=$o ;;
  esac
  url=$2 line=${head%%"$nl"*}
  case $line in
    HTTP/[0-9]*' '[0-9]*) code=${line#* } code=${code%%[!0-9]*} ;;
    *) silent "$1" ;;
  esac
}
# silent LIMIT: why there was no answer, without times: they would be news each time.
silent() {
  o=$(grep -v '^\*' "$T/err" | tail -n 1 | tr -d '\000\r')
  case $o in
    *'needs curl or wget'*) why=$o; return 2 ;;
    *' timed out'*|'') o="no answer within $1 s" ;;
    *' after '[0-9]*' ms: '*) o="${o%% after [0-9]*}: ${o#* ms: }" ;;
  esac
  why="$url: $o"
  return 1
}
# status FIRST LAST...
status() {
  while [ $# -gt 0 ]; do
    if [ "$code" -ge "$1" ] && [ "$code" -le "$2" ]; then return 0; fi
    shift 2
  done
  why="$url answers $line"
  return 1
}
# header NAME PATTERN
header() {
  o=$(printf '%s\n' "$head" | grep -i -e "^$1:" | sed -e 's/^[^:]*:[[:space:]]*//')
  if [ -z "$o" ] && ! printf '%s\n' "$head" | grep -q -i -e "^$1:"; then why="$url answers without the header $1"; return 1; fi
  why="$url answers with $1: ${o%%"$nl"*}"
  like "$2" "$o"
}
contains() {
  case $body in
    *"$1"*) ;;
    *) why="$url answers without: $1"; return 1 ;;
  esac
}
matches() {
  why="nothing in the answer of $url matches $1"
  like "$1" "$body"
}
# lasts SECONDS: whether the certificate is good for so long, by the clock of this host.
lasts() {
  o=$(sed -n 's/^\* *expire date: *//p' "$T/err" | head -n 1)
  if [ -z "$o" ]; then why="telling when the certificate of $url ends needs curl on the host, made with OpenSSL or GnuTLS"; return 2; fi
  good=$(date -u -d "${o% GMT}" +%s 2>/dev/null) || { why="date on the host does not read $o, when the certificate of $url ends"; return 2; }
  [ $((good - $(date +%s))) -lt "$1" ] || return 0
  why="the certificate of $url ends on $o"
  return 1
}
