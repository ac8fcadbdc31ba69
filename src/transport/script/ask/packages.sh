# packages NAME...: asks the one that is in charge. A Debian host may well have rpm, and the other way round.
packages() {
  if [ -s /var/lib/dpkg/status ] && has dpkg-query; then apt_ "$@"; return; fi
  for i in dnf_ yum_ zypper_ apk_ pacman_; do
    has "${i%_}" || continue
    frame manager "${i%_}"
    "$i" "$@"
    return
  done
  frame manager apt
  apt_ "$@"
}
# fetched PATH...: what tells when the lists were fetched, and what time it is now: the directory of a process is as old as
# the process. Who looks at paths asks about these, too, by the same program.
fetched() {
  aside=/proc/self/ asides=now
  for i do
    [ ! -e "$i" ] || aside="$aside $i" asides="$asides lists"
  done
}
# late: nobody looked at paths.
late() {
  [ -n "$aside" ] || return 0
  gather "$(stat -c "$stat" -- $aside 2>/dev/null)" status $asides
  aside= asides=
}
apt_() {
  tool packages '' dpkg-query -W -f '${Package}\t${Architecture}\t${db:Status-Abbrev}\t${Version}\n' "$@"
  # apt gives a list the time of the mirror; only the directories move with every fetch.
  set +f
  for i in /var/lib/apt/lists/*_*; do break; done
  set -f
  [ ! -e "$i" ] || fetched /var/lib/apt/lists /var/lib/apt/lists/partial
  # What dpkg has not yet entered into its database; apt refuses to work while there is any.
  set +f
  for i in /var/lib/dpkg/updates/[0-9]*; do break; done
  set -f
  [ ! -e "$i" ] || frame interrupted
}
# rpm_ NAME...: in the form of dpkg-query's answer. It says of each that is not there that it is not.
rpm_() {
  bound 20
  tool packages "$bound" rpm -q --qf '%{NAME}\t%{ARCH}\tii \t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\n' "$@"
}
# locks WHETHER FILE: what is held, where that is possible at all.
locks() {
  [ -e "$1" ] || return 0
  frame locks
  cat "$2" >&3 2>/dev/null
}
dnf_() {
  rpm_ "$@"
  # In version 5 it is built in.
  if has dnf5; then locks / /etc/dnf/versionlock.toml; else locks /etc/dnf/plugins/versionlock.conf /etc/dnf/plugins/versionlock.list; fi
}
yum_() { rpm_ "$@"; locks /etc/yum/pluginconf.d/versionlock.conf /etc/yum/pluginconf.d/versionlock.list; }
zypper_() { rpm_ "$@"; locks / /etc/zypp/locks; }
apk_() {
  for i in /lib/apk/db/installed /usr/lib/apk/db/installed; do [ ! -e "$i" ] || break; done
  bound 20
  tool packages "$bound" sed -n '/^[PV]:/p' "$i"
}
pacman_() {
  bound 20
  tool packages "$bound" pacman -Q -- "$@"
  set +f
  for i in /var/lib/pacman/sync/*.db; do break; done
  set -f
  [ ! -e "$i" ] || fetched "$i"
}
