//! `armilla plan ENV`: what would change, and why.

use std::path::{Path, PathBuf};

use super::part::{Lists, Only};
use super::screen::Telling;
use super::{
    Connection, Exit, Failure, Global, Selection, environment, hosts, identity, load, project_identity, saved, ui,
};
use crate::operation::{Survey, Typed, new_project, plan_file};
use crate::plan::saved::About;
use crate::report::human::{self, Diffs, View};
use crate::report::json;
use crate::workspace::{Environment, revision};

const HELP: &str = "\
Examples:
  armilla plan staging -l web1               one host
  armilla plan staging -o friday.plan        save the plan; then: armilla apply friday.plan
  armilla plan staging --detailed-exitcode   0 no changes, 2 changes or unhealthy, 4 a host is unreachable";

/// Shows what would change.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Plan {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Exit with 2 if the plan has changes, or a service is unhealthy
    #[arg(long)]
    detailed_exitcode: bool,
    /// Save the plan to this file, for `armilla show` and `armilla apply`; secrets in it are encrypted
    #[arg(short, long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, conflicts_with_all = LISTS)]
    out: Option<PathBuf>,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    lists: Lists,
    #[command(flatten)]
    connection: Connection,
}

/// What is printed instead of a plan.
const LISTS: [&str; 3] = ["list_hosts", "list_tags", "list_resources"];

/// How a plan is shown.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Shape {
    /// Show every difference in full
    #[arg(short = 'D', long)]
    pub diff: bool,
    /// Print JSON (versioned)
    #[arg(long)]
    pub json: bool,
    /// What comes after the plan.
    #[arg(skip)]
    pub next: AfterPlan,
    /// The file it is saved to.
    #[arg(skip)]
    pub out: Option<PathBuf>,
}

/// What comes after a plan was shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum AfterPlan {
    /// Nothing: it says what to type.
    #[default]
    Typing,
    /// It is done at once, or after a question.
    Doing,
    /// The same, and it takes away everything.
    Destroying,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Plan) -> Result<Exit, Failure> {
    let selection = command.selection.with(&command.only);
    let shape = Shape { out: command.out.clone(), ..command.shape.clone() };
    if command.lists.any() {
        list(global, &selection, &command.lists, &shape).await
    } else {
        show(global, &selection, &command.connection, (&shape, command.detailed_exitcode)).await
    }
}

/// Prints lists instead of a plan.
///
/// # Errors
/// What is wrong in what a user wrote.
pub(super) async fn list(
    global: &Global,
    selection: &Selection,
    lists: &Lists,
    shape: &Shape,
) -> Result<Exit, Failure> {
    lists.print(&load::offline(global, selection).await?, shape.json)?;
    Ok(Exit::Success)
}

/// Reads the hosts, prints the plan, and saves it if that is wanted.
///
/// # Errors
/// What is wrong in what a user wrote.
pub(super) async fn show(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
    (shape, detailed): (&Shape, bool),
) -> Result<Exit, Failure> {
    shape.out.as_deref().map_or(Ok(()), plan_file::check_place)?;
    let unchecked = load::begin(global, selection, connection).await?;
    environment::banner(unchecked.environment());
    hosts::contact(global, connection, Telling::default(), async |hosts| {
        let (environment, survey) = hosts.session.survey_unchecked(unchecked, &hosts.stop).await?;
        ui::problems(&environment.warnings);
        let survey = match &shape.out {
            // Whoever applies it must know whose it is.
            Some(_) if survey.plan.owner.project.is_none() && !environment.identity.is_read_only() => {
                survey.identified(new_project(&environment.root)?)
            }
            _ => survey,
        };
        let typed = Chosen { selection, connection };
        print(global, &typed, shape, &environment, &survey);
        project_identity::warn(&environment, &survey);
        let exit = exit(&survey.plan, detailed);
        if let Some(path) = &shape.out {
            project_identity::record(&environment, &survey)?;
            saved::save(path, &saved::proposal(hosts, selection, &environment, survey)).await?;
        }
        Ok(exit)
    })
    .await
}

/// What was typed to choose hosts and to reach them.
pub(super) struct Chosen<'a> {
    pub(super) selection: &'a Selection,
    pub(super) connection: &'a Connection,
}

/// Prints a plan.
pub(super) fn print(global: &Global, typed: &Chosen<'_>, shape: &Shape, environment: &Environment, survey: &Survey) {
    let Chosen { selection, connection } = *typed;
    ui::problems(&survey.warnings);
    let about = json::About {
        revision: survey.revision.as_ref().map(revision::shown),
        limit: selection.limit.clone(),
        part: selection.only.described(),
    };
    let command = (shape.next == AfterPlan::Typing).then(|| match &shape.out {
        Some(file) => to_type_file("apply", file),
        None => to_type("apply", selection, connection),
    });
    let subject = match shape.next {
        AfterPlan::Destroying => human::Subject::Destruction { hosts: survey.catalog.endpoints().len() },
        AfterPlan::Typing | AfterPlan::Doing => human::Subject::Services,
    };
    let read = human::Read::Now(survey.took);
    let hosts_left_out = environment.hosts_left_out();
    print_plan(global, shape, &survey.plan, Source { about, read, command, hosts_left_out, subject });
}

/// Where a plan comes from, what it is about, and the command that applies it, where it is to be typed.
pub(super) struct Source {
    pub(super) about: json::About,
    pub(super) read: human::Read,
    pub(super) command: Option<String>,
    pub(super) hosts_left_out: usize,
    pub(super) subject: human::Subject,
}

impl Source {
    /// A plan that was saved, or that a run had.
    pub(super) fn saved(about: &About, read: human::Read, command: Option<String>) -> Self {
        let revision = about.revision.as_ref().map(revision::shown);
        let shown = json::About { revision, limit: about.limit.clone(), part: about.part.clone() };
        let hosts_left_out = about.hosts_left_out;
        Self { about: shown, read, command, hosts_left_out, subject: human::Subject::Services }
    }
}

/// Prints a plan as text or as JSON.
pub(super) fn print_plan(global: &Global, shape: &Shape, plan: &crate::plan::Plan, source: Source) {
    let Source { about, read, command, hosts_left_out, subject } = source;
    if shape.json {
        return ui::json(&json::plan(plan, &about));
    }
    let json::About { revision, limit, part } = about;
    let diffs = if shape.diff { Diffs::Full } else { Diffs::Short };
    let (verbose, width) = (global.verbose, ui::width());
    ui::result(&human::plan(
        plan,
        &View { revision, read, diffs, verbose, width, command, limit, part, hosts_left_out, subject },
    ));
}

/// What to type to do the same selection with this verb.
pub(super) fn to_type(verb: &str, selection: &Selection, connection: &Connection) -> String {
    let mut words: Vec<String> = ["armilla"].into_iter().chain(verb.split(' ')).map(str::to_owned).collect();
    let flag = |flag: &str, value: &str| [flag.to_owned(), value.to_owned()];
    words.push(selection.name());
    words.extend(identity::project().iter().flat_map(|path| flag("--project", path)));
    words.extend(selection.limit.iter().flat_map(|limit| flag("-l", limit)));
    words.extend(selection.only.words());
    words.extend(selection.variables.iter().flat_map(|setting| flag("-e", setting)));
    words.extend(selection.keys.to_type());
    words.extend(connection.user.iter().flat_map(|user| flag("-u", user)));
    words.extend(connection.private_key.iter().flat_map(|key| flag("--private-key", &key.to_string_lossy())));
    let flags = [(connection.lab, "--lab"), (connection.become_root, "-b"), (connection.ask_become_pass, "-K")];
    words.extend(flags.iter().filter(|(given, _)| *given).map(|(_, flag)| (*flag).to_owned()));
    Typed::new(words).to_string()
}

/// What to type to do this verb with a plan file.
pub(super) fn to_type_file(verb: &str, file: &Path) -> String {
    Typed::new(["armilla".to_owned(), verb.to_owned(), file.to_string_lossy().into_owned()]).to_string()
}

/// Unreachable hosts are never reported as "no changes".
pub(super) fn exit(plan: &crate::plan::Plan, detailed: bool) -> Exit {
    let summary = plan.summary();
    match () {
        () if summary.unreachable > 0 => Exit::Unreachable,
        () if summary.refused + summary.unreadable > 0 => Exit::Error,
        () if detailed && summary.changes() + summary.unhealthy > 0 => Exit::Changes,
        () => Exit::Success,
    }
}
