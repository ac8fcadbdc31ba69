//! The commit of a project folder.

use std::path::Path;
use std::process::Command;

use crate::ledger::Revision;

/// The commit of a project folder and whether something in it is not committed. None where there is no git or no
/// repository. It waits for git.
pub fn of(root: &Path) -> Option<Revision> {
    // To start a program only to hear that there is none takes longer than to look.
    let kept = |folder: &Path| folder.join(".git").exists();
    if !root.ancestors().any(kept) {
        return None;
    }
    let commit = git(root, &["rev-parse", "HEAD"])?;
    let changed = git(root, &["status", "--porcelain", "--", "."])?;
    Some(Revision { commit: commit.trim().to_owned(), dirty: !changed.trim().is_empty() })
}

/// A revision for a person: `3f2c1ab (clean)`.
pub fn shown(revision: &Revision) -> String {
    let short = revision.commit.get(..7).unwrap_or(&revision.commit);
    let state = if revision.dirty { "with uncommitted changes" } else { "clean" };
    format!("{short} ({state})")
}

/// Whether a commit is an ancestor of another. Not known, where the other is not in this repository, is no.
pub fn is_older(root: &Path, ours: &str, theirs: &str) -> bool {
    // It comes from a host: what is no commit is not given to git.
    let is_commit = |text: &str| text.len() >= 7 && text.chars().all(|c| c.is_ascii_hexdigit());
    ours != theirs && is_commit(theirs) && git(root, &["merge-base", "--is-ancestor", ours, theirs]).is_some()
}

#[expect(clippy::disallowed_methods, reason = "git knows its own repository best")]
fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
