//! `armilla completion SHELL`.

use clap::CommandFactory;

use super::{Cli, Exit, ui};

/// Prints a completion script.
#[derive(Debug, clap::Args)]
pub(super) struct Completion {
    /// For which shell
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(super) fn run(command: &Completion) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "armilla", &mut script);
    ui::result(&String::from_utf8_lossy(&script));
    Exit::Success
}
