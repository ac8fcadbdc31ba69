//! `armilla drift ENV`: what moved on the hosts since armilla last changed them.
//!
//! In: an environment, and what its settings say to ignore. Out: differences that somebody made on the hosts. Never: a
//! change: this command has no way to make one, and takes no lease.

use jiff::civil::Date;

use super::plan::{self, Next, Shape};
use super::survey::Survey;
use super::{Connection, Exit, Global, Selection, survey, ui};
use crate::diag::{Diagnostic, Diagnostics};
use crate::plan::{Entry, Reason};
use crate::report::human::words;
use crate::settings::Ignored;

/// Shows what was changed on hosts since armilla last changed it there. What the project changed since is only counted.
/// Nothing is written anywhere.
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Drift {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Exit with 2 if something moved
    #[arg(long)]
    detailed_exitcode: bool,
    #[command(flatten)]
    connection: Connection,
}

const HELP: &str = "\
Examples:
  armilla drift staging -D            every difference in full
  armilla drift staging --detailed-exitcode     0 nothing moved, 2 something did, 4 a host is away

Known drift is ignored until a day, with a reason, in inventories/ENV/environment.yml:
  ignore_drift:
    - { what: zk1 file /etc/motd, until: 2026-12-24, because: the banner of the security team }
    - { what: template /etc/ntp.conf, until: 2027-01-31, because: the network team tries another server }";

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Drift) -> Exit {
    drift(global, command).await.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

async fn drift(global: &Global, command: &Drift) -> Result<Exit, Diagnostics> {
    let (loaded, mut survey) = survey::read(global, &command.selection, &command.connection, &|_| ()).await?;
    let today = jiff::Zoned::now().date();
    tell_expired(&loaded.settings.ignore_drift, today);
    let counts = keep_drift(&mut survey, &loaded.settings.ignore_drift, today);
    let shape = Shape { next: Next::Doing, ..command.shape.clone() };
    if command.shape.json || counts.drifted > 0 || !survey.plan.unreachable.is_empty() {
        plan::print(global, &command.selection, &command.connection, &shape, &loaded, &survey);
    }
    if !command.shape.json {
        ui::result(&counts.line());
    }
    Ok(match () {
        () if !survey.plan.unreachable.is_empty() => Exit::Unreachable,
        () if command.detailed_exitcode && counts.drifted > 0 => Exit::Changes,
        () => Exit::Success,
    })
}

/// What was found, counted.
struct Counts {
    drifted: usize,
    ignored: usize,
    planned: usize,
}

impl Counts {
    fn line(&self) -> String {
        let mut parts = vec![match self.drifted {
            0 => "nothing moved on the hosts".to_owned(),
            n => format!("{} moved on the hosts", words::count(n, "resource")),
        }];
        if self.ignored > 0 {
            parts.push(format!("{} ignored (see environment.yml)", self.ignored));
        }
        if self.planned > 0 {
            parts.push(format!("{} differ for other reasons: see `armilla plan`", self.planned));
        }
        parts.join(", ")
    }
}

/// Leaves only what somebody changed on the hosts, and is not to be ignored.
fn keep_drift(survey: &mut Survey, ignores: &[Ignored], today: Date) -> Counts {
    let mut counts = Counts { drifted: 0, ignored: 0, planned: 0 };
    survey.plan.retain(|entry| {
        let (moved, known) = (entry.cause.is_drift(), is_ignored(entry, ignores, today));
        let count = match (moved, known) {
            (true, true) => &mut counts.ignored,
            (true, false) => &mut counts.drifted,
            // A restart that only follows is no difference of its own.
            (false, _) if entry.is_kept() || follows(entry) => return false,
            (false, _) => &mut counts.planned,
        };
        *count += 1;
        moved && !known
    });
    counts
}

/// Whether it is only planned because something else differs.
fn follows(entry: &Entry) -> bool {
    matches!(entry.reason, Reason::Notified(_) | Reason::Stale(_))
}

fn is_ignored(entry: &Entry, ignores: &[Ignored], today: Date) -> bool {
    let everywhere = format!("{} {}", entry.address.kind, entry.address.target);
    let here = format!("{} {everywhere}", entry.address.host);
    ignores.iter().any(|ignored| ignored.until >= today && (ignored.what == here || ignored.what == everywhere))
}

fn tell_expired(ignores: &[Ignored], today: Date) {
    for ignored in ignores.iter().filter(|ignored| ignored.until < today) {
        let what = format!("`{}` is not ignored any more: its time ended on {}", ignored.what, ignored.until);
        let hint = "set another day, or remove the entry";
        ui::problems(&Diagnostic::warning(what).at(&ignored.origin).hint(hint).into());
    }
}
