//! The command line that starts a shell on a host: the same few words every time.
//!
//! In: which user to work as. Out: an argument vector, and the same as one line for a login shell of any make.
//! Never: data or a secret; those come through standard input, after the words have said that they are ready.

use super::script::quote;
use crate::inventory::Become;

/// The word before the token whenever the last shell is about to read a script.
pub(super) const READY: &str = "armilla-ready";

/// What the host writes to standard error before it starts sudo: whatever follows is sudo's answer, in any language.
pub(super) const SUDO: &str = "armilla-sudo";

/// The word before the token in the prompt of sudo. The token alone may also stand in an answer of sudo that repeats what it
/// was to run.
pub(super) const PROMPT: &str = "armilla-password";

/// What the host says when it has no sudo.
pub(super) const NO_SUDO: &str = "armilla-no-sudo";

/// What the host says when it should work as root and does not, although sudo let us in. The user id follows.
pub(super) const NOT_ROOT: &str = "armilla-not-root";

/// Reads all of a script, whose length in bytes stands in the line before it, and only then runs it, in a shell of its own;
/// then the next one, until nobody is there any more.
const READ: &str =
    r#"LC_ALL=C; export LC_ALL; while echo "armilla-ready $1"; read -r n; do s=$(head -c "$n"); (eval "$s"); s=; done"#;

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
            r#" -u root -- /bin/sh -c "$1" armilla "$2""#
        )
    };
}

/// Reads scripts like [`READ`], and none at all unless it is root.
const AS_ROOT: &str = concat!(
    user_id!(),
    r#"[ "$u" = 0 ] || { echo "armilla-not-root $u" >&2; exit 126; }; "#,
    r#"while echo "armilla-ready $1"; read -r n; do s=$(head -c "$n"); (eval "$s"); s=; done"#
);

/// Becomes root without a password.
const BECOME: &str = become_root!("sudo -n");

/// Becomes root with a password.
const BECOME_ASKED: &str = become_root!(r#"sudo -S -p "armilla-password $2""#);

/// Whether there is a password for sudo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Password {
    Given,
    None,
}

/// The program and its arguments.
pub(super) fn words(becoming: Become, password: Password, token: &str) -> Vec<&str> {
    match (becoming, password) {
        (Become::No, _) => vec!["/bin/sh", "-c", READ, "armilla", token],
        (Become::Root, Password::None) => vec!["/bin/sh", "-c", BECOME, "armilla", AS_ROOT, token],
        (Become::Root, Password::Given) => vec!["/bin/sh", "-c", BECOME_ASKED, "armilla", AS_ROOT, token],
    }
}

/// The same as one line. No word holds a quote, backslash, newline or `!`, so even csh and fish read it as it is.
pub(super) fn line(becoming: Become, password: Password, token: &str) -> String {
    let words = words(becoming, password, token);
    let quoted: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("exec {}", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_means_the_same_to_every_login_shell() {
        for text in [READ, AS_ROOT, BECOME, BECOME_ASKED] {
            assert!(!text.contains(['\'', '\\', '\n', '!']), "{text}");
        }
        assert!(READ.contains(READY) && AS_ROOT.contains(READY) && AS_ROOT.contains(NOT_ROOT));
        assert!(BECOME_ASKED.contains(PROMPT));
        for text in [BECOME, BECOME_ASKED] {
            assert!(text.contains(NO_SUDO) && text.contains(SUDO), "{text}");
        }
    }

    #[test]
    fn whoever_becomes_root_reads_a_script_only_as_root() {
        for password in [Password::None, Password::Given] {
            let words = words(Become::Root, password, "token");
            assert!(words.contains(&AS_ROOT) && !words.contains(&READ), "{words:?}");
        }
    }
}
