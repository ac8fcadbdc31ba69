echo "no such account: prod" >&2
exit 3
