# run USER DIRECTORY PROGRAM ARGUMENT...: within $t seconds. Changes the directory: call it in a subshell. What it starts
# may live on, and must hold neither our answer (3) nor our lock (9).
run() {
  as=$1 in=$2
  shift 2
  umask 022
  cd "$in" || return 126
  if [ -n "$as" ] && [ "$as" != "$(id -un)" ]; then
    if has runuser; then set -- runuser -u "$as" -- "$@"
    else set -- su -s /bin/sh -c 'exec "$0" "$@"' -- "$as" "$@"
    fi
  fi
  exec timeout -k 5 "$t" "$@" 3>&- 9>&-
}
# overdue CODE BEGAN: busybox lets a program that ran out of time end by the signal, coreutils says 124.
overdue() {
  tick
  case $1 in
    124|137|143) [ $((now - $2)) -lt $((t * 100)) ] || return 0 ;;
  esac
  return 1
}
# port ADDRESS PORT HEX LOOPBACK, within $t seconds: 0 if it accepts connections, 1 if not, 2 if it cannot be found out.
port() {
  if has bash; then timeout -k 1 "$t" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null || return 1
  elif has nc && nc -h 2>&1 | grep -q -e -z; then timeout -k 1 $((t + 1)) nc -z -w "$t" "$1" "$2" 2>/dev/null || return 1
  else listens "$3" "$4" </dev/null
  fi
}
# listens HEX LOOPBACK: the table of the kernel knows about this machine only.
listens() {
  [ "$2" = yes ] || return 2
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] || continue
    while read -r _ bound _ state _; do
      [ "$state" = 0A ] || continue
      case $bound in *":$1") return 0 ;; esac
    done <"$table"
  done
  return 1
}
# fetch URL METHOD TRUST, within $t seconds: the answer with its head, or the head among the complaints. TRUST is the file
# of an authority, or - for anybody's certificate.
fetch() {
  url=$1 method=$2 trust=$3
  if has curl; then
    set -- -q -sS -g --noproxy '*' -m "$t" --url "$url"
    case $method in head) set -- "$@" -I ;; *) set -- "$@" -i ;; esac
    case $trust in '') ;; -) set -- "$@" -k ;; *) set -- "$@" --cacert "$trust" ;; esac
    case $url in https:*) ended "$@" ;; *) limit $((t + 2)) curl "$@" 3>&- ;; esac
  elif has wget; then
    set -- -q -S -O - -T "$t" "$url"
    case $method in head) set -- --spider "$@" ;; esac
    case $trust in '') ;; -) set -- --no-check-certificate "$@" ;; *) set -- --ca-certificate="$trust" "$@" ;; esac
    timeout -k 1 $((t + 2)) wget "$@" 3>&-
  else echo "asking $url needs curl or wget on the host" >&2; return 127
  fi
}
# ended ARGUMENT...: curl, and of all it tells about the connection only when the certificate ends and what is now.
ended() {
  {
    limit $((t + 2)) curl "$@" -v 2>&1 >&5 3>&- 5>&- | sed -n -e '/^\* *expire date:/p' -e '/^curl: /p' >&2
    date -u '+* now: %s' >&2
  } 5>&1
}
