//! Steps as a script that does them in order, up to the first that fails.
//!
//! In: steps. Out: a script whose frames tell of each step as it begins, waits and ends. Never: a file that is half
//! written under its own name.

use std::fmt::Write as _;

use super::ask::{TOOLS, run};
use super::quote::{print, word};
use crate::secret::Content;
use crate::step::{Check, Expect, Gate, Ownership, Probe, Removable, Step};

/// Functions that steps share. `begin` and `end` frame a step; each step runs in a shell of its own.
const STEPS: &str = r#"
fail() { echo "$1" >&2; exit 1; }
begin() { frame start "$1" || exit 0; up; begun=$now; : >"$T/o"; : >"$T/e"; }
end() {
    up
    frame end "$1" "$2" $((now - begun)) || exit 0
    if [ -s "$T/e" ]; then tail -c 16384 "$T/e"; else tail -c 16384 "$T/o"; fi
    case $2 in 0|needless) ;; *) frame done; exit 0;; esac
}
own() { # fd or path, mode, owner:group
    [ -z "$3" ] || chown -- "$3" "$1" || exit 1
    [ -z "$2" ] || chmod -- "$2" "$1" || exit 1
}
parent() {
    d=${1%/*}; d=${d:-/}
    [ -d "$d" ] || fail "there is no directory $d"
}
commit() { # temporary file, final path
    sync -- "$1" 2>/dev/null || sync
    mv -f -T -- "$1" "$2" || exit 1
    sync -- "$d" 2>/dev/null || :
}
"#;

/// The script that does these.
pub(crate) fn act(steps: &[Step], nonce: &str) -> Vec<u8> {
    let mut body = String::from(TOOLS);
    body.push_str(STEPS);
    for (index, step) in steps.iter().enumerate() {
        let _ = writeln!(body, "begin {index}");
        one(index, step, &mut body);
    }
    super::script(nonce, &body)
}

fn one(index: usize, step: &Step, body: &mut String) {
    match step {
        Step::Run(command) => drop(writeln!(body, "{}end {index} $?", run(command, "\"$T/o\"", "\"$T/e\""))),
        Step::RunUnless(command, guard) => {
            let asked = run(guard, "\"$T/o\"", "\"$T/e\"");
            let done = run(command, "\"$T/o\"", "\"$T/e\"");
            let _ = writeln!(
                body,
                "{asked}guard=$?\nif [ $guard = 0 ]; then end {index} needless\nelif [ $guard -ge 124 ]; then echo 'whether it is needed could not be asked' >>\"$T/e\"; end {index} $guard\nelse\n{done}end {index} $?\nfi"
            );
        }
        Step::Await(gate) => await_gate(index, gate, body),
        _ => {
            let _ = writeln!(body, "(\n{}) >\"$T/o\" 2>\"$T/e\"\nend {index} $?", plain(index, step));
        }
    }
}

/// Steps that need nothing but a shell.
fn plain(index: usize, step: &Step) -> String {
    match step {
        Step::WriteFile { path, content, ownership } => write_file(index, path, content, ownership),
        Step::MakeDirectory { path, ownership } => {
            let path = word(path);
            format!(
                "[ ! -L {path} ] || fail 'a symbolic link is in the way'\n[ -d {path} ] || {{ [ ! -e {path} ] || fail 'something that is no directory is in the way'; umask 022; mkdir -p -- {path} || exit 1; }}\nown {path} {}\n",
                attributes(ownership)
            )
        }
        Step::MakeLink { path, target } => {
            let (quoted, temporary) = (word(path), temporary(index));
            format!(
                "parent {quoted}\n[ -L {quoted} ] || [ ! -e {quoted} ] || fail 'something that is no link is in the way'\nt=\"$d/{temporary}\"\ntrap 'rm -f -- \"$t\"' EXIT\nln -s -- {} \"$t\" || exit 1\ncommit \"$t\" {quoted}\n",
                word(target)
            )
        }
        Step::SetOwnership { path, ownership } => {
            let path = word(path);
            format!("[ ! -L {path} ] || fail 'a symbolic link is in the way'\nown {path} {}\n", attributes(ownership))
        }
        Step::Remove { path, what } => remove(path, *what),
        Step::RefreshPackages => {
            "DEBIAN_FRONTEND=noninteractive limited 600 apt-get update -q -o DPkg::Lock::Timeout=300 -o APT::Update::Error-Mode=any\n"
                .to_owned()
        }
        // The others are not plain; they are written by `one`.
        Step::Run(_) | Step::RunUnless(..) | Step::Await(_) => String::new(),
    }
}

fn temporary(index: usize) -> String {
    format!(".armilla.$N.{index}")
}

fn attributes(ownership: &Ownership) -> String {
    let mode = ownership.mode.map(|mode| mode.to_string()).unwrap_or_default();
    let owner = match (&ownership.owner, &ownership.group) {
        (None, None) => String::new(),
        (owner, group) => format!(
            "{}{}",
            owner.as_deref().unwrap_or_default(),
            group.as_ref().map(|group| format!(":{group}")).unwrap_or_default()
        ),
    };
    format!("{} {}", word_or_empty(&mode), word_or_empty(&owner))
}

fn word_or_empty(text: &str) -> String {
    if text.is_empty() { "''".to_owned() } else { word(text) }
}

/// Beside the final place, so that the rename is one step; created new and private, and through one open file, so that
/// nobody who can write to the directory can put another file in its place; complete on disk before it gets its name.
fn write_file(index: usize, path: &str, content: &Content, ownership: &Ownership) -> String {
    let (quoted, size) = (word(path), content.bytes().len());
    format!(
        "parent {quoted}\n[ ! -L {quoted} ] || fail 'a symbolic link is in the way'\n[ ! -d {quoted} ] || fail 'a directory is in the way'\nt=\"$d/{temporary}\"\nset -C\ntrap 'rm -f -- \"$t\"' EXIT\nexec 9>\"$t\" || exit 1\nset +C\n{{\n{print}}} >&9 || fail 'it could not be written whole; is the disk full?'\n[ \"$(wc -c <\"$t\")\" -eq {size} ] || fail 'it could not be written whole; is the disk full?'\nown /proc/self/fd/9 {attributes}\ncommit \"$t\" {quoted}\n",
        temporary = temporary(index),
        print = print(content.bytes()),
        attributes = attributes(ownership),
    )
}

fn remove(path: &str, what: Removable) -> String {
    let path = word(path);
    let (test, command) = match what {
        Removable::File => (format!("[ ! -L {path} ] && [ -f {path} ]"), format!("rm -f -- {path}")),
        Removable::Link => (format!("[ -L {path} ]"), format!("rm -f -- {path}")),
        Removable::EmptyDirectory => (format!("[ ! -L {path} ] && [ -d {path} ]"), format!("rmdir -- {path}")),
    };
    format!("[ -L {path} ] || [ -e {path} ] || exit 0\n{{ {test}; }} || fail 'something else is there now'\n{command}\n")
}

/// Polls on the host itself: one round trip, however long it takes.
fn await_gate(index: usize, gate: &Gate, body: &mut String) {
    for (number, check) in gate.checks.iter().enumerate() {
        let _ = writeln!(body, "check() {{\n{}}}", question(check));
        let (stable, within) = (check.stable_for.as_millis() / 10, check.within.as_millis() / 10);
        let _ = writeln!(
            body,
            r#"up; first=$now; since=; told=$now
while :; do
    why=$(check); verdict=$?
    up
    if [ $verdict = 0 ]; then
        : "${{since:=$now}}"
        [ $((now - since)) -lt {stable} ] || break
        why="healthy for $(((now - since) / 100)) s of {seconds}"
    else
        since=
        [ $((now - first)) -lt {within} ] || {{ printf 'check {human}: %s\n' "$why" >"$T/e"; end {index} 1; }}
    fi
    [ $((now - told)) -lt 200 ] || {{ told=$now; frame wait {index} "$(printf '%s' "$why" | tr '\n' ' ' | head -c 200)"; }}
    sleep 0.3 2>/dev/null || sleep 1
done"#,
            seconds = check.stable_for.as_secs(),
            human = number + 1,
        );
    }
    let _ = writeln!(body, "end {index} 0");
}

/// Prints why not, and fails, unless the check holds.
fn question(check: &Check) -> String {
    match (&check.probe, &check.expect) {
        (Probe::Port { address, port }, _) => {
            format!("open_port {} {port} || {{ echo 'port {port} is closed'; return 1; }}\n", word(address))
        }
        (Probe::Unit(name), _) => format!(
            "state=$(limited 10 systemctl is-active -- {0} 2>&1) || {{ printf '%s is %s\\n' {0} \"$state\"; return 1; }}\n",
            word(name)
        ),
        (Probe::Command(command), Expect::Output(pattern)) => output(command, pattern.as_deref()),
        (Probe::Http { url }, Expect::Status(status, contains)) => http(url, *status, contains.as_deref()),
        (probe, _) => format!("echo {}\nreturn 1\n", word(&format!("no check can be made of {probe:?}"))),
    }
}

fn output(command: &crate::step::Command, pattern: Option<&str>) -> String {
    let asked = run(command, "\"$T/c\"", "\"$T/ce\"");
    let ended = "code=$?\nsaid=$(head -c 4096 \"$T/c\")\n[ $code = 0 ] || { said=${said:-$(tail -c 200 \"$T/ce\")}; printf 'it ended with code %s: %s\\n' $code \"$said\"; return 1; }\n";
    match pattern {
        None => format!("{asked}{ended}"),
        Some(pattern) => format!(
            "{asked}{ended}printf '%s\\n' \"$said\" | sed 's/^[[:space:]]*//; s/[[:space:]]*$//' | grep -Exq -- {} || {{ printf 'it says %s\\n' \"$said\"; return 1; }}\n",
            word(pattern)
        ),
    }
}

fn http(url: &str, status: u16, contains: Option<&str>) -> String {
    let mut text = format!(
        "rm -f \"$T/body\"\ncode=$(get {}) || {{ tail -n 1 \"$T/e\"; return 1; }}\n[ \"$code\" = {status} ] || {{ echo \"it answered $code\"; return 1; }}\n",
        word(url)
    );
    if let Some(contains) = contains {
        let _ = writeln!(text, "grep -Fq -- {} \"$T/body\" || {{ printf '`%s` is not in its answer\\n' {}; return 1; }}", word(contains), word(contains));
    }
    text
}
