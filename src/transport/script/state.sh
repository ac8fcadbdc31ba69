# state INDEX ENVIRONMENT: who this host is, and what armilla keeps on it. The journal before the ledger: what is worked
# into the ledger between the two looks is then in both, which does no harm, and never in none.
state() {
  machine= boot=
  { read -r machine </etc/machine-id; read -r boot </proc/sys/kernel/random/boot_id; } 2>/dev/null
  gather "$machine" machine "$1"
  gather "$boot" boot "$1"
  [ -n "$S" ] && [ -e "$S" ] || return 0
  if [ -L "$S" ] || ! [ -O "$S" ]; then failed "$1" "$S belongs to somebody else, or is a link: armilla believes nothing in it"; return; fi
  for o in journal ledger; do
    [ -e "$S/$2/$o" ] || continue
    if [ ! -r "$S/$2/$o" ]; then failed "$1" "$S/$2/$o cannot be read"; return; fi
    gather '' "$o" "$1"
    give
    head -c 16777217 <"$S/$2/$o" >&3
  done
}
