//! Probes as a script that asks them all.
//!
//! In: probes. Out: a script whose frames carry a probe's number and the raw answer. Never: a program started once for
//! each of many probes where one call can answer all.

use std::fmt::Write as _;

use super::quote::{print, word, words};
use crate::step::{Command, FETCH_LIMIT, Fetch, Probe};

/// Functions that probes share with gates.
pub(super) const TOOLS: &str = r#"
have() { command -v "$1" >/dev/null 2>&1; }
open_port() {
    if have bash; then limited 2 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" >/dev/null 2>&1
    elif have nc; then limited 2 nc -z "$1" "$2" >/dev/null 2>&1
    else
        hex=$(printf '%04X' "$2")
        cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | while read -r n local remote state rest; do
            [ "$state" != 0A ] || [ "${local##*:}" != "$hex" ] || exit 1
        done && return 1 || return 0
    fi
}
get() {
    if have curl; then limited 10 curl -sS -m 8 -o "$T/body" -w '%{http_code}' -- "$1" 2>"$T/e"
    elif have wget; then limited 10 wget -q -T 8 -O "$T/body" -- "$1" 2>"$T/e" && printf 200
    else echo 'the http check needs curl or wget on the host' >"$T/e"; return 127
    fi
}
"#;

const TEXT_LIMIT: u64 = 16_384;

/// The script that asks these.
pub(crate) fn ask(probes: &[Probe], nonce: &str) -> Vec<u8> {
    let mut body = String::from(TOOLS);
    paths(probes, &mut body);
    packages(probes, &mut body);
    units(probes, &mut body);
    for (index, probe) in probes.iter().enumerate() {
        one(index, probe, &mut body);
    }
    super::script(nonce, &body)
}

/// All paths at once: one `stat`, one `sha256sum` of what is a regular file, and the content of those that are wanted.
fn paths(probes: &[Probe], body: &mut String) {
    let asked: Vec<(usize, &str, &Fetch)> = probes
        .iter()
        .enumerate()
        .filter_map(|(index, probe)| match probe {
            Probe::Path { path, content } => Some((index, path.as_str(), content)),
            _ => None,
        })
        .collect();
    if asked.is_empty() {
        return;
    }
    let mut names: Vec<&str> = asked.iter().map(|(_, path, _)| *path).collect();
    names.dedup();
    let _ = writeln!(body, "frame stat\nstat -c '%a %s %Y %U %u %G %g %F|%n' -- {} 2>\"$T/e\"", words(names.iter().copied()));
    body.push_str("frame stat-errors\ncat \"$T/e\"\n");
    // A FIFO or device is never opened: it could block for ever.
    let _ = writeln!(body, "set --\nfor p in {}; do [ -L \"$p\" ] || [ ! -f \"$p\" ] || set -- \"$@\" \"$p\"; done", words(names.iter().copied()));
    body.push_str("sums=\n[ $# = 0 ] || sums=$(sha256sum -- \"$@\" 2>\"$T/e\")\n");
    body.push_str("frame sums\nprintf '%s\\n' \"$sums\"\n");
    for path in names {
        let _ = writeln!(body, "[ ! -L {0} ] || {{ frame link {0}; readlink -n -- {0}; }}", word(path));
    }
    for (index, path, fetch) in asked {
        content(index, path, fetch, body);
    }
}

fn content(index: usize, path: &str, fetch: &Fetch, body: &mut String) {
    let quoted = word(path);
    let send = format!("{{ frame content {index}; head -c {} -- {quoted}; }}", FETCH_LIMIT + 1);
    match fetch {
        Fetch::Digest => {}
        Fetch::Always => drop(writeln!(body, "[ -L {quoted} ] || [ ! -f {quoted} ] || {send}")),
        Fetch::Unless(digest) => {
            // As sha256sum prints it; a name it would escape is simply sent.
            let known = word(&format!("{}  {path}", digest.0));
            let _ = writeln!(body, "[ -L {quoted} ] || [ ! -f {quoted} ] || case $sums$L in *{known}\"$L\"*) ;; *) {send};; esac");
        }
    }
}

fn packages(probes: &[Probe], body: &mut String) {
    let names = probes.iter().filter_map(|probe| if let Probe::Package(name) = probe { Some(name.as_str()) } else { None });
    let names = words(names);
    if names.is_empty() {
        return;
    }
    let _ = writeln!(
        body,
        "frame packages\nif have dpkg-query; then dpkg-query -W -f '${{Package}} ${{db:Status-Status}} ${{db:Status-Want}} ${{Version}}\\n' -- {names} 2>/dev/null; else frame no-dpkg; fi"
    );
    body.push_str(
        "frame lists\nset -- /var/lib/apt/lists/*_Packages*\n[ ! -e \"$1\" ] || \
         { date +%s; stat -c %Y -- /var/lib/apt/lists /var/lib/apt/lists/partial /var/lib/apt/periodic/update-success-stamp 2>/dev/null; }\n",
    );
}

fn units(probes: &[Probe], body: &mut String) {
    let names = probes.iter().filter_map(|probe| if let Probe::Unit(name) = probe { Some(name.as_str()) } else { None });
    let names = words(names);
    if !names.is_empty() {
        let _ = writeln!(
            body,
            "frame units\nlimited 30 systemctl show --no-pager -p LoadState -p ActiveState -p UnitFileState -p NeedDaemonReload -p ActiveEnterTimestamp -- {names} 2>\"$T/e\"\nframe units-ended $?\ncat \"$T/e\""
        );
    }
}

fn one(index: usize, probe: &Probe, body: &mut String) {
    let _ = match probe {
        Probe::Path { .. } | Probe::Package(_) | Probe::Unit(_) => Ok(()),
        Probe::User(name) => {
            let name = word(name);
            writeln!(
                body,
                "line=$(getent passwd -- {name} 2>\"$T/e\")\nframe user {index} $?\n[ -z \"$line\" ] || {{ printf '%s\\n' \"$line\"; id -gn -- {name}; id -Gn -- {name}; }}"
            )
        }
        Probe::Group(name) => {
            writeln!(body, "line=$(getent group -- {} 2>\"$T/e\")\nframe group {index} $?\nprintf '%s\\n' \"$line\"", word(name))
        }
        Probe::Command(command) => {
            writeln!(body, "{}frame command {index} $?\nhead -c {FETCH_LIMIT} \"$T/o\"\nframe stderr {index}\ntail -c {TEXT_LIMIT} \"$T/e\"", run(command, "\"$T/o\"", "\"$T/e\""))
        }
        Probe::Port { address, port } => writeln!(body, "open_port {} {port}\nframe port {index} $?", word(address)),
        Probe::Http { url } => {
            writeln!(body, "rm -f \"$T/body\"\ncode=$(get {})\nframe http {index} $? \"$code\"\n[ ! -f \"$T/body\" ] || head -c {FETCH_LIMIT} \"$T/body\"\nframe stderr {index}\ntail -c {TEXT_LIMIT} \"$T/e\"", word(url))
        }
    };
}

/// A program in a shell of its own, its output in files; `$?` is its exit code.
pub(super) fn run(command: &Command, out: &str, err: &str) -> String {
    let mut text = String::new();
    let input = command.stdin.bytes();
    if !input.is_empty() {
        let _ = write!(text, "{{\n{}}} | ", print(input));
    }
    text.push_str("(\n");
    for (name, value) in &command.environment {
        let _ = writeln!(text, "export {name}={}", word(value));
    }
    if let Some(directory) = &command.directory {
        let _ = writeln!(text, "cd -- {} || exit 126", word(directory));
    }
    // At least a second: a time-out of nothing would mean none.
    let seconds = command.timeout.as_secs().max(1);
    let argv = words(command.argv.iter().map(String::as_str));
    let _ = match &command.user {
        None => writeln!(text, "limited {seconds} {argv}"),
        Some(user) => writeln!(text, "limited {seconds} runuser -u {} -- {argv}", word(user)),
    };
    let _ = writeln!(text, ") >{out} 2>{err}");
    text
}
