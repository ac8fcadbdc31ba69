//! The part of a catalog that is wanted: by tags and by targets.
//!
//! In: what was typed, and a catalog. Out: the same catalog with the rest left out, or what was typed and matches nothing.
//! Never: more than was asked for. What a chosen resource waits for is not pulled in (Terraform pulls, and surprises);
//! but a service that chosen resources notify still hears of them, and the checks of health stay.
//!
//! Tags mean what they mean in Ansible (`playbook/taggable.py`): `always` is chosen whatever other tags are, `never` only
//! by one of its tags; `--tags` also takes `all`, `tagged` and `untagged`, and what is skipped wins. The name of a service
//! is taken where a tag is: it stands for the resources of its own role.

use std::collections::BTreeSet;

use super::{Catalog, Chosen, Extent, Placement, RoleBlock, Wanted};
use crate::diag::Diagnostic;
use crate::name::{HostName, Tag, did_you_mean};
use crate::resource::{KINDS, kind};

const ALWAYS: &str = "always";
const NEVER: &str = "never";
const ALL: &str = "all";
const TAGGED: &str = "tagged";
const UNTAGGED: &str = "untagged";

/// What a plan calls the changes of a kind, and the kind.
const ACTIONS: &[(&str, &str)] =
    &[("restart", "service"), ("reload", "service"), ("start", "service"), ("stop", "service"), ("run", "command")];

/// Which part of a catalog is wanted. By default all of it but what is tagged `never`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceSelection {
    /// Only these tags and services; all if there is none.
    pub tags: BTreeSet<String>,
    /// Not these tags and services.
    pub skip: BTreeSet<String>,
    /// Only what one of these names; all if there is none.
    pub targets: Vec<Target>,
}

/// What `--target` names: words as a plan shows them. `zk1`, `zookeeper`, `zk1 template /etc/zoo.cfg`, `service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    text: String,
    /// Each is a host, a service or a role.
    names: Vec<String>,
    kind: Option<&'static str>,
    /// What the resource owns on its host.
    owns: Option<String>,
}

/// The names a target can hold.
#[derive(Debug, Clone, Default)]
pub struct PlacedNames(BTreeSet<String>);

impl PlacedNames {
    /// The hosts, services and roles that are placed.
    pub fn of(placement: &Placement) -> Self {
        let hosts = placement.hosts.keys().map(ToString::to_string);
        let services = placement.services.iter().map(|placed| placed.definition.name.to_string());
        let roles = placement.hosts.values().flatten().map(|instance| instance.role.to_string());
        Self(hosts.chain(services).chain(roles).collect())
    }
}

impl FromIterator<String> for PlacedNames {
    fn from_iter<I: IntoIterator<Item = String>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

impl Target {
    /// Reads a target. Words have blanks between, as in a plan, or colons: `zk1:template:/etc/zoo.cfg`. All after a kind,
    /// and all from a path on, is what the resource owns.
    ///
    /// # Errors
    /// With the word that names nothing.
    pub fn parse(text: &str, known: &PlacedNames) -> Result<Self, Diagnostic> {
        let text = text.trim();
        let separators = if text.contains(' ') { [' ', ':'] } else { [':', ' '] };
        let first = Self::words(text, separators[0], known);
        first.or_else(|problem| Self::words(text, separators[1], known).map_err(|_| problem))
    }

    fn words(text: &str, separator: char, known: &PlacedNames) -> Result<Self, Diagnostic> {
        let mut found = Self { text: text.to_owned(), names: Vec::new(), kind: None, owns: None };
        let mut rest = text;
        while !rest.is_empty() {
            if rest.starts_with('/') {
                found.owns = Some(rest.to_owned());
                return Ok(found);
            }
            let (word, after) = rest.split_once(separator).unwrap_or((rest, ""));
            let after = after.trim_start();
            if let Some(kind) = kind_called(word) {
                found.kind = Some(kind);
                found.owns = (!after.is_empty()).then(|| after.to_owned());
                return Ok(found);
            }
            if !known.0.contains(word) {
                return Err(unknown_word(text, word, known));
            }
            found.names.push(word.to_owned());
            rest = after;
        }
        if found.names.is_empty() {
            return Err(Diagnostic::error("--target is empty").hint("for example: --target zookeeper"));
        }
        Ok(found)
    }

    fn matches(&self, host: &HostName, block: &RoleBlock, item: &Wanted) -> bool {
        self.is_about(host, block, item) && self.owns.as_ref().is_none_or(|target| *target == item.resource.target())
    }

    /// Whether all but what it owns fits.
    fn is_about(&self, host: &HostName, block: &RoleBlock, item: &Wanted) -> bool {
        let service = block.service.as_ref().map(crate::name::ServiceName::as_str);
        let named = |name: &String| host.as_str() == name || block.role.as_str() == name || service == Some(name);
        self.names.iter().all(named) && self.kind.is_none_or(|kind| kind == item.resource.kind())
    }

    fn matches_nothing(&self, catalog: &Catalog) -> Diagnostic {
        let about = everything(catalog).filter(|(host, block, item)| self.is_about(host, block, item));
        let targets: BTreeSet<String> = about.map(|(_, _, item)| item.resource.target()).collect();
        let hint = did_you_mean(self.owns.as_deref().unwrap_or_default(), targets.iter().map(String::as_str));
        let what = format!("--target: unknown resource `{}`", self.text);
        Diagnostic::error(what).hint("to list all: --list-resources").maybe_hint(hint)
    }
}

/// Whether a block belongs to one of these services.
fn is_of(services: &BTreeSet<String>, block: &RoleBlock) -> bool {
    block.service.as_ref().is_some_and(|name| services.contains(name.as_str()))
}

fn kind_called(word: &str) -> Option<&'static str> {
    let kind_name = ACTIONS.iter().find(|(action, _)| *action == word).map_or(word, |(_, kind)| kind);
    kind(kind_name).map(|info| info.name)
}

fn unknown_word(text: &str, word: &str, known: &PlacedNames) -> Diagnostic {
    let names = known.0.iter().map(String::as_str).chain(KINDS.iter().map(|kind| kind.name));
    let of = if text == word { String::new() } else { format!(" in `{text}`") };
    Diagnostic::error(format!("--target: unknown host, service, role or kind `{word}`{of}"))
        .maybe_hint(did_you_mean(word, names))
}

fn everything(catalog: &Catalog) -> impl Iterator<Item = (&HostName, &RoleBlock, &Wanted)> {
    catalog.hosts.iter().flat_map(|(name, host)| {
        host.blocks.iter().flat_map(move |block| block.items.iter().map(move |item| (name, block, item)))
    })
}

impl ResourceSelection {
    /// Whether anything is left out by the user's wish.
    pub fn is_all(&self) -> bool {
        *self == Self::default()
    }

    /// Words that were typed and are neither a tag that something has nor a service; those to be skipped are worth a warning only.
    pub fn unknown_tags(&self, known: &BTreeSet<Tag>, services: &BTreeSet<&str>) -> Vec<Diagnostic> {
        let special = [ALL, TAGGED, UNTAGGED, ALWAYS, NEVER];
        let known: BTreeSet<&str> = known.iter().map(Tag::as_str).chain(services.iter().copied()).collect();
        let unknown = |tag: &&String| !special.contains(&tag.as_str()) && !known.contains(tag.as_str());
        let told = |flag: &str, tag: &String, make: fn(String) -> Diagnostic| {
            let problem = make(format!("{flag}: no tag or service `{tag}`"));
            problem.maybe_hint(did_you_mean(tag, known.iter().copied()))
        };
        let wanted = self.tags.iter().filter(unknown).map(|tag| told("--tags", tag, Diagnostic::error));
        let skipped = self.skip.iter().filter(unknown).map(|tag| told("--skip-tags", tag, Diagnostic::warning));
        wanted.chain(skipped).collect()
    }

    /// Leaves out all that is not wanted. Gives what was asked for and is not there.
    pub fn choose(&self, catalog: &mut Catalog) -> Vec<Diagnostic> {
        let missing =
            |target: &&Target| !everything(catalog).any(|(host, block, item)| target.matches(host, block, item));
        let mut problems: Vec<Diagnostic> =
            self.targets.iter().filter(missing).map(|target| target.matches_nothing(catalog)).collect();
        let before = everything(catalog).count();
        if !self.is_all() {
            catalog.extent = Extent::Chosen;
        }
        for (name, host) in &mut catalog.hosts {
            for block in &mut host.blocks {
                self.leave_out(name, block);
            }
        }
        let any = everything(catalog).any(|(_, _, item)| item.chosen == Chosen::Yes);
        if problems.is_empty() && !self.is_all() && !any {
            let what = format!("the selection is empty: none of {before} resources matches all selectors");
            problems.push(Diagnostic::error(what).hint("to list them: --list-resources"));
        }
        problems
    }

    /// What hears of others stays: it is asked how it is, and planned only if a chosen resource notifies it.
    fn leave_out(&self, host: &HostName, block: &mut RoleBlock) {
        let chosen: Vec<Chosen> = block.items.iter().map(|item| self.chosen(host, block, item)).collect();
        block.items.iter_mut().zip(chosen).for_each(|(item, chosen)| item.chosen = chosen);
        let stays = |item: &mut Wanted| item.chosen != Chosen::Yes && !item.resource.hears();
        block.left_out.extend(block.items.extract_if(.., stays));
    }

    fn chosen(&self, host: &HostName, block: &RoleBlock, item: &Wanted) -> Chosen {
        match () {
            () if self.wants(host, block, item) => Chosen::Yes,
            // Left out by its name, not by the choice of others.
            () if self.skips(block, item) || item.tags.contains(NEVER) => Chosen::No,
            () => Chosen::WhenNotified,
        }
    }

    fn skips(&self, block: &RoleBlock, item: &Wanted) -> bool {
        self.is_skipped(&item.tags) || is_of(&self.skip, block)
    }

    fn wants(&self, host: &HostName, block: &RoleBlock, item: &Wanted) -> bool {
        let mut targets = self.targets.iter().filter(|target| target.matches(host, block, item)).peekable();
        if !self.targets.is_empty() && targets.peek().is_none() {
            return false;
        }
        // Who names one resource means it, tagged `never` or not.
        let by_itself = self.tags.is_empty() && targets.any(|target| target.owns.is_some());
        // Choosing a whole service must not wake what its author put to sleep.
        let by_service = is_of(&self.tags, block) && !item.tags.contains(NEVER);
        (by_itself || by_service || self.is_tagged(&item.tags)) && !self.skips(block, item)
    }

    fn is_tagged(&self, tags: &BTreeSet<Tag>) -> bool {
        let has = |tag: &str| tags.contains(tag);
        let only = |word: &str| self.tags.contains(word);
        let all = self.tags.is_empty() || only(ALL);
        has(ALWAYS)
            || all && !has(NEVER)
            || tags.iter().any(|tag| only(tag.as_str()))
            || only(UNTAGGED) && tags.is_empty()
            || only(TAGGED) && !tags.is_empty() && !has(NEVER)
    }

    fn is_skipped(&self, tags: &BTreeSet<Tag>) -> bool {
        let skip = |word: &str| self.skip.contains(word);
        skip(ALL) && (!tags.contains(ALWAYS) || skip(ALWAYS))
            || tags.iter().any(|tag| skip(tag.as_str()))
            || skip(UNTAGGED) && tags.is_empty()
            || skip(TAGGED) && !tags.is_empty()
    }
}
