# remove MODE MANAGER LEFTOVERS SPARED NAME...: removes packages together, and no other. MODE is `do`, or `look`: that says by
# exit code 0 that nothing is to be done, because all are gone or because one of SPARED would go along.
export DEBIAN_FRONTEND=noninteractive APT_LISTCHANGES_FRONTEND=none NEEDRESTART_MODE=l ZYPP_LOCK_TIMEOUT=300 LC_ALL=C
mode=$1 manager=$2 leftovers=$3 spared=$4
shift 4
among() { case " $2 " in *" $1 "*) ;; *) return 1 ;; esac; }
# there NAME: whether there is anything of it to remove.
there() {
  case $manager in
    apt)
      case $(dpkg-query -W -f='${db:Status-Status}\n' -- "$1" 2>/dev/null | head -n 1) in
        '' | not-installed) return 1 ;;
        config-files) [ "$leftovers" = purged ] ;;
      esac ;;
    apk) apk info -e "$1" >/dev/null 2>&1 ;;
    pacman) pacman -Qq -- "$1" >/dev/null 2>&1 ;;
    *) rpm -q "$1" >/dev/null 2>&1 ;;
  esac
}
# goes NAME...: what their removal would take, and each that it would break.
goes() {
  case $manager in
    apt) apt-get -s -q "$verb" -- "$@" >"$out" && sed -n -e 's/^Remv \([^ ]*\).*/\1/p' -e 's/^Purg \([^ ]*\).*/\1/p' "$out" ;;
    apk) apk del -s "$@" >"$out" && sed -n 's/^([0-9]*\/[0-9]*) Purging \([^ ]*\) (.*/\1/p' "$out" ;;
    pacman)
      pacman -R --print --print-format %n -- "$@" >"$out" 2>&1 && cat "$out" && return
      sed -n -e 's/^:: removing .* required by \([^ ]*\)$/\1/p' -e 's/^:: \([^ ]*\): removing .*/\1/p' "$out" | grep . ;;
    *)
      rpm --erase --test "$@" >"$out" 2>&1 && return
      sed -n 's/.* is needed by (installed) \(.*\)-[^-]*-[^-]*$/\1/p' "$out" | sort -u | grep . ;;
  esac
}
case $leftovers in purged) verb=purge ;; *) verb=remove ;; esac
names=
for name do
  shift
  if there "$name"; then set -- "$@" "$name"; names="$names $name"; fi
done
[ $# -gt 0 ] || exit 0
[ "$mode:$spared" != look: ] || exit 1
out=$(mktemp) || exit
trap 'rm -f -- "$out"' EXIT
goes=$(goes "$@") || { cat "$out" >&2; exit 1; }
more=
for name in $goes; do
  if among "$name" "$spared" && [ "$mode" = look ]; then exit 0; fi
  # apt calls a package of the host's own architecture by its name alone.
  among "$name" "$names" || among "$name:$(dpkg --print-architecture 2>/dev/null)" "$names" || more="$more $name"
done
[ "$mode" = do ] || exit 1
if [ -n "$more" ]; then
  echo "nothing was removed: it is needed by or would take along$more, which the plan does not remove; plan again" >&2
  exit 1
fi
case $manager:$leftovers in
  apt:*) apt-get "$verb" -y -q -o DPkg::Lock::Timeout=300 -- "$@" ;;
  apk:purged) apk del --purge --wait 300 --no-progress "$@" ;;
  apk:*) apk del --wait 300 --no-progress "$@" ;;
  pacman:purged) pacman -Rn --noconfirm --noprogressbar -- "$@" ;;
  pacman:*) pacman -R --noconfirm --noprogressbar -- "$@" ;;
  zypper:*) zypper --non-interactive remove --no-clean-deps "$@" ;;
  *) "$manager" -q -y --setopt=clean_requirements_on_remove=False remove "$@" ;;
esac
