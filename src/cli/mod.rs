//! The command line: one file per command.
//!
//! In: arguments. Out: what the other rooms found or did, printed, and an exit code. Never: a decision about a host.

mod apply;
mod apply_file;
mod approve;
mod artifacts;
mod completion;
mod consent;
mod destroy;
mod doctor;
mod drift;
mod editor;
mod environment;
mod exec;
pub mod exit;
mod explain;
mod facts;
mod fmt;
mod graph;
mod hosts;
mod identity;
mod import;
mod init;
mod inventory;
mod keys;
mod lab;
mod limits;
mod load;
mod lock;
mod man;
mod part;
mod patience;
mod plan;
mod project_identity;
mod resume;
mod runs;
mod saved;
mod screen;
mod show;
mod signals;
mod ui;
mod validate;
mod vault;
mod verify;
mod version;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use clap_complete::ArgValueCompleter;

pub use exit::Exit;

use crate::catalog::Data;
use crate::diag::{Diagnostic, Diagnostics};
use crate::inventory::Become;
use crate::name::{EnvName, nearest};
use crate::vars::parse_setting;
use crate::workspace::{Addresses, Request, Workspace};

/// Brings a data platform on your own machines to the state your files describe.
#[derive(Debug, Parser)]
#[command(name = "armilla", version, about, after_help = exit::HELP, max_term_width = 100)]
#[command(propagate_version = false)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The project folder, which has a site.yml [default: the nearest at or above this one]
    #[arg(long, global = true, value_name = "DIR", env = "ARMILLA_PROJECT")]
    project: Option<PathBuf>,
    /// When to use colors; `NO_COLOR` and pipes are respected
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
    /// The same as --color never
    #[arg(long, global = true)]
    no_color: bool,
    /// Show more detail; twice: round trips and timings
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a new project
    Init(init::Init),
    /// Check a project without contacting any host
    Validate(validate::Validate),
    /// Rewrite the project's files in a consistent format; comments and meaning stay
    Fmt(fmt::Fmt),
    /// Show what would change on each host, and why; changes nothing
    Plan(plan::Plan),
    /// Apply a plan: show it, ask, and do exactly what it shows; or apply a saved plan
    Apply(apply::Apply),
    /// Show a saved plan or a run; contacts no host
    Show(show::Show),
    /// Check the health of every service; changes nothing
    Verify(verify::Verify),
    /// Show what changed on the hosts since the last apply; changes nothing
    Drift(drift::Drift),
    /// Resume an interrupted run
    Resume(resume::Resume),
    /// Approve the canaries of a run that waits, so that the other hosts follow
    Approve(approve::Approve),
    /// List and show the runs of this machine
    #[command(subcommand)]
    Runs(runs::RunsCommand),
    /// Show the locks of the hosts, and break one
    #[command(subcommand)]
    Lock(lock::LockCommand),
    /// Import existing resources, so that armilla owns them
    Import(import::Give),
    /// Remove everything that armilla created on the hosts of an environment
    Destroy(destroy::Destroy),
    /// Show the dependency graph of the services
    Graph(graph::Graph),
    /// Explain a value, a resource or a kind of resource
    Explain(explain::Explain),
    /// Show hosts, groups and variables
    Inventory(inventory::Inventory),
    /// Read facts from hosts
    Facts(facts::Facts),
    /// Run a program on hosts, and stream its output
    Exec(exec::Exec),
    /// Create, edit, encrypt and decrypt vault files
    #[command(subcommand)]
    Vault(vault::VaultCommand),
    /// Write lock files of Maven and npm artifacts
    #[command(subcommand)]
    Artifacts(artifacts::ArtifactsCommand),
    /// Check this machine and the hosts for missing requirements; changes nothing
    Doctor(doctor::Doctor),
    /// Create disposable real hosts on this machine (Linux, root)
    #[command(subcommand)]
    Lab(lab::LabCommand),
    /// Print a completion script for a shell
    Completion(completion::Completion),
    /// Show the manual page of a command, or write all of them
    Man(man::Man),
    /// Show version and build information
    Version(version::Version),
}

/// Which environment and which of its hosts.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// The environment: a folder of inventories/
    #[arg(value_name = "ENV", add = ArgValueCompleter::new(completion::environments))]
    environment: Option<String>,
    /// The environment as a path, as in Ansible: inventories/ENV
    #[arg(short, long, value_name = "PATH", conflicts_with = "environment")]
    inventory: Option<PathBuf>,
    // Not a doc comment: rustdoc would take the range for a link.
    #[arg(short, long, value_name = "PATTERN", add = ArgValueCompleter::new(completion::patterns))]
    #[arg(help = "Only these hosts: a name, group, glob, ~regex, a:b, a:&b, a:!b, group[0:2]")]
    limit: Option<String>,
    /// Set a variable, overriding all other sources: NAME=VALUE, or @FILE with a map
    #[arg(short = 'e', long = "var", visible_alias = "extra-vars", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    #[command(flatten)]
    keys: keys::KeyFlags,
    /// Which of its resources, where a command can choose.
    #[arg(skip)]
    only: part::Only,
}

impl Selection {
    /// A whole environment.
    fn of(environment: &str) -> Self {
        Self { environment: Some(environment.to_owned()), ..Self::default() }
    }

    /// The same, with a choice of resources.
    fn with(&self, only: &part::Only) -> Self {
        Self { only: only.clone(), ..self.clone() }
    }

    /// What it asks of a workspace.
    ///
    /// # Errors
    /// What is wrong with what was typed.
    fn request(&self, workspace: &Workspace) -> Result<Request, Diagnostics> {
        if self.name().is_empty() {
            let problem = Diagnostic::error("no environment is given: it is the first argument of the command");
            return Err(problem.hint(format!("known: {}", workspace.environments().join(", "))).into());
        }
        let environment = EnvName::new(&self.name()).map_err(Diagnostic::from)?;
        let mut problems = Diagnostics::new();
        let variables = self.variables.iter().map(|text| parse_setting(text).map_err(Into::into));
        let variables = variables.filter_map(|setting| problems.keep(setting)).collect();
        let keys = problems.keep(self.keys.sources()).unwrap_or_default();
        problems.result(Request {
            limit: self.limit.clone(),
            selector: self.only.selector(),
            data: if self.only.with_data { Data::Removed } else { Data::Kept },
            variables,
            keys,
            ..Request::of(environment)
        })
    }

    /// What was typed for the environment.
    fn environment(&self) -> Option<&str> {
        self.environment.as_deref()
    }

    /// The name of the environment. Of a path that leads into `inventories/` it is the folder there.
    fn name(&self) -> String {
        let from_path = |path: &PathBuf| {
            let mut parts = path.components().map(std::path::Component::as_os_str);
            let folder = parts.find(|part| *part == "inventories").and_then(|_| parts.next());
            folder.or(path.file_name()).map(|name| name.to_string_lossy().into_owned())
        };
        self.environment.clone().or_else(|| self.inventory.as_ref().and_then(from_path)).unwrap_or_default()
    }
}

/// How hosts are reached.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Connections")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Connection {
    /// Maximum number of hosts to work on at the same time
    #[arg(short, long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    forks: u16,
    /// Log in as this user
    #[arg(short, long, value_name = "USER")]
    user: Option<String>,
    /// Become root with sudo
    #[arg(short, long = "become")]
    become_root: bool,
    /// Ask for the sudo password
    #[arg(short = 'K', long)]
    ask_become_pass: bool,
    /// Private key to log in with
    #[arg(long, value_name = "FILE", visible_alias = "key-file")]
    private_key: Option<PathBuf>,
    /// Use this ssh configuration file instead of ~/.ssh/config
    #[arg(long, value_name = "FILE", env = "ARMILLA_SSH_CONFIG")]
    ssh_config: Option<PathBuf>,
    /// Accept and record the keys of unknown hosts; a changed key is still refused
    #[arg(long)]
    accept_new: bool,
    /// Seconds to wait for a connection
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    connect_timeout: u16,
    /// Keep idle connections open for this long, so that the next command can reuse them
    #[arg(long, value_name = "TIME", env = "ARMILLA_KEEP_CONNECTIONS", value_parser = patience::span)]
    keep_connections: Option<std::time::Duration>,
    /// A host program built for another architecture; repeatable. armilla's own are found beside it
    #[arg(long = "host-program", value_name = "FILE")]
    host_programs: Vec<PathBuf>,
    /// Rehearse on the lab hosts of the same names (see `armilla lab`) instead of the real hosts
    #[arg(long)]
    lab: bool,
}

impl Connection {
    /// Adds how hosts are reached: whether by sudo, and whether lab hosts of the same names are meant.
    ///
    /// # Errors
    /// When there is no lab.
    fn complete(&self, request: Request) -> Result<Request, Diagnostic> {
        let addresses = if self.lab { Addresses::Lab(hosts::lab_hosts()?) } else { Addresses::Inventory };
        let become_user = (self.become_root || self.ask_become_pass).then_some(Become::Root);
        Ok(Request { addresses, become_user, ..request })
    }
}

/// Runs the program with these arguments.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> std::process::ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    if completion::answer(&arguments) {
        return Exit::Success.into();
    }
    let cli = match Cli::try_parse_from(two_dashes(arguments)) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            let code = if error.use_stderr() { Exit::Error } else { Exit::Success };
            return code.into();
        }
    };
    colours(&cli.global);
    if let Err(problem) = limits::raise_open_files() {
        ui::problems(&problem.into());
        return Exit::Error.into();
    }
    match cli.command {
        Command::Lab(command) => lab_command(&cli.global, command),
        command => ended(block_on(run(&cli.global, &command))).into(),
    }
}

/// Runs one command.
async fn run(global: &Global, command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Init(command) => Ok(init::run(command)),
        Command::Validate(command) => Ok(validate::run(global, command).await),
        Command::Fmt(command) => fmt::run(global, command),
        Command::Plan(command) => plan::run(global, command).await,
        // The largest of all by far: the others need not be as large.
        Command::Apply(command) => Box::pin(apply::run(global, command)).await,
        Command::Show(command) => show::run(global, command),
        Command::Graph(command) => graph::run(global, command).await,
        Command::Explain(command) => explain::run(global, command).await,
        Command::Inventory(command) => inventory::run(global, command).await,
        Command::Facts(command) => facts::run(global, command).await,
        Command::Exec(command) => exec::run(global, command).await,
        Command::Vault(command) => vault::run(global, command).await,
        Command::Verify(command) => verify::run(global, command).await,
        Command::Drift(command) => drift::run(global, command).await,
        Command::Import(command) => import::run(global, command).await,
        Command::Resume(command) => resume::run(global, command).await,
        Command::Approve(command) => approve::run(command),
        Command::Runs(command) => Ok(runs::run(global.verbose, command)?),
        Command::Destroy(command) => destroy::run(global, command).await,
        Command::Lock(command) => lock::run(global, command).await,
        Command::Artifacts(command) => artifacts::run(command),
        Command::Doctor(command) => doctor::run(global, command).await,
        Command::Completion(command) => Ok(completion::run(command)),
        Command::Man(command) => man::run(command),
        Command::Version(command) => Ok(version::run(command)),
        // It ran before there was a runtime.
        Command::Lab(_) => Ok(Exit::Success),
    }
}

/// Why a command has no result.
enum Failure {
    /// This is wrong.
    Wrong(Diagnostics),
    /// It was said already.
    Told(Exit),
}

impl From<Diagnostics> for Failure {
    fn from(problems: Diagnostics) -> Self {
        Self::Wrong(problems)
    }
}

impl From<Diagnostic> for Failure {
    fn from(problem: Diagnostic) -> Self {
        Self::Wrong(problem.into())
    }
}

/// The exit code of a command, after showing what is wrong.
fn ended(result: Result<Exit, Failure>) -> Exit {
    match result {
        Ok(exit) | Err(Failure::Told(exit)) => exit,
        Err(Failure::Wrong(problems)) => {
            ui::problems(&problems);
            Exit::Error
        }
    }
}

/// Lab commands run while there is one thread: namespaces belong to threads. Those of the runtime have ended when the
/// names are known.
fn lab_command(global: &Global, command: lab::LabCommand) -> std::process::ExitCode {
    let names = |environment: &str| {
        let selection = Selection::of(environment);
        let environment = block_on(load::offline(global, &selection))?;
        Ok(environment.inventory.hosts().map(|host| host.name().to_string()).collect())
    };
    match lab::run(command, names) {
        Ok(code) => code,
        Err(lab::LabFailure::Project(problems)) => {
            ui::problems(&problems);
            Exit::Error.into()
        }
        Err(lab::LabFailure::Lab(error)) => {
            ui::failure(&error);
            Exit::Error.into()
        }
    }
}

/// Runs a command on the only runtime there is.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        // The kernel gives no threads or no event queue: nothing sensible is left to do.
        Err(error) => panic!("the machine is out of threads or files: {error}"),
    }
}

/// Terraform's long flags are understood with one dash, too.
fn two_dashes(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    const FLAGS: &[&str] =
        &["auto-approve", "check", "detailed-exitcode", "diff", "json", "no-color", "out", "tags", "target", "var"];
    let mut plain = false;
    let one = |argument: OsString| {
        plain |= argument == "--";
        let Some(text) = argument.to_str().filter(|_| !plain) else { return argument };
        let name = text.strip_prefix('-').map(|rest| rest.split('=').next().unwrap_or(rest));
        // A misspelt one, too: `-auto-aprove` read letter by letter gives a message nobody understands.
        let meant = |name: &str| {
            FLAGS.contains(&name)
                || name.len() > 5 && !name.starts_with('-') && !nearest(name, FLAGS.iter().copied()).is_empty()
        };
        if name.is_some_and(meant) { format!("-{text}").into() } else { argument }
    };
    arguments.into_iter().map(one).collect()
}

fn colours(global: &Global) {
    let choice = match global.color {
        _ if global.no_color => anstream::ColorChoice::Never,
        Colour::Auto => anstream::ColorChoice::Auto,
        Colour::Always => anstream::ColorChoice::AlwaysAnsi,
        Colour::Never => anstream::ColorChoice::Never,
    };
    choice.write_global();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn terraforms_flags_are_understood_with_one_dash() {
        let given =
            ["armilla", "apply", "staging", "-auto-approve", "-json", "-var=a=1", "-y", "-e", "-jsonx", "--json"];
        let got = two_dashes(given.map(OsString::from));
        let want =
            ["armilla", "apply", "staging", "--auto-approve", "--json", "--var=a=1", "-y", "-e", "-jsonx", "--json"];
        assert_eq!(got, want.map(OsString::from));
    }
}
