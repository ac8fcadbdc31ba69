//! `git`: a work tree checked out from a repository, at one commit.
//!
//! In: a repository, a path and a branch, tag or commit. Out: a clone beside the path that is renamed into its place when
//! it is whole, or a fetch and a checkout of the commit that the plan named. Never: local changes lost unasked, a password
//! in an address, a question at a terminal, or a program that an address names (`ext::`).

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::{Action, Change, Claim, Field, FieldValue, Kind, Made, Verdict, trace, tree};
use crate::step::{
    Attributes, Command, CommandReading, Fetch, Mode, Ownership, PathReading, Probe, Readings, Step, Unreadable,
};

/// How long one question may take. It is asked in every plan.
const LOOK: Duration = Duration::from_secs(20);
/// How long a fetch or a checkout may take.
const WORK: Duration = Duration::from_secs(1800);

/// A work tree of a git repository. It is checked out detached, at a commit; files that git does not know stay.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Git {
    /// Where the work tree is on the host.
    path: String,
    /// Where it comes from: `https://`, `ssh://`, `git@host:path` or `file://`, as the host sees it. Must be given unless it
    /// is to be absent.
    #[serde(default)]
    repository: String,
    /// A branch, a tag, or a whole commit id. A branch is followed: each plan asks the repository where it is. Must be given
    /// unless it is to be absent.
    #[serde(default)]
    revision: String,
    /// The user it belongs to, who also clones it, with the keys of that user. A tree that is there never gets another.
    #[serde(default = "fields::root")]
    owner: String,
    /// How many commits of the past come along; all by default.
    #[serde(default)]
    depth: Option<u32>,
    /// Whether the submodules are checked out, too.
    #[serde(default)]
    submodules: bool,
    /// What becomes of changes made on the host: they stop the plan (`refuse`) or are lost (`overwrite`).
    #[serde(default)]
    clean: Clean,
    /// Whether it exists. `absent` removes the whole directory.
    #[serde(default)]
    state: Presence,
}

/// What becomes of changes made on the host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Clean {
    /// They stop the plan.
    #[default]
    Refuse,
    /// They are lost.
    Overwrite,
}

/// What is there, and where the revision is in the repository.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    here: Here,
    there: There,
}

#[derive(Debug, PartialEq)]
enum Here {
    /// Nothing.
    Absent,
    /// Something that is no work tree; why it is not touched.
    Foreign(String),
    /// A work tree.
    Tree(Tree),
}

#[derive(Debug, Default, PartialEq)]
struct Tree {
    /// None before the first commit.
    commit: Option<String>,
    /// Files that were changed on the host.
    changed: Vec<String>,
    /// The address it has for its origin.
    origin: Option<String>,
    /// Submodules that are not at the commit they should be.
    submodules: Vec<String>,
}

#[derive(Debug, PartialEq)]
enum There {
    /// At this commit, which is found under this name.
    At { commit: String, name: String },
    /// There is no such branch or tag, or there are two; the reason.
    Wrong(String),
    /// It could not be asked; why.
    Unknown(String),
    /// Nobody wants to know.
    Unasked,
}

impl Kind for Git {
    const NAME: &'static str = "git";
    const SUMMARY: &'static str = "A work tree of a git repository";
    const EXAMPLE: &'static str =
        "git: { path: /opt/dags, repository: \"https://git.example.org/data/dags.git\", revision: v1.4, depth: 1 }";
    const SHORT: &'static str = "path";
    const MAKES_DIRECTORIES: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.path.clone()
    }

    fn claim(&self) -> Claim {
        Claim::Path
    }

    fn check(&self) -> Result<(), String> {
        tree::check(&self.path)?;
        fields::check_account("user", &self.owner)?;
        if self.state == Presence::Present {
            if self.repository.is_empty() || self.revision.is_empty() {
                return Err("a work tree needs `repository` and `revision`".to_owned());
            }
            check_repository(&self.repository)?;
            check_revision(&self.revision)?;
        }
        if self.depth == Some(0) { Err("`depth` is at least 1".to_owned()) } else { Ok(()) }
    }

    fn probes(&self) -> Vec<Probe> {
        let mut all = vec![self.at(), self.status(), self.origin()];
        all.extend(self.user());
        all.extend(self.submodules.then(|| self.modules()));
        all.extend(self.remote());
        all
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let here = match readings.path(&self.at())? {
            PathReading::Absent => Here::Absent,
            PathReading::Directory(attributes) => self.tree(attributes, readings)?,
            other => Here::Foreign(fields::in_the_way(other, "a directory")),
        };
        let there = self.there(readings)?;
        match (&here, there) {
            (Here::Tree(_), There::Unknown(why)) => Err(Unreadable(why)),
            (_, there) => Ok(State { here, there }),
        }
    }

    fn change(&self, state: &State) -> Verdict {
        match (self.state, &state.here, &state.there) {
            (_, Here::Foreign(why), _) | (Presence::Present, _, There::Wrong(why)) => Verdict::Refuse(why.clone()),
            (Presence::Absent, Here::Absent, _) => Verdict::InSync,
            (Presence::Absent, Here::Tree(tree), _) => self.removal(tree),
            (Presence::Present, Here::Absent, There::Unknown(why)) => {
                Verdict::MayChange(self.clone_of(&self.revision, "FETCH_HEAD"), why.clone())
            }
            (Presence::Present, Here::Absent, There::At { commit, name }) => {
                Verdict::Change(self.clone_of(name, commit))
            }
            (Presence::Present, Here::Tree(tree), There::At { commit, name }) => self.update(tree, commit, name),
            (Presence::Present, _, There::Unasked | There::Unknown(_)) => {
                Verdict::Refuse("the repository was not read".to_owned())
            }
        }
    }

    fn absent(&self) -> Option<serde_json::Value> {
        let owner = (self.owner != "root").then_some(&self.owner);
        let clean = (self.clean == Clean::Overwrite).then_some("overwrite");
        trace::away(self.state, serde_json::json!({ "path": self.path, "owner": owner, "clean": clean }))
    }

    fn exists(&self, state: &State) -> bool {
        state.here != Here::Absent
    }

    /// Where the repository is by now makes no difference: what is checked out is the commit that the plan named.
    fn fingerprint(&self, state: &State) -> String {
        format!("{:?}", state.here)
    }

    /// Changes made on the host keep it.
    fn made(&self) -> Made {
        Made::Any
    }

    /// Changes made on the host stop the removal anyway; they are looked for in another way then.
    fn imprint(&self, state: &State) -> String {
        match &state.here {
            Here::Tree(tree) => format!("{:?} {:?}", tree.commit, tree.origin),
            other => format!("{other:?}"),
        }
    }
}

impl Git {
    fn at(&self) -> Probe {
        Probe::Path { path: self.path.clone(), content: Fetch::Digest }
    }

    fn user(&self) -> Option<Probe> {
        (self.owner != "root").then(|| Probe::User(self.owner.clone()))
    }

    /// Who removes a tree wants to know of files that git does not know, too.
    fn status(&self) -> Probe {
        let untracked = if self.state == Presence::Absent { "all" } else { "no" };
        let untracked = format!("--untracked-files={untracked}");
        let words = ["--no-optional-locks", "-C", &self.path, "status", "--porcelain=v2", "--branch", &untracked];
        Probe::Command(self.git(&words, LOOK))
    }

    fn origin(&self) -> Probe {
        Probe::Command(self.git(&["-C", &self.path, "config", "--local", "--get", "remote.origin.url"], LOOK))
    }

    fn modules(&self) -> Probe {
        Probe::Command(self.git(&["-C", &self.path, "submodule", "status", "--recursive"], LOOK))
    }

    /// Asks the repository; a commit id needs no question.
    fn remote(&self) -> Option<Probe> {
        if self.state == Presence::Absent || is_commit(&self.revision) {
            return None;
        }
        let (branch, tag) = (format!("refs/heads/{}", self.revision), format!("refs/tags/{}", self.revision));
        let peeled = format!("{tag}^{{}}");
        Some(Probe::Command(self.git(&["ls-remote", "--", &self.repository, &branch, &tag, &peeled], LOOK)))
    }

    /// Nobody is asked anything, no configuration of a user counts, and no address starts a program.
    fn git(&self, words: &[&str], limit: Duration) -> Command {
        let mut command = Command::new(["git"].iter().chain(words).copied()).within(limit);
        command.user = (self.owner != "root").then(|| self.owner.clone());
        let protocols = if self.repository.starts_with("file://") { "file:https:ssh" } else { "https:ssh" };
        command
            .with("GIT_ALLOW_PROTOCOL", protocols)
            .with("GIT_CEILING_DIRECTORIES", self.parent())
            .with("GIT_CONFIG_GLOBAL", "/dev/null")
            .with("GIT_SSH_COMMAND", "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes")
            .with("GIT_TERMINAL_PROMPT", "0")
    }

    fn parent(&self) -> &str {
        self.path.rsplit_once('/').map_or("/", |(parent, _)| parent)
    }

    fn tree(&self, attributes: &Attributes, readings: &Readings) -> Result<Here, Unreadable> {
        if attributes.owner != self.owner {
            return Ok(Here::Foreign(format!(
                "its owner is {}, not {}: change the owner by hand, with all its files",
                attributes.owner, self.owner
            )));
        }
        let status = readings.command(&self.status())?;
        if status.exit != 0 && said(status).contains("not a git repository") {
            let why = "the directory is not a git work tree: move it first, and do not create it: the clone creates it";
            return Ok(Here::Foreign(why.to_owned()));
        }
        let mut tree = status_of(&succeeded("git status", status)?);
        let origin = readings.command(&self.origin())?;
        tree.origin = (origin.exit == 0).then(|| String::from_utf8_lossy(&origin.stdout).trim().to_owned());
        if self.submodules {
            let modules = succeeded("git submodule status", readings.command(&self.modules())?)?;
            let wrong = modules.lines().filter(|line| !line.starts_with(' '));
            tree.submodules = wrong.filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned())).collect();
        }
        Ok(Here::Tree(tree))
    }

    fn there(&self, readings: &Readings) -> Result<There, Unreadable> {
        let Some(probe) = self.remote() else {
            let known = |commit: &String| There::At { commit: commit.clone(), name: commit.clone() };
            return Ok(if self.state == Presence::Present { known(&self.revision) } else { There::Unasked });
        };
        if let Some(user) = self.user()
            && readings.user(&user)?.is_none()
        {
            return Ok(There::Unknown(format!("the repository can be read only when the user {} exists", self.owner)));
        }
        let answer = readings.command(&probe)?;
        Ok(match answer.exit {
            0 => self.advertised(&String::from_utf8_lossy(&answer.stdout)),
            124 => There::Unknown("the repository did not answer in time".to_owned()),
            127 => There::Unknown("the repository can be read only when git is installed".to_owned()),
            _ => There::Unknown(format!("the repository could not be read: {}", said(answer))),
        })
    }

    /// A tag with a message has its commit in a second line, with `^{}` behind its name.
    fn advertised(&self, lines: &str) -> There {
        let find = |name: &str| {
            let line = lines.lines().filter_map(|line| line.split_once('\t')).find(|(_, found)| *found == name);
            line.map(|(commit, _)| commit.to_owned()).filter(|commit| is_commit(commit))
        };
        let (branch, tag) = (format!("refs/heads/{}", self.revision), format!("refs/tags/{}", self.revision));
        let tagged = find(&format!("{tag}^{{}}")).or_else(|| find(&tag));
        match (find(&branch), tagged) {
            (Some(commit), None) => There::At { commit, name: branch },
            (None, Some(commit)) => There::At { commit, name: tag },
            (Some(_), Some(_)) => {
                There::Wrong(format!("the repository has a branch and a tag `{0}`: write a commit id", self.revision))
            }
            (None, None) => There::Wrong(format!(
                "the repository has no branch or tag `{}`; a commit id must be complete",
                self.revision
            )),
        }
    }

    fn clone_of(&self, name: &str, commit: &str) -> Change {
        let new = tree::beside(&self.path);
        let owner = Some(self.owner.clone());
        let private = Ownership { mode: Some(Mode(0o700)), owner, group: None };
        let public = Ownership { mode: Some(Mode(0o755)), ..Ownership::default() };
        let mut steps = vec![
            tree::clearing(&self.path),
            Step::MakeDirectory { path: new.clone(), ownership: private },
            self.work(&new, &["init", "--quiet"]),
            self.work(&new, &["remote", "add", "origin", &self.repository]),
        ];
        steps.extend(self.checkout(&new, name, commit));
        steps.push(Step::SetOwnership { path: new.clone(), ownership: public });
        steps.push(Step::Run(Command::new(["mv", "-T", "--", &new, &self.path])));
        let commit = if is_commit(commit) { short(commit) } else { self.revision.clone() };
        let fields = vec![fields::new("commit", &self.named(commit)), fields::new("from", &self.repository)];
        Change { action: Action::Add, fields, steps }
    }

    fn work(&self, tree: &str, words: &[&str]) -> Step {
        Step::Run(self.git(&[&["-C", tree], words].concat(), WORK))
    }

    /// Fetches what a name stands for now and checks out the commit that the plan named, even if the name moved on.
    fn checkout(&self, tree: &str, name: &str, commit: &str) -> Vec<Step> {
        let depth = self.depth.map(|depth| format!("--depth={depth}"));
        // Old servers give a commit by its name only; without a depth it comes with all that is there.
        let all = is_commit(name) && self.depth.is_none();
        let mut fetch = vec!["fetch", "--quiet"];
        fetch.extend(depth.as_deref());
        fetch.extend(if all {
            vec!["--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"]
        } else {
            vec!["origin", name]
        });
        let force = (self.clean == Clean::Overwrite).then_some("--force");
        let checkout: Vec<&str> =
            ["checkout", "--quiet", "--detach"].into_iter().chain(force).chain([commit]).collect();
        let mut steps = vec![self.work(tree, &fetch), self.work(tree, &checkout)];
        steps.extend(self.submodules.then(|| self.submodule_step(tree)));
        steps
    }

    fn submodule_step(&self, tree: &str) -> Step {
        let force = (self.clean == Clean::Overwrite).then_some("--force");
        let words = ["submodule", "--quiet", "update", "--init", "--recursive"].into_iter().chain(force);
        self.work(tree, &words.collect::<Vec<_>>())
    }

    fn update(&self, tree: &Tree, commit: &str, name: &str) -> Verdict {
        if !tree.changed.is_empty() && self.clean == Clean::Refuse {
            return Verdict::Refuse(format!(
                "{}: commit or discard them, or write `clean: overwrite`",
                changed(&tree.changed)
            ));
        }
        let (mut shown, mut steps) = (Vec::new(), Vec::new());
        if tree.origin.as_deref() != Some(&self.repository) {
            shown.push(from_to("from", tree.origin.clone(), self.repository.clone()));
            let word = if tree.origin.is_some() { "set-url" } else { "add" };
            steps.push(self.work(&self.path, &["remote", word, "origin", &self.repository]));
        }
        let moved = tree.commit.as_deref() != Some(commit);
        if moved {
            shown.push(from_to("commit", tree.commit.as_deref().map(short), self.named(short(commit))));
        }
        if !tree.changed.is_empty() {
            shown.push(from_to("changed on the host", Some(tree.changed.join(", ")), "overwritten".to_owned()));
        }
        if !tree.submodules.is_empty() {
            shown.push(fields::new("submodules", &tree.submodules.join(", ")));
        }
        if moved || !tree.changed.is_empty() {
            steps.extend(self.checkout(&self.path, name, commit));
        } else if !tree.submodules.is_empty() {
            steps.push(self.submodule_step(&self.path));
        }
        Verdict::differing(shown, steps)
    }

    fn removal(&self, found: &Tree) -> Verdict {
        if !found.changed.is_empty() && self.clean == Clean::Refuse {
            return Verdict::Refuse(format!(
                "{}: they would be lost; write `clean: overwrite` to remove them, too",
                changed(&found.changed)
            ));
        }
        let commit = found.commit.as_deref().map(short);
        let shown = Field { name: "commit", value: FieldValue::Text { from: commit, to: None } };
        Verdict::change(Action::Remove, vec![shown], tree::removing(&self.path))
    }

    /// A commit with the branch or tag it comes from.
    fn named(&self, commit: String) -> String {
        if is_commit(&self.revision) || commit == self.revision {
            commit
        } else {
            format!("{commit} ({})", self.revision)
        }
    }
}

fn from_to(name: &'static str, from: Option<String>, to: String) -> Field {
    Field { name, value: FieldValue::Text { from, to: Some(to) } }
}

fn changed(files: &[String]) -> String {
    let named = files.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let more = if files.len() > 3 { ", ..." } else { "" };
    match files.len() {
        1 => format!("1 file was changed on the host ({named})"),
        count => format!("{count} files were changed on the host ({named}{more})"),
    }
}

/// SHA-1 or SHA-256, in full.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

fn short(commit: &str) -> String {
    commit.chars().take(12).collect()
}

/// The end of what git complained, in one line.
fn said(answer: &CommandReading) -> String {
    let text = String::from_utf8_lossy(&answer.stderr);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(300).collect()
}

fn succeeded(what: &str, answer: &CommandReading) -> Result<String, Unreadable> {
    match answer.exit {
        0 => Ok(String::from_utf8_lossy(&answer.stdout).into_owned()),
        127 => Err(Unreadable("the directory exists, and git is not installed on the host to read it".to_owned())),
        exit => Err(Unreadable(format!("{what} ended with exit code {exit}: {}", said(answer)))),
    }
}

/// Reads `git status --porcelain=v2 --branch` (git-status(1), "Porcelain Format Version 2").
fn status_of(text: &str) -> Tree {
    let mut tree = Tree::default();
    for line in text.lines() {
        if let Some(commit) = line.strip_prefix("# branch.oid ") {
            tree.commit = Some(commit.to_owned()).filter(|commit| is_commit(commit));
        }
        // Fields before the path: seven of a change, eight of a rename, nine of a conflict.
        let before = match line.split(' ').next() {
            Some("1") => 8,
            Some("2") => 9,
            Some("u") => 10,
            Some("?") => 1,
            _ => continue,
        };
        let path = line.splitn(before + 1, ' ').nth(before).unwrap_or_default();
        tree.changed.push(path.split('\t').next().unwrap_or_default().to_owned());
    }
    tree
}

fn check_repository(repository: &str) -> Result<(), String> {
    let shown = repository.escape_debug();
    if repository.starts_with('-') || repository.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err(format!("invalid repository address `{shown}`"));
    }
    if let Some((scheme, rest)) = repository.split_once("://") {
        let place = rest.split('/').next().unwrap_or_default();
        return match scheme {
            "file" if rest.starts_with('/') => Ok(()),
            "https" | "ssh" => check_place(scheme, place),
            "http" | "git" => Err(format!("`{scheme}://` is not encrypted: use https:// or ssh://")),
            _ => Err(format!(
                "`{shown}`: a repository address begins with https://, ssh:// or file:///, or has the form user@host:path"
            )),
        };
    }
    // As scp has it: a host, a colon, a path. Two colons would name a program (gitremote-helpers(7)).
    match repository.split_once(':') {
        Some((host, path)) if !host.contains('/') && !path.starts_with(':') && !path.is_empty() => {
            check_place("ssh", host)
        }
        None if repository.starts_with('/') => Err(format!("write the path of a repository as `file://{shown}`")),
        _ => Err(format!(
            "`{shown}`: a repository address begins with https://, ssh:// or file:///, or has the form user@host:path"
        )),
    }
}

/// The part of an address that says which host, and perhaps as whom.
fn check_place(scheme: &str, place: &str) -> Result<(), String> {
    let (user, host) = place.rsplit_once('@').unwrap_or(("", place));
    if user.contains(':') || (scheme == "https" && !user.is_empty()) {
        return Err("an address must not contain a password or token, because every user on the host could read it: use ssh with a key of `owner`, or a credential helper"
            .to_owned());
    }
    let fine = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c));
    if host.is_empty() || [user, host].iter().any(|part| part.starts_with('-') || !fine(part)) {
        return Err(format!("invalid repository host `{}`", place.escape_debug()));
    }
    Ok(())
}

/// What `git check-ref-format` accepts, and no option.
fn check_revision(revision: &str) -> Result<(), String> {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && part.strip_suffix(".lock").is_none();
    let fine = |c: char| c.is_ascii_alphanumeric() || "._-/+@#=".contains(c);
    let odd = revision.starts_with('-') || revision.contains("..") || revision == "@" || revision.ends_with('.');
    if odd || !revision.chars().all(fine) || !revision.split('/').all(part) {
        return Err(format!("invalid branch, tag or commit `{}`", revision.escape_debug()));
    }
    if revision.starts_with("refs/") {
        return Err(format!("write `{revision}` without `refs/heads/` or `refs/tags/`"));
    }
    Ok(())
}
