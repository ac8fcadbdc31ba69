# a request to a web API
# In: on standard input what curl reads as its configuration; as arguments the statuses that are success beside 2xx.
answer=$(curl -q -K -) || exit
status=${answer##*'
'}
case $status in 2??) exit 0 ;; esac
for fine do [ "$status" != "$fine" ] || exit 0; done
printf 'the server answered %s: %.1000s\n' "$status" "${answer%"$status"}" >&2
exit 22
