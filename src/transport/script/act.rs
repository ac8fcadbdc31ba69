//! Steps as one script.
//!
//! In: steps. Out: a script that does them in order, up to the first that fails, and tells of each.
//! Never: a step changed or left out; one that cannot be written down fails when its turn comes.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use super::ask;
use super::command::{folder, function, is_account, seconds};
use super::deadman;
use super::lease;
use super::library::{Source, sources};
use super::quote::{NUL, quote, write_bytes};
use super::undo;
use crate::lease::{OrderPart, Ticket};
use crate::step::{
    Alternative, Check, Command, Expect, HttpRequest, Leftovers, Occupied, Ownership, PackageRemoval, Packed, Probe,
    Remote, Removable, Step, UnpackLimits, Unpacking, WaitsFor, WebAnswer, home_of,
};
use crate::transport::api::Order;

static SOURCES: [Source; 17] = sources![
    "pin.sh",
    "place.sh",
    "keep.sh",
    "left.sh",
    "ledger.sh",
    "programs.sh",
    "was.sh",
    "act/steps.sh",
    "act/files.sh",
    "act/fetch.sh",
    "act/unpack.sh",
    "act/programs.sh",
    "act/packages.sh",
    "act/users.sh",
    "act/checks.sh",
    "undo.sh",
    "deadman.sh",
];

static TICKET: [Source; 1] = sources!["act/ticket.sh"];

/// The script that does all of it under nobody's lease.
pub fn step_script(steps: &[Step], nonce: &str) -> String {
    script(steps, nonce, None)
}

/// The script that does all of it, under a lease if there is a ticket of one.
///
/// # Errors
/// Why the ticket is none.
pub fn order_script(order: Order<'_>, nonce: &str) -> Result<String, String> {
    let ticket = order.ticket.map(|ticket| admission(ticket, order.steps)).transpose()?;
    Ok(script(order.steps, nonce, order.ticket.zip(ticket.as_deref())))
}

fn script(steps: &[Step], nonce: &str, ticket: Option<(&Ticket, &str)>) -> String {
    let mut body = ticket.map_or_else(String::new, |(_, admission)| admission.to_owned());
    if steps.iter().any(needs_directory) {
        body.push_str("temporary\n");
    }
    let recorded = ticket.is_some_and(|(ticket, _)| ticket.intent.is_some());
    body.push_str(&persist(steps));
    let mut rest = 0..steps.len();
    while let Some(index) = rest.next() {
        let drafts = drafts(index, &steps[index..]);
        let together = index..index + drafts.len().max(1);
        rest.start = together.end;
        let (functions, calls): (String, String) =
            together.map(|index| numbered(index, &steps[index], recorded)).unzip();
        body.push_str(&functions);
        if drafts.is_empty() {
            body.push_str(&calls);
        } else {
            let _ = write!(body, "{}examine\n{calls}drafts=\n", drafts.concat());
        }
    }
    body.push_str("persist\n");
    if recorded {
        body.push_str("recorded\n");
    }
    let right: &[Source] = if ticket.is_some() { &TICKET } else { &[] };
    super::wrap(nonce, Duration::ZERO, &[&SOURCES, right], &body)
}

/// What sees to it, once at the end, that the files which the steps rename are in their directories also after a power
/// loss. What is in a file is on the disk before it gets its name. Where users are at home is known on the host only, and
/// there each step does it for itself.
fn persist(steps: &[Step]) -> String {
    let parent = |step: &Step| match step {
        Step::WriteFile { path, .. } | Step::Download { path, .. } if home_of(path).is_none() => {
            file_word(path).ok()?;
            Some(format!(" {}/", quote(path.rsplit_once('/')?.0)))
        }
        _ => None,
    };
    let parents: BTreeSet<String> = steps.iter().filter_map(parent).collect();
    if parents.is_empty() {
        return String::new();
    }
    format!("later=yes\npersist() {{\nflush{}\n}}\n", String::from_iter(parents))
}

/// The files that the first of the steps put one after the other, where that are more than one: each as the shell's `draft`
/// takes it. More would not fit into the arguments of one program.
fn drafts(first: usize, steps: &[Step]) -> Vec<String> {
    const MOST: usize = 100;
    let draft = |(place, step): (usize, &Step)| match step {
        Step::WriteFile { path, content, ownership } if home_of(path).is_none() => {
            let (index, size) = (first + place, content.bytes().len());
            let (path, owners) = (file_word(path).ok()?, owners(ownership).ok()?);
            Some(format!("draft {index} {path} {owners} {size} w{index}\n"))
        }
        _ => None,
    };
    let drafts: Vec<String> = steps.iter().enumerate().map_while(draft).take(MOST).collect();
    if drafts.len() > 1 { drafts } else { Vec::new() }
}

/// What must be so before the first step.
fn admission(ticket: &Ticket, steps: &[Step]) -> Result<String, String> {
    let Ticket { owner, id, fence, intent, first, part } = ticket;
    let (each, over) = match part {
        OrderPart::Rest => ("each", "over"),
        OrderPart::Piece => ("each", ""),
        OrderPart::One => ("one", ""),
        OrderPart::LastOne => ("one", "over"),
    };
    let mut text = format!("admit {} {fence}\n", lease::word(id)?);
    if let Some(intent) = intent {
        if intent.contains('\n') {
            return Err("an intent has more than one line".to_owned());
        }
        // Only the first part of a stage begins it.
        let intent = if *first == 0 { write_bytes(intent.as_bytes()) } else { ":".to_owned() };
        let folder = folder(owner);
        let drafts = draft_directories(steps);
        let (function, word) = if drafts.is_empty() {
            (String::new(), "")
        } else {
            (format!("beside() {{\n{}\n}}\n", write_bytes(drafts.as_bytes())), " beside")
        };
        let _ = write!(text, "intend() {{\n{intent}\n}}\n{function}");
        let _ = writeln!(text, "journal {folder} {first} {each} '{over}' {}{word}", steps.len());
    }
    Ok(text)
}

/// The directories in which these steps make drafts, one a line. A path that is not one fails when its step is done.
fn draft_directories(steps: &[Step]) -> String {
    let directory = |step: &Step| match step {
        Step::WriteFile { path, .. } | Step::Download { path, .. } | Step::MakeLink { path, .. } => {
            file_word(path).ok()?;
            path.rsplit_once('/').map(|(directory, _)| format!("{directory}/\n"))
        }
        _ => None,
    };
    steps
        .iter()
        .filter_map(directory)
        .filter(|line| line.matches('\n').count() == 1)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// How long steps may take at most, if each uses all the time it is given.
pub fn longest(steps: &[Step]) -> Duration {
    /// For a step that has no limit of its own, such as a file on a slow disk.
    const PLAIN: Duration = Duration::from_secs(120);
    /// Ending a program that does not want to end.
    const MERCY: Duration = Duration::from_secs(10);
    /// For many small files on a slow disk, written and flushed.
    const UNPACKING: Duration = Duration::from_secs(30 * 60);
    let one = |step: &Step| match step {
        Step::Run(command) => command.timeout + MERCY + command.waits_for.as_ref().map_or(Duration::ZERO, longest_wait),
        Step::RunUnless(command, guard) => command.timeout + guard.timeout + MERCY + MERCY,
        Step::RunOr(command, alternatives) => {
            programs(command, alternatives).map(|command| command.timeout + MERCY).sum()
        }
        Step::RefreshPackages => Duration::from_secs(300 + 90 + 600) + MERCY + longest_wait(&WaitsFor::Dpkg),
        Step::RemovePackages(removal) => {
            removing(removal, "do").timeout
                + removing(removal, "look").timeout
                + MERCY
                + MERCY
                + longest_wait(&WaitsFor::Dpkg)
        }
        Step::Download { remote, .. } => remote.timeout + MERCY,
        Step::Unpack(_) => UNPACKING + remote(step).map_or(Duration::ZERO, |remote| remote.timeout),
        Step::Await(gate) => gate.checks.iter().map(|check| check.hard_end() + MERCY + MERCY).sum(),
        Step::RemoveUnpacked { .. } | Step::Snapshot(_) => UNPACKING,
        Step::Undo { .. } | Step::GiveUp { .. } => undo::LONGEST,
        _ => PLAIN,
    };
    steps.iter().map(one).sum::<Duration>() + PLAIN
}

fn needs_directory(step: &Step) -> bool {
    matches!(step, Step::Run(_) | Step::RunUnless(..) | Step::RunOr(..) | Step::RemovePackages(_) | Step::Await(_))
        || remote(step).is_some()
}

/// What a step makes the host fetch.
fn remote(step: &Step) -> Option<&Remote> {
    match step {
        Step::Download { remote, .. } => Some(remote),
        Step::Unpack(unpacking) => match &unpacking.source {
            Packed::Remote(remote) => Some(remote),
            Packed::Content(_) => None,
        },
        _ => None,
    }
}

/// The functions of a step, and the call of the last one.
fn numbered(index: usize, step: &Step, recorded: bool) -> (String, String) {
    let shell = match step {
        Step::SaveLedger { .. } if recorded => Err("a ledger is saved by an order of its own".to_owned()),
        _ => shell(index, step),
    };
    let (functions, call) = match shell {
        Ok((functions, call)) => (functions, at_home(step) + &call),
        Err(why) => (String::new(), format!("refuse {}", quote(&why))),
    };
    (format!("{functions}s{index}() {{\n{call}\n}}\n"), format!("step {index} s{index}\n"))
}

/// Functions a step needs, and what its own function says.
fn shell(index: usize, step: &Step) -> Result<(String, String), String> {
    let plain = |call: String| Ok((String::new(), call));
    match step {
        Step::WriteFile { path, content, ownership } => {
            let (function, filling) = writing(index, content.bytes());
            Ok((function, format!("put {} {} {filling}", file_word(path)?, owners(ownership)?)))
        }
        Step::Download { path, remote, ownership } => {
            let (function, filling) = obtaining(index, remote)?;
            Ok((function, format!("put {} {} {filling}", file_word(path)?, owners(ownership)?)))
        }
        Step::Unpack(unpacking) => unpack(index, unpacking),
        Step::RemoveUnpacked { path } => plain(format!("uproot {}", file_word(path)?)),
        Step::Unchanged { path, digest } => {
            let digest = digest.as_ref().map_or("", |digest| &digest.0);
            plain(format!("unchanged {} {}", file_word(path)?, quote(digest)))
        }
        Step::EditFile { .. } => Err("a file must be read before a part of it can be changed".to_owned()),
        Step::MakeDirectory { path, ownership } => {
            plain(format!("directory {} {}", file_word(path)?, owners(ownership)?))
        }
        Step::MakeLink { path, target } => plain(format!("link {} {}", file_word(path)?, target_word(target)?)),
        Step::SetOwnership { path, ownership } => {
            plain(format!("attributes {} {}", file_word(path)?, owners(ownership)?))
        }
        Step::Remove { path, what } => plain(format!("delete {} {}", file_word(path)?, removable(*what))),
        Step::KeepCopy { owner, generation, path } => {
            plain(format!("copy {} {generation} {}", folder(owner), file_word(path)?))
        }
        Step::DropCopies { owner } => plain(format!("uncopy {}", folder(owner))),
        Step::Arm { .. } | Step::Extend { .. } | Step::Disarm { .. } | Step::GiveUp { .. } => {
            deadman::shell(index, step)
        }
        Step::RefreshPackages => plain("refresh".to_owned()),
        Step::RemovePackages(removal) => remove_packages(index, removal),
        Step::Run(command) => run(index, command),
        Step::RunUnless(command, guard) => run_unless(index, command, guard),
        Step::RunOr(command, alternatives) => run_or(index, command, alternatives),
        Step::Send(_) => Err("only the host program sends requests".to_owned()),
        Step::Await(gate) => gates(index, &gate.checks),
        Step::SaveLedger { owner, ledger: Some(ledger), journal } => {
            let (function, filling) = writing(index, ledger);
            Ok((function, format!("save {} {journal} {filling}", folder(owner))))
        }
        Step::SaveLedger { owner, ledger: None, journal } => plain(format!("clear {} {journal}", folder(owner))),
        Step::AdoptLedger { owner } => plain(format!("adopt {} {}", folder(&owner.without_project()), folder(owner))),
        Step::Snapshot(snapshot) => undo::snapshot(index, snapshot),
        Step::Commit { owner, name } => plain(undo::call("commit", owner, name)?),
        Step::Undo { owner, name } => plain(undo::call("undo", owner, name)?),
    }
}

fn run(index: usize, command: &Command) -> Result<(String, String), String> {
    let wait = match &command.waits_for {
        Some(WaitsFor::ProcessesOf(user)) => format!("unused {} || return\n", quote(user)),
        Some(WaitsFor::Dpkg) => UNLOCKED.to_owned(),
        None => String::new(),
    };
    Ok((function(&format!("c{index}"), command)?, format!("{wait}perform {} c{index}", limit(command))))
}

fn run_unless(index: usize, command: &Command, guard: &Command) -> Result<(String, String), String> {
    let functions = function(&format!("c{index}"), command)? + &function(&format!("g{index}"), guard)?;
    Ok((functions, format!("unless {} g{index} {} c{index}", limit(guard), limit(command))))
}

fn remove_packages(index: usize, removal: &PackageRemoval) -> Result<(String, String), String> {
    let invalid = |name: &&String| name.is_empty() || name.starts_with('-') || name.contains(char::is_whitespace);
    if let Some(name) = removal.names.iter().chain(&removal.unless_needed_by).find(invalid) {
        return Err(format!("invalid package name `{}`", name.escape_debug()));
    }
    let (functions, call) = run_unless(index, &removing(removal, "do"), &removing(removal, "look"))?;
    Ok((functions, UNLOCKED.to_owned() + &call))
}

/// Waits for others who work with dpkg.
const UNLOCKED: &str = "unlocked 300 /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock || return\n";

/// How long a program waits for others at most.
fn longest_wait(other: &WaitsFor) -> Duration {
    match other {
        WaitsFor::Dpkg => Duration::from_secs(310),
        WaitsFor::ProcessesOf(_) => Duration::from_secs(40),
    }
}

/// The program that removes packages, or looks whether that is needed. Packages of some size go slowly, and another `apt`
/// may have to finish first.
fn removing(removal: &PackageRemoval, mode: &str) -> Command {
    let PackageRemoval { manager, names, leftovers, unless_needed_by } = removal;
    let leftovers = match leftovers {
        Leftovers::Kept => "kept",
        Leftovers::Purged => "purged",
    };
    let (manager, spared) = (manager.to_string(), unless_needed_by.join(" "));
    let options = ["sh", "-c", include_str!("remove.sh"), "remove", mode, &manager, leftovers, &spared];
    let limit = if mode == "do" { 30 * 60 } else { 120 };
    Command::new(options.into_iter().chain(names.iter().map(String::as_str))).within(Duration::from_secs(limit))
}

/// The function that fills a file with these bytes, and its call.
fn writing(index: usize, bytes: &[u8]) -> (String, String) {
    (format!("w{index}() {{\n{}\n}}\n", write_bytes(bytes)), format!("bytes {} w{index}", bytes.len()))
}

/// The function that fills a file from a web server, and its call.
fn obtaining(index: usize, remote: &Remote) -> Result<(String, String), String> {
    let Remote { url, digest, limit, headers, timeout } = remote;
    if !ask::is_url(url) {
        return Err(format!("invalid URL `{}`: it must begin with http:// or https://", url.escape_debug()));
    }
    if let Some(name) = headers.iter().find(|(name, value)| !is_header(name, value.bytes())).map(|(name, _)| name) {
        return Err(format!("invalid request header `{}`, or its value has more than one line", name.escape_debug()));
    }
    // Where others could be sent what only the server may see, it is not sent on at all.
    let redirects = if headers.is_empty() { 5 } else { 0 };
    let lines: Vec<u8> = headers.iter().flat_map(|(name, value)| curl_line(name, value.bytes())).collect();
    let call = format!("obtain {} {} {limit} {} {redirects} h{index}", quote(url), quote(&digest.0), seconds(*timeout));
    Ok((format!("h{index}() {{\n{}\n}}\n", write_bytes(&lines)), call))
}

/// Names by RFC 9110 (section 5.1).
fn is_header(name: &str, value: &[u8]) -> bool {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    !name.is_empty() && name.chars().all(token) && !value.iter().any(u8::is_ascii_control)
}

/// One line of a configuration of `curl(1)` (option `--config`): in quotes, only the backslash and the quote are special.
fn curl_line(name: &str, value: &[u8]) -> Vec<u8> {
    let mut line = format!("header = \"{name}: ").into_bytes();
    for byte in value {
        if matches!(byte, b'\\' | b'"') {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.extend(b"\"\n");
    line
}

fn unpack(index: usize, unpacking: &Unpacking) -> Result<(String, String), String> {
    let Unpacking { path, source, strip, owner, group, limits, occupied, marker } = unpacking;
    let owners = names([Some(owner), Some(group)])?;
    let occupied = match occupied {
        Occupied::Refuse => "refuse",
        Occupied::Replace => "replace",
    };
    let (function, filling) = match source {
        Packed::Content(content) => writing(index, content.bytes()),
        Packed::Remote(remote) => obtaining(index, remote)?,
    };
    let UnpackLimits { bytes, entries, ratio } = limits;
    let marking = format!("m{index}() {{\n{}\n}}\n", write_bytes(marker.as_bytes()));
    let call =
        format!("unpack {} {owners} {strip} {bytes} {entries} {ratio} {occupied} m{index} {filling}", file_word(path)?);
    Ok((function + &marking, call))
}

/// Finds the home that the step's path begins in.
fn at_home(step: &Step) -> String {
    let (Step::WriteFile { path, .. }
    | Step::Unchanged { path, .. }
    | Step::MakeDirectory { path, .. }
    | Step::SetOwnership { path, .. }
    | Step::KeepCopy { path, .. }
    | Step::Remove { path, .. }) = step
    else {
        return String::new();
    };
    let find = |(user, _): (&str, &str)| {
        let complaint = quote(&format!("there is no user {user} with a home directory"));
        format!("later=\nhome=$(home {}) || {{ refuse {complaint}; return; }}\n", quote(user))
    };
    home_of(path).map(find).unwrap_or_default()
}

fn limit(command: &Command) -> u64 {
    seconds(command.timeout)
}

/// A program and what may be run in its place.
fn programs<'a>(command: &'a Command, alternatives: &'a [Alternative]) -> impl Iterator<Item = &'a Command> {
    std::iter::once(command).chain(alternatives.iter().map(|alternative| &alternative.command))
}

/// A program, and for each alternative a function that does it.
fn run_or(index: usize, command: &Command, alternatives: &[Alternative]) -> Result<(String, String), String> {
    let (mut functions, mut call) = (String::new(), String::new());
    for (place, command) in programs(command, alternatives).enumerate() {
        functions += &function(&format!("c{index}_{place}"), command)?;
        let next = alternatives.get(place).map(|next| format!(" {} o{index}_{}", next.after, place + 1));
        let perform = format!("perform {} c{index}_{place}{}", limit(command), next.unwrap_or_default());
        if place == 0 {
            call = perform;
        } else {
            let _ = write!(functions, "o{index}_{place}() {{\n{perform}\n}}\n");
        }
    }
    Ok((functions, call))
}

fn removable(what: Removable) -> &'static str {
    match what {
        Removable::File => "file",
        Removable::Link => "link",
        Removable::EmptyDirectory => "directory",
    }
}

/// A path whose last part is a name: what is written, linked or removed is that name in its directory.
fn file_word(path: &str) -> Result<String, String> {
    let last = path.rsplit('/').next().unwrap_or_default();
    if path.contains('\0') {
        return Err(NUL.to_owned());
    }
    let (home, below) = match home_of(path) {
        Some((user, _)) if !is_account(user) => return Err(format!("invalid user name `{}`", user.escape_debug())),
        Some((_, below)) => ("\"$home\"", format!("/{below}")),
        None => ("", path.to_owned()),
    };
    if !below.starts_with('/') || last.is_empty() || path.split('/').any(|part| part == ".." || part == ".") {
        return Err(format!("`{}` must be absolute, without `.` and `..`, and end with a name", path.escape_debug()));
    }
    Ok(format!("{home}{}", quote(&below)))
}

fn target_word(target: &str) -> Result<String, String> {
    match target {
        "" => Err("a link must point somewhere".to_owned()),
        _ if target.contains('\0') => Err(NUL.to_owned()),
        _ => Ok(quote(target)),
    }
}

/// Owner, group and mode as three words, empty where nothing is asked for.
fn owners(ownership: &Ownership) -> Result<String, String> {
    let names = names([ownership.owner.as_deref(), ownership.group.as_deref()])?;
    // Five digits: with four, chmod leaves the set-group-ID bit of a directory as it is.
    let mode = ownership.mode.map(|mode| format!("{:05o}", mode.0 & 0o7777)).unwrap_or_default();
    Ok(format!("{names} '{mode}'"))
}

/// Owner and group as two words, empty where nothing is asked for.
fn names(names: [Option<&str>; 2]) -> Result<String, String> {
    if let Some(wrong) = names.into_iter().flatten().find(|name| !is_account(name)) {
        return Err(format!("invalid user or group name `{}`", wrong.escape_debug()));
    }
    let [owner, group] = names.map(|name| quote(name.unwrap_or_default()));
    Ok(format!("{owner} {group}"))
}

fn gates(index: usize, checks: &[Check]) -> Result<(String, String), String> {
    let (mut functions, mut calls) = (String::new(), Vec::new());
    for (place, check) in checks.iter().enumerate() {
        let name = format!("k{index}_{place}");
        functions.push_str(&holds(&name, check)?);
        let [within, stable, most] = [check.within, check.stable_for, check.hard_end()].map(hundredths);
        calls.push(format!("await {name} {within} {stable} {most}"));
    }
    calls.push("return 0".to_owned());
    Ok((functions, calls.join(" || return\n")))
}

fn hundredths(time: Duration) -> u128 {
    time.as_millis().div_ceil(10)
}

/// The shell function that says whether a check holds now.
fn holds(name: &str, check: &Check) -> Result<String, String> {
    if let Some(why) = ask::fault(&check.probe) {
        return Err(why);
    }
    let body = match (&check.probe, &check.expect) {
        (Probe::Port { address, port, timeout }, Expect::Open) => {
            format!("open {} {}", seconds(*timeout), ask::port_words(address, *port))
        }
        (Probe::Port { address, port, timeout }, Expect::Closed) => {
            format!("closed {} {}", seconds(*timeout), ask::port_words(address, *port))
        }
        (Probe::Unit(unit), Expect::Active) => format!("active {}", quote(unit)),
        (Probe::Http(request), Expect::Answer(answer)) => responds(request, answer)?,
        (Probe::Command(command), Expect::Output(pattern)) => {
            let program = function(&format!("{name}c"), command)?;
            let pattern = word(pattern.as_deref().unwrap_or_default())?;
            return Ok(format!("{program}{name}() {{\nanswers {} {name}c {pattern}\n}}\n", limit(command)));
        }
        (probe, expect) => return Err(format!("{probe:?} never answers {expect:?}")),
    };
    Ok(format!("{name}() {{\n{body}\n}}\n"))
}

/// One line for each thing that must be right in the answer of a web server.
fn responds(request: &HttpRequest, answer: &WebAnswer) -> Result<String, String> {
    let statuses: Vec<String> = answer.status.iter().map(|statuses| format!("{} {}", statuses.0, statuses.1)).collect();
    let mut lines = vec![
        format!("web {} {}", seconds(request.timeout), ask::web_words(request)),
        format!("status {}", statuses.join(" ")),
    ];
    for (name, pattern) in &answer.headers {
        if !is_plain(name) {
            return Err(format!("invalid header name `{}`", name.escape_debug()));
        }
        lines.push(format!("header {name} {}", word(pattern)?));
    }
    lines.extend(answer.contains.as_deref().map(word).transpose()?.map(|text| format!("contains {text}")));
    lines.extend(answer.matches.as_deref().map(word).transpose()?.map(|text| format!("matches {text}")));
    lines.extend(answer.valid_for.map(|time| format!("lasts {}", time.as_secs())));
    Ok(lines.join(" || return\n"))
}

/// Names of headers that mean themselves in a regular expression. Others are allowed by RFC 9110 and used by nobody.
fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with('-')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

fn word(text: &str) -> Result<String, String> {
    if text.contains('\0') { Err(NUL.to_owned()) } else { Ok(quote(text)) }
}
