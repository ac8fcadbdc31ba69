//! `armilla version`: which program this is.

use serde_json::json;

use super::{Exit, ui};

/// Shows the version.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The revision is known if the program was built with it:\n  ARMILLA_REVISION=$(git describe --always --dirty) cargo build --release"
)]
pub(super) struct Version {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What it was built from, if whoever built it said so. Not asked of git here: a source archive has none, and a build should depend on its sources alone.
const REVISION: Option<&str> = option_env!("ARMILLA_REVISION");

/// Runs the command.
pub(super) fn run(command: &Version) -> Exit {
    ui::result(&if command.json { machine() } else { human() });
    Exit::Success
}

fn target() -> String {
    format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS)
}

fn human() -> String {
    let revision = REVISION.filter(|text| !text.is_empty()).map(|text| format!("\nrevision {text}"));
    format!("armilla {VERSION}{}\ntarget {}", revision.unwrap_or_default(), target())
}

fn machine() -> String {
    json!({
        "format": "armilla-version",
        "version": 1,
        "armilla": VERSION,
        "revision": REVISION.filter(|text| !text.is_empty()),
        "target": target(),
    })
    .to_string()
}
