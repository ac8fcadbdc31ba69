//! An editor on something nobody else may see.
//!
//! In: bytes. Out: what a person made of them. Never: a file that others can read, or one that stays.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::signal::unix::{SignalKind, signal};

use crate::diag::Diagnostic;
use crate::secret::Secret;

/// Lets the user's editor change a text. None if it is as it was.
///
/// # Errors
/// When there is no editor, it fails, or a signal ends the work: then nothing counts.
pub(super) async fn edit(like: &Path, before: &[u8]) -> Result<Option<Secret<Vec<u8>>>, Diagnostic> {
    let failed = |error: std::io::Error| Diagnostic::error(format!("cannot create a temporary file to edit: {error}"));
    // Removed when it is dropped, with whatever an editor leaves beside the file.
    let folder = tempfile::Builder::new().prefix("armilla-").tempdir_in(memory()).map_err(failed)?;
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).map_err(failed)?;
    // Editors know by its name what it is.
    let name = like.file_name().unwrap_or_else(|| "vault.yml".as_ref());
    let file = folder.path().join(name);
    fs::write(&file, before).map_err(failed)?;
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    wait(&file).await?;
    let after = fs::read(&file)
        .map_err(|error| Diagnostic::error(format!("the edited file cannot be read; nothing was changed: {error}")))?;
    Ok((after != before).then(|| Secret::new(after)))
}

/// A folder in memory where there is one: it is on no disk.
fn memory() -> PathBuf {
    let own = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && path.is_dir());
    let shared = || Some(PathBuf::from("/dev/shm")).filter(|path| path.is_dir());
    own.or_else(shared).unwrap_or_else(std::env::temp_dir)
}

/// The words of $VISUAL or $EDITOR, or `vi`.
fn editor() -> Vec<String> {
    let named = ["VISUAL", "EDITOR"].into_iter().filter_map(|name| std::env::var(name).ok());
    let words = named.map(|text| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    words.into_iter().find(|words| !words.is_empty()).unwrap_or_else(|| vec!["vi".to_owned()])
}

/// Ctrl-C is the editor's; what ends this program ends the editor first, so that the file is removed.
async fn wait(file: &Path) -> Result<(), Diagnostic> {
    let words = editor();
    let problem = |why: String| {
        Diagnostic::error(format!("the editor `{}` {why}; nothing was changed", words.join(" ")))
            .hint("set $VISUAL or $EDITOR to the editor to use")
    };
    let unheard = |error: std::io::Error| problem(format!("was not started: {error}"));
    let _interrupts = signal(SignalKind::interrupt()).map_err(unheard)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(unheard)?;
    #[expect(clippy::disallowed_methods, reason = "the user's own editor, which they named")]
    let mut command = tokio::process::Command::new(&words[0]);
    command.args(&words[1..]).arg(file).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| problem(format!("cannot be started: {error}")))?;
    tokio::select! {
        status = child.wait() => match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(problem(format!("exited with {status}"))),
            Err(error) => Err(problem(format!("was lost: {error}"))),
        },
        _ = terminate.recv() => Err(problem("was killed by a signal".to_owned())),
        _ = hangup.recv() => Err(problem("was killed by a signal".to_owned())),
    }
}
