# What changes something. A step is a function; it succeeds, or complains and returns another code than 0.
gone=
trap 'gone=1' HUP INT TERM PIPE
trap '[ -z "$T" ] || rm -rf -- "$T"; discard' EXIT
T= drafts=
# temporary: $T becomes a directory only we can look into.
temporary() {
  T=$(mktemp -d /run/armilla.XXXXXXXXXXXX 2>/dev/null || mktemp -d /var/tmp/armilla.XXXXXXXXXXXX 2>/dev/null ||
    mktemp -d "$scratch/armilla.XXXXXXXXXXXX") || T=
}
finish() { over; exit 0; }
# tidy: what orders that were killed left here goes, where nobody but us can be at work.
tidy() { :; }
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
  if [ -e /run/armilla-late ]; then complaint='this host puts everything back: the time for the change is over' code=85
  elif note begin; then
    # crash point
    complaint=$("$2" 2>&1 6>&-)
    code=$?
    # crash point
    # First for those who come later: perhaps nobody listens any more.
    if [ "$code" = 0 ]; then note 'done'; else note failed "$code"; fi
    # crash point
  else complaint="$journal cannot be written, and without it nothing is begun; is the disk full?" code=1
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
# settle TARGET OWNER GROUP MODE: what is empty stays. The mode comes last: chown takes special bits away.
settle() {
  if [ -n "$2$3" ] && ! roots "$@"; then chown -- "$2${3:+:$3}" "$1" || return; fi
  if [ -n "$4" ]; then chmod -- "$4" "$1" || return; fi
}
# roots TARGET OWNER GROUP: whether it shall be root's as a whole, and we are root, and it is.
roots() { [ "$2:$3:$me:$us" = root:root:0:0 ] && [ -O "$1" ] && [ -G "$1" ]; }
# ours OWNER GROUP: whether what we make would be theirs.
ours() {
  case $1:$2 in
    :) ;;
    root:root|root:|:root) [ "$me:$us" = 0:0 ] ;;
    *) return 1 ;;
  esac
}
# put PATH OWNER GROUP MODE FUNCTION ARGUMENT...: FUNCTION fills the new file $f, descriptor 7, and says whether it is as it should be.
put() {
  path=$1 owner=$2 group=$3 mode=$4
  shift 4
  approach || return
  case $drafted in
    *" $i "*) ;;
    *) inherit && (fill "$@") || { rm -f -- "$new"; return 1; } ;;
  esac
  mv -f -T -- "$new" "$name" && { [ -n "$later" ] || flush .; } && return
  rm -f -- "$new"
  return 1
}
# approach: goes to where $path shall be, a file or nothing until then.
approach() {
  enter no "${path%/*}" || return
  name=./${path##*/} new=./.armilla-$N-$i
  tidy
  if [ -L "$name" ]; then refuse "$path is a symbolic link; a file is not written over it"; return; fi
  if [ -e "$name" ] && [ ! -f "$name" ]; then refuse "$path is there and no file"; return; fi
}
# inherit: what was not asked for is as on the file that is there, or as its owner has it.
inherit() { if [ -f "$name" ]; then keep "$name"; else own; fi; }
# draft INDEX PATH OWNER GROUP MODE SIZE CONTENT: what a step will put is written beforehand, so that many files need one
# `stat` and one `sync`. Whatever is in the way is for the step to tell; then there is no draft.
draft() {
  eval "p$1=\${2%/*}/.armilla-\$N-$1"
  drafts="$drafts \"\$p$1\""
  o=$(sketch "$@" 2>/dev/null) || return 0
  o=${o#0}
  good="$good $1 " some="$some \"\$p$1\"" sizes="$sizes$6:${o#0}$nl"
}
# sketch INDEX PATH OWNER GROUP MODE SIZE CONTENT: says which mode it shall have.
sketch() {
  i=$1 path=$2 owner=$3 group=$4 mode=$5
  approach >&2 && inherit || return
  if create && "$7" >&7 && { [ -n "$masked" ] || settle "$f" '' '' "$mode"; }; then printf %s "$mode"; return; fi
  rm -f -- "$new"
  return 1
}
# examine: drafts are believed if all are whole, and on the disk from then on.
drafted= good= some= sizes=
examine() {
  if [ -n "$some" ] && o=$(eval "stat -c %s:%a -- $some" 2>/dev/null) && [ "$o$nl" = "$sizes" ]; then
    drafted=$good
    eval "sync $some" 2>/dev/null || sync
  else discard
  fi
  good= some= sizes=
  # crash point
}
# discard: what no step will use any more.
discard() {
  [ -z "$drafts" ] || eval "rm -f -- $drafts"
  drafts=
}
# persist: that files have their names reaches the disk; where it is for later, once for all of them.
later=
persist() { :; }
# flush DIRECTORY...: the names in those that are there.
flush() {
  for d do
    shift
    [ ! -d "$d" ] || set -- "$@" "$d"
  done
  [ $# = 0 ] || sync "$@" 2>/dev/null || sync
}
# keep FILE: what was not asked for stays as it is on the file that is there.
keep() {
  o=$(stat -c %u:%g:%a -- "$1") || return
  is=${o##*:}
  while [ "${#is}" -lt 5 ]; do is=0$is; done
  mode=${mode:-$is}
  owner=${owner:-${o%%:*}}
  o=${o#*:}
  group=${group:-${o%%:*}}
}
# own: what is new for an owner has the owner's group.
own() { [ -n "$group" ] || [ -z "$owner" ] || group=$(id -g "$owner"); }
# unchanged PATH DIGEST: fails unless the file is what it was. Without a digest there was none.
unchanged() {
  changed="$1 was changed since the plan was made: plan again"
  if [ -z "$2" ]; then
    [ ! -e "$1" ] && [ ! -L "$1" ] || refuse "$changed"
    return
  fi
  enter no "${1%/*}" || return
  name=./${1##*/}
  if [ -L "$name" ] || [ ! -f "$name" ]; then refuse "$changed"; return; fi
  o=$(sha256sum <"$name") || return
  [ "${o%% *}" = "$2" ] || refuse "$changed"
}
# fill FUNCTION ARGUMENT...: everything by the descriptor, so that a name that is swapped meanwhile changes nothing.
fill() {
  create && "$@" || return
  [ "$is" = "${mode#00}" ] || settle "$f" '' '' "$mode" || return
  sync "$f" 2>/dev/null || sync
}
# create: the new file, with its owner. Its mode is $masked, where nobody else is concerned.
create() {
  mode=${mode:-00644} is= masked=
  case $mode in 00[0-7][0-7][0-7]) ! ours "$owner" "$group" || masked=${mode#00} ;; esac
  [ -z "$masked" ] || unmask "$masked"
  set -C
  exec 7>"$new"
  set +C
  umask 077
  f=/proc/self/fd/7
  settle "$f" "$owner" "$group" ''
}
# unmask MODE: the mask under which a new file has at most these three digits.
unmask() {
  o=${1#?}
  umask "$((7 - ${1%??}))$((7 - ${o%?}))$((7 - ${o#?}))"
}
# bytes SIZE CONTENT: CONTENT is a function that writes them. The mode they have by then is $is.
bytes() {
  ("$2" >&7)
  got=$(stat -L -c %s:%a "$f")
  is=${got#*:} got=${got%:*}
  [ "$got" = "$1" ] || refuse "$path: only $got of $1 bytes could be written; is the disk full?"
}
# directory PATH OWNER GROUP MODE
directory() {
  enter make "${1%/*}" || return
  name=./${1##*/} owner=$2 group=$3 mode=$4
  if [ -L "$name" ]; then refuse "$1 is a symbolic link"; return; fi
  if [ ! -e "$name" ]; then
    mode=${4:-00755}
    # The mode at once, where nobody else is concerned. The mkdir of busybox would give it to whatever has the name by then.
    case $busy$mode in 00[0-7][0-7][0-7]) o=yes ;; *) o= ;; esac
    if [ -n "$o" ] && ours "$owner" "$group"; then mkdir -m "$mode" "$name" && mode= || return
    else mkdir "$name" && own || return
    fi
  fi
  if [ ! -d "$name" ]; then refuse "$1 is there and no directory"; return; fi
  exec 8<.
  cd -P "$name" || return
  [ .. -ef /proc/self/fd/8 ] || { refuse "$1 became a symbolic link"; return; }
  settle . "$owner" "$group" "$mode"
}
# link PATH TARGET
link() {
  enter no "${1%/*}" || return
  name=./${1##*/} new=./.armilla-$N-$i
  if [ -e "$name" ] && [ ! -L "$name" ]; then refuse "$1 is there and no symbolic link"; return; fi
  ln -s -- "$2" "$new" && mv -f -T -- "$new" "$name" && return
  rm -f -- "$new"
  return 1
}
# attributes PATH OWNER GROUP MODE
attributes() {
  enter no "${1%/*}" || return
  name=./${1##*/} f=./${1##*/}
  if [ -L "$name" ]; then refuse "$1 is a symbolic link"; return; fi
  if [ ! -e "$name" ]; then refuse "there is nothing at $1"; return; fi
  if { [ -f "$name" ] || [ -d "$name" ]; } && [ -r "$name" ]; then
    exec 7<"$name"
    f=/proc/self/fd/7
    if [ -L "$name" ] || [ ! "$name" -ef "$f" ]; then refuse "$1 was swapped meanwhile"; return; fi
  fi
  settle "$f" "$2" "$3" "$4"
}
# delete PATH KIND: nothing there is success.
delete() {
  d=${1%/*}
  while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done
  if [ "$d" != "${1%/*}" ]; then
    [ ! -d "${d:-/}" ] || [ -x "${d:-/}" ] || refuse "permission denied: cannot look into $d"
    return
  fi
  enter no "$d" || return
  name=./${1##*/}
  [ -e "$name" ] || [ -L "$name" ] || return 0
  if [ -L "$name" ]; then is=link
  elif [ -f "$name" ]; then is=file
  elif [ -d "$name" ]; then is=directory
  else is=other
  fi
  if [ "$is" != "$2" ]; then refuse "$1 is no $2 but a $is: not removed"; return; fi
  case $is in directory) rmdir -- "$name" ;; *) rm -f -- "$name" ;; esac
}
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
# refresh: the package lists; waits for others who hold the lock.
refresh() {
  patience=600
  if [ -s /var/lib/dpkg/status ] && has apt-get; then
    unlocked 300 /var/lib/apt/lists/lock || return
    # A proxy that hangs is given up, and asked again. Nothing is asked ahead: apt waits without end for the answer if the
    # proxy closes the connection first.
    patience=90
    refreshed 'get lock' apt-get update -q -o APT::Update::Error-Mode=any -o Acquire::http::Timeout=30 -o Acquire::Retries=2 -o Acquire::http::Pipeline-Depth=0
  elif has dnf; then refreshed 'waiting for process' dnf -q -y makecache
  elif has yum; then refreshed 'holding the yum lock' yum -q -y makecache
  elif has zypper; then refreshed 'is locked by' zypper --non-interactive --quiet refresh
  elif has apk; then refreshed 'lock database' apk update -q
  elif has pacman; then refreshed 'lock database' pacman -Sy --noconfirm
  else refuse 'this host has no package manager that armilla knows'
  fi
}
# unlocked SECONDS FILE...: waits until no other program holds a lock on one of them, and says which one it is.
unlocked() {
  tick
  patience=$1 limit=$((now + $1 * 100)) told=0
  shift
  while holder "$@"; do
    if [ "$now" -ge "$limit" ]; then refuse "$held: waited $patience s for it to end"; return; fi
    tell "$held"
    sleep 1
    tick
  done
}
# unused USER: waits until none of its processes is left, and says which one is. Who logged in a moment ago is still
# there: systemd keeps the manager of a user for ten seconds.
unused() {
  uid=$(id -u -- "$1" 2>/dev/null) || return 0
  tick
  limit=$((now + 3000)) told=0
  while used "$uid"; do
    held="user $1 is used by process $p ($o)"
    if [ "$now" -ge "$limit" ]; then refuse "$held: waited 30 s for it to end"; return; fi
    tell "$held"
    sleep 1
    tick
  done
}
# used UID: whether a process is; $p is its number, $o its name.
used() {
  set +f
  p=$(grep -lsE "^Uid:.*[[:blank:]]$1([[:blank:]]|\$)" /proc/[0-9]*/status)
  set -f
  p=${p%%/status*} p=${p##*/}
  [ -n "$p" ] || return
  o=$(tr -d '[:cntrl:]' 2>/dev/null <"/proc/$p/comm")
}
# holder FILE...: whether there is one; $held is its number and its name: what
# was typed may have a secret in it. The locks of apt and dpkg are POSIX's.
holder() {
  while read -r _ kind _ _ holder _; do
    case $kind:$holder in POSIX:*[!0-9]*|POSIX:) continue ;; POSIX:*) ;; *) continue ;; esac
    set +f
    for o in "/proc/$holder/fd"/*; do
      for f do
        [ "$o" -ef "$f" ] || continue
        set -f
        o=$(tr -d '[:cntrl:]' <"/proc/$holder/comm")
        held="$f is locked by process $holder ($o)"
        return
      done
    done
    set -f
  done </proc/locks 2>/dev/null
  return 1
}
# refreshed LOCKED PROGRAM ARGUMENT...: again while it complains that it is LOCKED, and once if it did not end within
# $patience seconds: apt may wait for ever where a proxy sent half an answer. What it has by then it does not fetch again.
refreshed() {
  locked=$1
  shift
  tick
  limit=$((now + 30000)) told=0
  while :; do
    o=$(umask 022; export DEBIAN_FRONTEND=noninteractive; timeout -k 5 "$patience" "$@" 2>&1 >/dev/null 3>&- 9>&-)
    code=$?
    [ "$code" != 0 ] || return 0
    tick
    if [ "$code:$patience" = 124:90 ]; then
      tell "$1 did not end within $patience s, and is asked once more"
      patience=600
      continue
    fi
    case $o in *"$locked"*) ;; *) break ;; esac
    [ "$now" -lt "$limit" ] || break
    tell "$o"
    sleep 2
  done
  printf '%s' "$o" | tail -c 16384
  return "$code"
}
# tell TEXT MORE: its first line, and more, every two seconds at most.
tell() {
  [ "$now" -ge "$told" ] || return 0
  told=$((now + 200))
  frame waiting "$i"
  printf '%.300s%s' "${1%%"$nl"*}" "$2" >&3
  shut
}
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
  [ "$o" = active ] || { why="$1 is ${o:-in no known state}"; return 1; }
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
