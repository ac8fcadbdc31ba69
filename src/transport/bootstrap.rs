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
/// it. Where programs cannot be run from it, the next one is taken. A program is there under its digest, and gets its name
/// only when it is whole. It is compared with its digest before it is run for the first time since the host booted, and
/// whenever it was written after the last comparison, which `.checked.DIGEST` stands for: a comparison costs several times
/// what the program itself needs to say that nothing changed.
macro_rules! become_program {
    () => {
        concat!(
            r#"umask 077; cd /; all=$1 t=$2; if [ "$u" = 0 ]; then set -- /var/lib/armilla/program /run/armilla/program; "#,
            r#"else set -- "${XDG_CACHE_HOME:-$HOME/.cache}/armilla/program" "/run/user/$u/armilla" "/tmp/armilla-$u"; fi; "#,
            r#"b=; read -r b 2>/dev/null </proc/sys/kernel/random/boot_id; "#,
            r#"checked() { [ "$b" ] && [ "$p/.checked.$d" -nt "$p/$d" ] && read -r s <"$p/.checked.$d" && [ "$s" = "$b" ]; }; "#,
            r#"sum() { s=$(sha256sum <"$1") && [ "${s%% *}" = "$d" ]; }; "#,
            r#"run() { { [ -z "$1" ] || echo "$b" >"$p/.checked.$d"; } 2>/dev/null; exec "$p/$d" serve; }; "#,
            r#"echo "armilla-ready $t"; "#,
            r#"for d in $all; do for p; do [ -O "$p" ] && [ -x "$p/$d" ] || continue; checked && run; sum "$p/$d" && run new; done; done; "#,
            r#"read -r n; head -c "$n" >/dev/null; f=; "#,
            r#"for p; do f=$p/.new.$$; mkdir -p "$p" && [ -O "$p" ] && chmod 700 "$p" && : >"$f" && chmod 700 "$f" && [ -x "$f" ] && break; f=; done 2>/dev/null; "#,
            r#"[ "$f" ] || { echo armilla-no-place >&2; exit 126; }; "#,
            r#"echo "armilla-upload $t $(uname -m)"; read -r n d; head -c "$n" >"$f"; "#,
            r#"if sum "$f" && mv -f "$f" "$p/$d"; then echo "armilla-ready $t"; run new; fi; rm -f "$f"; echo armilla-not-whole >&2; exit 126"#
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
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::os::unix::process::CommandExt as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::step::Digest;

    /// A user without root's directories.
    const NOBODY: u32 = 65534;

    /// What a shell says that becomes a program of which each version says who it is.
    fn become_program(shell: &[&str], cache: &Path, program: &str) -> String {
        let digest = Digest::of(program.as_bytes()).0;
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).args(["-c", AS_USER, "armilla", &digest, "token"]);
        command.env("XDG_CACHE_HOME", cache).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let mut started = command.spawn().expect("a shell");
        let said = format!("7\nrequest{} {digest}\n{program}", program.len());
        // Who finds its program reads no more.
        let _ = started.stdin.take().expect("a pipe").write_all(said.as_bytes());
        let ended = started.wait_with_output().expect("an end");
        String::from_utf8(ended.stdout).expect("text") + &String::from_utf8(ended.stderr).expect("text")
    }

    #[test]
    fn a_program_that_is_not_what_was_sent_is_never_run() {
        for shell in [&["dash"][..], &["bash", "--posix"]] {
            let room = tempfile::tempdir().expect("a directory");
            if rustix::process::geteuid().is_root() {
                chown(room.path(), Some(NOBODY), Some(NOBODY)).expect("an owner");
            }
            let own = "#!/bin/sh\necho own\n";
            let other = "#!/bin/sh\necho bad\n";
            let digest = Digest::of(own.as_bytes()).0;
            let place = room.path().join("armilla/program");
            let (program, checked) = (place.join(&digest), place.join(format!(".checked.{digest}")));
            let ask = || become_program(shell, room.path(), own);
            let (sent, found) = (
                format!(
                    "armilla-ready token\narmilla-upload token {}\narmilla-ready token\nown\n",
                    std::env::consts::ARCH
                ),
                "armilla-ready token\nown\n",
            );
            assert_eq!(ask(), sent);
            assert_eq!(ask(), found);
            // Overwritten since the comparison, in its place or by another file.
            fs::write(&program, other).expect("a write");
            assert_eq!(ask(), sent);
            fs::write(place.join("new"), other).expect("a write");
            fs::set_permissions(place.join("new"), fs::Permissions::from_mode(0o700)).expect("a mode");
            fs::rename(place.join("new"), &program).expect("a new name");
            assert_eq!(ask(), sent);
            // Not compared since the host booted: here the time of the change says nothing.
            let boot = fs::read_to_string(&checked).expect("the comparison");
            fs::write(&program, other).expect("a write");
            for earlier in ["another boot\n", "", "\n"] {
                fs::write(&checked, earlier).expect("a write");
                fs::write(&program, other).expect("a write");
                fs::write(&checked, earlier).expect("a write");
                assert_eq!(ask(), sent, "{earlier:?}");
            }
            assert_eq!(fs::read_to_string(&checked).expect("the comparison"), boot);
            assert_eq!(ask(), found);
        }
    }

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
