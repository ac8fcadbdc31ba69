//! `armilla apply ENV`: shows the plan, asks, and does exactly what it showed. `armilla apply FILE`: the same with a plan
//! that was saved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::keys::Keyring;
use super::leases::{self, Ground, Locks, Patience};
use super::load;
use super::part::{Lists, Only};
use super::perform::{self, Show, Undertaking};
use super::plan::{self, Next, Shape};
use super::survey::{self, Fleet, Survey};
use super::{Connection, Exit, Global, Selection, environment, identity, revision, saved, settle, show, ui};
use crate::catalog::Catalog;
use crate::diag::{Diagnostic, Diagnostics, shown};
use crate::ledger::{Applied, Revision};
use crate::name::{HostName, RunId};
use crate::plan::Plan;
use crate::plan::saved::{File, Hosts, SavedPlan};
use crate::step::Digest;

/// Brings hosts to the state the files describe, or carries out a plan that `armilla plan -o FILE` saved.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HELP, mut_arg("environment", |argument| argument.value_name("ENV|FILE").help(WHAT)))]
pub(super) struct Apply {
    #[command(flatten)]
    selection: Selection,
    #[command(flatten)]
    shape: Shape,
    /// Only show the plan, as `armilla plan` does
    #[arg(short = 'C', long)]
    check: bool,
    #[command(flatten)]
    consent: Consent,
    #[command(flatten)]
    only: Only,
    #[command(flatten)]
    lists: Lists,
    #[command(flatten)]
    connection: Connection,
}

/// What is applied.
const WHAT: &str = "The environment, a folder of inventories/; or a file that `armilla plan -o FILE` wrote";

const HELP: &str = "\
Examples:
  armilla apply staging               shows the plan, asks, does it
  armilla apply friday.plan -y        does the plan in this file; a host that moved since is refused
  armilla apply staging --lock-timeout 10m      waits for a colleague's run

Ctrl-C finishes what runs and begins nothing more. After that, and after kill -9: armilla resume";

/// What a command that changes hosts may do without a question.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Consent {
    /// Do not ask
    #[arg(short, long = "auto-approve", visible_alias = "yes")]
    pub yes: bool,
    /// Exit with 2 if something was changed
    #[arg(long)]
    pub detailed_exitcode: bool,
    /// Take away this many resources at most that left the roles; a plan with more is refused
    #[arg(long, value_name = "N", default_value_t = crate::plan::MAX_REMOVALS)]
    pub max_removals: usize,
    /// Apply an older revision of the project over a newer one
    #[arg(long)]
    pub allow_older: bool,
    #[command(flatten)]
    pub patience: Patience,
    /// How to say yes beforehand, where `-y` is not it.
    #[arg(skip)]
    pub beforehand: Option<String>,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Apply) -> Exit {
    let command = &Apply { selection: command.selection.with(&command.only), ..command.clone() };
    if let Some(file) = file(global, &command.selection) {
        return ended(apply_file(global, command, &file));
    }
    let listed = plan::listed(global, &command.selection, &command.lists, &command.shape);
    ended(listed.unwrap_or_else(|| {
        if !command.check {
            return apply(global, command);
        }
        let survey = plan::show(global, &command.selection, &command.connection, &command.shape);
        survey.map(|survey| plan::exit(&survey.plan, command.consent.detailed_exitcode))
    }))
}

fn ended(result: Result<Exit, Diagnostics>) -> Exit {
    result.unwrap_or_else(|problems| {
        ui::problems(&problems);
        Exit::Error
    })
}

/// The file that is meant, if what was typed is no environment of the project.
fn file(global: &Global, selection: &Selection) -> Option<PathBuf> {
    let typed = PathBuf::from(selection.environment()?);
    let is_environment = load::root(global).is_ok_and(|root| root.join("inventories").join(&typed).is_dir());
    (!is_environment && typed.is_file()).then_some(typed)
}

fn apply(global: &Global, command: &Apply) -> Result<Exit, Diagnostics> {
    let mut loaded = load::load(global, &command.selection)?;
    let fleet = survey::fleet(global, &command.connection, &mut loaded)?;
    environment::banner(&loaded);
    let run = identity::new_run()?;
    super::block_on(async {
        let ground = Ground::of(&loaded, loaded.concerned());
        // Before the hosts are read: what the plan shows cannot be changed by another run meanwhile.
        let leases = match leases::acquire(&fleet, &ground, &run, &command.consent.patience).await {
            Ok(leases) => leases,
            Err(exit) => {
                fleet.transport.close().await;
                return Ok(exit);
            }
        };
        let exit = match survey::survey(&fleet, &loaded).await {
            Ok(survey) => {
                let shape = Shape { next: Next::Doing, ..command.shape.clone() };
                plan::print(global, &command.selection, &command.connection, &shape, &loaded, &survey);
                let about = saved::about(&command.selection, &loaded);
                let proposal = Proposal {
                    fleet: &fleet,
                    leases,
                    survey: &survey,
                    about,
                    keys: &loaded.keys,
                    project: Some(&loaded.root),
                    run,
                    resumes: None,
                    consent: &command.consent,
                    show: Show {
                        json: command.shape.json,
                        verbose: global.verbose,
                        detailed: command.consent.detailed_exitcode,
                        patience: command.consent.patience.reboot_timeout,
                        plan_command: plan::to_type("plan", &command.selection, &command.connection),
                    },
                };
                proposal.decide(|| environment::is_confirmed(&loaded)).await
            }
            Err(problems) => {
                leases.release().await;
                Err(problems)
            }
        };
        fleet.tell_round_trips(&loaded.endpoints());
        fleet.transport.close().await;
        exit
    })
}

/// A plan that was shown, and everything that is needed to carry it out.
pub(super) struct Proposal<'a> {
    /// The hosts, and how to work with them.
    pub fleet: &'a Fleet,
    /// By what right.
    pub leases: Locks,
    /// The plan, and what it was made from.
    pub survey: &'a Survey,
    /// What is told about it.
    pub about: crate::plan::saved::About,
    /// What its secrets are sealed with.
    pub keys: &'a Keyring,
    /// The project's folder, where there is one.
    pub project: Option<&'a Path>,
    /// The run.
    pub run: RunId,
    /// The run it goes on with.
    pub resumes: Option<RunId>,
    /// What may be done without a question.
    pub consent: &'a Consent,
    /// How it is shown.
    pub show: Show,
}

impl Proposal<'_> {
    /// Asks, and carries it out; or says why not.
    ///
    /// # Errors
    /// Why it is refused.
    pub(super) async fn decide(self, confirm: impl FnOnce() -> bool) -> Result<Exit, Diagnostics> {
        let plan = &self.survey.plan;
        if let Err(problems) = self.refuse() {
            self.leases.release().await;
            return Err(problems);
        }
        if plan.summary().changes() == 0 {
            let exit = plan::exit(plan, self.consent.detailed_exitcode);
            let applied = Applied {
                run: self.run.clone(),
                plan: Digest::of(b""),
                at: identity::now(),
                who: identity::who(),
                revision: self.about.revision.clone(),
            };
            settle::work_in(self.fleet, &self.leases, self.survey, &applied).await;
            self.leases.release().await;
            return Ok(exit);
        }
        let asked = !self.consent.yes;
        if let Err(exit) = approved(self.consent, confirm) {
            self.leases.release().await;
            return Ok(exit);
        }
        // While a person thought, a hand may have changed something: no other run could.
        let mut refused = BTreeMap::new();
        let about = self.about.clone();
        let made = match saved::make(about, plan, &self.survey.catalog, self.keys) {
            Ok(made) => made,
            Err(problems) => {
                self.leases.release().await;
                return Err(problems);
            }
        };
        if asked {
            let now = survey::look(self.fleet, &self.survey.catalog).await;
            refused = made.plan.moved(&made.digest, &now).refused();
        }
        Ok(perform::perform(Undertaking {
            fleet: self.fleet,
            leases: self.leases,
            catalog: &self.survey.catalog,
            plan,
            refused,
            unsettled: self.survey.unsettled(),
            run: self.run,
            resumes: self.resumes,
            project: self.project.map(Path::to_owned).unwrap_or_default(),
            revision: self.about.revision.clone(),
            saved: (made.bytes, made.digest),
            show: self.show,
        })
        .await)
    }

    fn refuse(&self) -> Result<(), Diagnostics> {
        check(&self.survey.plan, self.project, self.about.revision.as_ref(), self.consent)
    }
}

/// Why a plan must not be carried out, whether it was just made or saved.
fn check(
    plan: &Plan,
    project: Option<&Path>,
    revision: Option<&Revision>,
    consent: &Consent,
) -> Result<(), Diagnostics> {
    let summary = plan.summary();
    if summary.refused + summary.unreadable > 0 {
        let what = "the plan has resources that must not be changed or could not be read; nothing was changed";
        return Err(Diagnostic::error(what).hint("mend them, or leave their hosts out with -l 'all:!HOST'").into());
    }
    check_removals(plan, consent)?;
    check_revision(project, revision, plan, consent)
}

/// More than a few removals are more often a mistake in a file than meant.
fn check_removals(plan: &Plan, consent: &Consent) -> Result<(), Diagnostics> {
    let removals: usize = plan.removals().values().sum();
    if removals <= consent.max_removals {
        return Ok(());
    }
    let what = format!(
        "the plan takes away {removals} resources that left the roles, and {} are allowed; nothing was changed",
        consent.max_removals
    );
    Err(Diagnostic::error(what).hint(format!("if that is meant: --max-removals {removals}")).into())
}

/// An older commit never comes over a newer one by accident: a pipeline that was slow, a checkout that was forgotten.
fn check_revision(
    project: Option<&Path>,
    ours: Option<&Revision>,
    plan: &Plan,
    consent: &Consent,
) -> Result<(), Diagnostics> {
    let (Some(project), Some(ours)) = (project, ours) else { return Ok(()) };
    if consent.allow_older {
        return Ok(());
    }
    let mut known: BTreeMap<&str, (&HostName, &Applied)> = BTreeMap::new();
    for (host, base) in &plan.bases {
        if let Some(last) = &base.last
            && let Some(theirs) = &last.revision
        {
            known.entry(&theirs.commit).or_insert((host, last));
        }
    }
    let older = known.iter().find(|(theirs, _)| revision::is_older(project, &ours.commit, theirs));
    let Some((theirs, (host, last))) = older else { return Ok(()) };
    let short = |commit: &str| commit.get(..7).unwrap_or(commit).to_owned();
    let what = format!(
        "this is revision {}, and {host} already has {}, which came after it: applied {} by {} (run {}); nothing was changed",
        short(&ours.commit),
        short(theirs),
        last.at,
        last.who,
        last.run
    );
    Err(Diagnostic::error(shown(&what))
        .hint("bring this checkout up to date; to go back on purpose: --allow-older")
        .into())
}

/// Whether it may be done.
///
/// # Errors
/// The exit code, after saying why not.
pub(super) fn approved(consent: &Consent, confirm: impl FnOnce() -> bool) -> Result<(), Exit> {
    if consent.yes {
        return Ok(());
    }
    if !ui::can_ask() {
        ui::say("error: there is no terminal to ask whether to do this; nothing was changed");
        let yes = consent.beforehand.as_deref().unwrap_or("-y (--auto-approve)");
        ui::say(&format!("hint: say so beforehand with {yes}"));
        return Err(Exit::Error);
    }
    if confirm() {
        return Ok(());
    }
    ui::say("Nothing was changed.");
    Err(Exit::Error)
}

/// Carries out a plan that was saved. Its hosts are read once before the first step; what moved since is refused.
fn apply_file(global: &Global, command: &Apply, path: &Path) -> Result<Exit, Diagnostics> {
    let file = saved::read(path)?;
    let name = file.about.environment.clone();
    let (root, keys, settings) = saved::keys_for(global, &command.selection, &name)?;
    let saved = saved::open(path, &file, &keys, &settings)?;
    let connection = saved::connection(&file, &command.connection)?;
    let fleet = survey::fleet_of(global, &connection)?;
    let production = environment::banner_of(root.as_deref(), &name, file.about.hosts);
    show::print(global, path, &Shape { next: Next::Doing, ..command.shape.clone() }, &file);
    if command.check {
        return Ok(plan::exit(&file.shown, command.consent.detailed_exitcode));
    }
    let run = identity::new_run()?;
    super::block_on(async {
        let exit = carry_out(global, command, &fleet, (&file, saved), root.as_deref(), run, &production).await;
        fleet.transport.close().await;
        exit
    })
}

async fn carry_out(
    global: &Global,
    command: &Apply,
    fleet: &Fleet,
    (file, saved): (&File, SavedPlan),
    root: Option<&Path>,
    run: RunId,
    production: &environment::Question,
) -> Result<Exit, Diagnostics> {
    let (plan, catalog): (&Plan, &Catalog) = (&saved.plan, &saved.catalog);
    check(plan, root, saved.about.revision.as_ref(), &command.consent)?;
    if plan.summary().changes() == 0 {
        return Ok(plan::exit(plan, command.consent.detailed_exitcode));
    }
    if let Err(exit) = approved(&command.consent, || production.ask()) {
        return Ok(exit);
    }
    let hosts: Vec<_> = catalog.endpoints().into_values().collect();
    let ground = Ground::of_saved(&saved.about, hosts);
    let leases = match leases::acquire(fleet, &ground, &run, &command.consent.patience).await {
        Ok(leases) => leases,
        Err(exit) => return Ok(exit),
    };
    let look = saved.moved(&file.digest, &survey::look(fleet, catalog).await);
    if let Some(stale) = &look.stale {
        leases.release().await;
        let moved: Vec<String> = look.refused().iter().map(|(host, moved)| format!("\n  {host}: {moved}")).collect();
        let problem = Diagnostic::error(shown(&format!("{stale}; nothing was changed{}", moved.concat())));
        return Err(problem.hint("plan again; what a run left undone: armilla resume RUN").into());
    }
    let digest: Digest = file.digest.clone();
    Ok(perform::perform(Undertaking {
        fleet,
        leases,
        catalog,
        plan,
        refused: look.refused(),
        unsettled: BTreeSet::new(),
        run,
        resumes: None,
        project: root.map(Path::to_owned).unwrap_or_default(),
        revision: saved.about.revision.clone(),
        saved: (file.bytes().to_vec(), digest),
        show: Show {
            json: command.shape.json,
            verbose: global.verbose,
            detailed: command.consent.detailed_exitcode,
            patience: command.consent.patience.reboot_timeout,
            plan_command: plan::to_type(
                "plan",
                &Selection::of(plan.environment.as_str()),
                &Connection { lab: saved.about.hosts == Hosts::Lab, ..command.connection.clone() },
            ),
        },
    })
    .await)
}
