//! What stands in the command line on a host: the same few words every time.
//!
//! In: as whom to work. Out: an argument vector, and the same as one line for a login shell of any make.
//! Never: data or a secret; those come through standard input, after the words have said that they are ready.

use crate::inventory::Become;

/// The word before the token whenever the last shell is about to read a script.
pub(super) const READY: &str = "armilla-ready";

/// What the host says when it has no sudo.
pub(super) const NO_SUDO: &str = "armilla-no-sudo";

/// Reads all of a script, whose length in bytes stands in the line before it, and only then runs it, in a shell of its own;
/// then the next one, until nobody is there any more.
const READ: &str =
    r#"LC_ALL=C; export LC_ALL; while echo "armilla-ready $1"; read -r n; do s=$(head -c "$n"); (eval "$s"); s=; done"#;

/// Becomes root without a password, unless it is root: `/proc` says so without a program.
const BECOME: &str = r#"LC_ALL=C; export LC_ALL; u=; while read -r k _ u _; do [ "$k" = Uid: ] && break; done 2>/dev/null </proc/self/status; if [ "${u:-$(id -u)}" = 0 ]; then s=$1; shift; eval "$s"; exit; fi; command -v sudo >/dev/null || { echo armilla-no-sudo >&2; exit 126; }; exec sudo -n -- /bin/sh -c "$1" armilla "$2""#;

/// Becomes root with a password; its prompt is the token.
const BECOME_ASKED: &str = r#"LC_ALL=C; export LC_ALL; u=; while read -r k _ u _; do [ "$k" = Uid: ] && break; done 2>/dev/null </proc/self/status; if [ "${u:-$(id -u)}" = 0 ]; then s=$1; shift; eval "$s"; exit; fi; command -v sudo >/dev/null || { echo armilla-no-sudo >&2; exit 126; }; exec sudo -S -p "$2" -- /bin/sh -c "$1" armilla "$2""#;

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
        (Become::Root, Password::None) => vec!["/bin/sh", "-c", BECOME, "armilla", READ, token],
        (Become::Root, Password::Given) => vec!["/bin/sh", "-c", BECOME_ASKED, "armilla", READ, token],
    }
}

/// The same as one line. No word holds a quote, backslash, newline or `!`, so even csh and fish read it as it is.
pub(super) fn line(becoming: Become, password: Password, token: &str) -> String {
    let words = words(becoming, password, token);
    let quoted: Vec<String> = words.iter().map(|word| super::script::quote(word)).collect();
    format!("exec {}", quoted.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_means_the_same_to_every_login_shell() {
        for text in [READ, BECOME, BECOME_ASKED] {
            assert!(!text.contains(['\'', '\\', '\n', '!']), "{text}");
        }
        assert!(READ.contains(READY) && BECOME.contains(NO_SUDO) && BECOME_ASKED.contains(NO_SUDO));
    }
}
