# what uses an account
# In: the account. Out, one a line: `unit NAME` (a process of it runs in that unit), `process NUMBER NAME` (elsewhere),
# `crontab`. The manager that systemd keeps of a user for a while after a login is no use of it.
uid=$(id -u -- "$1" 2>/dev/null) || exit 0
for status in $(grep -lsE "^Uid:.*[[:blank:]]$uid([[:blank:]]|\$)" /proc/[0-9]*/status); do
  process=${status%/status}
  name=$(tr -d '[:cntrl:]' 2>/dev/null <"$process/comm") || continue
  unit=$(sed -n 's|^.*/system\.slice/\([^/]*\.slice/\)*\([^/]*\.service\).*$|\2|p' "$process/cgroup" 2>/dev/null | head -n 1)
  if [ -n "$unit" ]; then echo "unit $unit"
  else case $name in systemd | '(sd-pam)') ;; *) echo "process ${process##*/} $name" ;; esac
  fi
done | sort -u | head -n 50
for tab in "/var/spool/cron/crontabs/$1" "/var/spool/cron/$1"; do
  [ ! -f "$tab" ] || { echo crontab; break; }
done
exit 0
