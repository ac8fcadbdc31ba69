//! The command line that starts the host program: the same few words every time, and all the shell there is.
//!
//! In: which user to work as, and the digests of the program. Out: an argument vector, and the same as one line for a login
//! shell of any make. Never: data or a secret; those come through standard input, after the words have said that they are
//! ready.

use super::quote::quote;
use crate::inventory::Become;

/// The word before the token as soon as the last shell has started: what is written to it from now on is read by it.
pub(super) const READY: &str = "armilla-ready";

/// The word before the token and the architecture where the program is not there. What was sent for it is skipped.
pub(super) const UPLOAD: &str = "armilla-upload";

/// The directories of root and of other users, for people.
pub(super) const PLACES: &str = "/var/lib/armilla/program and /run/armilla/program; for other users ~/.cache/armilla/program, /run/user/UID/armilla and /tmp/armilla-UID";

/// What the host says when there is no directory in which it may write and run programs.
pub(super) const NO_PLACE: &str = "armilla-no-place";

/// What the host says when the program did not arrive as it was sent.
pub(super) const NOT_WHOLE: &str = "armilla-not-whole";

/// What the host writes to standard error before it starts sudo: whatever follows is sudo's answer, in any language.
pub(super) const SUDO: &str = "armilla-sudo";

/// The word before the token in the prompt of sudo. The token alone may also stand in an answer of sudo that repeats what it
/// was to run.
pub(super) const PROMPT: &str = "armilla-password";

/// What the host says when it has no sudo.
pub(super) const NO_SUDO: &str = "armilla-no-sudo";

/// What the host says when it should work as root and does not, although sudo let us in. The user id follows.
pub(super) const NOT_ROOT: &str = "armilla-not-root";

/// Sets `u` to the effective user id. `/proc` says so without a program.
macro_rules! user_id {
    () => {
        r#"LC_ALL=C; export LC_ALL; u=; while read -r k _ u _; do [ "$k" = Uid: ] && break; done 2>/dev/null </proc/self/status; [ "$u" ] || u=$(id -u); "#
    };
}

/// Becomes root by sudo, unless it is root already, and runs `$1`. There is no way around the check in [`AS_ROOT`]:
/// sudo may be told to run as somebody else.
macro_rules! become_root {
    ($sudo:literal) => {
        concat!(
            user_id!(),
            r#"if [ "$u" = 0 ]; then s=$1; shift; eval "$s"; exit; fi; command -v sudo >/dev/null || { echo armilla-no-sudo >&2; exit 126; }; echo armilla-sudo >&2; exec "#,
            $sudo,
            r#" -u root -- /bin/sh -c "$1" armilla "$2" "$3""#
        )
    };
}

/// Becomes the host program: `$1` are the digests of those that we have, `$2` is the token. Where none of them is there, it
/// skips what was sent for the program (the length in bytes stands in a line before it), says so, and takes the program.
///
/// A directory for programs belongs to us and lies where nobody else can put another in its place; others cannot look into
/// it. Where programs cannot be run from it, the next one is taken. A program is there under its digest, is compared with it
/// each time before it is run, and gets its name only when it is whole.
macro_rules! become_program {
    () => {
        concat!(
            r#"umask 077; cd /; all=$1 t=$2; if [ "$u" = 0 ]; then set -- /var/lib/armilla/program /run/armilla/program; "#,
            r#"else set -- "${XDG_CACHE_HOME:-$HOME/.cache}/armilla/program" "/run/user/$u/armilla" "/tmp/armilla-$u"; fi; "#,
            r#"sum() { s=$(sha256sum <"$1") && [ "${s%% *}" = "$d" ]; }; "#,
            r#"echo "armilla-ready $t"; "#,
            r#"for d in $all; do for p; do [ -O "$p" ] && [ -x "$p/$d" ] && sum "$p/$d" && exec "$p/$d" serve; done; done; "#,
            r#"read -r n; head -c "$n" >/dev/null; f=; "#,
            r#"for p; do f=$p/.new.$$; mkdir -p "$p" && [ -O "$p" ] && chmod 700 "$p" && : >"$f" && chmod 700 "$f" && [ -x "$f" ] && break; f=; done 2>/dev/null; "#,
            r#"[ "$f" ] || { echo armilla-no-place >&2; exit 126; }; "#,
            r#"echo "armilla-upload $t $(uname -m)"; read -r n d; head -c "$n" >"$f"; "#,
            r#"if sum "$f" && mv -f "$f" "$p/$d"; then echo "armilla-ready $t"; exec "$p/$d" serve; fi; rm -f "$f"; echo armilla-not-whole >&2; exit 126"#
        )
    };
}

/// Becomes the program as whoever logged in.
const AS_USER: &str = concat!(user_id!(), become_program!());

/// Becomes the program only as root.
const AS_ROOT: &str =
    concat!(user_id!(), r#"[ "$u" = 0 ] || { echo "armilla-not-root $u" >&2; exit 126; }; "#, become_program!());

/// Becomes root without a password.
const BECOME: &str = become_root!("sudo -n");

/// Becomes root with a password.
const BECOME_ASKED: &str = become_root!(r#"sudo -S -p "armilla-password $3""#);

/// Whether there is a password for sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Password {
    Given,
    None,
}

/// The program and its arguments. `digests` are those of the programs that we have, with blanks between.
pub(super) fn words<'a>(becoming: Become, password: Password, digests: &'a str, token: &'a str) -> Vec<&'a str> {
    match (becoming, password) {
        (Become::No, _) => vec!["/bin/sh", "-c", AS_USER, "armilla", digests, token],
        (Become::Root, Password::None) => vec!["/bin/sh", "-c", BECOME, "armilla", AS_ROOT, digests, token],
        (Become::Root, Password::Given) => vec!["/bin/sh", "-c", BECOME_ASKED, "armilla", AS_ROOT, digests, token],
    }
}

/// The same as one line. No word holds a quote, backslash, newline or `!`, so even csh and fish read it as it is.
pub(super) fn line(becoming: Become, password: Password, digests: &str, token: &str) -> String {
    let words = words(becoming, password, digests, token);
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("exec {}", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_means_the_same_to_every_login_shell() {
        for text in [AS_USER, AS_ROOT, BECOME, BECOME_ASKED] {
            assert!(!text.contains(['\'', '\\', '\n', '!']), "{text}");
        }
        for text in [AS_USER, AS_ROOT] {
            assert!([READY, UPLOAD, NO_PLACE, NOT_WHOLE].iter().all(|word| text.contains(word)), "{text}");
        }
        assert!(AS_ROOT.contains(NOT_ROOT) && !AS_USER.contains(NOT_ROOT));
        assert!(BECOME_ASKED.contains(PROMPT));
        for text in [BECOME, BECOME_ASKED] {
            assert!(text.contains(NO_SUDO) && text.contains(SUDO), "{text}");
        }
    }

    #[test]
    fn who_becomes_root_becomes_the_program_only_as_root() {
        for password in [Password::None, Password::Given] {
            let words = words(Become::Root, password, "digest", "token");
            assert!(words.contains(&AS_ROOT) && !words.contains(&AS_USER), "{words:?}");
        }
    }
}
