//! Changes of a part of a file: read, changed and written in one go.

use std::io::Read as _;

use super::draft::Target;
use super::{Files, look, path};
use crate::edit::Edit;
use crate::host::directory::{Directory, Entry, Missing, Unreached};
use crate::host::{Failure, Result};
use crate::step::{FETCH_LIMIT, Outcome, Ownership};

impl Files<'_> {
    /// Changes a part of a file. Where there is nothing to change, nothing is written. `create` is who may do what with a
    /// file that is not there yet; none if it is an error that it is not. All that is not content stays as it is.
    pub(in crate::host) fn edit(&mut self, path: &str, edit: &Edit, create: Option<&Ownership>) -> Result<Outcome> {
        let path = path::located(path, self.numbers)?;
        let failed = |why: String| Failure::new(format!("{path}: {why}"));
        let (place, found) = find(&path)?;
        let before = match (&place, &found) {
            (Ok((directory, _)), Some(entry)) => Some(content(entry, directory, &path)?),
            _ if create.is_some() => None,
            _ if edit.is_wanted() => {
                return Err(failed("the file still does not exist: no earlier step created it".to_owned()));
            }
            _ => return Ok(Outcome::NotNeeded),
        };
        let after = edit.apply(before.as_deref()).map_err(|why| failed(why.to_string()))?;
        let Some(after) = after.filter(|after| before.as_ref() != Some(after)) else { return Ok(Outcome::NotNeeded) };
        let (directory, name) = place?;
        let kept = Ownership::default();
        let ownership = create.filter(|_| found.is_none()).unwrap_or(&kept);
        let mut draft = self.begin(Target { directory, name, path }, found.as_ref(), ownership)?.exactly();
        draft.fill(&after)?;
        self.place(draft)?;
        Ok(Outcome::Done)
    }
}

/// The directory, if there is one, and what has the name in it.
type Found = (std::result::Result<(Directory, String), Unreached>, Option<Entry>);

fn find(path: &str) -> Result<Found> {
    match Directory::open_parent(path, Missing::Refuse) {
        Ok((directory, name)) => {
            let found = look(&directory, name, path)?;
            Ok((Ok((directory, name.to_owned())), found))
        }
        Err(unreached) if unreached.absent => Ok((Err(unreached), None)),
        Err(unreached) => Err(unreached.into()),
    }
}

fn content(entry: &Entry, directory: &Directory, path: &str) -> Result<Vec<u8>> {
    if !entry.is_file() {
        return Err(Failure::new(format!(
            "{path}: it is not a regular file, and armilla does not write through links"
        )));
    }
    let mut bytes = Vec::new();
    let read = entry.open(directory, path)?.take(FETCH_LIMIT + 1).read_to_end(&mut bytes);
    read.map_err(|why| Failure::new(format!("{path}: {why}")))?;
    if bytes.len() as u64 > FETCH_LIMIT {
        return Err(Failure::new(format!("{path}: it is larger than {} KiB", FETCH_LIMIT >> 10)));
    }
    Ok(bytes)
}
