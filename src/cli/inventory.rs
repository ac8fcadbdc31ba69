//! `armilla inventory ENV`: hosts, groups and variables as they are understood; with `--status`, what each host remembers.

use super::hosts::{self, Hosts};
use super::load;
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, ui};
use crate::catalog::Catalog;
use crate::diag::Diagnostic;
use crate::inventory::{Host, Pattern};
use crate::lease::{LeaseAnswer, Request};
use crate::name::HostName;
use crate::operation::{Reading, describe};
use crate::report::inventory::{Details, Variables, View, pretty, table};
use crate::report::status::{self, HostStatus};
use crate::step::Readings;
use crate::workspace::Environment;

/// Shows hosts, groups and variables.
#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(super) struct Inventory {
    #[command(flatten)]
    selection: Selection,
    /// All variables of one host
    #[arg(long, value_name = "HOST", conflicts_with_all = ["list", "graph"])]
    host: Option<String>,
    /// Print everything as JSON, in the shape of `ansible-inventory --list`
    #[arg(long, visible_alias = "json", conflicts_with = "graph")]
    list: bool,
    /// Print groups and hosts as a tree, as `ansible-inventory --graph`
    #[arg(long)]
    graph: bool,
    /// In the tree: variables, too
    #[arg(long, requires = "graph")]
    vars: bool,
    /// In JSON: each variable where it is set, not all of them at the hosts
    #[arg(long, conflicts_with = "graph")]
    export: bool,
    /// Read the status of the hosts: when each last converged, with which revision and by whom, what armilla owns there, and
    /// pending restarts
    #[arg(long, conflicts_with_all = ["host", "graph", "export"])]
    status: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Inventory) -> Result<Exit, Failure> {
    if command.status {
        return status(global, command).await;
    }
    let loaded = load::offline(global, &command.selection).await?;
    let layers = |host: &Host| loaded.variables.get(host.name()).cloned().unwrap_or_default();
    let wanted = |name: &HostName| loaded.limit.as_ref().is_none_or(|limit| limit.contains(name));
    let view = View { inventory: &loaded.inventory, layers: &layers, wanted: &wanted };
    let variables = if command.export { Variables::Own } else { Variables::Merged };
    match &command.host {
        Some(pattern) => one(&view, pattern, variables)?,
        None if command.graph => {
            ui::result(&view.graph(if command.vars { Details::Variables } else { Details::Names }));
        }
        None if command.list => ui::result(&pretty(&view.list(variables))),
        None => ui::result(&table(&hosts_of(&loaded), &loaded.placement)),
    }
    Ok(Exit::Success)
}

/// Asks every host what it keeps for armilla, and nothing else.
async fn status(global: &Global, command: &Inventory) -> Result<Exit, Failure> {
    let loaded = load::load_hosts(global, &command.selection, &command.connection).await?;
    let hosts = loaded.machines()?;
    let questions = Catalog::of_nothing(loaded.identity.owner(), hosts.clone()).questions();
    let read = async |contact: &Hosts| {
        let observed = contact.session.read(Reading::State, questions, &contact.stop).await?;
        let answering = hosts.into_iter().filter(|host| observed.get(&host.name).is_some_and(Result::is_ok)).collect();
        let locks = contact.until_stopped(contact.session.ask_locks(answering, &Request::Look)).await?;
        Ok((observed, locks))
    };
    let (observed, locks) = hosts::contact(global, &command.connection, Telling::default(), read).await?;
    let owner = loaded.identity.owner_on(&observed);
    let said = |(host, answer): (&HostName, &Result<Readings, String>)| {
        let lock = match locks.get(host) {
            Some(Ok(LeaseAnswer::Taken(held))) => Some(describe(host, held)),
            _ => None,
        };
        let said = answer
            .as_ref()
            .map_or_else(|why| HostStatus::Away(why.clone()), |answer| HostStatus::of(&owner, host, answer, lock));
        (host.clone(), said)
    };
    let hosts: status::Hosts = observed.iter().map(said).collect();
    let shown = if command.list { pretty(&status::json(&loaded.name, &hosts)) } else { status::table(&hosts) };
    ui::result(&shown);
    Ok(match () {
        () if hosts.values().any(|said| matches!(said, HostStatus::Away(_))) => Exit::Unreachable,
        () if hosts.values().any(|said| matches!(said, HostStatus::Unreadable(_))) => Exit::Error,
        () => Exit::Success,
    })
}

fn one(view: &View<'_>, name: &str, variables: Variables) -> Result<(), Diagnostic> {
    let hosts = Pattern::parse(name)?.select(view.inventory)?;
    for host in hosts.iter().filter_map(|host| view.inventory.host(host.as_str())) {
        ui::result(&pretty(&view.host(host, variables)));
    }
    Ok(())
}

/// The hosts of the limit, or all.
fn hosts_of(loaded: &Environment) -> Vec<&Host> {
    let wanted = |host: &&Host| loaded.limit.as_ref().is_none_or(|limit| limit.contains(&host.endpoint.name));
    loaded.inventory.hosts().filter(wanted).collect()
}
