# near: the accounts of this host are in its own files: nobody is asked who may not answer.
near=
near() {
  if [ -n "$near" ]; then [ "$near" = yes ]; return; fi
  near=no o=
  known
  while IFS=: read -r d line; do
    case $d in passwd|group|initgroups) ;; *) continue ;; esac
    for i in $line; do
      case $i in files) ;; '#'*) break ;; *) return 1 ;; esac
    done
    o=$o$d:
  done <<EOF
$known
EOF
  case $o in *passwd:*group:*|*group:*passwd:*) near=yes ;; *) return 1 ;; esac
}
# patience: what is put before a question about accounts.
patience() { if near; then bound=; else bound 10; fi; }
# accounts passwd|group NAME...
accounts() {
  if has getent; then
    kind=$1
    shift
    patience
    tool "$kind" "$bound" getent "$kind" -- "$@"
  else tool "$1" '' cat "/etc/$1"
  fi
}
# ids INDEX NAME...: the groups of each user, of all by one program where it takes more than one. The nonce is nobody's
# to see, so it stands in the environment.
ids() {
  names= indices= count=0
  for o do
    count=$((count + 1))
    if [ $((count % 2)) = 1 ]; then indices="$indices $o"; else names="$names \"\${$count}\""; fi
  done
  patience
  o=$(eval "exec $bound id -- $names" 2>&1)
  if answered "$o" "$@"; then gather "$o" ids $indices; return; fi
  (
    export N
    limit 10 sh -c 'while [ $# -gt 0 ]; do
        said=$(id -- "$2" 2>&1)
        printf "\\n%s id %s code %s\\n%s" "$N" "$1" "$?" "$said"
        shift 2
      done' ids "$@" >&3
  )
}
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
