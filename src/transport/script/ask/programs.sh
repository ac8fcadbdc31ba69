# What runs a program, or looks whether somebody listens, within the time of the whole conversation.
tick
deadline=$((now + budget * 100))
# command INDEX LIMIT FUNCTION: its output, its complaint, its exit code, each in a frame of its own. Both are read
# to their end, so that it meets no broken pipe, but not longer than it may take: a daemon it started can hold them.
command_() {
  tick
  left=$(((deadline - now) / 100)) t=$2 began=$now
  [ "$left" -gt 0 ] || { failed "$1" "no time was left for it"; return; }
  [ "$t" -le "$left" ] || t=$left
  frame stdout "$1"
  code=$({
    {
      { "$3" 2>&5 3>&- 4>&- 5>&-; printf %s "$?" >&4; } |
        timeout -k 1 $((t + 6)) sh -c 'head -c 262144; exec cat >/dev/null' >&3 4>&- 5>&- || held "$1"
      frame stderr "$1"
    } 5>&1 | timeout -k 1 $((t + 6)) tail -c 16384 >&3 4>&-
  } 4>&1) || held "$1"
  overdue "${code:-1}" "$began" && code=124
  frame exit "$1" "${code:-124}"
}
# held INDEX: what was not read to its end is not known, and unknown is not empty.
held() { failed "$1" 'a program it left running holds its output open'; }
# port_ INDEX LIMIT ADDRESS PORT HEX LOOPBACK
port_() {
  tick
  left=$(((deadline - now) / 100)) t=$2
  [ "$left" -gt 0 ] || { failed "$1" "no time was left for it"; return; }
  [ "$t" -le "$left" ] || t=$left
  port "$3" "$4" "$5" "$6"
  case $? in
    0) frame port "$1" open ;;
    1) frame port "$1" closed ;;
    *) failed "$1" "asking for $3 port $4 needs bash or nc on the host" ;;
  esac
}
