//! One step on one simulated host.

use super::{Host, Trouble, apt, declared, foreign, program, undo, web};
use crate::step::{Alternative, Command, Outcome, Step};

/// A program that only looks.
pub(super) fn look(host: &Host, command: &Command, mode: Option<&str>) -> Result<String, Trouble> {
    match (command.argv.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), mode) {
        (["zookeeper-mode"], Some(mode)) => Ok(format!("{mode}\n")),
        (["zookeeper-mode"], None) => Err(Trouble::new(1, "not serving")),
        _ => program::look(host, command),
    }
}

/// Runs the command; after the exit status that an alternative is for, the alternative, and so on.
fn run_or(host: &mut Host, command: &Command, alternatives: &[Alternative]) -> Result<String, Trouble> {
    let mut done = declared::run(host, command);
    for alternative in alternatives {
        match done {
            Err(trouble) if trouble.exit == alternative.after => done = declared::run(host, &alternative.command),
            done => return done,
        }
    }
    done
}

fn edited(done: Result<bool, Trouble>) -> Outcome {
    match done {
        Ok(true) => Outcome::Done,
        Ok(false) => Outcome::NotNeeded,
        Err(Trouble { exit, stderr, .. }) => Outcome::Failed { exit, stderr },
    }
}

pub(super) fn perform(host: &mut Host, step: &Step, mode: Option<&str>) -> Outcome {
    let done = match step {
        Step::WriteFile { path, content, ownership } => host.write(path, content.bytes(), ownership),
        Step::SendFile { path, file, ownership } => host.send(path, file, ownership),
        Step::Unchanged { path, digest } => host.unchanged(path, digest.as_ref()),
        Step::EditFile { path, edit, create } => return edited(host.edit(path, edit, create.as_ref())),
        Step::MakeDirectory { path, ownership } => host.make_directory(path, ownership),
        Step::MakeLink { path, target } => host.link(path, target),
        Step::SetOwnership { path, ownership } => host.set_ownership(path, ownership),
        Step::Remove { path, what } => host.remove(path, *what),
        Step::KeepCopy { path, .. } => {
            host.keep_copy(path);
            Ok(())
        }
        Step::DropCopies { owner } => {
            host.drop_copies(owner);
            Ok(())
        }
        Step::Download { path, remote, ownership } => web::download(host, path, remote, ownership),
        Step::Unpack(unpacking) => web::unpack(host, unpacking),
        Step::RemoveUnpacked { path } => web::remove(host, path),
        Step::RefreshPackages => {
            host.lists = Some(host.now);
            Ok(())
        }
        Step::RemovePackages(removal) => match apt::remove_all(host, removal) {
            Ok(false) => return Outcome::NotNeeded,
            done => done.map(drop),
        },
        Step::Run(command) => declared::run(host, command).map(drop),
        Step::RunUnless(command, guard) => match look(host, guard, mode) {
            Ok(_) => return Outcome::NotNeeded,
            Err(_) => declared::run(host, command).map(drop),
        },
        Step::RunOr(command, alternatives) => run_or(host, command, alternatives).map(drop),
        Step::Send(sending) => match foreign::send(host, sending) {
            Ok(Outcome::NotNeeded) => return Outcome::NotNeeded,
            sent => sent.map(drop),
        },
        Step::Await(_) => Err(Trouble::new(127, "a gate is no step of a single host")),
        Step::SaveLedger { .. }
        | Step::AdoptLedger { .. }
        | Step::Arm { .. }
        | Step::Extend { .. }
        | Step::Disarm { .. }
        | Step::GiveUp { .. } => Ok(()),
        Step::Snapshot(snapshot) => undo::snapshot(host, snapshot),
        Step::Commit { owner, name } => undo::commit(host, &(owner.clone(), name.clone())),
        Step::Undo { owner, name } => {
            let key = (owner.clone(), name.clone());
            if undo::is_done(host, &key) {
                return Outcome::NotNeeded;
            }
            undo::undo(host, &key)
        }
    };
    match done {
        Ok(()) => Outcome::Done,
        Err(trouble) => Outcome::Failed { exit: trouble.exit, stderr: trouble.stderr },
    }
}
