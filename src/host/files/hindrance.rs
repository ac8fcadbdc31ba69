//! Why a file cannot be changed, where the system's own word says too little.

use rustix::fs::{FileType, IFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::host::Failure;
use crate::host::directory::{Directory, Entry, told};

/// The failure for a person: `path` is what should change, `entry` what has its name now.
pub(super) fn failure(errno: Errno, path: &str, entry: Option<&Entry>, directory: &Directory) -> Failure {
    let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
    let parent = if parent.is_empty() { "/" } else { parent };
    let marked = |entry: Option<&Entry>, path: &str| entry.and_then(flag).map(|flag| format!("{path} is {flag}"));
    let why = match errno {
        Errno::PERM => marked(entry, path).or_else(|| marked(directory.entry().ok().as_ref(), parent)),
        Errno::BUSY => Some(format!("{path} is a mount point, or in use by the system")),
        Errno::ACCESS => Some(format!("permission denied: cannot change {path}")),
        Errno::AGAIN => Some(format!("{path} is held by another program (a lease)")),
        _ => None,
    };
    Failure::new(why.unwrap_or_else(|| format!("{path}: {}", told(errno))))
}

/// The flag of `chattr(1)` that forbids changes.
fn flag(entry: &Entry) -> Option<&'static str> {
    if !matches!(entry.kind(), FileType::RegularFile | FileType::Directory) {
        return None;
    }
    let open =
        rustix::fs::open(entry.path(), OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let flags = rustix::fs::ioctl_getflags(open).ok()?;
    let set = |flag| flags.contains(flag);
    match () {
        () if set(IFlags::IMMUTABLE) => Some("immutable (chattr +i)"),
        () if set(IFlags::APPEND) => Some("append-only (chattr +a)"),
        () => None,
    }
}
