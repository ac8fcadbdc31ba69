# a script of the project
# In: LINES INTERPRETER OPTION VERB ARGUMENT...; on standard input the program, then what is for the program.
# The file is private and goes with us. It is read, not executed: a file system without programs will do.
lines=$1 interpreter=$2 option=$3
shift 3
# The name of the folder says whose it is: if we are killed, the next run on this host removes it.
nth20() { shift 19; printf .%s "$1"; }
mark=
{ read -r boot </proc/sys/kernel/random/boot_id && read -r stat <"/proc/$$/stat"; } 2>/dev/null &&
  mark=${boot%%-*}.$$$(nth20 ${stat##*) }).
folder=$(mktemp -d "${TMPDIR:-/tmp}/armilla.${mark}XXXXXXXXXX") || exit 125
trap 'rm -rf -- "$folder"' EXIT
trap 'exit 143' HUP INT TERM
# The shell's own read takes no byte more than the line; head or cat would take what is not theirs.
while [ "$lines" -gt 0 ]; do
  IFS= read -r line || exit 125
  printf '%s\n' "$line"
  lines=$((lines - 1))
done >"$folder/script" || exit 125
"$interpreter" ${option:+"$option"} "$folder/script" "$@"
code=$?
exit "$code"
