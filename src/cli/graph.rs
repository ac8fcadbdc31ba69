//! `armilla graph ENV`: services, roles, and what waits for what.

use std::collections::BTreeSet;

use clap::ValueEnum;

use super::{Exit, Global, Selection, load, ui};
use crate::report::graph::{self, Detail, GraphView};

/// Shows the graph.
#[derive(Debug, clap::Args)]
pub(super) struct Graph {
    #[command(flatten)]
    selection: Selection,
    /// In which form; `dot` is for Graphviz: armilla graph ENV --format dot | dot -Tsvg
    #[arg(long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    format: Format,
    /// Also the resources of each role
    #[arg(short, long)]
    resources: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Dot,
    Mermaid,
}

/// Runs the command.
pub(super) fn run(global: &Global, command: &Graph) -> Exit {
    let shown = load::load(global, &command.selection).and_then(|loaded| {
        let catalog = loaded.catalog(&loaded.example_facts(), &BTreeSet::new())?;
        Ok(GraphView::new(&loaded.placement, &loaded.roles, Some(&catalog)))
    });
    let view = match shown {
        Ok(view) => view,
        Err(problems) => {
            ui::problems(&problems);
            return Exit::Error;
        }
    };
    let detail = if command.resources { Detail::Resources } else { Detail::Services };
    ui::result(&match command.format {
        Format::Text => graph::text(&view, detail),
        Format::Dot => graph::dot(&view, detail),
        Format::Mermaid => graph::mermaid(&view),
    });
    Exit::Success
}
