//! What a newcomer reads is true: every file shown is read by the program, every command shown is run.
//!
//! In: README.md and docs/*.md, as they are. Out: what does not hold. With `ARMILLA_BLESS=1` the answers of the program
//! and the generated pages are written anew; look at the difference before you keep it.
//!
//! Each document is played from its beginning in a folder of its own:
//! - a block whose first line is `# path` (or `{# path #}`) is a file of the project at that moment;
//! - a ` ```console ` block is typed, and the answers are compared;
//! - ` ```console lab ` is typed only with `ARMILLA_LAB_DOCS=1`: it needs root and makes lab hosts;
//! - other ` ```yaml ` blocks must be YAML, and links between documents must lead somewhere.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use armilla::diag::Source;
use armilla::fact::FACTS;
use armilla::resource::KINDS;
use regex::Regex;

/// One test for each document that is played, and the list of all.
macro_rules! documents {
    ($($test:ident: $path:literal),+ $(,)?) => {
        const PLAYED: &[&str] = &[$($path),+];

        /// What a document shows is what happens.
        mod played {
            $(
                #[test]
                fn $test() {
                    let wrong = super::play($path);
                    assert!(wrong.is_empty(), "{}\n\nARMILLA_BLESS=1 writes new answers", wrong.join("\n\n"));
                }
            )+
        }
    };
}

documents![
    readme: "README.md",
    guide: "docs/guide.md",
    roles: "docs/roles.md",
    rollouts: "docs/rollouts.md",
    inventory: "docs/inventory.md",
    vault: "docs/vault.md",
    from_ansible: "docs/from-ansible.md",
    from_terraform: "docs/from-terraform.md",
    lab: "docs/lab.md",
    performance: "docs/performance.md",
    commands: "docs/commands.md",
    comparison: "docs/comparison.md",
    exit_codes: "docs/exit-codes.md",
    resources: "docs/resources.md",
    script_kind: "docs/script-kind.md",
    trust: "docs/trust.md",
    faults: "docs/faults.md",
    facts: "docs/facts.md",
    glossary: "docs/glossary.md",
    quickstart: "examples/quickstart/README.md",
];

#[test]
fn every_document_is_played() {
    let folder = fs::read_dir(root().join("docs")).expect("docs").flatten();
    let pages = folder
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|ending| ending == "md"));
    for page in pages.map(|name| format!("docs/{name}")) {
        assert!(PLAYED.contains(&page.as_str()), "{page} is not played");
    }
}

#[test]
fn the_reference_of_resources_is_current() {
    let mut text = String::from(RESOURCES);
    for kind in KINDS {
        text.push_str(&armilla::report::reference::markdown(kind));
    }
    generated("docs/resources.md", &text);
}

#[test]
fn the_list_of_facts_is_current() {
    let mut text = String::from(FACTS_HEAD);
    for fact in FACTS {
        let _ = writeln!(text, "| `{}` | {} | `{}` |", fact.name, fact.summary.replace('|', "\\|"), (fact.example)());
    }
    generated("docs/facts.md", &text);
}

#[test]
fn the_page_of_exit_codes_names_every_code() {
    let page = fs::read_to_string(root().join("docs/exit-codes.md")).expect("the page");
    let codes = armilla::cli::exit::HELP.lines().skip(1).filter_map(|line| line.split_whitespace().next());
    for code in codes {
        assert!(page.contains(&format!("| {code} |")), "docs/exit-codes.md does not name exit code {code}");
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)#]+)[^)]*\)").expect("a pattern");
    for name in PLAYED {
        let path = root().join(name);
        let text = fs::read_to_string(&path).expect("a document");
        for target in link.captures_iter(&text).map(|found| found[1].to_owned()) {
            let there = path.parent().expect("a folder").join(&target);
            assert!(target.contains("://") || there.exists(), "{name} leads to {target}");
        }
    }
}

// -- playing a document -----------------------------------------------------------------------------------------------

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn blessing() -> bool {
    std::env::var_os("ARMILLA_BLESS").is_some()
}

/// One fenced block: what stands behind the fence, and its lines as they are in the document.
struct Block {
    info: String,
    lines: std::ops::Range<usize>,
}

fn blocks(lines: &[String]) -> Vec<Block> {
    let mut found = Vec::new();
    let mut open: Option<(String, usize)> = None;
    for (index, line) in lines.iter().enumerate() {
        match (&open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.trim().to_owned(), index + 1)),
            (Some((info, start)), Some(_)) => {
                found.push(Block { info: info.clone(), lines: *start..index });
                open = None;
            }
            _ => {}
        }
    }
    found
}

fn play(name: &str) -> Vec<String> {
    let path = root().join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let folder = std::env::temp_dir().join(format!("armilla-docs-{}-{}", std::process::id(), name.replace('/', "-")));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    let mut player = Player { name, folder: folder.clone(), here: folder.clone(), wrong: Vec::new() };
    let mut new: Vec<(std::ops::Range<usize>, Vec<String>)> = Vec::new();
    for block in blocks(&lines) {
        let content = &lines[block.lines.clone()];
        match block.info.as_str() {
            "console" => new.push((block.lines, player.typed(content))),
            "console lab" if std::env::var_os("ARMILLA_LAB_DOCS").is_some() => {
                new.push((block.lines, player.typed(content)));
            }
            "console lab" => {}
            _ => player.file(&block.info, content),
        }
    }
    player.whole();
    let _ = fs::remove_dir_all(&folder);
    if blessing() {
        let mut lines = lines;
        new.into_iter().rev().for_each(|(range, answer)| drop(lines.splice(range, answer)));
        fs::write(&path, lines.join("\n") + "\n").expect("a document can be written");
        return Vec::new();
    }
    player.wrong
}

struct Player<'a> {
    name: &'a str,
    folder: PathBuf,
    here: PathBuf,
    wrong: Vec<String>,
}

impl Player<'_> {
    /// A file of the project, if the first line says so.
    fn file(&mut self, info: &str, content: &[String]) {
        let first = content.first().map(String::as_str).unwrap_or_default();
        let named =
            first.strip_prefix("# ").or_else(|| first.strip_prefix("{# ").and_then(|rest| rest.strip_suffix(" #}")));
        let is_path = |path: &&str| {
            let part = path.split('/').next().unwrap_or_default();
            ["site.yml", "armilla.yml", "hosts.sh"].contains(path)
                || path.contains('/') && ["inventories", "roles", "templates", "files"].contains(&part)
        };
        let path = named.and_then(|text| text.split([' ', ':']).next()).filter(is_path);
        // The name of a YAML file may stay in it as a comment; in other files it would be content.
        let body =
            if path.is_some_and(|path| path.rsplit('.').next() != Some("yml")) { &content[1..] } else { content };
        let text = body.join("\n") + "\n";
        if let Some(path) = path {
            let path = self.here.join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
            fs::write(path, text).expect("a file can be written");
        } else if info == "yaml"
            && let Err(problem) = armilla::yaml::parse(&Source::new(self.name, text))
        {
            self.wrong.push(problem.to_string());
        }
    }

    /// A session: the lines that begin with `$` are typed. Gives the block as it should be.
    fn typed(&mut self, content: &[String]) -> Vec<String> {
        let mut answer = Vec::new();
        for part in
            content.split(|line| line.starts_with("$ ")).skip(1).zip(content.iter().filter(|l| l.starts_with("$ ")))
        {
            let (expected, command) = (part.0.join("\n"), part.1.trim_start_matches("$ "));
            if let Some(folder) = command.strip_prefix("cd ") {
                self.here = self.here.join(folder);
                answer.push(part.1.clone());
                answer.extend(part.0.iter().cloned());
                continue;
            }
            let ran = run(command, &self.here, &self.folder);
            let text = ran.text.replace(&self.folder.display().to_string(), "/home/you");
            answer.push(part.1.clone());
            let same = alike(&expected) == alike(&text);
            let wanted = if same { expected } else { with_default_network(&text) };
            answer.extend(wanted.trim_end().lines().map(str::to_owned));
            if part.0.last().is_some_and(String::is_empty) {
                answer.push(String::new());
            }
            if !same {
                self.wrong.push(format!("{}: $ {command}\n{text}", self.name));
            }
            // A block that shows an error says so by its answer.
            if !ran.well && !text.contains("error:") {
                self.wrong.push(format!("{}: $ {command} failed", self.name));
            }
        }
        answer
    }

    /// At its end, the project of a document must be valid.
    fn whole(&mut self) {
        if self.here.join("site.yml").exists() {
            let ran = run("armilla validate", &self.here, &self.folder);
            if !ran.well {
                self.wrong.push(format!("{}: the project in it is not valid\n{}", self.name, ran.text));
            }
        }
    }
}

struct Ran {
    text: String,
    well: bool,
}

#[expect(clippy::disallowed_methods, reason = "a document shows what the program answers, so it is started")]
fn run(command: &str, here: &Path, home: &Path) -> Ran {
    let program = Path::new(env!("CARGO_BIN_EXE_armilla")).parent().expect("a folder").display().to_string();
    let path = format!("{program}:{}", std::env::var("PATH").unwrap_or_default());
    let script = format!("exec 2>&1\n{command}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).current_dir(here).env("PATH", path).env("COLUMNS", "100");
    // What was run from this machine is another thing than what is run here.
    let output = shell.env("ARMILLA_STATE_DIR", home.join(".local/state/armilla")).output().expect("a shell");
    Ran { text: String::from_utf8_lossy(&output.stdout).into_owned(), well: output.status.success() }
}

/// A text without what is never twice the same: times, revisions, runs, the lab's network, blanks at the end of lines.
fn plain(text: &str) -> String {
    let replace = |text: &str, pattern: &str, by: &str| {
        Regex::new(pattern).expect("a pattern").replace_all(text, by).into_owned()
    };
    let text = replace(text, r"\d+(\.\d+)? m?s\b", "N s");
    let text = replace(&text, r"   revision [^ ]+ \([^)]*\)", "");
    let text = replace(&text, r"\b\d{8}-\d{6}-[a-z2-9]{4}\b", "RUN");
    let text =
        replace(&text, r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\b\d+\s+[A-Z][a-z]{2}\s+\d{4},\s+\d\d:\d\d\s+UTC", "TIME");
    let text = replace(&text, r"sha256:[0-9a-f]+", "sha256:DIGEST");
    let text = replace(&text, r"`project: [a-z0-9-]+`", "`project: PROJECT`");
    let text = replace(&text, r"\b[a-z]+@[a-z0-9.-]+, begun", "WHO, begun");
    let text = with_default_network(&text);
    text.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// What must be the same twice. Hosts go on side by side, so the order of their lines is chance; which address a lab host
/// gets, and so where a line is broken, depends on the lab.
fn alike(text: &str) -> Vec<String> {
    let text = Regex::new(r"\b10\.\d+\.0\.\d+").expect("a pattern").replace_all(&plain(text), "10.89.0.N").into_owned();
    if text.contains("Converged") {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        return lines;
    }
    // A date is one or two columns wide, and so where a line is broken depends on the day.
    if text.contains("10.89.0.N") || text.contains("TIME") {
        text.split_whitespace().map(str::to_owned).collect()
    } else {
        vec![text]
    }
}

fn with_default_network(text: &str) -> String {
    Regex::new(r"\b10\.\d+\.0\.(\d+)").expect("a pattern").replace_all(text, "10.89.0.$1").into_owned()
}

// -- what is written by the program itself ----------------------------------------------------------------------------

fn generated(name: &str, text: &str) {
    let path = root().join(name);
    if blessing() {
        fs::write(&path, text).expect("a document can be written");
    }
    let there = fs::read_to_string(&path).unwrap_or_default();
    assert!(there == text, "{name} is not current: ARMILLA_BLESS=1 cargo test --test suite docs writes it anew");
}

/// A part of a document that is made by a test: between `<!-- NAME -->` and `<!-- /NAME -->`.
pub(crate) fn generated_part(name: &str, part: &str, text: &str) {
    let path = root().join(name);
    let there = fs::read_to_string(&path).expect("a document");
    let (begin, end) = (format!("<!-- {part} -->\n"), format!("<!-- /{part} -->"));
    let from = there.find(&begin).expect("its begin") + begin.len();
    let to = there.find(&end).expect("its end");
    if blessing() {
        fs::write(&path, format!("{}{text}{}", &there[..from], &there[to..])).expect("a document can be written");
    } else {
        assert!(&there[from..to] == text, "{name} is not current: ARMILLA_BLESS=1 writes it anew");
    }
}

const RESOURCES: &str = "# Resources

The kinds of resources that a role can declare. Each entry of `resources` has one of these kinds as its key, and optionally `when`, `loop`,
`notify` and `tags`, see [roles](roles.md). This page is generated: `ARMILLA_BLESS=1 cargo test --test suite docs`.

Every kind reads the host first and does nothing if the resource is in sync. A file, directory or link is never replaced by another type,
and `apply` does not start while a resource is unreadable or refused. A file needs its directory: one that exists on the host, or that an
earlier `directory` creates. An earlier package, archive, program or service may create it, too, and then the plan says so; otherwise the
plan refuses the file and names the directory.
";

const FACTS_HEAD: &str = "# Facts

Facts are read from a host before its plan. Roles use them as `facts.NAME`; only the facts that a role on a host uses are read.
`armilla facts ENV` shows all of them. This page is generated:
`ARMILLA_BLESS=1 cargo test --test suite docs`.

| fact | description | example |
|---|---|---|
";
