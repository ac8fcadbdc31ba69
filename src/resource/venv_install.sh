# pip with a list of packages
# In: on standard input the list, which may hold an address with a password; as argument the environment.
# The list goes through a pipe with a name: pip wants a file, and others must not find one.
umask 077
folder=$(mktemp -d "${TMPDIR:-/tmp}/armilla.XXXXXXXXXX") || exit 125
feeder=
trap '[ -z "$feeder" ] || kill "$feeder" 2>/dev/null; rm -rf -- "$folder"' EXIT
trap 'exit 143' HUP INT TERM
mkfifo "$folder/list" || exit 125
exec 3<&0 </dev/null
cat <&3 >"$folder/list" &
feeder=$!
umask 022
"$1/bin/python" -I -m pip --isolated --disable-pip-version-check --no-input --no-cache-dir install --quiet --no-deps \
  --only-binary :all: --requirement "$folder/list"
code=$?
exit "$code"
