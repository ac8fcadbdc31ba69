//! Programs of simulated hosts that reach beyond armilla: scripts of a project, git, web APIs, pip.
//!
//! In: the program a kind of resource runs, and what it reads. Out: what it answers, and what it leaves in the paths and
//! things of the host. Never: a program or an option that no kind uses; none is the answer then.

use serde_json::{Map, Value, json};

use super::Trouble;
use super::host::Host;
use crate::secret::Content;
use crate::step::{ApiRequest, Command, Digest, Outcome, Sending};

/// The file that a program is given.
const FILE: &str = Command::FILE;

type ScriptAnswer = Option<Result<String, Trouble>>;

/// What a program answers that only looks; none if it is not known here.
pub(super) fn look(host: &Host, words: &[&str], command: &Command) -> ScriptAnswer {
    let input = command.stdin.bytes();
    Some(match words {
        [_, FILE, "read", arguments @ ..] | [_, _, FILE, "read", arguments @ ..] => read(host, arguments, input),
        // Every host has whatever a script needs.
        ["sh", "-c", missing, "sh", ..] if missing.starts_with("for p; do command -v") => Ok(String::new()),
        ["git", "ls-remote", "--", url, branch, ..] => Ok(format!("{}\t{branch}\n", commit(url, branch))),
        ["git", "--no-optional-locks", "-C", tree, "status", ..] => status(host, tree),
        ["git", "-C", tree, "config", "--local", "--get", "remote.origin.url"] => kept(host, tree, "origin"),
        ["curl", "-q", "-K", "-"] => Ok(get(host, &address(input))),
        ["sh", "-c", enter, "sh", path, _] if enter.starts_with("# what is in a Python environment") => {
            inside(host, path)
        }
        ["python3", "-I", "-c", _] => Ok("3.11\n".to_owned()),
        ["find", path, "-maxdepth", "0", "-empty"] => {
            Ok(if host.paths.below(path).count() == 1 { format!("{path}\n") } else { String::new() })
        }
        _ => return None,
    })
}

/// What a program does; none if it is not known here.
pub(super) fn run(host: &mut Host, words: &[&str], command: &Command) -> ScriptAnswer {
    let input = command.stdin.bytes();
    Some(match words {
        [_, FILE, "apply", arguments @ ..] | [_, _, FILE, "apply", arguments @ ..] => {
            host.things.insert(thing(arguments), String::from_utf8_lossy(input).into_owned());
            Ok(String::new())
        }
        [_, FILE, "remove", arguments @ ..] | [_, _, FILE, "remove", arguments @ ..] => {
            host.things.remove(&thing(arguments));
            Ok(String::new())
        }
        ["rm", "-rf", "--", path] => {
            host.paths.clear(path);
            Ok(String::new())
        }
        ["mv", "-T", "--", from, to] => rename(host, from, to),
        ["git", "-C", tree, rest @ ..] => return git(host, tree, rest),
        ["python3", "-m", "venv", "--", path] => keep(host, path, "pyvenv.cfg", "version = 3.11.2\n")
            .and_then(|_| keep(host, path, "packages", "pip==23.0.1\n")),
        [python, "-I", "-m", "pip", .., "--requirement", FILE] => {
            let list = command.file.as_ref().map(Content::bytes).unwrap_or_default();
            install(host, python.trim_end_matches("/bin/python"), &String::from_utf8_lossy(list))
        }
        _ => return None,
    })
}

// -- scripts of a project ---------------------------------------------------------------------------------------------

fn thing(arguments: &[&str]) -> String {
    format!("script {}", arguments.join(" "))
}

/// A script that keeps its contract reads what it applied.
fn read(host: &Host, arguments: &[&str], input: &[u8]) -> Result<String, Trouble> {
    let asked = String::from_utf8_lossy(input);
    let json = serde_json::from_str::<Map<String, Value>>(&asked).is_ok();
    let nothing = if json { "null" } else { "absent" };
    match host.things.get(&thing(arguments)) {
        _ if asked.is_empty() => Err(Trouble::new(2, "a script without input is not simulated")),
        Some(values) => Ok(values.clone()),
        None => Ok(format!("{nothing}\n")),
    }
}

// -- directories ------------------------------------------------------------------------------------------------------

fn rename(host: &mut Host, from: &str, to: &str) -> Result<String, Trouble> {
    if host.paths.get(from).is_none() {
        return Err(Trouble::new(1, format!("mv: cannot stat '{from}': No such file or directory")));
    }
    if host.paths.below(to).count() > 1 {
        return Err(Trouble::new(1, format!("mv: cannot overwrite '{to}': Directory not empty")));
    }
    host.paths.clear(to);
    host.paths.carry(from, to);
    Ok(String::new())
}

/// What a program keeps in its directory.
fn kept(host: &Host, tree: &str, name: &str) -> Result<String, Trouble> {
    let content = host.paths.file(&format!("{tree}/{name}"));
    content.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).ok_or_else(|| Trouble::new(1, ""))
}

fn keep(host: &mut Host, tree: &str, name: &str, content: &str) -> Result<String, Trouble> {
    host.has_space(tree)?;
    host.paths.write(&format!("{tree}/{name}"), content.as_bytes(), host.now).map(|()| String::new())
}

// -- git --------------------------------------------------------------------------------------------------------------

/// Where a branch of a simulated repository is: always at the same commit.
fn commit(url: &str, name: &str) -> String {
    Digest::of(format!("{url} {name}").as_bytes()).0.chars().take(40).collect()
}

fn status(host: &Host, tree: &str) -> Result<String, Trouble> {
    let head = kept(host, tree, "HEAD").map_err(|_| Trouble::new(128, "fatal: not a git repository"))?;
    Ok(format!("# branch.oid {head}\n# branch.head (detached)\n"))
}

fn git(host: &mut Host, tree: &str, words: &[&str]) -> ScriptAnswer {
    Some(match words {
        ["init", "--quiet"] => keep(host, tree, "HEAD", "(initial)"),
        ["remote", "add" | "set-url", "origin", url] => keep(host, tree, "origin", url),
        ["fetch", "--quiet", ..] => kept(host, tree, "origin").map(drop).map(|()| String::new()),
        ["checkout", "--quiet", "--detach", .., commit] => keep(host, tree, "HEAD", commit),
        _ => return None,
    })
}

// -- web APIs ---------------------------------------------------------------------------------------------------------

/// The address that curl is told.
fn address(input: &[u8]) -> String {
    let text = String::from_utf8_lossy(input);
    let url = text.lines().find_map(|line| line.strip_prefix("url = ")).unwrap_or_default();
    url.trim_matches('"').to_owned()
}

fn object(url: &str) -> String {
    format!("object {url}")
}

fn get(host: &Host, url: &str) -> String {
    match host.things.get(&object(url)) {
        Some(body) => format!("{body}\n200 "),
        None => "{}\n404 ".to_owned(),
    }
}

/// What [`crate::step::Step::Send`] does.
pub(super) fn send(host: &mut Host, sending: &Sending) -> Result<Outcome, Trouble> {
    let Sending { request, accepted, unless } = sending;
    if unless.as_ref().is_some_and(|question| host.things.contains_key(&object(&question.url))) {
        return Ok(Outcome::NotNeeded);
    }
    let ApiRequest { method, url, body, .. } = request;
    let body = || body.as_ref().map(|body| String::from_utf8_lossy(body.bytes()).into_owned()).unwrap_or_default();
    match method.as_str() {
        "PUT" | "POST" | "PATCH" => drop(host.things.insert(object(url), body())),
        "DELETE" if host.things.remove(&object(url)).is_some() || accepted.contains(&404) => {}
        _ => return Err(Trouble::new(22, "the server answered 404")),
    }
    Ok(Outcome::Done)
}

// -- pip --------------------------------------------------------------------------------------------------------------

fn inside(host: &Host, path: &str) -> Result<String, Trouble> {
    let packages = kept(host, path, "packages").map_err(|_| Trouble::new(9, ""))?;
    let packages: Vec<(&str, &str)> = packages.lines().filter_map(|line| line.split_once("==")).collect();
    Ok(json!({ "python": "3.11", "packages": packages }).to_string())
}

fn install(host: &mut Host, path: &str, list: &str) -> Result<String, Trouble> {
    let mut packages = kept(host, path, "packages")?;
    let pinned = list.lines().filter(|line| line.contains("==")).filter_map(|line| line.split_whitespace().next());
    let new: Vec<&str> = pinned.filter(|pin| !packages.lines().any(|line| line == *pin)).collect();
    packages.push_str(&new.into_iter().flat_map(|pin| [pin, "\n"]).collect::<String>());
    keep(host, path, "packages", &packages)
}
