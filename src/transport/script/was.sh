# How something is told as it is, in one line: the same before a change and when it is rolled back.
# is_unpacked DIRECTORY: whether it is one, and unpacked by armilla.
is_unpacked() { [ ! -L "$1" ] && [ -d "$1" ] && [ -f "$1/.armilla-archive" ] && [ ! -L "$1/.armilla-archive" ]; }
# located PATH: $place becomes the path, in the home of a user if it is there; where there is no such home, there is none.
located() {
  place=$1
  case $1 in '~'*) ;; *) return 0 ;; esac
  o=${1#'~'}
  place=$(home "${o%%/*}")/${o#*/} && case $place in /*/*) ;; *) return 1 ;; esac
}
# attributes_of NAME: its kind with owner, group and mode; nothing for what is none of ours to keep.
attributes_of() {
  if [ -L "$1" ]; then o='link %u:%g'
  elif [ -f "$1" ]; then o='file %u:%g 0%a'
  elif is_unpacked "$1"; then o='tree %d:%i'
  elif [ -d "$1" ]; then o='directory %u:%g 0%a'
  elif [ -e "$1" ]; then printf other; return
  else printf none; return
  fi
  stat -c "$o" -- "$1"
}
# unit_was UNIT: whether it is active and enabled, in systemd's own words; the second is empty where it knows none.
unit_was() {
  command -v systemctl >/dev/null 2>&1 || { printf none; return; }
  o=$(systemctl is-active -- "$1" 2>/dev/null 9>&-)
  printf '%s ' "${o:-inactive}"
  systemctl is-enabled -- "$1" 2>/dev/null 9>&- | head -n 1
  return 0
}
# package_was NAME: its version, and as which it is marked.
package_was() {
  if ! [ -s /var/lib/dpkg/status ] || ! command -v apt-get >/dev/null 2>&1; then printf other; return; fi
  o=$(dpkg-query -W -f '${db:Status-Abbrev} ${Version}\n' -- "$1" 2>/dev/null | head -n 1)
  case $o in
    ?i*) ;;
    ?c*) printf left; return ;;
    ''|?n*) printf none; return ;;
    *) printf 'half %s' "${o##* }"; return ;;
  esac
  case $o in h*) held=hold ;; *) held=unhold ;; esac
  if [ -n "$(apt-mark showauto -- "$1" 2>/dev/null 9>&-)" ]; then asked=auto; else asked=manual; fi
  printf '%s %s %s' "${o##* }" "$asked" "$held"
}
