//! Programs of simulated hosts that reach beyond armilla: scripts of a project, git, web APIs, pip.
//!
//! In: the program a kind of resource runs, and what it reads. Out: what it answers, and what it leaves in the paths and
//! things of the host. Never: a program or an option that no kind uses; none is the answer then.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Trouble;
use super::host::Host;
use crate::step::Digest;

/// How scripts of a project are run.
const SCRIPT: &str = include_str!("../resource/script_run.sh");
/// How a request is sent.
const SEND: &str = include_str!("../resource/http_send.sh");
/// How packages of Python are installed.
const INSTALL: &str = include_str!("../resource/venv_install.sh");

type ScriptAnswer = Option<Result<String, Trouble>>;

/// What a program answers that only looks; none if it is not known here.
pub(super) fn look(host: &Host, words: &[&str], input: &[u8]) -> ScriptAnswer {
    Some(match words {
        ["sh", "-c", SCRIPT, "sh", lines, _, _, "read", arguments @ ..] => read(host, arguments, lines, input),
        // Every host has whatever a script needs.
        ["sh", "-c", missing, "sh", ..] if missing.starts_with("for p; do command -v") => Ok(String::new()),
        ["git", "ls-remote", "--", url, branch, ..] => Ok(format!("{}\t{branch}\n", commit(url, branch))),
        ["git", "--no-optional-locks", "-C", tree, "status", ..] => status(host, tree),
        ["git", "-C", tree, "config", "--local", "--get", "remote.origin.url"] => kept(host, tree, "origin"),
        ["curl", "-q", "-K", "-"] => Ok(get(host, &request(input))),
        ["sh", "-c", SEND, "sh", ..] => send(&mut host.clone(), &request(input)),
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
pub(super) fn run(host: &mut Host, words: &[&str], input: &[u8]) -> ScriptAnswer {
    Some(match words {
        ["sh", "-c", SCRIPT, "sh", lines, _, _, verb @ ("apply" | "remove"), arguments @ ..] => {
            let name = thing(arguments);
            match *verb {
                "apply" => host.things.insert(name, told(lines, input)),
                _ => host.things.remove(&name),
            };
            Ok(String::new())
        }
        ["rm", "-rf", "--", path] => {
            host.paths.clear(path);
            Ok(String::new())
        }
        ["mv", "-T", "--", from, to] => rename(host, from, to),
        ["git", "-C", tree, rest @ ..] => return git(host, tree, rest),
        ["sh", "-c", SEND, "sh", ..] => send(host, &request(input)),
        ["python3", "-m", "venv", "--", path] => keep(host, path, "pyvenv.cfg", "version = 3.11.2\n")
            .and_then(|_| keep(host, path, "packages", "pip==23.0.1\n")),
        ["sh", "-c", INSTALL, "sh", path] => install(host, path, &String::from_utf8_lossy(input)),
        _ => return None,
    })
}

// -- scripts of a project ---------------------------------------------------------------------------------------------

fn thing(arguments: &[&str]) -> String {
    format!("script {}", arguments.join(" "))
}

/// A script that keeps its contract reads what it applied.
fn read(host: &Host, arguments: &[&str], lines: &str, input: &[u8]) -> Result<String, Trouble> {
    let asked = told(lines, input);
    let json = serde_json::from_str::<Map<String, Value>>(&asked).is_ok();
    let nothing = if json { "null" } else { "absent" };
    match host.things.get(&thing(arguments)) {
        _ if asked.is_empty() => Err(Trouble::new(2, "a script without input is not simulated")),
        Some(values) => Ok(values.clone()),
        None => Ok(format!("{nothing}\n")),
    }
}

/// What comes after the program.
fn told(lines: &str, input: &[u8]) -> String {
    let program: usize = lines.parse().unwrap_or_default();
    String::from_utf8_lossy(input).split_inclusive('\n').skip(program).collect()
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

/// What curl is told, by the name of the option.
fn request(input: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(input);
    let option = |line: &str| {
        let (name, value) = line.split_once(" = ")?;
        Some((name.to_owned(), value.trim_matches('"').replace("\\\"", "\"").replace("\\\\", "\\")))
    };
    text.lines().filter_map(option).collect()
}

fn object(request: &BTreeMap<String, String>) -> String {
    format!("object {}", request.get("url").map_or("", String::as_str))
}

fn get(host: &Host, request: &BTreeMap<String, String>) -> String {
    match host.things.get(&object(request)) {
        Some(body) => format!("{body}\n200 "),
        None => "{}\n404 ".to_owned(),
    }
}

fn send(host: &mut Host, request: &BTreeMap<String, String>) -> Result<String, Trouble> {
    let body = || request.get("data-raw").cloned().unwrap_or_default();
    match request.get("request").map_or("", String::as_str) {
        "PUT" | "POST" | "PATCH" => drop(host.things.insert(object(request), body())),
        "DELETE" => drop(host.things.remove(&object(request))),
        "GET" if host.things.contains_key(&object(request)) => {}
        _ => return Err(Trouble::new(22, "the server answered 404")),
    }
    Ok(String::new())
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
