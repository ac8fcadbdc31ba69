//! `armilla lab`: disposable real hosts. In comes a parsed command, out go lines for a reader or a script and an exit
//! code. It never makes or ends anything by itself; the lab does.

use std::io::{Write, stdout};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::diag::Diagnostics;
use crate::lab::{self as room, Lab, LabError, LabOptions, Rebuild, numbered};

/// Orders to the lab.
#[derive(Debug, clap::Subcommand)]
pub(super) enum LabCommand {
    /// Build the Debian 12 disk that all hosts share (about a minute, once; `up` does it too)
    Base {
        /// Build it again, with the archive's newest packages; no host may exist
        #[arg(long)]
        rebuild: bool,
    },
    /// Create and start hosts, and wait until each answers by ssh
    ///
    /// Hosts that exist keep their disk and are started if they are off. Every host resolves all others by name.
    #[command(
        after_help = "Examples:\n  armilla lab up 3                 h1, h2 and h3\n  armilla lab up 2 --prefix web-   web-1 and web-2\n  armilla lab up --env dev         every host of the environment dev"
    )]
    Up {
        /// How many hosts
        #[arg(value_name = "N", required_unless_present = "env", conflicts_with = "env", value_parser = clap::value_parser!(u8).range(1..=230))]
        count: Option<u8>,
        /// First part of their names, before the number
        #[arg(long, default_value = "h", conflicts_with = "env")]
        prefix: String,
        /// Create the hosts of this environment's inventory, with the same names
        #[arg(long)]
        env: Option<String>,
    },
    /// Remove hosts with their disks; the base and the kept packages stay
    Down {
        /// Which hosts [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Show all hosts: name, address, power
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a program as root inside a host, without ssh (works also while it is disconnected)
    Exec {
        /// The host
        name: String,
        /// The program and its arguments, after --
        #[arg(value_name = "CMD", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Log in to a host, or run a command there, over ssh
    Ssh {
        /// The host
        name: String,
        /// A command for the host's shell [default: a login]
        #[arg(value_name = "CMD", trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Disconnect hosts from the network: every frame is dropped, as when a switch fails
    Cut {
        /// The hosts
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Reconnect hosts to the network
    Heal {
        /// The hosts
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Power off hosts without a shutdown, as when the plug is pulled; they keep their disks
    Kill {
        /// The hosts
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Boot hosts that are off; they keep their disks
    Boot {
        /// The hosts
        #[arg(value_name = "NAME", required = true)]
        names: Vec<String>,
    },
    /// Wait until hosts answer by ssh
    Wait {
        /// Which hosts [default: all that are on]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Play the hardware of a host
    #[command(name = "__supervise", hide = true)]
    Supervise {
        /// The host
        name: String,
    },
    /// Be the apt proxy
    #[command(name = "__proxy", hide = true)]
    Proxy,
    /// Be the first process of a host
    #[command(name = "__init", hide = true)]
    Init {
        /// The host
        name: String,
    },
    /// Be a program inside a host
    #[command(name = "__enter", hide = true)]
    Enter {
        /// The host
        name: String,
        /// The program and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

/// Why an order was not carried out.
#[derive(Debug)]
pub(super) enum LabFailure {
    /// The project of `up --env` has mistakes.
    Project(Diagnostics),
    /// The lab refused.
    Lab(LabError),
}

impl From<LabError> for LabFailure {
    fn from(error: LabError) -> Self {
        Self::Lab(error)
    }
}

/// Carries out one order. Must be called while the process has one thread, as namespaces belong to threads.
///
/// `inventory` gives the names of an environment's hosts, for `up --env`.
///
/// # Errors
/// Whatever the lab refuses, in words that say what to type.
pub(super) fn run(
    command: LabCommand,
    inventory: impl FnOnce(&str) -> Result<Vec<String>, Diagnostics>,
) -> Result<ExitCode, LabFailure> {
    let lab = Lab::open(LabOptions::from_environment())?;
    let tell = &mut |line: &str| anstream::eprintln!("lab: {line}");
    match command {
        LabCommand::Base { rebuild } => lab.base(if rebuild { Rebuild::Always } else { Rebuild::IfNeeded }, tell)?,
        LabCommand::Up { count, prefix, env } => {
            let names = match &env {
                Some(env) => inventory(env).map_err(LabFailure::Project)?,
                None => numbered(&prefix, count.unwrap_or(1).into()),
            };
            print(&room::table(&lab.up(&names, tell)?));
        }
        LabCommand::Down { names } if names.is_empty() => lab.down_all(tell)?,
        LabCommand::Down { names } => lab.down(&names, tell)?,
        LabCommand::List { json: false } => print(&room::table(&lab.hosts()?)),
        LabCommand::List { json: true } => print(&format!("{:#}\n", room::data(&lab.hosts()?))),
        LabCommand::Exec { name, command } | LabCommand::Enter { name, command } => {
            match lab.enter(&name, &command)? {}
        }
        LabCommand::Ssh { name, command } => return Ok(become_program(lab.ssh_command(&name, &command)?)?),
        LabCommand::Cut { names } => names.iter().try_for_each(|name| lab.cut(name))?,
        LabCommand::Heal { names } => names.iter().try_for_each(|name| lab.heal(name))?,
        LabCommand::Kill { names } => lab.kill(&names, tell)?,
        LabCommand::Boot { names } => lab.boot(&names, tell)?,
        LabCommand::Wait { names } => lab.wait(&names)?,
        LabCommand::Supervise { name } => lab.supervise(&name)?,
        LabCommand::Proxy => match lab.proxy()? {},
        LabCommand::Init { name } => match lab.init(&name)? {},
    }
    Ok(ExitCode::SUCCESS)
}

fn become_program(mut command: Command) -> Result<ExitCode, LabError> {
    let path = Path::new(command.get_program()).to_owned();
    Err(LabError::File { doing: "starting", path, source: command.exec() })
}

/// A reader that went away (`| head`) is no failure.
fn print(text: &str) {
    let _ = stdout().lock().write_all(text.as_bytes());
}
