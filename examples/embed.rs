//! Plans and applies an environment of a project folder from Rust: `cargo run --example embed -- FOLDER ENVIRONMENT`.

#![expect(clippy::print_stdout, reason = "an example shows what it did")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use armilla::diag::{Diagnostic, Diagnostics};
use armilla::history::History;
use armilla::name::EnvName;
use armilla::operation::{Abort, Finished, Ground, Identity, Limits, Session, Silent, Stop};
use armilla::transport::{Connections, SshOptions, Transport as _};
use armilla::workspace::{Request, Workspace};

/// Brings the hosts of an environment to what the files of the project say. Runs are recorded below `state`.
pub(crate) async fn converge(project: &Path, environment: &str, state: &Path) -> Result<Finished, Abort> {
    let name = EnvName::new(environment).map_err(Diagnostic::from)?;
    let environment = Workspace::open(project)?.environment(&Request::of(name)).await?;
    let transport = Arc::new(Connections::new(SshOptions::default()));
    let identity = Identity::of_this_process("embed");
    let session = Session::new(Arc::clone(&transport), identity, History::new(state), Arc::new(Silent));
    let stop = Stop::never();
    let locked = session.lock(&Ground::of(&environment), &stop).await?;
    let survey = locked.survey(&environment, &stop).await?;
    println!("{} changes", survey.plan.summary().changes());
    let approved = session.approve(session.propose(&environment, survey), &Limits::default(), &stop).await?;
    let finished = session.apply(locked, approved, stop).await;
    transport.close().await;
    finished
}

#[tokio::main]
async fn main() -> Result<(), Diagnostics> {
    let [folder, environment] = [1, 2].map(|place| std::env::args().nth(place).unwrap_or_default());
    let state = PathBuf::from(&folder).join(".armilla");
    let finished = converge(Path::new(&folder), &environment, &state).await.map_err(|abort| abort.problems())?;
    println!("{:?}", finished.outcome);
    Ok(())
}
