# a script of the project
# In: LINES INTERPRETER OPTION VERB ARGUMENT...; on standard input the program, then what is for the program.
# The file is private and goes with us. It is read, not executed: a file system without programs will do.
lines=$1 interpreter=$2 option=$3
shift 3
folder=$(mktemp -d "${TMPDIR:-/tmp}/armilla.XXXXXXXXXX") || exit 125
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
