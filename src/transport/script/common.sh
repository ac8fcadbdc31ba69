# The beginning of every script. $N is the nonce of this conversation, $budget its seconds.
# Frames go to descriptor 3; whatever else is written to standard output is thrown away.
# An external printf would show contents in the list of processes; here only the shell's own is found.
PATH=/nowhere
if ! printf '' 2>/dev/null; then
  echo 'armilla: the shell of this host has no printf of its own' >&2
  exit 3
fi
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
scratch=${TMPDIR:-/tmp}
unset CDPATH ENV BASH_ENV LANGUAGE POSIXLY_CORRECT IFS
umask 077
set -f
cd /
exec 3>&1 >/dev/null </dev/null
nl='
'
# frame WORD ARGUMENT...: begins a frame; what is written to 3 next is its data.
frame() { printf '\n%s %s\n' "$N" "$*" >&3; }
# shut: ends a frame at once, so that it is told now and not with the next one.
shut() { printf '\n%s .\n' "$N" >&3; }
# say WORD ARGUMENT...: a frame without data, told at once.
say() { printf '\n%s %s\n\n%s .\n' "$N" "$*" "$N" >&3; }
# over: the end of the answer, and what was gathered before it, all at once.
gathered=
over() { printf '%s\n%s end\n\n%s .\n' "$gathered" "$N" "$N" >&3; }
has() { command -v "$1" >/dev/null 2>&1; }
# tick: $now becomes the host's monotonic time in hundredths of a second.
tick() {
  read -r now _ </proc/uptime
  now=${now%.*}${now#*.}
  # In the first second after a boot it begins with zeros, which would make it an octal number.
  now=${now#0} now=${now#0}
}
# bound SECONDS: $bound becomes what stands before a short question of our own. The timeout of busybox leaves a process
# that holds our pipes for a second each time; there only the limit of the whole conversation counts.
bound() { [ -n "$busy" ] || bound="timeout -k 1 $1"; }
# limit SECONDS PROGRAM ARGUMENT...
limit() {
  bound "$1"
  shift
  $bound "$@"
}
busy= bound= IFS=:
for i in $PATH; do [ ! -x "$i/timeout" ] || break; done
unset IFS
if [ -L "$i/timeout" ]; then
  case $(readlink -- "$i/timeout") in *busybox*) busy=yes ;; esac
fi
