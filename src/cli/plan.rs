//! `armilla plan ENV`: what would change, and why.

use super::part::{Lists, Only};
use std::path::{Path, PathBuf};

use super::survey::{self, Survey};
use super::{Connection, Exit, Global, Selection, load, saved, ui};
use crate::diag::Diagnostics;
use crate::report::human::{self, Diffs, View};
use crate::report::json;
use crate::workspace::{Environment, revision};

const HELP: &str = "\
Examples:
  armilla plan staging -l web1        one host
  armilla plan staging -o friday.plan    saves it; then: armilla apply friday.plan
  armilla plan staging --detailed-exitcode      0 nothing to do, 2 changes, 4 a host is away";

/// Shows what would change.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Plan {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Exit with 2 if there is something to do
    #[arg(long)]
    detailed_exitcode: bool,
    /// Save the plan to a file, for `armilla show FILE` and `armilla apply FILE`; secrets in it are sealed
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
    /// Print JSON (its shape has a version)
    #[arg(long)]
    pub json: bool,
    /// What comes after the plan.
    #[arg(skip)]
    pub next: Next,
    /// The file it is saved to.
    #[arg(skip)]
    pub out: Option<PathBuf>,
}

/// What comes after a plan was shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing: it says what to type.
    #[default]
    Typing,
    /// It is done at once, or after a question.
    Doing,
    /// The same, and it takes away everything.
    Destroying,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Plan) -> Exit {
    let selection = command.selection.with(&command.only);
    let shape = Shape { out: command.out.clone(), ..command.shape.clone() };
    let result = match listed(global, &selection, &command.lists, &shape).await {
        Some(result) => result,
        None => show(global, &selection, &command.connection, &shape)
            .await
            .map(|survey| exit(&survey.plan, command.detailed_exitcode)),
    };
    result.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

/// Prints lists instead of a plan, if any is wanted.
pub(super) async fn listed(
    global: &Global,
    selection: &Selection,
    lists: &Lists,
    shape: &Shape,
) -> Option<Result<Exit, Diagnostics>> {
    if !lists.any() {
        return None;
    }
    let environment = load::offline(global, selection).await;
    Some(environment.and_then(|environment| lists.print(&environment, shape.json)).map(|()| Exit::Success))
}

/// Reads the hosts and prints the plan.
///
/// # Errors
/// What is wrong in what a user wrote.
pub(super) async fn show(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
    shape: &Shape,
) -> Result<Survey, Diagnostics> {
    shape.out.as_deref().map_or(Ok(()), saved::check_place)?;
    let (loaded, survey) = survey::read(global, selection, connection, &super::environment::banner).await?;
    print(global, selection, connection, shape, &loaded, &survey);
    if let Some(path) = &shape.out {
        saved::save(path, selection, &loaded, &survey).await?;
    }
    Ok(survey)
}

/// Prints a plan.
pub(super) fn print(
    global: &Global,
    selection: &Selection,
    connection: &Connection,
    shape: &Shape,
    loaded: &Environment,
    survey: &Survey,
) {
    if shape.json {
        let about = json::About {
            revision: survey.revision.as_ref().map(revision::shown),
            limit: selection.limit.clone(),
            part: selection.only.described(),
        };
        return ui::line(&json::plan(&survey.plan, &about).to_string());
    }
    let view = View {
        revision: survey.revision.as_ref().map(revision::shown),
        read: human::Read::Now(survey.took),
        diffs: if shape.diff { Diffs::Full } else { Diffs::Short },
        verbose: global.verbose,
        width: ui::width(),
        command: (shape.next == Next::Typing).then(|| match &shape.out {
            Some(file) => to_type_file("apply", file),
            None => to_type("apply", selection, connection),
        }),
        limit: selection.limit.clone(),
        part: selection.only.described(),
        hosts_left_out: loaded.hosts_left_out(),
        subject: match shape.next {
            Next::Destroying => human::Subject::Destruction { hosts: survey.catalog.endpoints().len() },
            Next::Typing | Next::Doing => human::Subject::Services,
        },
    };
    ui::result(&human::plan(&survey.plan, &view));
}

/// What to type to do the same selection with this verb.
pub(super) fn to_type(verb: &str, selection: &Selection, connection: &Connection) -> String {
    let mut words = vec![format!("armilla {verb}"), selection.name()];
    words.extend(selection.limit.iter().flat_map(|limit| ["-l".to_owned(), quoted(limit)]));
    words.extend(selection.only.words().iter().map(|word| quoted(word)));
    words.extend(selection.variables.iter().flat_map(|setting| ["-e".to_owned(), quoted(setting)]));
    words.extend(selection.keys.to_type().iter().map(|word| quoted(word)));
    let flags = [(connection.lab, "--lab"), (connection.become_root, "-b"), (connection.ask_become_pass, "-K")];
    words.extend(flags.iter().filter(|(given, _)| *given).map(|(_, flag)| (*flag).to_owned()));
    words.join(" ")
}

/// What to type to do this verb with a plan file.
pub(super) fn to_type_file(verb: &str, file: &Path) -> String {
    format!("armilla {verb} {}", quoted(&file.to_string_lossy()))
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | ',' | '=' | '/' | '@' | '%' | '+');
    if text.chars().all(plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// Unreachable hosts are never reported as "no changes".
pub(super) fn exit(plan: &crate::plan::Plan, detailed: bool) -> Exit {
    let summary = plan.summary();
    match () {
        () if summary.unreachable > 0 => Exit::Unreachable,
        () if summary.refused + summary.unreadable > 0 => Exit::Error,
        () if detailed && summary.changes() > 0 => Exit::Changes,
        () => Exit::Success,
    }
}
