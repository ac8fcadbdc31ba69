//! Files and folders with errors that name them. In come paths and texts, out go files that are whole or absent. It
//! never follows a link that a lab host laid into its own disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MntFlags, umount2};

use super::error::LabError;

/// Attaches the path to an error of the system.
pub(crate) fn context<T>(result: io::Result<T>, doing: &'static str, path: &Path) -> Result<T, LabError> {
    result.map_err(|source| LabError::File { doing, path: path.to_owned(), source })
}

/// Writes a file through a neighbour and a rename, so that no reader sees half of it.
pub(crate) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), LabError> {
    let new = path.with_extension("new");
    context(write_with_mode(&new, text, mode).and_then(|()| fs::rename(&new, path)), "writing", path)
}

/// Writes a file in place, with exactly this mode.
pub(crate) fn write(path: &Path, text: &str, mode: u32) -> Result<(), LabError> {
    context(write_with_mode(path, text, mode), "writing", path)
}

fn write_with_mode(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())
}

/// Makes the folders above a path, where they are not there.
pub(crate) fn make_above(path: &Path) -> Result<(), LabError> {
    let Some(folder) = path.parent() else { return Ok(()) };
    context(DirBuilder::new().recursive(true).mode(0o755).create(folder), "making", folder)
}

/// Makes a folder and those above it, with exactly this mode for the last one.
pub(crate) fn make_folder(path: &Path, mode: u32) -> Result<(), LabError> {
    let result = DirBuilder::new().recursive(true).mode(0o755).create(path);
    context(result.and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode))), "making", path)
}

/// Removes a folder and all in it; one that is not there is fine.
pub(crate) fn remove_folder(path: &Path) -> Result<(), LabError> {
    detach_below(path)?;
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => context(Err(error), "removing", path),
        _ => Ok(()),
    }
}

/// What a killed builder left mounted must not be removed with the folder: it can be the machine's own /dev.
fn detach_below(path: &Path) -> Result<(), LabError> {
    let mounts = Path::new("/proc/self/mounts");
    let text = context(fs::read_to_string(mounts), "reading", mounts)?;
    let places =
        text.lines().filter_map(|line| line.split(' ').nth(1)).filter(|place| Path::new(place).starts_with(path));
    places.collect::<Vec<_>>().into_iter().rev().try_for_each(|place| {
        context(umount2(place, MntFlags::MNT_DETACH).map_err(Into::into), "unmounting", Path::new(place))
    })
}

/// Removes a file; one that is not there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), LabError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => context(Err(error), "removing", path),
        _ => Ok(()),
    }
}

/// Rewrites an existing file below a host's root in place. Links are followed as the host itself would follow them, so
/// that one to `/etc/passwd` means the host's and not the machine's.
pub(crate) fn edit_below(root: &Path, path: &str, edit: impl FnOnce(&str) -> Option<String>) -> Result<(), LabError> {
    context(edit_below_root(root, path, edit), "rewriting", &root.join(path))
}

fn edit_below_root(root: &Path, path: &str, edit: impl FnOnce(&str) -> Option<String>) -> io::Result<()> {
    let how = OpenHow::new().flags(OFlag::O_RDWR | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    let mut file = File::from(openat2(File::open(root)?, path, how)?);
    let mut old = String::new();
    file.read_to_string(&mut old)?;
    if let Some(new) = edit(&old).filter(|new| *new != old) {
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(new.as_bytes())?;
    }
    Ok(())
}

/// The end of a log, with a leading line break, for an error text.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let all: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    indented(&all[all.len().saturating_sub(lines)..])
}

/// Lines as they follow the first line of an error.
pub(crate) fn indented<S: AsRef<str>>(lines: &[S]) -> String {
    lines.iter().fold(String::new(), |text, line| text + "\n  " + line.as_ref())
}
