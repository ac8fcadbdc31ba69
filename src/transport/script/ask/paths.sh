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
  there= numbers= tame= tamest= odd= links= small=
  for i do
    eval "p=\$p$i h$i="
    if [ -n "$away" ] && hangs "$p"; then failed "$i" "the file system at $at does not answer; its server may be away"; continue; fi
    if [ -L "$p" ]; then links="$links $i"
    elif [ -f "$p" ]; then
      case $p in
        # In the last two a file without a size may have no end either.
        *"$nl"*|*\\*|/proc/*|/sys/*) odd="$odd $i" ;;
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
  else gather '' absent "$1"
  fi
}
# status INDEX...: one line each, all by one stat; one by one when something changed meanwhile.
status() {
  if o=$(eval "exec stat -c '$stat' -- $there $aside" 2>/dev/null); then
    gather "$o" status "$@" $asides
    aside= asides=
    sized "$o"
    return
  fi
  for i do
    eval "p=\$p$i"
    if o=$(limit 5 stat -c "$stat" -- "$p" 2>&1); then gather "$o" status "$i"
    elif [ -e "$p" ] || [ -L "$p" ]; then failed "$i" "$o"
    else absent "$i"
    fi
  done
}
# sized LINES: whether all that stat told of is so small together that reading it needs no limit.
sized() {
  size=0 IFS=$nl
  for o in $1; do
    o=${o#*:}
    size=$((size + ${o%%:*}))
  done
  unset IFS
  [ "$size" -gt 16777216 ] || small=yes
}
# digests INDEX...: all by one sha256sum; names it would have to escape are not among them.
digests() {
  if [ -n "$small" ]; then bound=; else bound 40; fi
  if o=$(eval "exec $bound sha256sum -- $tamest" 2>/dev/null); then
    gather "$o" digests "$@"
    indices=$*
    IFS=$nl
    set -- $o
    unset IFS
    for i in $indices; do
      eval "h$i=\${1%% *}"
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
