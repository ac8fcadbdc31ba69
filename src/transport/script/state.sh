# state INDEX: who this host is, and what armilla keeps on it, for everybody. Each journal before its ledger: what is worked
# into the ledger between the two looks is then in both, which does no harm, and never in none.
state() {
  machine= boot=
  { read -r machine </etc/machine-id; read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
  gather "$machine" machine "$1"
  gather "$boot" boot "$1"
  [ -n "$S" ] && [ -e "$S" ] || return 0
  if [ -L "$S" ] || ! [ -O "$S" ]; then failed "$1" "$S belongs to another user, or is a link: armilla believes nothing in it"; return; fi
  set +f
  for d in "$S"/*@*/; do
    d=${d%/}
    case ${d##*/} in *[[:space:]]*) continue ;; esac
    [ -d "$d" ] || continue
    if [ -L "$d" ]; then failed "$1" "$d is a symbolic link: remove it"; break; fi
    for o in journal ledger; do
      [ -e "$d/$o" ] || continue
      if [ ! -r "$d/$o" ]; then failed "$1" "$d/$o cannot be read"; break 2; fi
      gather '' "$o" "$1" "${d##*/}"
      give
      head -c 16777217 <"$d/$o" >&3
    done
  done
  set -f
}
