//! `armilla man [COMMAND…]`: manual pages, made from the definition of the command line.
//!
//! In: the words of a command, or a folder. Out: one page, or all of them as files. Never: a page that says something else
//! than `--help`.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command as Program, Stdio};

use clap::{Command, CommandFactory as _};
use clap_mangen::roff::{Roff, roman};

use super::{Cli, Exit, Failure, ui};
use crate::diag::Diagnostic;
use crate::name::did_you_mean;

/// Shows manual pages.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Of which command: `plan`, `lab up` [default: of armilla itself]
    #[arg(value_name = "COMMAND")]
    command: Vec<String>,
    /// Write all pages into this folder instead: armilla.1, armilla-plan.1, and so on
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

/// Runs the command.
pub(super) fn run(command: &Man) -> Result<Exit, Failure> {
    let mut root = Cli::command();
    root.build();
    match &command.dir {
        Some(folder) => write_all(&root, folder).map_err(|error| unwritten(&error))?,
        None => one(&root, &command.command)?,
    }
    Ok(Exit::Success)
}

fn unwritten(error: &io::Error) -> Diagnostic {
    Diagnostic::error(format!("the page cannot be written: {error}"))
}

fn one(root: &Command, words: &[String]) -> Result<(), Diagnostic> {
    let page = page(find(root, words)?).map_err(|error| unwritten(&error))?;
    show(&page);
    Ok(())
}

/// The commands below a command that have a page.
fn pages(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set() && below.get_name() != "help")
}

/// The command these words name.
fn find<'a>(root: &'a Command, words: &[String]) -> Result<&'a Command, Diagnostic> {
    words.iter().try_fold(root, |command, word| {
        command.find_subcommand(word).ok_or_else(|| {
            let names = pages(command).map(Command::get_name);
            let problem = Diagnostic::error(format!("`{}` has no command `{word}`", command.get_name()));
            problem.maybe_hint(did_you_mean(word, names))
        })
    })
}

/// One page, as `man` reads it.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let source = concat!("armilla ", env!("CARGO_PKG_VERSION"));
    let page = clap_mangen::Man::new(command.clone().version(env!("CARGO_PKG_VERSION")).disable_version_flag(true));
    let page = page.source(source).manual("armilla");
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    }
    if let Some(more) = command.get_after_help() {
        notes(&more.to_string()).to_writer(&mut text)?;
    }
    Ok(text)
}

/// What stands below the options of `--help`, line by line as it is there.
fn notes(text: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]).control("nf", []);
    for line in text.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}

/// Writes the page of a command and of all below it.
fn write_all(command: &Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    std::fs::write(folder.join(format!("{name}.1")), page(command)?)?;
    pages(command).try_for_each(|below| write_all(below, folder))
}

/// Through `man` for a person, as it is for a program.
fn show(page: &[u8]) {
    if !ui::is_terminal(crate::exec::Stream::Out) || !through_man(page) {
        ui::result(&String::from_utf8_lossy(page));
    }
}

/// Whether `man` is there and has shown it.
#[expect(clippy::disallowed_methods, reason = "man displays manual pages")]
fn through_man(page: &[u8]) -> bool {
    let Ok(mut man) = Program::new("man").args(["-l", "-"]).stdin(Stdio::piped()).spawn() else { return false };
    // Who leaves the pager early does not read to the end.
    let _ = man.stdin.take().map(|mut stdin| stdin.write_all(page));
    man.wait().is_ok_and(|status| status.success())
}
