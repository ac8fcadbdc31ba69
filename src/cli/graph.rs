//! `armilla graph ENV`: services, roles, and what waits for what.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::ValueEnum;

use super::{Exit, Failure, Global, Selection, load, ui};
use crate::diag::{Diagnostic, Diagnostics};
use crate::report::graph::{self, Detail, GraphView};
use crate::report::{diagram, page};

/// Shows the graph.
#[derive(Debug, clap::Args)]
pub(super) struct Graph {
    #[command(flatten)]
    selection: Selection,
    /// Output format; `html` is an interactive page, `dot` is for Graphviz
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    format: Format,
    /// Also the resources of each role
    #[arg(short, long)]
    resources: bool,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Dot,
    Mermaid,
    Svg,
    Html,
}

/// Runs the command.
pub(super) async fn run(global: &Global, command: &Graph) -> Result<Exit, Failure> {
    let text = drawn(global, command).await?;
    deliver(command, &text)?;
    Ok(Exit::Success)
}

async fn drawn(global: &Global, command: &Graph) -> Result<String, Diagnostics> {
    let loaded = load::offline(global, &command.selection).await?;
    let catalog = loaded.catalog(&loaded.example_facts(), &BTreeSet::new())?;
    let view = GraphView::new(&loaded.placement, &loaded.roles, Some(&catalog));
    let detail = if command.resources { Detail::Resources } else { Detail::Services };
    Ok(match command.format {
        Format::Text => graph::text(&view, detail),
        Format::Dot => graph::dot(&view, detail),
        Format::Mermaid => graph::mermaid(&view),
        Format::Svg => diagram::svg(&view),
        Format::Html => page::html(&view, &catalog),
    })
}

fn deliver(command: &Graph, text: &str) -> Result<(), Diagnostics> {
    let Some(file) = &command.output else {
        ui::result(text);
        return Ok(());
    };
    let written = std::fs::write(file, text);
    let why = |error| Diagnostic::error(format!("{} cannot be written: {error}", file.display()));
    Ok(written.map_err(why)?)
}
