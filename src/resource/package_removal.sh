# what removing a package would take along
# In: the package. Out, one a line:
#   needs NAME    depends on it
#   serves NAME   the same, but it came only for it, and each needs the other
#   along NAME    came only for it, and nothing else needs it
#   instead NAME  would be installed in its place
#   left          it is removed already, and its configuration is still there
# What is idle before, because nothing needs it, is nobody's business here.
export LC_ALL=C
has() { command -v "$1" >/dev/null 2>&1; }
among() { case " $2 " in *" $1 "*) ;; *) return 1 ;; esac; }
if [ -s /var/lib/dpkg/status ] && has apt-get; then
  named() { printf '%s\n' "$1" | sed -n "s/^$2 \([^ ]*\).*/\1/p"; }
  try() { apt-get -s -q -o APT::AutoRemove::SuggestsImportant=false "$@"; }
  case $(dpkg-query -W -f='${db:Status-Status}\n' -- "$1" 2>/dev/null | head -n 1) in
    '' | not-installed) exit 0 ;;
    config-files) echo left; exit 0 ;;
  esac
  all=$(try remove --auto-remove -- "$1") || exit
  named "$all" Inst | sed 's/^/instead /'
  [ "$(echo $(named "$all" Remv))" != "$1" ] || exit 0
  alone=$(try remove -- "$1") && idle=$(try autoremove) || exit
  direct=$(echo $(named "$alone" Remv)) idle=$(echo $(named "$idle" Remv)) automatic= below=
  if [ "$direct" != "$1" ]; then
    automatic=$(echo $(apt-mark showauto))
    below=$(echo $(apt-cache depends --recurse --installed --important -- "$1" | grep '^[^ <]'))
  fi
  for name in $direct; do
    if [ "$name" = "$1" ]; then :
    elif among "$name" "$automatic" && among "$name" "$below" && ! among "$name" "$idle"; then echo "serves $name"
    else echo "needs $name"
    fi
  done
  for name in $(named "$all" Remv); do
    among "$name" "$1 $direct $idle" || echo "along $name"
  done
elif has rpm && rpm -q "$1" >/dev/null 2>&1; then
  rpm --erase --test "$1" 2>&1 | sed -n 's/.* is needed by (installed) \(.*\)-[^-]*-[^-]*$/needs \1/p' | sort -u
elif has apk && apk info -e "$1" >/dev/null 2>&1; then
  apk info -r "$1" | sed -n '/ is required by:$/d; s/^\([^ ]*\)-[0-9][^-]*-r[0-9]*$/needs \1/p'
  apk del -s "$1" | sed -n 's/^([0-9]*\/[0-9]*) Purging \([^ ]*\) (.*/\1/p' | while read -r name; do
    [ "$name" = "$1" ] || echo "along $name"
  done
elif has pacman && pacman -Qq -- "$1" >/dev/null 2>&1; then
  pacman -R --print --print-format %n -- "$1" 2>&1 |
    sed -n -e 's/^:: removing .* required by \([^ ]*\)$/needs \1/p' -e 's/^:: \([^ ]*\): removing .*/needs \1/p' | sort -u
  pacman -Rs --print --print-format %n -- "$1" 2>/dev/null | while read -r name; do
    [ "$name" = "$1" ] || echo "along $name"
  done
fi
exit 0
