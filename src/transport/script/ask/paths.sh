# away: $away becomes the file systems of networks whose servers do not answer. Whoever only looks at a path there hangs,
# and the shell itself with it.
away=
away() {
  known
  case $known in *' /'*) ;; *) return ;; esac
  while read -r _ at kind _; do
    case $kind in nfs|nfs4|cifs|smb3|ceph|9p|afs|glusterfs|fuse.*) ;; *) continue ;; esac
    at=$(printf %b "$at")
    timeout -k 1 5 stat -- "$at" >/dev/null 2>&1 3>&-
    case $? in 124|137|143) away=$away$nl$at ;; esac
  done <<EOF
$known
EOF
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
# paths INDEX...: what is there; each path is in the variable p and its index, and has one line. `regard` is one stat for
# all: it tells two lines about each that is there, in this order. Where it says nothing of one, the shell looks.
paths() {
  for i in stat sha256sum readlink; do
    has "$i" && continue
    for i do failed "$i" "this host has no stat, sha256sum or readlink"; done
    return
  done
  [ -z "$away" ] || { each "$@"; return; }
  there= tame= files= links= others= numbers=$*
  o=$(regard 2>/dev/null)
  code=$?
  IFS=$nl
  set -- $o
  unset IFS
  for i in $numbers; do
    [ "$code" = 0 ] || about "$i" "$2" || { others="$others $i"; continue; }
    there="$there $i"
    case $1 in
      8*) tame="$tame $i" files=$files$nl$2 ;;
      a*) links="$links $i" ;;
    esac
    shift 2
  done
  gather "$o" status $there $asides
  aside= asides=
  # What has fewer digits than six is small, and so are all together.
  case $nl$o in *"$nl"8???:[0-9][0-9][0-9][0-9][0-9][0-9]*) bound 40 ;; *) bound= ;; esac
  [ -z "$tame" ] || digests $tame
  for i in $links; do
    eval "p=\$p$i"
    target "$i"
  done
  each $others
}
# about INDEX NAME: whether it is the path's.
about() {
  eval "p=\$p$1"
  [ "$2" = "$p" ]
}
# each INDEX...: one by one, with a limit.
each() {
  for i do
    eval "p=\$p$i"
    if [ -n "$away" ] && hangs "$p"; then failed "$i" "the file system at $at does not answer; its server may be away"; continue; fi
    if [ ! -e "$p" ] && [ ! -L "$p" ]; then absent "$i"; continue; fi
    o=$(limit 5 stat -c "${stat%"$nl"*}" -- "$p" 2>&1) || { failed "$i" "$o"; continue; }
    gather "$o" status "$i"
    if [ -L "$p" ]; then target "$i"
    elif [ -f "$p" ]; then digest "$i"
    fi
  done
}
# target INDEX: where the link $p points.
target() {
  frame link "$1"
  readlink -n -- "$p" >&3 2>/dev/null
}
# absent INDEX: nothing at $p, unless it is only hidden from us.
absent() {
  d=${p%/*}
  while [ -n "$d" ] && [ ! -e "$d" ]; do d=${d%/*}; done
  if [ -d "${d:-/}" ] && [ ! -x "${d:-/}" ]; then failed "$1" "permission denied: cannot look into ${d:-/}"
  else gather '' absent "$1"
  fi
}
# digests INDEX...: of all $files by one sha256sum, which puts a backslash before the line of a name that it escapes.
digests() {
  indices=$* IFS=$nl
  set -- $files
  unset IFS
  if o=$(exec $bound sha256sum -- "$@" 2>/dev/null); then
    gather "$o" digests $indices
    IFS=$nl
    set -- $o
    unset IFS
    for i in $indices; do
      o=${1#\\}
      eval "h$i=\${o%% *}"
      shift
    done
  else
    for i in $indices; do digest "$i"; done
  fi
}
digest() {
  eval "p=\$p$1"
  if o=$({ limit 40 sha256sum <"$p"; } 2>&1); then
    eval "h$1=\${o%% *}"
    gather "$o" digests "$1"
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
