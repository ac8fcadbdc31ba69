//! Which part of a plan: the flags, what they mean in this environment, and lists of what they would choose.
//!
//! In: words of the command line. Out: a part of the catalog, or lists. Never: a host that is asked.

use std::collections::BTreeSet;

use clap_complete::ArgValueCompleter;

use super::{completion, ui};
use crate::diag::Diagnostics;
use crate::report::chosen::{self, List};
use crate::workspace::{Environment, NoMatch, Selected, Selector};

/// A part of a plan.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "A part of the plan")]
pub(super) struct Only {
    /// Only resources with one of these tags, or of one of these services: a,b
    #[arg(short, long, value_name = "TAGS", value_delimiter = ',', add = ArgValueCompleter::new(completion::tags))]
    tags: Vec<String>,
    /// Not resources with one of these tags, or of one of these services
    #[arg(long, value_name = "TAGS", value_delimiter = ',', add = ArgValueCompleter::new(completion::tags))]
    skip_tags: Vec<String>,
    /// Only this resource, service, role or host, as the plan shows it: 'zk1 template /etc/zoo.cfg'
    #[arg(long = "target", value_name = "ADDRESS", add = ArgValueCompleter::new(completion::targets))]
    targets: Vec<String>,
    /// Accept selectors that match nothing
    #[arg(long)]
    pub(super) allow_empty: bool,
    /// Also remove the contents of removed directories, and purge removed packages: deletes the data of removed services
    #[arg(long, conflicts_with_all = ["tags", "skip_tags", "targets"], help_heading = "Removed resources")]
    pub(super) with_data: bool,
}

/// Lists instead of a plan; no host is asked.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Lists instead of a plan")]
pub(super) struct Lists {
    /// List the hosts; contacts none
    #[arg(long)]
    list_hosts: bool,
    /// List the tags
    #[arg(long)]
    list_tags: bool,
    /// List the resources, each as --target takes it
    #[arg(long)]
    list_resources: bool,
}

impl Only {
    /// What to type for the same part.
    pub(super) fn words(&self) -> Vec<String> {
        let list = |flag: &str, tags: &[String]| (!tags.is_empty()).then(|| [flag.to_owned(), tags.join(",")]);
        let tags = list("-t", &self.tags).into_iter().chain(list("--skip-tags", &self.skip_tags)).flatten();
        let targets = self.targets.iter().flat_map(|target| ["--target".to_owned(), target.clone()]);
        let flags = [(self.allow_empty, "--allow-empty"), (self.with_data, "--with-data")];
        let flags = flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.to_owned());
        tags.chain(targets).chain(flags).collect()
    }

    /// Whether nothing was typed.
    pub(super) fn is_all(&self) -> bool {
        self.tags.is_empty() && self.skip_tags.is_empty() && self.targets.is_empty()
    }

    /// The same for a person; none for everything.
    pub(super) fn described(&self) -> Option<String> {
        let tags = (!self.tags.is_empty()).then(|| format!("tags {}", self.tags.join(" or ")));
        let skip = (!self.skip_tags.is_empty()).then(|| format!("not {}", self.skip_tags.join(" or ")));
        let targets = (!self.targets.is_empty()).then(|| self.targets.join(" and "));
        let texts: Vec<String> = [tags, skip, targets].into_iter().flatten().collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    /// The same for a workspace.
    pub(super) fn selector(&self) -> Selector {
        Selector {
            tags: self.tags.clone(),
            skip_tags: self.skip_tags.clone(),
            targets: self.targets.clone(),
            no_match: if self.allow_empty { NoMatch::Warning } else { NoMatch::Error },
        }
    }
}

impl Lists {
    /// Whether a list is wanted.
    pub(super) fn any(&self) -> bool {
        self.list_hosts || self.list_tags || self.list_resources
    }

    /// Prints the lists. Where a role asks for facts, those of a usual server stand for them.
    ///
    /// # Errors
    /// When what was asked for is not there.
    pub(super) fn print(&self, loaded: &Environment, json: bool) -> Result<(), Diagnostics> {
        let Selected { catalog, warnings } =
            loaded.chosen(loaded.catalog(&loaded.example_facts(), &BTreeSet::new())?)?;
        ui::problems(&warnings);
        let selection = chosen::Selection { environment: &loaded.name, catalog: &catalog, tags: &loaded.tags() };
        let lists =
            [(self.list_hosts, List::Hosts), (self.list_tags, List::Tags), (self.list_resources, List::Resources)];
        let lists: Vec<List> = lists.into_iter().filter_map(|(wanted, list)| wanted.then_some(list)).collect();
        if json {
            ui::json(&selection.json(&lists));
        } else {
            ui::result(&selection.text(&lists));
        }
        Ok(())
    }
}
