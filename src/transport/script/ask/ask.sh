# What only asks. Every function answers in frames; a number in a frame is the place of the probe in the list.
# failed INDEX TEXT
failed() { frame failed "$1"; printf '%s' "$2" >&3; }
# gather DATA WORD ARGUMENT...: a frame that is told with all the others at once: each time we say something, somebody must
# wake up on both sides. What belongs to one process only is told at its end, by `give`.
gather() {
  data=$1
  shift
  gathered="$gathered$nl$N $*$nl$data"
}
give() {
  [ -z "$gathered" ] || printf '%s' "$gathered" >&3
  gathered=
}
# tool WORD BOUND PROGRAM ARGUMENT...: how it ended, and all that it said. BOUND stands before it, and is empty for what asks
# nobody, but reads files of the host's own: it would not end at it, either.
tool() {
  word=$1 bound=$2
  shift 2
  if has "$1"; then o=$(exec $bound "$@" 2>&1)
  else o="this host has no $1"; (exit 127)
  fi
  gather "$o" "$word" code $?
}
# known: $known becomes the mounts of networks, and who tells this host about accounts, perhaps among others. The shell
# itself would read each byte on its own, and a host may have hundreds of mounts.
known=
known() {
  [ -n "$known" ] || known=$(grep -hF -e ' nfs' -e ' cifs ' -e ' smb3 ' -e ' ceph ' -e ' 9p ' -e ' afs ' -e ' glusterfs ' \
    -e ' fuse.' -e passwd: -e group: -e initgroups: /proc/mounts /etc/nsswitch.conf 2>/dev/null)
}
# What stat tells of a path, and its name.
stat=%f:%s:%Y:%u:%g:%U:%G$nl%n aside= asides=
# spare: whether a processor of this host has nothing to do; the one that is at it counts among those that have.
spare() {
  read -r _ _ _ o _ </proc/loadavg && read -r i </sys/devices/system/cpu/online || return
  [ "${o%%/*}" -le "${i##*[,-]}" ]
} 2>/dev/null
# beside: the functions `first` and `second`. At the same time, the answers of the first wait in a pipe until the second
# is over.
beside() {
  if spare; then
    { first; [ -z "$aside" ] || late; give; } 3>&1 >/dev/null | { exec 8<&0 </dev/null; second; give; exec cat <&8 >&3; }
  else first; second
  fi
}
