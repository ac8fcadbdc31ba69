# A change that could shut us out is rolled back by the host itself, unless it hears in time that all is well. What it knows
# about one is in armed/NAME of the environment: `armed` (the boot it was armed in, its seconds, its units), the program
# `fire`, which a timer and every boot start, and, once everything was rolled back, `fired` (when, and why), or `stuck`.
units=/etc/systemd/system
# post ENVIRONMENT NAME MISSING: goes there and locks it, with MISSING as `make` making it. Returns 66 where there is none.
post() {
  belonging "$1" "$3" || return
  for o in armed "$2"; do
    if [ ! -e "./$o" ] && [ ! -L "./$o" ]; then
      [ "$3" = make ] || return 66
      mkdir "./$o" && { sync . 2>/dev/null || sync; } || return
    fi
    if [ -L "./$o" ] || [ ! -d "./$o" ] || ! [ -O "./$o" ]; then refuse "$S/$1/armed is not armilla's: move it away"; return; fi
    cd -P "./$o" || return
  done
  { true >>./lock; } 2>/dev/null || { refuse "$PWD/lock cannot be written; is the disk full?"; return; }
  exec 8>>./lock
  limit 120 flock 8 || { refuse 'this host has been putting things back for two minutes, and is not done'; return; }
  unit=armilla-undo-$(printf %s "$PWD" | sha256sum | head -c 16)
}
# told: fails with the whole story if everything was put back, or was to be.
told() {
  if [ -e ./stuck ]; then cat ./stuck; return 86; fi
  [ -e ./fired ] || return 0
  { read -r when; read -r why; } <./fired
  echo "this host rolled everything back by itself at $when: $why"
  return 85
}
# able: whether a host can do that at all.
able() {
  [ "$me" = 0 ] && [ -d /run/systemd/system ] && has systemctl && has flock && return
  refuse 'this host cannot undo a change by itself, which takes root, systemd and flock: "risky: false" beside the resource does without'
}
# arm ENVIRONMENT NAME SECONDS FUNCTION: FUNCTION writes the program `fire`.
arm() {
  able && post "$1" "$2" make || return
  [ -f "../../undo/$2/restore" ] || { refuse "nothing is kept under the name $2 that can be rolled back"; return; }
  case $PWD in *[[:space:]%\\\"\'\$]*) refuse "$PWD: systemd needs a plainer path"; return ;; esac
  rm -f ./fired ./stuck
  "$4" >./.new-fire && { sync ./.new-fire 2>/dev/null || sync; } && mv -f -T ./.new-fire ./fire || return
  read -r o </proc/sys/kernel/random/boot_id
  o=$(record armed "$o" "$3" "$unit") || { refuse "$o"; return; }
  # crash point
  written "$unit.service" '[Unit]' "Description=armilla rolls back what the role $2 changed" \
    '[Service]' "ExecStart=/bin/sh $PWD/fire" '[Install]' 'WantedBy=multi-user.target' &&
    written "$unit.timer" '[Unit]' "Description=armilla waits for word about what the role $2 changed" \
      '[Timer]' "OnActiveSec=${3}s" 'AccuracySec=100ms' &&
    (umask 022; mkdir -p "$units/multi-user.target.wants") &&
    ln -sfn "$units/$unit.service" "$units/multi-user.target.wants/$unit.service" &&
    { sync "$units/multi-user.target.wants" 2>/dev/null || sync; } || return
  # crash point
  systemctl daemon-reload 3>&- 9>&- && anew
}
# written NAME LINE...: a unit of these lines, flushed to disk.
written() {
  o=$units/$1
  shift
  (umask 022; printf '%s\n' "$@" >"$o.new") && { sync "$o.new" 2>/dev/null || sync; } && mv -f -T "$o.new" "$o" &&
    { sync "$units" 2>/dev/null || sync; } && return
  rm -f "$o.new"
  refuse "$o cannot be written; is the disk full?"
}
# anew: lets the time begin.
anew() {
  systemctl stop "$unit.timer" "$unit.service" 3>&- 8>&- 9>&- 2>/dev/null
  systemctl reset-failed "$unit.service" 3>&- 8>&- 9>&- 2>/dev/null
  systemctl start "$unit.timer" 3>&- 8>&- 9>&-
}
# extend ENVIRONMENT NAME
extend() {
  post "$1" "$2" no
  case $? in
    0) ;;
    66) refuse "nothing is armed under the name $2"; return ;;
    *) return 1 ;;
  esac
  told || return
  [ -e ./armed ] || { refuse "nothing is armed under the name $2"; return; }
  anew
}
# disarm ENVIRONMENT NAME
disarm() {
  post "$1" "$2" no
  case $? in 0) ;; 66) return 0 ;; *) return 1 ;; esac
  told || return
  # From here on nothing is rolled back any more, whatever is left.
  rm -f ./armed && { sync . 2>/dev/null || sync; } || return
  # crash point
  systemctl stop "$unit.timer" "$unit.service" 3>&- 8>&- 9>&- 2>/dev/null
  rm -f "$units/multi-user.target.wants/$unit.service" "$units/$unit.timer" "$units/$unit.service"
  sync "$units" "$units/multi-user.target.wants" 2>/dev/null || sync
  # crash point
  systemctl daemon-reload 3>&- 8>&- 9>&-
  cd .. && rm -rf "./$2" && cd .. && { rmdir ./armed 2>/dev/null || :; }
}
# giveup ENVIRONMENT NAME
giveup() {
  post "$1" "$2" no
  case $? in 0) ;; 66) return 87 ;; *) return 1 ;; esac
  told >/dev/null
  case $? in 85) return 0 ;; 86) told; return ;; esac
  [ -e ./armed ] || return 87
  exec 8>&-
  o=$(sh ./fire 'armilla could not continue with the change' 2>&1 3>&- 9>&-) && return
  echo "$o"
  [ -e ./stuck ] && return 86
  return 1
}
