# What only asks. Every function answers in frames; a number in a frame is the place of the probe in the list.
tick
deadline=$((now + budget * 100))
# failed INDEX TEXT
failed() { frame failed "$1"; printf '%s' "$2" >&3; }
# tool WORD LIMIT PROGRAM ARGUMENT...: its output in the frame WORD, its exit code and complaint in the frame after. What
# asks nobody, but reads files of the host's own, needs no limit: it would not end at it, either.
tool() {
  word=$1 most=$2
  shift 2
  frame "$word"
  if has "$1"; then
    [ "$most" = none ] || set -- limit "$most" "$@"
    complaint=$("$@" 2>&1 >&3)
    code=$?
  else
    complaint="this host has no $1" code=127
  fi
  frame "$word" code "$code"
  printf '%s' "$complaint" >&3
}
# away: $away becomes the file systems of networks whose servers do not answer. Whoever only looks at a path there hangs,
# and the shell itself with it.
away=
away() {
  while read -r _ at kind _; do
    case $kind in nfs|nfs4|cifs|smb3|ceph|9p|afs|glusterfs|fuse.*) ;; *) continue ;; esac
    at=$(printf %b "$at")
    timeout -k 1 5 stat -- "$at" >/dev/null 2>&1 3>&-
    case $? in 124|137|143) away=$away$nl$at ;; esac
  done </proc/mounts
} 2>/dev/null
# hangs PATH: whether it is on one of them, $at.
hangs() {
  IFS=$nl
  for at in $away; do
    case $1/ in "$at"/*) unset IFS; return 0 ;; esac
  done
  unset IFS
  return 1
}
# paths INDEX...: what is there; each path is in the variable p and its index.
paths() {
  there= numbers= tame= tamest= odd= links=
  for i do
    eval "p=\$p$i h$i="
    if [ -n "$away" ] && hangs "$p"; then failed "$i" "the file system at $at does not answer; its server may be away"; continue; fi
    if [ -L "$p" ]; then links="$links $i"
    elif [ -f "$p" ]; then
      case $p in
        *"$nl"*|*\\*) odd="$odd $i" ;;
        *) tame="$tame $i" tamest="$tamest \"\$p$i\"" ;;
      esac
    elif [ ! -e "$p" ]; then absent "$i"; continue
    fi
    there="$there \"\$p$i\"" numbers="$numbers $i"
  done
  for i in stat sha256sum readlink; do
    has "$i" && continue
    for i in $numbers; do failed "$i" "this host has no stat, sha256sum or readlink"; done
    return
  done
  [ -z "$numbers" ] || status $numbers
  [ -z "$tame" ] || digests $tame
  for i in $odd; do digest "$i"; done
  for i in $links; do
    eval "p=\$p$i"
    frame link "$i"
    readlink -n -- "$p" >&3 2>/dev/null
  done
}
# absent INDEX: nothing at $p, unless it is only hidden from us.
absent() {
  d=${p%/*}
  while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done
  if [ -d "${d:-/}" ] && [ ! -x "${d:-/}" ]; then failed "$1" "permission denied: cannot look into ${d:-/}"
  else frame absent "$1"
  fi
}
# status INDEX...: one line each, all by one stat; one by one when something changed meanwhile.
status() {
  if o=$(eval "stat -c '%f:%s:%Y:%u:%g:%U:%G' -- $there" 2>/dev/null); then
    frame status "$@"
    printf '%s' "$o" >&3
    return
  fi
  for i do
    eval "p=\$p$i"
    if o=$(limit 5 stat -c '%f:%s:%Y:%u:%g:%U:%G' -- "$p" 2>&1); then frame status "$i"; printf '%s' "$o" >&3
    elif [ -e "$p" ] || [ -L "$p" ]; then failed "$i" "$o"
    else absent "$i"
    fi
  done
}
# digests INDEX...: all by one sha256sum; names it would have to escape are not among them.
digests() {
  if o=$(eval "limit 40 sha256sum -- $tamest" 2>/dev/null); then
    indices=$*
    IFS=$nl
    set -- $o
    unset IFS
    for i in $indices; do
      eval "h$i=\${1%% *}"
      eval "frame digest $i \"\$h$i\""
      shift
    done
  else
    for i do digest "$i"; done
  fi
}
digest() {
  eval "p=\$p$1"
  if o=$({ limit 40 sha256sum <"$p"; } 2>&1); then
    eval "h$1=\${o%% *}"
    frame digest "$1" "${o%% *}"
  else failed "$1" "$o"
  fi
}
# content INDEX KNOWN: brings it along unless it has the digest that is known. One byte too much tells of too much.
content() {
  eval "p=\$p$1 h=\$h$1"
  if [ -n "$h" ] && [ "$h" != "$2" ]; then
    frame content "$1"
    head -c 262145 <"$p" >&3
  fi
}
# packages NAME...: asks the one that is in charge. A Debian host may well have rpm, and the other way round.
packages() {
  if [ -s /var/lib/dpkg/status ] && has dpkg-query; then apt_ "$@"; return; fi
  for i in dnf yum zypper apk pacman; do
    has "$i" || continue
    frame manager "$i"
    "${i}_" "$@"
    return
  done
  frame manager apt
  apt_ "$@"
}
apt_() {
  tool packages none dpkg-query -W -f '${Package}\t${Architecture}\t${db:Status-Abbrev}\t${Version}\n' "$@"
  # apt gives a list the time of the mirror; only the directories move with every fetch.
  set +f
  for i in /var/lib/apt/lists/*_*; do break; done
  set -f
  if [ -e "$i" ]; then
    frame lists "$(date +%s)"
    stat -c %Y /var/lib/apt/lists /var/lib/apt/lists/partial >&3 2>/dev/null
  fi
  # What dpkg has not yet entered into its database; apt refuses to work while there is any.
  set +f
  for i in /var/lib/dpkg/updates/[0-9]*; do break; done
  set -f
  [ ! -e "$i" ] || frame interrupted
}
# rpm_ NAME...: in the form of dpkg-query's answer. It says of each that is not there that it is not.
rpm_() { tool packages 20 rpm -q --qf '%{NAME}\t%{ARCH}\tii \t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n' "$@"; }
# locks WHETHER FILE: what is held, where that is possible at all.
locks() {
  [ -e "$1" ] || return 0
  frame locks
  cat "$2" >&3 2>/dev/null
}
dnf_() {
  rpm_ "$@"
  # In version 5 it is built in.
  if has dnf5; then locks / /etc/dnf/versionlock.toml; else locks /etc/dnf/plugins/versionlock.conf /etc/dnf/plugins/versionlock.list; fi
}
yum_() { rpm_ "$@"; locks /etc/yum/pluginconf.d/versionlock.conf /etc/yum/pluginconf.d/versionlock.list; }
zypper_() { rpm_ "$@"; locks / /etc/zypp/locks; }
apk_() {
  for i in /lib/apk/db/installed /usr/lib/apk/db/installed; do [ ! -e "$i" ] || break; done
  tool packages 20 sed -n '/^[PV]:/p' "$i"
}
pacman_() {
  tool packages 20 pacman -Q -- "$@"
  set +f
  for i in /var/lib/pacman/sync/*.db; do break; done
  set -f
  [ ! -e "$i" ] || { frame lists "$(date +%s)"; stat -c %Y "$i" >&3; }
}
# command INDEX LIMIT FUNCTION: its output, its complaint, its exit code, each in a frame of its own. Both are read
# to their end, so that it meets no broken pipe, but not longer than it may take: a daemon it started can hold them.
command_() {
  tick
  left=$(((deadline - now) / 100)) t=$2 began=$now
  [ "$left" -gt 0 ] || { failed "$1" "no time was left for it"; return; }
  [ "$t" -le "$left" ] || t=$left
  frame stdout "$1"
  code=$({
    {
      { "$3" 2>&5 3>&- 4>&- 5>&-; printf %s "$?" >&4; } |
        timeout -k 1 $((t + 6)) sh -c 'head -c 262144; exec cat >/dev/null' >&3 4>&- 5>&- || held "$1"
      frame stderr "$1"
    } 5>&1 | timeout -k 1 $((t + 6)) tail -c 16384 >&3 4>&-
  } 4>&1) || held "$1"
  overdue "${code:-1}" "$began" && code=124
  frame exit "$1" "${code:-124}"
}
# held INDEX: what was not read to its end is not known, and unknown is not empty.
held() { failed "$1" 'a program it left running holds its output open'; }
# port_ INDEX LIMIT ADDRESS PORT HEX LOOPBACK
port_() {
  tick
  left=$(((deadline - now) / 100)) t=$2
  [ "$left" -gt 0 ] || { failed "$1" "no time was left for it"; return; }
  [ "$t" -le "$left" ] || t=$left
  port "$3" "$4" "$5" "$6"
  case $? in
    0) frame port "$1" open ;;
    1) frame port "$1" closed ;;
    *) failed "$1" "asking for $3 port $4 needs bash or nc on the host" ;;
  esac
}
# ids INDEX NAME...: the groups of each user, of all by one program where it takes more than one. The nonce is nobody's
# to see, so it stands in the environment.
ids() (
  export N
  names= count=0
  for o do
    count=$((count + 1))
    [ $((count % 2)) = 1 ] || names="$names \"\${$count}\""
  done
  o=$(eval "limit 10 id -- $names" 2>&1)
  if answered "$o" "$@"; then
    while [ $# -gt 0 ]; do
      line=${o%%"$nl"*} o=${o#*"$nl"}
      frame id "$1"
      case $line in
        uid=*) printf '%s' "$line" >&3; frame id "$1" code 0 ;;
        *) frame id "$1" code 1; printf '%s' "$line" >&3 ;;
      esac
      shift 2
    done
    return
  fi
  limit 10 sh -c 'while [ $# -gt 0 ]; do
      printf "\\n%s id %s\\n" "$N" "$1"
      complaint=$(id -- "$2" 2>&1 >&3)
      printf "\\n%s id %s code %s\\n%s" "$N" "$1" "$?" "$complaint"
      shift 2
    done' ids "$@" >&3
)
# answered ANSWER INDEX NAME...: whether it has one line for each, in this order: about the user, or that there is none.
answered() {
  rest=$1
  shift
  while [ $# -gt 0 ]; do
    case ${rest%%"$nl"*} in
      uid=[0-9]*"($2) gid="*) ;;
      "id: "?"$2"?": no such user") ;;
      *) return 1 ;;
    esac
    case $rest in *"$nl"*) rest=${rest#*"$nl"} ;; *) rest= ;; esac
    shift 2
  done
  [ -z "$rest" ]
}
# accounts passwd|group NAME...
accounts() {
  if has getent; then
    kind=$1
    shift
    tool "$kind" 10 getent "$kind" -- "$@"
  else tool "$1" 10 cat "/etc/$1"
  fi
}
# units PROPERTIES NAME...: systemd writes times in the zone it is told. Of a script of System V it does not know whether it
# is enabled; only `is-enabled` looks.
units() (
  export TZ=UTC
  properties=$1
  shift
  has systemctl || { tool units 20 systemctl; return; }
  frame units
  complaint=$({
    o=$(limit 20 systemctl show "--property=$properties" -- "$@" 2>&5)
    code=$?
    printf '%s\n' "$o" >&3
    case $o in
      *UnitFileState=generated*)
        for i in $(printf '%s\n' "$o" | awk -v RS= '/(^|\n)UnitFileState=generated(\n|$)/' | sed -n 's/^Id=//p'); do
          frame generated
          printf '%s ' "$i" >&3
          limit 20 systemctl is-enabled -- "$i" >&3 2>/dev/null
        done ;;
    esac
    exit "$code"
  } 5>&1)
  code=$?
  frame units code "$code"
  printf '%s' "$complaint" >&3
)
