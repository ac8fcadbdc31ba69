//! The directory in which this program lies on a host, beside those of other versions of armilla.
//!
//! In: the path of this program. Out: the others that nobody used for a month, and what uploads that were cut
//! off left, are gone. Never: anything in a directory where this program does not lie under its digest.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How long a program may lie there unused. It is sent again when it is needed again.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How old the time of the last use may be before it is written anew.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// The beginning of the name of a program that is on its way.
const ARRIVING: &str = ".new.";

/// The beginning of the name of what says that a program was compared with its digest.
const CHECKED: &str = ".checked.";

/// Marks this program as used, which has it compared with its digest at the next start, and removes what nobody uses. What cannot be marked or removed stays as it is.
pub(super) fn tidy(own: &Path) {
    tidy_at(own, SystemTime::now());
}

fn tidy_at(own: &Path, now: SystemTime) {
    let (Some(directory), true) = (own.parent(), is_digest(own)) else { return };
    let age = |path: &Path| -> io::Result<Duration> {
        Ok(now.duration_since(fs::symlink_metadata(path)?.modified()?).unwrap_or_default())
    };
    // Only once a day: a look at a host writes nothing, and looking for others is not free.
    if !age(own).is_ok_and(|age| age > STALE) {
        return;
    }
    let _ = fs::File::open(own).and_then(|file| file.set_modified(now));
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let allowed = match &path {
            path if is_digest(path) => UNUSED,
            _ if name.starts_with(CHECKED) => UNUSED,
            _ if name.starts_with(ARRIVING) => STALE,
            _ => continue,
        };
        if age(&path).is_ok_and(|age| age > allowed) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_digest(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.len() == 64 && name.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_not_used_for_a_month_goes() {
        let room = tempfile::tempdir().expect("a directory");
        let now = SystemTime::now();
        let days = |days: u32| now - Duration::from_secs(60) - Duration::from_secs(24 * 60 * 60) * days;
        let place = |name: &str, used: SystemTime| {
            let path = room.path().join(name);
            fs::write(&path, "").expect("a file");
            fs::File::open(&path).and_then(|file| file.set_modified(used)).expect("a time");
            path
        };
        let [own, young, old] = [("a", 2), ("b", 29), ("c", 30)].map(|(name, age)| place(&name.repeat(64), days(age)));
        let [cut, arriving, gone, checked, other] =
            [(".new.1", 1), (".new.2", 0), (".checked.c", 30), (".checked.a", 2), ("notes", 99)]
                .map(|(name, age)| place(name, days(age)));
        tidy_at(&room.path().join("armilla-host"), now);
        assert!(old.exists() && cut.exists(), "a program under its own name tidies nothing");
        tidy_at(&own, now);
        assert!([&own, &young, &arriving, &checked, &other].iter().all(|path| path.exists()));
        assert!(!old.exists() && !cut.exists() && !gone.exists());
        let used = fs::metadata(&own).and_then(|data| data.modified()).expect("a time");
        assert!(now.duration_since(used).unwrap_or_default() < Duration::from_secs(2));
        place(&"c".repeat(64), days(99));
        tidy_at(&own, now);
        assert!(old.exists(), "once a day is enough");
    }
}
