# What the host fetches itself. Believed only with the digest it must have; never a credential among arguments.
# authentic DIGEST: whether $f has it.
authentic() {
  if ! has sha256sum; then refuse 'this host has no sha256sum: add the package coreutils'; return; fi
  h=$(sha256sum <"$f") || return
  [ "${h%% *}" = "$1" ] || refuse "$path: what came has the SHA-256 ${h%% *} and not $1: it was thrown away"
}
# obtain URL DIGEST LIMIT SECONDS REDIRECTS HEADERS: fills $f. HEADERS is a function that writes lines for curl.
obtain() {
  if [ -z "$T" ]; then refuse 'no place for a temporary directory in /run, /var/tmp and TMPDIR'; return; fi
  t=$4
  tick
  began=$now
  code=$({
    { transfer "$1" "$3" "$5" "$6" 2>"$T/err" 3>&- 4>&-; printf %s "$?" >&4; } | head -c "$(($3 + 1))" >&7 4>&-
  } 4>&1)
  got=$(stat -L -c %s "$f")
  if [ "${got:-0}" -gt "$3" ]; then refuse "$1 is larger than $3 bytes: if that is right, raise \`max_size\`"; return; fi
  if overdue "${code:-1}" "$began"; then refuse "$1 was not fetched within $4 s: if that is right, raise \`timeout\`"; return; fi
  if [ "$code" != 0 ]; then
    refuse "$1 could not be fetched: $(tail -c 4096 "$T/err" | tr -d '\000')"
    return
  fi
  authentic "$2"
}
# transfer URL LIMIT REDIRECTS HEADERS
transfer() {
  case $1 in https:*) with='=https' ;; *) with='=http,https' ;; esac
  if has curl; then
    "$4" | timeout -k 5 "$t" curl -q -K - -sS -g -f -L --max-redirs "$3" --proto "$with" --proto-redir "$with" \
      --connect-timeout 30 --max-filesize "$2" --url "$1"
    return
  fi
  if ! has wget; then echo 'this host has no curl: add its package' >&2; return 127; fi
  # Only curl takes headers from where nobody else can read them.
  if [ "$3" = 0 ]; then echo '`headers` need curl on the host: add its package' >&2; return 127; fi
  if wget --version 2>/dev/null | grep -q '^GNU Wget'; then
    timeout -k 5 "$t" wget -nv --no-hsts -O - --tries=1 --timeout=30 --max-redirect="$3" -- "$1"
    return
  fi
  case $1 in
    https:*) echo 'the wget of this host (busybox) does not check certificates: add the package curl' >&2; return 127 ;;
  esac
  timeout -k 5 "$t" wget -q -O - -T 30 -- "$1"
}
