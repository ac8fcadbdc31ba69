//! What a user may get wrong, and what they are told: one file a mistake, in `tests/cases/mistakes/`.
//!
//! In: the files of a project, with `«` and `»` around each place that is wrong. Out: what the program says, the places
//! it names against the marks, and the cure its hint must name. Never: a message that was only stored, not looked at: the
//! marks and the cure are written by hand. With `ARMILLA_BLESS=1` the messages are written anew.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The project around a mistake: each file can be replaced by the case.
const AROUND: &[(&str, &str)] = &[
    ("site.yml", "services:\n  web: { hosts: servers }\n"),
    (
        "roles/web/role.yml",
        "summary: A web server.\ninputs:\n  port: { type: port, default: 80 }\nresources:\n  - package: nginx-light\n",
    ),
    ("inventories/test/hosts.yml", "groups:\n  servers: { hosts: \"web[1:2]\" }\n"),
    ("inventories/test/environment.yml", "production: false\n"),
];

/// As many as the table has at least.
const FEWEST: usize = 80;

/// One mistake.
struct Case {
    path: PathBuf,
    /// What stands before the first file: why the case is there, `$` and a command, `without:` a file that is around it
    /// otherwise, `cure:` and words of the hint.
    head: String,
    /// The files with their marks.
    files: Vec<(String, String)>,
    /// What the program said when the case was stored.
    says: String,
}

#[test]
fn every_mistake_is_told_with_its_place_and_its_cure() {
    let cases = cases();
    let wrong: Vec<String> = cases.iter().filter_map(Case::wrong).collect();
    assert!(wrong.is_empty(), "{}\n\n{} of {}", wrong.join("\n\n"), wrong.len(), cases.len());
    assert!(cases.len() >= FEWEST, "{} mistakes, not {FEWEST}", cases.len());
}

fn cases() -> Vec<Case> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/mistakes");
    let entries = fs::read_dir(folder).expect("the cases").flatten().map(|entry| entry.path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|end| end == "txt")).collect();
    paths.sort();
    paths.into_iter().map(Case::read).collect()
}

impl Case {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path).expect("a case");
        let (mut head, mut files, mut says) = (String::new(), Vec::<(String, String)>::new(), String::new());
        let mut told = false;
        for line in text.split_inclusive('\n') {
            match line.trim_end().strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
                Some("says") => told = true,
                Some(name) => files.push((name.to_owned(), String::new())),
                None if told => says.push_str(line),
                None => files.last_mut().map_or(&mut head, |(_, text)| text).push_str(line),
            }
        }
        Self { path, head, files, says }
    }

    /// The words after `key` at the beginning of a line of the head.
    fn said(&self, key: &str) -> Vec<&str> {
        self.head.lines().filter_map(|line| line.strip_prefix(key)).map(str::trim).collect()
    }

    fn wrong(&self) -> Option<String> {
        let name = self.path.file_stem()?.to_string_lossy().into_owned();
        let project = project(&name);
        let mut places = Vec::new();
        let without = self.said("without:");
        for (file, text) in AROUND.iter().filter(|(file, _)| !without.contains(file)) {
            write(&project.join(file), text);
        }
        for (file, text) in &self.files {
            let (plain, found) = unmarked(text);
            write(&project.join(file), &plain);
            places.extend(found.iter().map(|place| format!("{file}:{place}")));
        }
        let said = run(self.said("$ ").first().copied().unwrap_or("armilla validate test"), &project);
        fs::remove_dir_all(&project).expect("the project goes");
        if std::env::var_os("ARMILLA_BLESS").is_some() {
            self.bless(&said);
        } else if said != self.says {
            return Some(format!("{name}: not as stored\n--- stored\n{}--- said\n{said}", self.says));
        }
        self.missing(&said, &places).map(|what| format!("{name}: {what}\n{said}"))
    }

    /// What the message lacks.
    fn missing(&self, said: &str, places: &[String]) -> Option<String> {
        let mut named: Vec<&str> = said.lines().filter_map(|line| line.trim_start().strip_prefix("--> ")).collect();
        let mut marked: Vec<&str> = places.iter().map(String::as_str).collect();
        named.sort_unstable();
        marked.sort_unstable();
        if named != marked {
            return Some(format!("marked are {marked:?}, told is {named:?}"));
        }
        let cures = self.said("cure:");
        if cures.is_empty() {
            return Some("the case has no `cure:`".to_owned());
        }
        let hints: Vec<&str> = said
            .lines()
            .filter(|line| {
                ["hint:", "tip:", "[possible values:"].iter().any(|word| line.trim_start().starts_with(word))
            })
            .collect();
        cures
            .into_iter()
            .find(|cure| !hints.iter().any(|hint| hint.contains(cure)))
            .map(|cure| format!("no hint says `{cure}`"))
    }

    fn bless(&self, said: &str) {
        let mut text = self.head.clone();
        for (name, content) in &self.files {
            let _ = write!(text, "-- {name} --\n{content}");
        }
        let _ = write!(text, "-- says --\n{said}");
        write(&self.path, &text);
    }
}

/// The text without marks, and where the marks began: line and column from 1.
fn unmarked(text: &str) -> (String, Vec<String>) {
    let mut places = Vec::new();
    let mut plain = String::new();
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let mut column = 1;
        for c in content.chars() {
            match c {
                '«' => places.push(format!("{}:{column}", line + 1)),
                '»' => {}
                c => {
                    plain.push(c);
                    column += 1;
                }
            }
        }
    }
    (plain, places)
}

fn project(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mistakes").join(name);
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("folders");
    fs::write(path, text).expect("a file");
}

/// What a command says. Words are split at blanks; nothing here needs more.
fn run(line: &str, folder: &Path) -> String {
    let mut words = line.split_whitespace();
    assert_eq!(words.next(), Some("armilla"), "{line}");
    let output = Command::new(env!("CARGO_BIN_EXE_armilla"))
        .args(words)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/bin:/bin")
        .output()
        .expect("the program runs");
    if output.status.code() != Some(1) {
        return format!("exit code {:?}\n", output.status.code());
    }
    String::from_utf8_lossy(&output.stderr).replace(&*folder.to_string_lossy(), "PROJECT")
}
