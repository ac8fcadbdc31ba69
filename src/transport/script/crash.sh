# A host that dies at a crash point of a test's choosing. They are counted in a file, so that a run has one count on this host.
# What an order starts to put something back dies with it, and it with that.
read -r crash_self _ </proc/self/stat
crash_whole=${crash_whole:-$$} crash_order=${crash_order:-$crash_self}
export crash_at crash_whole crash_order
# crash: one more place.
crash() {
  [ -n "${crash_at:-}" ] || return 0
  crashes=0
  if [ -e "$scratch/armilla-crash-points" ]; then read -r crashes <"$scratch/armilla-crash-points"; fi
  crashes=$((crashes + 1))
  echo "$crashes" >"$scratch/armilla-crash-points"
  [ "$crashes" != "$crash_at" ] || kill -KILL "$crash_whole" "$crash_order" "$crash_self"
}
