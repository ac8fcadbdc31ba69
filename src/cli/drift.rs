//! `armilla drift ENV`: what somebody changed on the hosts since armilla last changed them. Nothing is written anywhere.

use jiff::civil::Date;

use super::plan::{self, AfterPlan, Shape};
use super::screen::Telling;
use super::{Connection, Exit, Failure, Global, Selection, hosts, load, ui};
use crate::diag::Diagnostic;
use crate::operation::drift::keep_drift;
use crate::report::human;
use crate::settings::Ignored;

/// Shows what changed on the hosts since the last apply. Pending changes of the project are only counted. Writes nothing.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Drift {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Exit with 2 if there is drift
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
Examples:
  armilla drift staging -D                    every difference in full
  armilla drift staging --detailed-exitcode   0 no drift, 2 drift, 4 a host is unreachable

To ignore known drift until a date, with a reason, in inventories/ENV/environment.yml:
  ignore_drift:
    - { what: zk1 file /etc/motd, until: 2026-12-24, because: the banner of the security team }
    - { what: template /etc/ntp.conf, until: 2027-01-31, because: the network team tries another server }";

#[expect(clippy::disallowed_methods, reason = "a date in the settings is meant where the user is")]
fn today() -> Date {
    jiff::Zoned::now().date()
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Drift) -> Result<Exit, Failure> {
    let Drift { selection, connection, .. } = command;
    let unchecked = load::begin(global, selection, connection).await?;
    hosts::contact(global, connection, Telling::default(), async |hosts| {
        let (environment, mut survey) = hosts.session.survey_unchecked(unchecked, &hosts.stop).await?;
        ui::problems(&environment.warnings);
        let today = today();
        let ignores = &environment.settings.ignore_drift;
        tell_expired(ignores, today);
        let counts = keep_drift(&mut survey, ignores, today);
        let shape = Shape { next: AfterPlan::Doing, ..command.shape.clone() };
        if command.shape.json || counts.drifted > 0 || !survey.plan.unreachable.is_empty() {
            plan::print(global, &plan::Chosen { selection, connection }, &shape, &environment, &survey);
        }
        if !command.shape.json {
            ui::result(&human::drift(&counts, &environment.name));
        }
        Ok(match () {
            () if !survey.plan.unreachable.is_empty() => Exit::Unreachable,
            () if command.detailed_exitcode && counts.drifted > 0 => Exit::Changes,
            () => Exit::Success,
        })
    })
    .await
}

fn tell_expired(ignores: &[Ignored], today: Date) {
    for ignored in ignores.iter().filter(|ignored| ignored.until < today) {
        let what =
            format!("the drift of `{}` is no longer ignored: its entry expired on {}", ignored.what, ignored.until);
        let hint = "set a later date, or remove the entry";
        ui::problems(&Diagnostic::warning(what).at(&ignored.origin).hint(hint).into());
    }
}
