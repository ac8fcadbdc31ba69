# $me and $us: the numbers of the user and the group we are, without a program where there is /proc.
me= us=
while read -r o _ d _; do
  case $o in Uid:) me=$d ;; Gid:) us=$d; break ;; esac
done 2>/dev/null </proc/self/status
[ -n "$us" ] || me=$(id -u) us=$(id -g)
