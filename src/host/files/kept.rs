//! What a new file takes over from the one it replaces: access list, extended attributes, capabilities.

use rustix::fs::Stat;
use rustix::io::Errno;

use crate::host::directory::{Directory, Entry, told};
use crate::host::{Failure, Result};
use crate::step::MARKER;

/// The attribute with the capabilities of a program; see `capabilities(7)`.
pub(super) const CAPABILITY: &str = "security.capability";

/// The attribute with the access list; see `acl(5)`.
const ACCESS: &str = "system.posix_acl_access";

/// Attributes that the system makes from the content.
const OF_THE_CONTENT: [&str; 2] = ["security.ima", "security.evm"];

/// How far up a tree goes at most.
const DEEPEST: usize = 100;

/// What is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) stat: Stat,
    /// The access list; none if only the mode says who may do what.
    access: Option<Vec<u8>>,
    capability: Option<Vec<u8>>,
    /// All other attributes.
    others: Vec<(String, Vec<u8>)>,
}

impl Kept {
    /// Of a file that will be replaced. Fails where something of it could not be kept.
    pub(super) fn of(entry: &Entry, directory: &Directory, path: &str) -> Result<Self> {
        if entry.stat.st_nlink > 1 && !is_in_tree(directory) {
            return Err(Failure::new(format!(
                "{path} has {} names (hard links), and a new file would not be what the others are: \
                 remove the others, or replace it by a copy of itself",
                entry.stat.st_nlink
            )));
        }
        let unread = |errno| Failure::new(format!("{path}: its extended attributes cannot be read: {}", told(errno)));
        let mut kept = Self { stat: entry.stat, access: None, capability: None, others: Vec::new() };
        for name in entry.attributes().map_err(unread)? {
            let Some(value) = entry.attribute(&name).map_err(unread)? else { continue };
            match name.as_str() {
                ACCESS => kept.access = Some(value),
                CAPABILITY => kept.capability = Some(value),
                name if OF_THE_CONTENT.contains(&name) => {}
                _ => kept.others.push((name, value)),
            }
        }
        if kept.capability.is_some() && !directory.is_ours() {
            return Err(Failure::new(format!(
                "{path} has capabilities, and others can change its directory: move it away"
            )));
        }
        Ok(kept)
    }

    /// Gives the new file what it must have before it has a content. To be followed by its mode.
    pub(super) fn give(&self, new: &Entry, path: &str) -> Result {
        match &self.access {
            Some(access) => set(new, ACCESS, access, path)?,
            // It may have one from the directory.
            None => match new.remove_attribute(ACCESS) {
                Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
                Err(errno) => {
                    return Err(Failure::new(format!("{path}: its access list cannot be removed: {}", told(errno))));
                }
            },
        }
        self.others.iter().try_for_each(|(name, value)| set(new, name, value, path))
    }

    /// Whether [`Self::give_last`] gives anything.
    pub(super) fn is_powerful(&self) -> bool {
        self.capability.is_some()
    }

    /// Gives it what writing and new owners take away.
    pub(super) fn give_last(&self, new: &Entry, path: &str) -> Result {
        self.capability.as_ref().map_or(Ok(()), |capability| set(new, CAPABILITY, capability, path))
    }
}

fn set(new: &Entry, name: &str, value: &[u8], path: &str) -> Result {
    if new.attribute(name).is_ok_and(|is| is.as_deref() == Some(value)) {
        return Ok(());
    }
    let failed = |errno| Failure::new(format!("{path}: its attribute {name} cannot be kept: {}", told(errno)));
    new.set_attribute(name, value).map_err(failed)
}

/// Whether it is in a directory that armilla unpacked, where a second name may be that of the copy which a rollback needs.
fn is_in_tree(directory: &Directory) -> bool {
    let mut here = directory.again();
    for _ in 0..DEEPEST {
        let Ok(directory) = &here else { return false };
        match directory.look(MARKER) {
            Ok(Some(marker)) => return marker.is_file(),
            Ok(None) => {}
            Err(_) => return false,
        }
        let Ok(above) = directory.child("..") else { return false };
        if above.identity() == directory.identity() {
            return false;
        }
        here = Ok(above);
    }
    false
}
