# Puts back what a change of armilla's altered, because nobody said in time that all is well: started by a timer, by every
# boot, and by armilla itself, with the reason, where it could not go on. Needs nothing but the directory it is in.
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
umask 077
cd -P "${0%/*}" || exit
{ read -r boot && read -r seconds && read -r unit; } 2>/dev/null <./armed || exit 0
name=${PWD##*/} why=$1 early= units=/etc/systemd/system late=/run/armilla-late
flush() { sync "$@" 2>/dev/null || sync; }
if [ -z "$why" ]; then
  read -r now </proc/sys/kernel/random/boot_id
  why="nobody logged in again within $seconds s"
  [ "$now" = "$boot" ] || why='it booted before the change was confirmed' early=early
  # What is being changed at this moment comes to its end first, if it does so in time; else no step of it begins any more.
  exec 9>>../../../busy
  flock -w "$seconds" 9 || { : >"$late"; flock -w "$seconds" 9; }
fi
exec 8>>./lock
flock 8
if [ -e ./armed ] && [ ! -e ./fired ]; then
  if said=$(sh "../../undo/$name/restore" $early 2>&1 8>&- 9>&-); then
    printf '%s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$why" >./.new-fired && flush ./.new-fired &&
      rm -f ./stuck && mv -f -T ./.new-fired ./fired && flush .
  else
    # It stays armed: the next boot tries again.
    printf '%s\n' "this host was to roll everything back ($why), and could not: $said" >./stuck
    flush .
    cat ./stuck
    rm -f "$late"
    exit 1
  fi
fi
if [ -e ./fired ]; then
  # A timer that still waits when systemd finds what it starts gone is left there as failed.
  systemctl stop "$unit.timer" 2>/dev/null
  rm -f "$units/multi-user.target.wants/$unit.service" "$units/$unit.timer" "$units/$unit.service" ./armed ./fire
  flush . "$units" "$units/multi-user.target.wants"
  systemctl daemon-reload
fi
exec 8>&-
# A step that has outlived all this is its order's last one.
[ -n "$1" ] || [ ! -e "$late" ] || { flock 9; rm -f "$late"; }
