# purge NAME: a package of apt with its configuration, as it is rolled back, and in the same transaction every package that
# was needed before and is needed by nothing without it. What nothing needed before stays, and so does the package itself
# where one depends on it that somebody installed since. A suggestion is no need.
export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=l
rehearse() { apt-get -s -q -o APT::AutoRemove::SuggestsImportant=false "$@"; }
idle=$(rehearse autoremove) || exit
going=$(rehearse purge --auto-remove -- "$1") || exit
names() { printf '%s\n' "$1" | sed -n -e 's/^Purg \([^ ]*\).*/\1/p' -e 's/^Remv \([^ ]*\).*/\1/p'; }
idle=" $(names "$idle" | tr '\n' ' ') "
automatic=" $(apt-mark showauto | tr '\n' ' ') "
alone=$(rehearse remove -- "$1") || exit
for name in $(names "$alone"); do
  [ "$name" = "$1" ] || case $automatic in
    *" $name "*) ;;
    *) echo "$name depends on $1" >&2; exit 1 ;;
  esac
done
for name in $(names "$going"); do
  case $idle in *" $name "*) ;; *) [ "$name" = "$1" ] || set -- "$@" "$name" ;; esac
done
exec apt-get purge -y -q -o DPkg::Lock::Timeout=300 -- "$@"
