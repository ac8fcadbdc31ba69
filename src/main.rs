//! Parses, runs, exits.

use std::error::Error;
use std::process::ExitCode;

use armilla::cli::lab::{LabCommand, run};
use clap::Parser;

/// Armilla.
#[derive(Debug, Parser)]
enum Command {
    /// Disposable real hosts on this machine
    #[command(subcommand)]
    Lab(LabCommand),
}

fn main() -> ExitCode {
    let Command::Lab(command) = Command::parse();
    match run(command, |_| Ok(Vec::new())) {
        Ok(code) => code,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            let mut source = error.source();
            while let Some(cause) = source {
                anstream::eprintln!("  cause: {cause}");
                source = cause.source();
            }
            ExitCode::from(1)
        }
    }
}
