//! From probes and steps to one shell script, and from what it prints back to values.
//!
//! In: probes or steps, and a nonce. Out: a script for any POSIX shell; readings or outcomes from its output.
//! Never: a value that a shell could take for a command, or output that can pass for ours without the nonce.
//!
//! The script travels on standard input, so nothing in it can be seen in a process list. It is one function that its
//! last line calls: a connection cut anywhere before runs nothing. What it prints are frames, each on a line that
//! begins with the nonce; what login shells, banners and files print has no nonce.

mod act;
mod ask;
mod parse;
mod quote;

pub(super) use act::act;
pub(super) use ask::ask;
pub(super) use parse::{Doing, readings};

/// What every script begins with. `T` is a private folder that only root and its user can enter, and that is removed
/// at the end; `up` is the host's monotonic clock in hundredths of a second,
/// without leading zeros, which would make it an octal number in the first second after a boot.
const BEGIN: &str = r#"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C TZ=UTC HOME=${HOME:-/root}
export PATH LC_ALL TZ HOME
umask 077
L='
'
cd /
T=
trap '[ -z "$T" ] || rm -rf -- "$T"' EXIT
trap 'exit 143' TERM INT HUP
T=$(mktemp -d "${TMPDIR:-/tmp}/armilla.XXXXXXXXXX") || { frame broken; exit 0; }
up() { read -r now rest </proc/uptime; now=${now%.*}${now#*.}; now=${now#0}; now=${now#0}; }
limited() {
    seconds=$1; shift
    if command -v timeout >/dev/null 2>&1; then timeout -k 5 "$seconds" "$@"; else "$@"; fi
}
"#;

/// Wraps the body so that it runs only if all of it has arrived.
fn script(nonce: &str, body: &str) -> Vec<u8> {
    let mut text = String::with_capacity(body.len() + BEGIN.len() + 200);
    text.push_str("armilla() {\nN=");
    text.push_str(nonce);
    text.push('\n');
    // `frame` is used by BEGIN itself, so it is defined before.
    text.push_str("frame() { printf '\\n%s %s\\n' \"$N\" \"$*\"; }\n");
    text.push_str(BEGIN);
    text.push_str(body);
    text.push_str("frame done\n}\narmilla </dev/null\nexit 0\n");
    text.into_bytes()
}
