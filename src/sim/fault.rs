//! What goes wrong, and what people change behind our back.
//!
//! In: a host. Out: the host after somebody was there. Never: chance; tests choose.

use super::host::Host;
use super::tree::{Node, What};
use super::{apt, units};
use crate::step::Mode;

/// What happens instead of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails, and nothing of it was done.
    Fails,
    /// The host loses its power before the step.
    PowerLossBefore,
    /// The host loses its power when it has written down that it begins, and has not begun.
    PowerLossIn,
    /// The step is done, then the host loses its power before it writes that down; nobody hears that it was done.
    PowerLossAfter,
    /// The connection ends before the step; the host stays up.
    CutBefore,
    /// The step is done, but the connection ends before anybody hears of it.
    CutAfter,
}

/// What somebody does to a host by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Drift {
    /// Adds a line to a file.
    Edit(String),
    /// Removes a path and all below it.
    Delete(String),
    /// Gives a path other permission bits.
    Mode(String),
    /// Gives a path to `nobody`.
    Owner(String),
    /// Puts a directory where a file or link was.
    Directory(String),
    /// Lets a link point elsewhere.
    Relink(String),
    /// Stops a unit.
    Stop(String),
    /// Starts a unit.
    Start(String),
    /// Keeps a unit from starting with the host.
    Disable(String),
    /// Removes a package; its configuration stays.
    Remove(String),
    /// Removes a user; its files stay.
    Leave(String),
}

impl Drift {
    /// Does it. What is not there cannot drift.
    pub fn happen(&self, host: &mut Host) {
        let now = host.now;
        match self {
            Self::Edit(path) => edit(host, path),
            Self::Delete(path) => host.paths.clear(path),
            Self::Mode(path) => on(host, path, |node| node.mode = Mode(node.mode.0 ^ 0o011)),
            Self::Owner(path) => on(host, path, |node| node.uid = 65_534),
            Self::Directory(path) => {
                host.paths.clear(path);
                let _ = host.paths.make_directory(path, now);
            }
            Self::Relink(path) => relink(host, path),
            Self::Stop(unit) => drop(host.units.stop(unit, &host.paths)),
            Self::Start(unit) => drop(host.start(unit)),
            Self::Disable(unit) => drop(units::disable(unit, &mut host.paths)),
            Self::Remove(package) => drop(apt::take_away(host, package)),
            Self::Leave(user) => drop(host.users.remove(user)),
        }
    }
}

fn on(host: &mut Host, path: &str, change: impl FnOnce(&mut Node)) {
    if let Some(node) = host.paths.get_mut(path) {
        change(node);
    }
}

fn edit(host: &mut Host, path: &str) {
    if let Some(content) = host.paths.file(path) {
        let content = [content, b"# by hand\n"].concat();
        let _ = host.paths.write(path, &content, host.now);
    }
}

fn relink(host: &mut Host, path: &str) {
    if matches!(host.paths.get(path).map(|node| &node.what), Some(What::Link(_))) {
        let _ = host.paths.link(path, "/elsewhere", host.now);
    }
}
