//! What removing a package would take along.

use std::collections::BTreeSet;
use std::time::Duration;

use super::tools::Tools;
use crate::host::packages::{broken_by_pacman, broken_by_rpm, taken_by_apk};
use crate::step::{Command, CommandReading, RemovalReading};

/// How long a package manager may take to say something.
const LOOK: Duration = Duration::from_secs(120);

/// What the removal of each of these packages would take along, in their order.
pub(super) fn removals(names: &[&str], tools: &Tools) -> Vec<Result<RemovalReading, String>> {
    names.iter().map(|name| removal(name, tools)).collect()
}

fn removal(name: &str, tools: &Tools) -> Result<RemovalReading, String> {
    let has_status = std::fs::metadata(tools.file("var/lib/dpkg/status")).is_ok_and(|status| status.len() > 0);
    let knows = |argv: &[&str]| Ok::<_, String>(tools.has(argv[0]) && run(argv, name, tools)?.exit == 0);
    if has_status && tools.has("apt-get") {
        by_apt(name, tools)
    } else if knows(&["rpm", "-q"])? {
        let said = run(&["rpm", "--erase", "--test"], name, tools)?;
        let needs = names(&[said.stdout, said.stderr].concat(), broken_by_rpm);
        Ok(RemovalReading { needs: sorted(needs), ..RemovalReading::default() })
    } else if knows(&["apk", "info", "-e"])? {
        let needs = names(&run(&["apk", "info", "-r"], name, tools)?.stdout, needed_by_apk);
        let along = names(&run(&["apk", "del", "-s"], name, tools)?.stdout, taken_by_apk);
        Ok(RemovalReading { needs, along: others(along, name), ..RemovalReading::default() })
    } else if knows(&["pacman", "-Qq", "--"])? {
        let print = |verb| run(&["pacman", verb, "--print", "--print-format", "%n", "--"], name, tools);
        let said = print("-R")?;
        let needs = names(&[said.stdout, said.stderr].concat(), broken_by_pacman);
        let along = names(&print("-Rs")?.stdout, whole);
        Ok(RemovalReading { needs: sorted(needs), along: others(along, name), ..RemovalReading::default() })
    } else {
        Ok(RemovalReading::default())
    }
}

/// What is idle before, because nothing needs it, is nobody's business here.
fn by_apt(name: &str, tools: &Tools) -> Result<RemovalReading, String> {
    let status = run(&["dpkg-query", "-W", "-f=${db:Status-Status}\\n", "--"], name, tools)?;
    match String::from_utf8_lossy(&status.stdout).lines().next().unwrap_or_default() {
        "" | "not-installed" => return Ok(RemovalReading::default()),
        "config-files" => return Ok(RemovalReading { left: true, ..RemovalReading::default() }),
        _ => {}
    }
    let all = rehearsed(&["remove", "--auto-remove", "--", name], tools)?;
    let mut found = RemovalReading { instead: named(&all, "Inst "), ..RemovalReading::default() };
    let goes = named(&all, "Remv ");
    if goes == [name] {
        return Ok(found);
    }
    let direct = named(&rehearsed(&["remove", "--", name], tools)?, "Remv ");
    let idle = named(&rehearsed(&["autoremove"], tools)?, "Remv ");
    let came_for_it = if direct == [name] { BTreeSet::new() } else { came_for(name, tools)? };
    for other in direct.iter().filter(|other| *other != name) {
        let serves = came_for_it.contains(other) && !idle.contains(other);
        if serves { found.serves.push(other.clone()) } else { found.needs.push(other.clone()) }
    }
    let is_known = |other: &String| other == name || direct.contains(other) || idle.contains(other);
    found.along = goes.into_iter().filter(|other| !is_known(other)).collect();
    Ok(found)
}

/// What came only because something needs it, and is needed by this package, directly or by way of others.
fn came_for(name: &str, tools: &Tools) -> Result<BTreeSet<String>, String> {
    let automatic = tool(&["apt-mark", "showauto"], tools)?.stdout;
    let below = ["apt-cache", "depends", "--recurse", "--installed", "--important", "--", name];
    let below = names(&tool(&below, tools)?.stdout, |line| Some(line).filter(|line| !line.starts_with([' ', '<'])));
    let automatic: BTreeSet<String> = names(&automatic, whole).into_iter().collect();
    Ok(below.into_iter().filter(|other| automatic.contains(other)).collect())
}

/// What apt says that it would do.
fn rehearsed(words: &[&str], tools: &Tools) -> Result<Vec<u8>, String> {
    let apt = ["apt-get", "-s", "-q", "-o", "APT::AutoRemove::SuggestsImportant=false"];
    let ended = tool(&[&apt, words].concat(), tools)?;
    if ended.exit == 0 {
        return Ok(ended.stdout);
    }
    let complaint = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
    Err(if complaint.is_empty() { format!("apt-get: exit code {}", ended.exit) } else { complaint })
}

fn run(argv: &[&str], name: &str, tools: &Tools) -> Result<CommandReading, String> {
    tool(&[argv, &[name]].concat(), tools)
}

fn tool(argv: &[&str], tools: &Tools) -> Result<CommandReading, String> {
    tools.run(&Command::new(argv.iter().copied()).within(LOOK))
}

/// The names that lines hold, in order.
fn names(said: &[u8], name: impl Fn(&str) -> Option<&str>) -> Vec<String> {
    String::from_utf8_lossy(said).lines().filter_map(name).map(str::to_owned).collect()
}

/// The names behind a word of apt: `Remv name [1.0]`.
fn named(said: &[u8], word: &str) -> Vec<String> {
    names(said, |line| line.strip_prefix(word)?.split(' ').next())
}

/// `name-1.0-r0`, below `other-2.0-r1 is required by:`.
fn needed_by_apk(line: &str) -> Option<&str> {
    let (rest, release) = line.rsplit_once("-r")?;
    let is_release = release.chars().all(|c| c.is_ascii_digit());
    let (name, version) = rest.rsplit_once('-')?;
    let is_package = version.starts_with(|c: char| c.is_ascii_digit()) && !name.contains(' ');
    (is_release && is_package).then_some(name)
}

fn whole(line: &str) -> Option<&str> {
    Some(line).filter(|line| !line.is_empty())
}

fn sorted(names: Vec<String>) -> Vec<String> {
    names.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

fn others(mut names: Vec<String>, name: &str) -> Vec<String> {
    names.retain(|other| other != name);
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Instant;

    /// Words, the exit code, and what is said then.
    type Said = &'static [(&'static str, i32, &'static str)];

    /// A host with these programs, which say this to these words, and nothing to others.
    fn found(programs: &[&str], said: Said, name: &str) -> Result<RemovalReading, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |path: &str, text: &str| {
            let file = directory.path().join(path);
            std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
            std::fs::write(&file, text).expect("a file");
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).expect("a mode");
        };
        for program in programs {
            write(&format!("usr/bin/{program}"), "");
        }
        if programs.contains(&"apt-get") {
            write("var/lib/dpkg/status", "x");
        }
        let run = move |command: &Command| {
            let words = command.argv.join(" ").replace("-o APT::AutoRemove::SuggestsImportant=false ", "");
            let told = said.iter().find(|(asked, ..)| *asked == words);
            let (exit, text) = told.map_or((0, ""), |(_, exit, text)| (*exit, *text));
            let (stdout, stderr) = if exit == 0 { (text, "") } else { ("", text) };
            Ok(CommandReading { exit, stdout: stdout.into(), stderr: stderr.into() })
        };
        let deadline = Instant::now() + Duration::from_secs(60);
        removal(name, &Tools { tool: Arc::new(run), root: directory.path().to_owned(), deadline })
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    const INSTALLED: (&str, i32, &str) = ("dpkg-query -W -f=${db:Status-Status}\\n -- jre", 0, "installed\n");

    #[test]
    fn what_apt_takes_along_is_sorted_by_why() {
        const SAID: Said = &[
            INSTALLED,
            (
                "apt-get -s -q remove --auto-remove -- jre",
                0,
                "Reading...\nInst gcj [1] (2)\nRemv app [1]\nRemv certs [1]\nRemv jre [1]\nRemv idle [1]\nRemv lib [2]\n",
            ),
            ("apt-get -s -q remove -- jre", 0, "Remv app [1]\nRemv certs [1]\nRemv jre [1] []\n"),
            ("apt-get -s -q autoremove", 0, "Remv idle [1]\n"),
            ("apt-mark showauto", 0, "certs\nlib\nidle\n"),
            (
                "apt-cache depends --recurse --installed --important -- jre",
                0,
                "jre\n  Depends: certs\n    x\n<virtual>\ncerts\nlib\n",
            ),
        ];
        let wanted = RemovalReading {
            needs: list(&["app"]),
            serves: list(&["certs"]),
            along: list(&["lib"]),
            instead: list(&["gcj"]),
            left: false,
        };
        assert_eq!(found(&["apt-get", "rpm"], SAID, "jre"), Ok(wanted));
    }

    #[test]
    fn what_goes_alone_is_gone_or_cannot_go() {
        let alone: Said = &[INSTALLED, ("apt-get -s -q remove --auto-remove -- jre", 0, "Remv jre [1]\n")];
        assert_eq!(found(&["apt-get"], alone, "jre"), Ok(RemovalReading::default()));
        let gone: Said = &[("dpkg-query -W -f=${db:Status-Status}\\n -- jre", 0, "config-files\nnot-installed\n")];
        let left = RemovalReading { left: true, ..RemovalReading::default() };
        assert_eq!(found(&["apt-get"], gone, "jre"), Ok(left));
        assert_eq!(found(&["apt-get"], &[], "jre"), Ok(RemovalReading::default()));
        let broken: Said = &[INSTALLED, ("apt-get -s -q remove --auto-remove -- jre", 100, "E: Unmet dependencies\n")];
        assert_eq!(found(&["apt-get"], broken, "jre"), Err("E: Unmet dependencies".to_owned()));
    }

    #[test]
    fn other_managers_say_what_needs_a_package() {
        let rpm: Said = &[(
            "rpm --erase --test a",
            1,
            "error: Failed dependencies:\n\ta is needed by (installed) c-d-1-1.x86_64\n\ta is needed by (installed) b-1-1.x86_64\n\ta is needed by (installed) b-1-1.x86_64\n",
        )];
        let needs = |names: &[&str], along: &[&str]| {
            Ok(RemovalReading { needs: list(names), along: list(along), ..RemovalReading::default() })
        };
        assert_eq!(found(&["rpm"], rpm, "a"), needs(&["b", "c-d"], &[]));
        let apk: Said = &[
            ("apk info -r a", 0, "a-1.0-r0 is required by:\nb-c-2.1_git3-r12\n\n"),
            ("apk del -s a", 0, "(1/2) Purging a (1.0-r0)\n(2/2) Purging lib (2-r1)\nOK: 7 MiB\n"),
        ];
        assert_eq!(found(&["apk"], apk, "a"), needs(&["b-c"], &["lib"]));
        let pacman: Said = &[
            ("pacman -R --print --print-format %n -- a", 1, ":: removing a breaks dependency 'a' required by b\n"),
            ("pacman -Rs --print --print-format %n -- a", 0, "a\nlib\n"),
        ];
        assert_eq!(found(&["pacman"], pacman, "a"), needs(&["b"], &["lib"]));
        let none: Said = &[("pacman -Qq -- a", 1, "error: package 'a' was not found")];
        assert_eq!(found(&["pacman"], none, "a"), needs(&[], &[]));
        assert_eq!(found(&[], &[], "a"), needs(&[], &[]));
    }
}
