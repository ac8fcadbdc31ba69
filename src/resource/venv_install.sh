# pip with a list of packages
# In: on standard input the list, which may hold an address with a password; as argument the environment.
# The list goes through a pipe with a name: pip wants a file, and others must not find one.
umask 077
# The name of the folder says whose it is: if we are killed, the next run on this host removes it.
nth20() { shift 19; printf .%s "$1"; }
mark=
{ read -r boot </proc/sys/kernel/random/boot_id && read -r stat <"/proc/$$/stat"; } 2>/dev/null &&
  mark=${boot%%-*}.$$$(nth20 ${stat##*) }).
folder=$(mktemp -d "${TMPDIR:-/tmp}/armilla.${mark}XXXXXXXXXX") || exit 125
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
