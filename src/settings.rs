//! Settings: how armilla itself works, of a project and of one environment. No role sees them.
//!
//! In: the texts of `armilla.yml` and `inventories/ENV/environment.yml`. Out: typed settings with where each is written,
//! or everything that is wrong. Never: a default that is less careful than the key that is missing.
//!
//! ```yaml
//! # armilla.yml, at the top of a project
//! project: shop-k3fq8w2n7d               # what tells it from every other project; `armilla init` writes it
//! allow_commands:                        # programs on this machine that may be run, word by word as written here
//!   - [./hosts.py, --list]
//! ```
//!
//! ```yaml
//! # inventories/ENV/environment.yml
//! production: false                      # an environment that does not say so is production
//! confirm: name                          # what `apply` asks for: the environment's name (production) or `yes` (others)
//! shares_hosts_with: [production]        # these may name the same machines; otherwise that is refused
//! inventory_command: [./hosts.py, --list]   # where the hosts come from, instead of a file
//! vault:                                 # where the keys of vault files come from, one of the three each
//!   - { id: prod, file: ~/.vault/prod }
//!   - { id: dev, command: [pass, show, vault/dev] }
//!   - { prompt: true }
//! ignore_drift:                          # what `armilla drift` does not tell until a date, and why not
//!   - { what: zk1 file /etc/motd, until: 2026-12-24, because: the banner of the security team }
//! ```

use crate::diag::{Diagnostic, Diagnostics, Origin, Source};
use crate::name::ProjectId;
use crate::vault;
use crate::yaml::{Node, Table, Yaml};

/// A program on this machine and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Word by word.
    pub argv: Vec<String>,
    /// Where it is written.
    pub origin: Origin,
}

/// What `armilla.yml` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProjectSettings {
    /// Which project it is.
    pub project: Option<ProjectId>,
    /// The programs that other settings may name.
    pub allow_commands: Vec<Program>,
}

/// What `environment.yml` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentSettings {
    /// Whether people depend on it. Unknown is yes.
    pub production: bool,
    /// Where [`Self::production`] is written, if it is.
    pub production_origin: Option<Origin>,
    /// What a person types before this environment is changed; what suits [`Self::production`] if not given.
    pub confirm: Option<Confirm>,
    /// The production environments that may name the same machines, and where that is written.
    pub shares_hosts_with: Vec<(String, Origin)>,
    /// The program that prints the hosts, instead of a file with them.
    pub inventory_command: Option<Program>,
    /// The keys of vault files, in the order in which they are tried.
    pub vault: Vec<VaultKey>,
    /// What is known to differ on hosts, and why nobody needs to hear of it.
    pub ignore_drift: Vec<Ignored>,
}

/// Something that is known to differ on hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ignored {
    /// A resource as a plan shows it, on one host or on all: `zk1 file /etc/motd`, `file /etc/motd`.
    pub what: String,
    /// The last day on which it is ignored.
    pub until: jiff::civil::Date,
    /// Why.
    pub because: String,
    /// Where it is written.
    pub origin: Origin,
}

/// What a person types before an environment is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirm {
    /// The name of the environment.
    Name,
    /// `yes`.
    Yes,
}

/// A key of vault files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultKey {
    /// The vault id it is for; any if not given.
    pub id: Option<String>,
    /// Where it comes from.
    pub from: KeySource,
    /// Where it is written.
    pub origin: Origin,
}

impl VaultKey {
    /// What `--vault-id` takes: `ID@SOURCE`, `@SOURCE` or `SOURCE`, as Ansible reads it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Diagnostic> {
        let origin = Origin::start(&Source::new("--vault-id", text));
        let (id, source) = text.split_once('@').unwrap_or(("", text));
        if source.is_empty() {
            let problem = Diagnostic::error(format!("`--vault-id {}` names no key", text.escape_debug()));
            return Err(problem.hint("write ID@FILE, ID@prompt or FILE"));
        }
        if !id.is_empty() {
            vault::check_id(id).map_err(|why| Diagnostic::error(format!("--vault-id: {why}")))?;
        }
        let from = if source == "prompt" { KeySource::Prompt } else { KeySource::File(source.to_owned()) };
        Ok(Self { id: Some(id.to_owned()).filter(|id| !id.is_empty()), from, origin })
    }
}

/// Where a key comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// What is in a file on this machine; `~` is the user's home.
    File(String),
    /// What a program on this machine prints; it must be allowed.
    Command(Program),
    /// A person types it.
    Prompt,
}

const PROJECT: &[&str] = &["project", "allow_commands"];
const ENVIRONMENT: &[&str] =
    &["production", "confirm", "shares_hosts_with", "inventory_command", "vault", "ignore_drift"];
const IGNORED: &[&str] = &["what", "until", "because"];
const VAULT: &[&str] = &["id", "file", "command", "prompt"];

impl Default for EnvironmentSettings {
    fn default() -> Self {
        Self {
            production: true,
            production_origin: None,
            confirm: None,
            shares_hosts_with: Vec::new(),
            inventory_command: None,
            vault: Vec::new(),
            ignore_drift: Vec::new(),
        }
    }
}

impl ProjectSettings {
    /// The keys of `armilla.yml`, in the order in which they are best written.
    pub const KEYS: &'static [&'static str] = PROJECT;

    /// Reads `armilla.yml`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::new();
        let Some(table) = Table::open("the settings of a project", node, PROJECT, &mut problems) else {
            return Err(problems);
        };
        let project = table.get("project").and_then(|node| problems.keep(project(node).map_err(Into::into)));
        let commands = list(table.get("allow_commands"), "allow_commands", &mut problems);
        let allow_commands = commands.iter().filter_map(|node| program(node, &mut problems)).collect();
        problems.result(Self { project, allow_commands })
    }

    /// Refuses a program that is not allowed word by word.
    ///
    /// # Errors
    /// With what to write where to allow it.
    pub fn allow(&self, program: &Program) -> Result<(), Diagnostic> {
        if self.allow_commands.iter().any(|allowed| allowed.argv == program.argv) {
            return Ok(());
        }
        let words = program.argv.join(" ");
        let listed = serde_json::to_string(&program.argv).unwrap_or_default();
        Err(Diagnostic::error(format!("the program `{words}` is not allowed to run on this machine"))
            .at(&program.origin)
            .hint(format!("to allow it, add to armilla.yml: `allow_commands: [{listed}]`")))
    }
}

impl EnvironmentSettings {
    /// The keys of `environment.yml`, in the order in which they are best written.
    pub const KEYS: &'static [&'static str] = ENVIRONMENT;

    /// Reads `environment.yml`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(node: &Node) -> Result<Self, Diagnostics> {
        let mut problems = Diagnostics::new();
        let Some(table) = Table::open("the settings of an environment", node, ENVIRONMENT, &mut problems) else {
            return Err(problems);
        };
        let production = table.flag("production", &mut problems);
        let production_origin = table.get("production").map(|node| node.origin.clone());
        let confirm = table.get("confirm").and_then(|node| confirm(node, &mut problems));
        let shared = list(table.get("shares_hosts_with"), "shares_hosts_with", &mut problems);
        let shares_hosts_with = shared.iter().filter_map(|node| Some((node.text()?.to_owned(), node.origin.clone())));
        let shares_hosts_with = shares_hosts_with.collect();
        let inventory_command = table.get("inventory_command").and_then(|node| program(node, &mut problems));
        let keys = list(table.get("vault"), "vault", &mut problems);
        let vault = keys.iter().filter_map(|node| problems.keep(vault_key(node))).collect();
        let ignored = list(table.get("ignore_drift"), "ignore_drift", &mut problems);
        let ignore_drift = ignored.iter().filter_map(|node| problems.keep(self::ignored(node))).collect();
        problems.result(Self {
            production: production.unwrap_or(true),
            production_origin,
            confirm,
            shares_hosts_with,
            inventory_command,
            vault,
            ignore_drift,
        })
    }
}

fn project(node: &Node) -> Result<ProjectId, Diagnostic> {
    let text = node
        .text()
        .ok_or_else(|| Diagnostic::error(format!("`project` must be text, not {}", node.kind())).at(&node.origin))?;
    let hint =
        "remove the line, and the next apply writes a new one; if hosts know the project already, restore the old one";
    ProjectId::new(text).map_err(|why| Diagnostic::from(why).at(&node.origin).hint(hint))
}

fn list<'a>(node: Option<&'a Node>, key: &str, problems: &mut Diagnostics) -> &'a [Node] {
    let Some(node) = node else { return &[] };
    node.list().unwrap_or_else(|| {
        problems.push(Diagnostic::error(format!("`{key}` must be a list, not {}", node.kind())).at(&node.origin));
        &[]
    })
}

fn confirm(node: &Node, problems: &mut Diagnostics) -> Option<Confirm> {
    match &node.value {
        Yaml::Text(word) if word == "name" => Some(Confirm::Name),
        // YAML of old takes a bare `yes` for true.
        Yaml::Text(word) if word == "yes" => Some(Confirm::Yes),
        Yaml::Bool(true) => Some(Confirm::Yes),
        _ => {
            problems.push(Diagnostic::error("`confirm` must be `name` or `yes`").at(&node.origin));
            None
        }
    }
}

fn program(node: &Node, problems: &mut Diagnostics) -> Option<Program> {
    let words: Option<Vec<String>> =
        node.list().and_then(|items| items.iter().map(|item| item.text().map(str::to_owned)).collect());
    let argv = words.filter(|argv| argv.first().is_some_and(|program| !program.is_empty()));
    if argv.is_none() {
        let problem = Diagnostic::error("a program and its arguments must be a list of texts").at(&node.origin);
        problems.push(problem.hint("for example: [./hosts.py, --list]"));
    }
    argv.map(|argv| Program { argv, origin: node.origin.clone() })
}

fn ignored(node: &Node) -> Result<Ignored, Diagnostics> {
    let mut problems = Diagnostics::new();
    let Some(table) = Table::open("an ignored drift", node, IGNORED, &mut problems) else { return Err(problems) };
    let mut text = |key| {
        let node = table.need(key, &mut problems)?;
        let text = node.text().map(str::to_owned);
        if text.is_none() {
            problems.push(Diagnostic::error(format!("`{key}` must be text, not {}", node.kind())).at(&node.origin));
        }
        text
    };
    let (what, until, because) = (text("what"), text("until"), text("because"));
    let date = until.as_ref().and_then(|until| until.parse::<jiff::civil::Date>().ok());
    if until.is_some() && date.is_none() {
        let origin = table.get("until").map_or(&node.origin, |node| &node.origin);
        problems.push(Diagnostic::error("`until` must be a date").at(origin).hint("write it like 2026-12-24"));
    }
    match (what, date, because) {
        (Some(what), Some(until), Some(because)) => {
            problems.result(Ignored { what, until, because, origin: node.origin.clone() })
        }
        _ => Err(problems),
    }
}

fn vault_key(node: &Node) -> Result<VaultKey, Diagnostics> {
    let mut problems = Diagnostics::new();
    let Some(table) = Table::open("a vault key", node, VAULT, &mut problems) else { return Err(problems) };
    let id = table.text("id", &mut problems).map(str::to_owned);
    let file = table.text("file", &mut problems).map(|path| KeySource::File(path.to_owned()));
    let command = table.get("command").and_then(|node| program(node, &mut problems)).map(KeySource::Command);
    let prompt = table.flag("prompt", &mut problems).unwrap_or(false).then_some(KeySource::Prompt);
    let mut sources = [file, command, prompt].into_iter().flatten();
    match (sources.next(), sources.next()) {
        (Some(from), None) => problems.result(VaultKey { id, from, origin: node.origin.clone() }),
        _ if problems.has_errors() => Err(problems),
        _ => Err(Diagnostic::error("a vault key needs one of `file`, `command` and `prompt: true`")
            .at(&node.origin)
            .into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(text: &str) -> Result<EnvironmentSettings, Diagnostics> {
        EnvironmentSettings::read(&crate::yaml::parse(&Source::new("environment.yml", text))?)
    }

    fn project(text: &str) -> Result<ProjectSettings, Diagnostics> {
        ProjectSettings::read(&crate::yaml::parse(&Source::new("armilla.yml", text))?)
    }

    #[test]
    fn an_environment_that_says_nothing_is_production() {
        assert!(environment("").expect("nothing is fine").production);
        assert!(!environment("production: false").expect("fine").production);
    }

    #[test]
    fn a_project_is_named_by_an_identity_that_no_other_has() {
        let settings = project("project: shop-k3fq8w2n7d").expect("fine");
        assert_eq!(settings.project.map(|project| project.to_string()).as_deref(), Some("shop-k3fq8w2n7d"));
        assert_eq!(project("").expect("fine").project, None);
        for bad in ["project: shop", "project: 7", "project: [shop-k3fq8w2n7d]", "project: shop-k3fq8w2n7"] {
            assert!(project(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_asked_for_can_be_chosen() {
        assert_eq!(environment("").expect("fine").confirm, None);
        assert_eq!(environment("confirm: name").expect("fine").confirm, Some(Confirm::Name));
        assert_eq!(environment("confirm: yes").expect("fine").confirm, Some(Confirm::Yes));
        assert!(environment("confirm: no").is_err());
    }

    #[test]
    fn a_program_is_allowed_word_by_word() {
        let settings = environment("inventory_command: [./hosts.py, --list]").expect("fine");
        let wanted = settings.inventory_command.expect("given");
        assert_eq!(project("allow_commands: [[./hosts.py, --list]]").expect("fine").allow(&wanted), Ok(()));
        let refused = project("allow_commands: [[./hosts.py]]").expect("fine").allow(&wanted).expect_err("one more");
        assert!(refused.to_string().contains("allow_commands: [[\"./hosts.py\",\"--list\"]]"), "{refused}");
    }

    #[test]
    fn all_mistakes_come_at_once() {
        let problems =
            environment("produktion: no\ninventory_command: ./x\nvault: [{ id: a }, { file: x, prompt: true }]");
        let text = problems.expect_err("wrong").to_string();
        for part in ["did you mean `production`?", "a list of texts", "one of `file`, `command` and `prompt: true`"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn ids_are_read_as_ansible_reads_them() {
        let read = |text: &str| VaultKey::parse(text).map(|key| (key.id, key.from)).map_err(|problem| problem.what);
        let file = |path: &str| KeySource::File(path.to_owned());
        assert_eq!(read("prod@~/key"), Ok((Some("prod".into()), file("~/key"))));
        assert_eq!(read("prod@a@b"), Ok((Some("prod".into()), file("a@b"))));
        assert_eq!(read("@key"), Ok((None, file("key"))));
        assert_eq!(read("key"), Ok((None, file("key"))));
        assert_eq!(read("dev@prompt"), Ok((Some("dev".into()), KeySource::Prompt)));
        assert_eq!(read("prompt"), Ok((None, KeySource::Prompt)));
        for wrong in ["", "prod@", "a;b@key"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
