//! Steps, checks, reasons, lengths of time and lists of hosts in words.
//!
//! In: values. Out: short texts of one line without control characters. Never: the content of a file, the input of a
//! program, or a secret.

use std::time::Duration;

use crate::diag::shown;
use crate::name::{Address, HostName};
use crate::plan::{Cause, Reason};
use crate::secret::Content;
use crate::step::{
    Alternative, ApiRequest, Check, Command, Expect, FailedCheck, Gate, JsonQuery, Leftovers, Ownership, Packed, Probe,
    Removable, Sending, Step, Unpacking, WebAnswer,
};

/// A text of users or hosts in one line that cannot steer a terminal or turn the direction of what follows.
pub fn one_line(text: &str) -> String {
    let text = shown(text);
    if !text.chars().any(|c| c.is_control() || is_invisible(c)) {
        return text;
    }
    let escaped =
        |c: char| if c.is_control() || is_invisible(c) { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Characters that change how others are shown, or are not shown at all.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' | '\u{61c}')
}

/// The lines of a longer text, each safe to show. A tab is four blanks.
pub fn lines(text: &str) -> Vec<String> {
    text.lines().map(|line| one_line(&line.replace('\t', "    "))).collect()
}

/// `1 host`, `3 hosts`.
pub fn count(number: usize, one: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {one}{s}")
}

/// `a`, `a and b`, `a, b and c`.
pub fn list<T: ToString>(words: &[T]) -> String {
    let words: Vec<String> = words.iter().map(ToString::to_string).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        Some((only, _)) => only.clone(),
        None => String::new(),
    }
}

/// `0.7 s`, `42 s`, `3 min 20 s`, `2 h 5 min`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..10 => format!("{}.{} s", seconds, time.subsec_millis() / 100),
        10..60 => format!("{seconds} s"),
        60..3600 if seconds.is_multiple_of(60) => format!("{} min", seconds / 60),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ if seconds % 3600 < 60 => format!("{} h", seconds / 3600),
        _ => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

/// `812 bytes`, `4.0 kB`, `12 MB`.
pub fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        1 => "1 byte".to_owned(),
        0..1000 => format!("{bytes} bytes"),
        1000..10_000 => format!("{} kB", tenths(1000)),
        10_000..1_000_000 => format!("{} kB", bytes / 1000),
        1_000_000..10_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

/// Names with blanks between; of five and more, those that count up become `w[1:40]`, as inventories write them.
pub fn hosts<'a>(names: impl IntoIterator<Item = &'a HostName>) -> String {
    let names: Vec<&str> = names.into_iter().map(HostName::as_str).collect();
    if names.len() < 5 {
        return names.join(" ");
    }
    let mut texts = Vec::new();
    let mut rest = names.as_slice();
    while let Some(first) = rest.first() {
        let run = run_length(rest);
        match (Numbered::of(first), Numbered::of(rest[run - 1])) {
            (Some(from), Some(to)) if run >= 3 => {
                texts.push(format!("{}[{}:{}]{}", from.before, from.digits, to.digits, from.after));
                rest = &rest[run..];
            }
            _ => {
                texts.push((*first).to_owned());
                rest = &rest[1..];
            }
        }
    }
    texts.join(" ")
}

/// How many of the names, from the first on, count up by one.
fn run_length(names: &[&str]) -> usize {
    let follows = |pair: &&[&str]| match (Numbered::of(pair[0]), Numbered::of(pair[1])) {
        (Some(a), Some(b)) => a.is_before(&b),
        _ => false,
    };
    1 + names.windows(2).take_while(follows).count()
}

/// A name with a number in its first label: `w`, `01`, `.example.org`.
struct Numbered<'a> {
    before: &'a str,
    digits: &'a str,
    after: &'a str,
}

impl<'a> Numbered<'a> {
    fn of(name: &'a str) -> Option<Self> {
        let label = &name[..name.find('.').unwrap_or(name.len())];
        let end = label.rfind(|c: char| c.is_ascii_digit())? + 1;
        let start = label[..end].rfind(|c: char| !c.is_ascii_digit());
        let start = start.map_or(0, |at| at + label[at..].chars().next().map_or(1, char::len_utf8));
        // More digits than fit a number are no counting.
        (end - start <= 18).then(|| Self { before: &name[..start], digits: &name[start..end], after: &name[end..] })
    }

    fn is_before(&self, next: &Self) -> bool {
        let same = self.before == next.before && self.after == next.after;
        let padded = |digits: &str| digits.len() > 1 && digits.starts_with('0');
        let widths = self.digits.len() == next.digits.len() || !padded(self.digits) && !padded(next.digits);
        let number = |digits: &str| digits.parse::<u64>().ok();
        same && widths && number(self.digits).map(|n| n + 1) == number(next.digits)
    }
}

/// `file /etc/hosts`.
pub fn address(address: &Address) -> String {
    format!("{} {}", address.kind, one_line(&address.target))
}

/// Why a resource is in a plan; nothing where its sign says it already.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::Missing => "is missing".to_owned(),
        Reason::Unwanted => "should not be there".to_owned(),
        Reason::Differs => "differs".to_owned(),
        Reason::Notified(from) => format!("because of {}", because(from)),
        Reason::Stale(from) => format!("{} was written after it started", address(from)),
        Reason::Unguarded => "runs every time: it has no guard".to_owned(),
        Reason::Needed => "its guard requires it".to_owned(),
        Reason::Because(why) | Reason::Undecided(why) => one_line(why),
        Reason::After(before) => format!("comes after {}", address(before)),
        Reason::Owed(from) => {
            format!(
                "pending since {} changed: that run was interrupted",
                list(&from.iter().map(address).collect::<Vec<_>>())
            )
        }
        Reason::Left => "no longer in any role".to_owned(),
        Reason::LeftIf(why) => format!("no longer in any role; {}", one_line(why)),
    }
}

/// Who made a difference, where it was somebody on the host; nothing otherwise.
pub fn drift(cause: &Cause) -> Option<String> {
    match cause {
        Cause::Unknown | Cause::Project => None,
        Cause::Host { since } => Some(format!("drift: changed on the host since {}", moment(since))),
        Cause::Both { since } => {
            Some(format!("drift: changed on the host since {}, and the project changed", moment(since)))
        }
    }
}

/// `19 Nov 2026, 14:02 UTC`, of a time in RFC 3339: in UTC, so that a team reads the same everywhere.
pub fn moment(time: &str) -> String {
    let known = time.parse::<jiff::Timestamp>().map(|time| time.strftime("%-d %b %Y, %H:%M UTC").to_string());
    known.unwrap_or_else(|_| one_line(time))
}

fn because(from: &[Address]) -> String {
    match from {
        [] => "a change".to_owned(),
        [one] => address(one),
        [one, two] => format!("{} and {}", address(one), address(two)),
        [first, rest @ ..] => format!("{} and {} more", address(first), rest.len()),
    }
}

/// A program and its arguments as one would type them.
pub fn argv(argv: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=,+@%".contains(c);
    let word = |text: &String| {
        // A script as an argument would fill the screen; who wants to read it has it in the role.
        let text = &text.trim().split_once('\n').map_or_else(|| text.clone(), |(first, _)| format!("{first} ..."));
        if !text.is_empty() && text.chars().all(plain) {
            text.clone()
        } else {
            format!("'{}'", text.replace('\'', "'\\''"))
        }
    };
    one_line(&argv.iter().map(word).collect::<Vec<_>>().join(" "))
}

/// What a step does: never what is in a file or what a program reads.
pub fn step(step: &Step) -> String {
    match step {
        Step::WriteFile { path, content, .. } => format!("write {} ({})", one_line(path), amount(content)),
        Step::SendFile { path, file, .. } => format!("write {} ({})", one_line(path), size(file.size)),
        Step::Unchanged { path, digest: Some(_) } => format!("check that {} is unchanged", one_line(path)),
        Step::Unchanged { path, digest: None } => format!("check that {} still does not exist", one_line(path)),
        Step::EditFile { path, edit, .. } => format!("change {} in {}", one_line(&edit.to_string()), one_line(path)),
        Step::MakeDirectory { path, .. } => format!("create the directory {}", one_line(path)),
        Step::MakeLink { path, target } => format!("create the link {} -> {}", one_line(path), one_line(target)),
        Step::SetOwnership { path, ownership } => format!("set {} of {}", owned(ownership), one_line(path)),
        Step::Remove { path, what } => format!("remove the {} {}", removable(*what), one_line(path)),
        Step::KeepCopy { path, .. } => format!("back up {}", one_line(path)),
        Step::DropCopies { .. } => "remove old backups".to_owned(),
        Step::Arm { after, .. } => format!("arm the rollback timer: {}", span(*after)),
        Step::Extend { .. } => "extend the rollback timer".to_owned(),
        Step::Disarm { .. } => "confirm the change over a new login".to_owned(),
        Step::GiveUp { .. } => "fire the rollback timer".to_owned(),
        Step::Download { path, remote, .. } => format!("download {} to {}", one_line(&remote.url), one_line(path)),
        Step::Unpack(unpacking) => unpack(unpacking),
        Step::RemoveUnpacked { path } => format!("remove {} with its content", one_line(path)),
        Step::RefreshPackages => "update the package lists".to_owned(),
        Step::RemovePackages(removal) => {
            let verb = if removal.leftovers == Leftovers::Purged { "purge" } else { "remove" };
            let names: Vec<String> = removal.names.iter().map(|name| one_line(name)).collect();
            let new: Vec<String> = removal.unless_needed_by.iter().map(|name| one_line(name)).collect();
            let unless = if new.is_empty() { String::new() } else { format!(", unless {} needs it", new.join(" or ")) };
            format!("{verb} {}{unless}", list(&names))
        }
        Step::Run(command) => format!("run {}", program(command)),
        Step::RunOr(command, alternatives) => {
            let or = |Alternative { after, command }: &Alternative| {
                format!(", after exit code {after} {}", program(command))
            };
            format!("run {}", program(command)) + &alternatives.iter().map(or).collect::<String>()
        }
        Step::RunUnless(command, guard) => format!("run {} unless {} succeeds", program(command), argv(&guard.argv)),
        Step::Send(sending) => send(sending),
        Step::Await(gate) => await_gate(gate),
        Step::AdoptLedger { .. } => "adopt the ledger that names no project".to_owned(),
        Step::SaveLedger { .. } => "write the ledger".to_owned(),
        Step::Snapshot(snapshot) => format!("save the state of {} for a rollback", one_line(&snapshot.name)),
        Step::Commit { name, .. } => format!("check {} as well from now on", one_line(name)),
        Step::Undo { name, .. } => format!("roll back {}", one_line(name)),
    }
}

fn send(sending: &Sending) -> String {
    let request = |request: &ApiRequest| format!("{} {}", one_line(&request.method), one_line(&request.url));
    let unless = sending.unless.as_ref().map(|question| format!(" unless {} succeeds", request(question)));
    format!("send {}{}", request(&sending.request), unless.unwrap_or_default())
}

fn unpack(unpacking: &Unpacking) -> String {
    let source = match &unpacking.source {
        Packed::Content(content) => format!("an archive ({})", amount(content)),
        Packed::Large(file) => format!("an archive ({})", size(file.size)),
        Packed::Remote(remote) => one_line(&remote.url),
        Packed::Files(files) => return format!("fetch {} files to {}", files.len(), one_line(&unpacking.path)),
    };
    format!("unpack {source} to {}", one_line(&unpacking.path))
}

fn amount(content: &Content) -> String {
    if content.is_secret() { "secret".to_owned() } else { size(content.bytes().len() as u64) }
}

fn owned(ownership: &Ownership) -> String {
    let mode = ownership.mode.map(|mode| format!("mode {mode}"));
    let owner = ownership.owner.as_ref().map(|owner| format!("owner {}", one_line(owner)));
    let group = ownership.group.as_ref().map(|group| format!("group {}", one_line(group)));
    list(&[mode, owner, group].into_iter().flatten().collect::<Vec<_>>())
}

fn removable(what: Removable) -> &'static str {
    match what {
        Removable::File => "file",
        Removable::Link => "link",
        Removable::EmptyDirectory => "empty directory",
    }
}

fn program(command: &Command) -> String {
    let user = command.user.as_ref().map(|user| format!(" as {}", one_line(user))).unwrap_or_default();
    let place = command.directory.as_ref().map(|path| format!(" in {}", one_line(path))).unwrap_or_default();
    // The path of a file without a name says nothing to a person.
    let given =
        |word: &String| if command.file.is_some() && word == Command::FILE { "FILE".into() } else { word.clone() };
    let again =
        command.retry.map(|retry| format!(", at most {} times", retry.times.saturating_add(1))).unwrap_or_default();
    format!("{}{user}{place}{again}", argv(&command.argv.iter().map(given).collect::<Vec<String>>()))
}

fn await_gate(gate: &Gate) -> String {
    let checks: Vec<String> = gate.checks.iter().map(check).collect();
    format!("wait until {} is healthy: {}", one_line(&gate.of), list(&checks))
}

/// A health check that fails, and what it answered.
pub fn failed_check(failed: &FailedCheck) -> String {
    format!("check: {}; answer: {}", check(&failed.check), one_line(failed.why()))
}

/// What must hold, and for how long.
pub fn check(check: &Check) -> String {
    let holds = match (&check.probe, &check.expect) {
        (Probe::Port { address, port, .. }, Expect::Closed) => format!("{}:{port} is closed", one_line(address)),
        (Probe::Port { address, port, .. }, _) => format!("{}:{port} is open", one_line(address)),
        (Probe::Unit(name), _) => format!("{} is active", one_line(name)),
        (Probe::Command(command), Expect::Output(Some(pattern))) => {
            format!("{} says {}", argv(&command.argv), one_line(pattern))
        }
        (Probe::Command(command), _) => format!("{} succeeds", argv(&command.argv)),
        (Probe::Http(request), Expect::Answer(answer)) => {
            format!("{} answers {}", one_line(&request.url), web_answer(answer))
        }
        (Probe::Http(request), _) => format!("{} answers", one_line(&request.url)),
        (Probe::State, _) => "the ledger exists".to_owned(),
        (Probe::Path { path, .. }, _) => format!("{} is there", one_line(path)),
        (Probe::Package(name) | Probe::User(name) | Probe::Membership(name) | Probe::Group(name), _) => {
            format!("{} is there", one_line(name))
        }
        (Probe::AccountUse(name), _) => format!("{} is not in use", one_line(name)),
        (Probe::Removal(name), _) => format!("{} can be removed", one_line(name)),
        (Probe::Fitness(_), _) => "the host is fit".to_owned(),
    };
    if check.stable_for.is_zero() { holds } else { format!("{holds} for {}", span(check.stable_for)) }
}

/// `200, 204 or 300-399 with a certificate good for 14 days`.
fn web_answer(answer: &WebAnswer) -> String {
    let status: Vec<String> = answer.status.iter().map(ToString::to_string).collect();
    let mut with: Vec<String> =
        answer.headers.iter().map(|(name, pattern)| format!("{name}: {}", one_line(pattern))).collect();
    with.extend(answer.contains.iter().map(|text| format!("`{}` in it", one_line(text))));
    with.extend(answer.matches.iter().map(|pattern| format!("a match of `{}`", one_line(pattern))));
    with.extend(answer.json.iter().map(|JsonQuery { query, is }| match is.as_slice() {
        [] => format!("something at `{}`", one_line(query)),
        is => format!("`{}` = {}", one_line(query), one_line(&is.join(" or "))),
    }));
    with.extend(answer.valid_for.map(|time| format!("a certificate valid for {}", days(time))));
    let with = if with.is_empty() { String::new() } else { format!(" with {}", list(&with)) };
    format!("{}{with}", status.join(" or "))
}

fn days(time: Duration) -> String {
    match time.as_secs() {
        seconds if seconds >= 86_400 && seconds.is_multiple_of(86_400) => {
            count(usize::try_from(seconds / 86_400).unwrap_or(usize::MAX), "day")
        }
        _ => span(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<HostName> {
        names.iter().map(|name| HostName::new(name).expect("a name")).collect()
    }

    #[test]
    fn hosts_that_count_up_are_one_word() {
        let text = |list: &[&str]| hosts(&names(list));
        assert_eq!(text(&["zk1", "zk2", "zk3"]), "zk1 zk2 zk3");
        assert_eq!(text(&["w8", "w9", "w10", "w11", "db"]), "w[8:11] db");
        assert_eq!(text(&["w08.x.org", "w09.x.org", "w10.x.org", "a", "b1", "b3"]), "w[08:10].x.org a b1 b3");
        assert_eq!(text(&["röck1", "röck2", "röck3", "ü", "7"]), "röck[1:3] ü 7");
    }

    #[test]
    fn lengths_of_time_are_as_long_as_a_person_cares() {
        let text = |millis| span(Duration::from_millis(millis));
        assert_eq!([text(740), text(42_000), text(200_000)], ["0.7 s", "42 s", "3 min 20 s"]);
        assert_eq!([text(7_500_000), text(7_200_000), text(120_000)], ["2 h 5 min", "2 h", "2 min"]);
        assert_eq!(
            [size(1), size(812), size(4_050), size(31_000), size(1_250_000)],
            ["1 byte", "812 bytes", "4.0 kB", "31 kB", "1.2 MB"]
        );
    }

    #[test]
    fn a_moment_is_told_in_utc_and_what_is_none_as_it_is() {
        assert_eq!(moment("2026-11-19T15:02:31+01:00"), "19 Nov 2026, 14:02 UTC");
        assert_eq!(moment("yesterday\n"), "yesterday\\n");
    }

    #[test]
    fn what_turns_the_direction_of_writing_is_seen() {
        assert_eq!(one_line("a\u{202e}b\nc\u{9b}"), "a\\u{202e}b\\nc\\u{9b}");
    }

    #[test]
    fn a_step_never_shows_what_it_writes_or_what_a_program_reads() {
        let secret = Content::Secret(crate::secret::Secret::new(b"hunter2".to_vec()));
        let write = Step::WriteFile { path: "/x".into(), content: secret.clone(), ownership: Ownership::default() };
        assert_eq!(step(&write), "write /x (secret)");
        let run = Command { stdin: secret.clone(), ..Command::new(["passwd", "a b"]) };
        assert_eq!(step(&Step::Run(run)), "run passwd 'a b'");
        let script = Command { file: Some(secret.clone()), ..Command::new(["/bin/sh", Command::FILE, "apply"]) };
        assert_eq!(step(&Step::Run(script)), "run /bin/sh FILE apply");
        let request = |method: &str| ApiRequest {
            method: method.to_owned(),
            url: "http://h/x".to_owned(),
            headers: [("Authorization".to_owned(), secret.clone())].into(),
            body: Some(secret.clone()),
            trust: crate::step::Trust::System,
            timeout: Duration::from_secs(15),
            retries: 0,
        };
        let sending = Sending { request: request("POST"), accepted: Vec::new(), unless: Some(request("GET")) };
        assert_eq!(step(&Step::Send(Box::new(sending))), "send POST http://h/x unless GET http://h/x succeeds");
    }
}
