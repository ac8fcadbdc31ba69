//! What is at paths, of all that are asked about at once.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::look::{Found, Status, look};
use super::watched::{Limits, Pulse, Work, each};
use crate::host::account::Accounts;
use crate::step::{Attributes, Fetch, Mode, PathReading, Probe, Reading, home_of};

/// How long a file system may take for one look, and for each piece of a file.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A path to read.
struct Job {
    path: String,
    fetch: Fetch,
}

/// Reads the path probes among these.
pub(super) fn paths<'a>(
    probes: impl IntoIterator<Item = &'a Probe>,
    accounts: &Accounts,
    deadline: Instant,
) -> Vec<(Probe, Reading)> {
    let wanted: Vec<(&Probe, &str, &Fetch)> = probes.into_iter().filter_map(wanted).collect();
    accounts.prepare_names(wanted.iter().filter_map(|(_, path, _)| home_of(path)).map(|(user, _)| user), []);
    let (mut readings, mut asked, mut jobs) = (Vec::new(), Vec::new(), Vec::new());
    for (probe, path, fetch) in wanted {
        match located(path, accounts) {
            Ok(Some(path)) => {
                asked.push(probe);
                jobs.push(Job { path, fetch: fetch.clone() });
            }
            Ok(None) => readings.push((probe.clone(), Reading::Path(PathReading::Absent))),
            Err(why) => readings.push((probe.clone(), Reading::Failed(why))),
        }
    }
    let found = look_at(jobs, deadline);
    let numbers = |number: fn(&Status) -> u32| found.iter().filter_map(status).map(number).collect::<Vec<_>>();
    accounts.prepare_numbers(numbers(|of| of.uid), numbers(|of| of.gid));
    let told = found.into_iter().map(|found| found.and_then(|found| reading(found, accounts)));
    let told = told.map(|told| told.map_or_else(Reading::Failed, Reading::Path));
    readings.extend(asked.into_iter().cloned().zip(told));
    readings
}

fn wanted(probe: &Probe) -> Option<(&Probe, &str, &Fetch)> {
    match probe {
        Probe::Path { path, content } => Some((probe, path, content)),
        _ => None,
    }
}

/// The absolute path; none if it is in the home of a user without one.
fn located(path: &str, accounts: &Accounts) -> Result<Option<String>, String> {
    let Some((user, below)) = home_of(path) else { return Ok(Some(path.to_owned())) };
    let home = accounts.home(user).map_err(|failure| failure.why)?;
    Ok(home.map(|home| format!("{home}/{below}")))
}

/// Reads each path. A file system that did not answer is skipped from then on.
fn look_at(jobs: Vec<Job>, deadline: Instant) -> Vec<Result<Found, String>> {
    let away: Arc<Mutex<Vec<PathBuf>>> = Arc::default();
    let known = Arc::clone(&away);
    let work: Work<Job, Result<Found, String>> = Arc::new(move |job: &Job, pulse: &Pulse| {
        let hidden = known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|at| Path::new(&job.path).starts_with(at))
            .cloned();
        match hidden {
            Some(at) => Err(silent(&at)),
            None => look(&job.path, &job.fetch, pulse),
        }
    });
    each(jobs, Limits { patience: PATIENCE, deadline }, &work, &|job| {
        let at = mount_of(Path::new(&job.path), &std::fs::read_to_string("/proc/self/mounts").unwrap_or_default());
        // A link on the way may lead from the root to the one that hangs.
        if at != Path::new("/") {
            away.lock().unwrap_or_else(PoisonError::into_inner).push(at.clone());
        }
        Err(silent(&at))
    })
}

fn silent(at: &Path) -> String {
    format!("the file system at {} does not answer; its server may be away", at.display())
}

/// Where the file system of a path is mounted, by its name: asking the file system would hang.
fn mount_of(path: &Path, mounts: &str) -> PathBuf {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(unescaped);
    let mine = points.filter(|at| path.starts_with(at));
    mine.max_by_key(|at| at.components().count()).unwrap_or_else(|| PathBuf::from("/"))
}

/// `\040` is a space in this table; so are tabs, line ends and backslashes written.
fn unescaped(text: &str) -> PathBuf {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\043", "#"), ("\\134", "\\")];
    PathBuf::from(escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to)))
}

fn status(found: &Result<Found, String>) -> Option<&Status> {
    match found {
        Ok(Found::File { status, .. } | Found::Directory(status)) => Some(status),
        _ => None,
    }
}

/// What was found, with names for the numbers.
fn reading(found: Found, accounts: &Accounts) -> Result<PathReading, String> {
    Ok(match found {
        Found::Absent => PathReading::Absent,
        Found::File { status, size, digest, content } => {
            let attributes = attributes(status, accounts)?;
            PathReading::File { attributes, size, digest, modified: status.modified, content }
        }
        Found::Directory(status) => PathReading::Directory(attributes(status, accounts)?),
        Found::Link { target, modified } => PathReading::Link { target, modified },
        Found::Other(word) => PathReading::Other(word.to_owned()),
    })
}

fn attributes(status: Status, accounts: &Accounts) -> Result<Attributes, String> {
    let owner = accounts.user_numbered(status.uid).map_err(|failure| failure.why)?.map(|user| user.name);
    let group = accounts.group_numbered(status.gid).map_err(|failure| failure.why)?.map(|group| group.name);
    Ok(Attributes {
        mode: Mode(status.mode),
        owner: owner.unwrap_or_else(|| status.uid.to_string()),
        group: group.unwrap_or_else(|| status.gid.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{CommandReading, Digest};
    use std::fs;

    fn accounts(etc: &Path) -> Accounts {
        fs::write(
            etc.join("passwd"),
            "root:x:0:0::/root:/bin/sh\nada:x:1234:1234::ETC/ada:/bin/sh\nbob:x:3:3::/nonexistent:/\n"
                .replace("ETC", &etc.display().to_string()),
        )
        .expect("a file");
        fs::write(etc.join("group"), "root:x:0:\nadas:x:1234:\n").expect("a file");
        fs::write(etc.join("nsswitch.conf"), "passwd: files\ngroup: files\n").expect("a file");
        Accounts::of(etc, Arc::new(|_| Ok(CommandReading { exit: 127, ..CommandReading::default() })))
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn a_path_in_a_home_is_where_the_accounts_say() {
        let etc = tempfile::tempdir().expect("a directory");
        fs::create_dir(etc.path().join("ada")).expect("a directory");
        fs::write(etc.path().join("ada/file"), "x").expect("a file");
        let path = |path: &str| Probe::Path { path: path.to_owned(), content: Fetch::Digest };
        let probes = [path("~ada/file"), path("~ada/none"), path("~bob/x"), path("~no-such/x"), Probe::State];
        let readings: crate::step::Readings = paths(&probes, &accounts(etc.path()), soon()).into_iter().collect();
        assert!(
            matches!(readings.path(&probes[0]), Ok(PathReading::File { digest, .. }) if *digest == Digest::of(b"x"))
        );
        for probe in &probes[1..4] {
            assert_eq!(readings.path(probe), Ok(&PathReading::Absent), "{probe:?}");
        }
        assert_eq!(readings.get(&Probe::State), None);
    }

    #[test]
    #[ignore = "needs root: gives files to other users"]
    fn owners_have_names_where_the_accounts_have_them() {
        let etc = tempfile::tempdir().expect("a directory");
        let file = etc.path().join("file");
        fs::write(&file, "x").expect("a file");
        let accounts = accounts(etc.path());
        let probe = Probe::Path { path: file.display().to_string(), content: Fetch::Always };
        for (uid, gid, names) in
            [(1234, 1234, ["ada", "adas"]), (0, 4321, ["root", "4321"]), (4321, 0, ["4321", "root"])]
        {
            std::os::unix::fs::chown(&file, Some(uid), Some(gid)).expect("root may");
            let readings: crate::step::Readings = paths([&probe], &accounts, soon()).into_iter().collect();
            let Ok(PathReading::File { attributes, .. }) = readings.path(&probe) else { panic!("{readings:?}") };
            assert_eq!([attributes.owner.as_str(), attributes.group.as_str()], names);
        }
    }

    #[test]
    fn the_file_system_of_a_path_is_the_last_on_its_way() {
        let mounts = "/dev/sda / ext4 rw 0 0\ns:/a /mnt/hung\\040up nfs4 rw 0 0\ns:/b /mnt nfs rw 0 0\n";
        let of = |path: &str| mount_of(Path::new(path), mounts);
        assert_eq!(of("/mnt/hung up/file"), Path::new("/mnt/hung up"));
        assert_eq!(of("/mnt/hung upper"), Path::new("/mnt"));
        assert_eq!(of("/mntx"), Path::new("/"));
    }

    /// A file system whose server never answers: nobody reads what the kernel asks of it.
    #[test]
    #[ignore = "needs root: mounts a file system"]
    fn a_file_system_that_hangs_hides_only_itself() {
        use std::os::fd::AsRawFd as _;
        let room = tempfile::tempdir().expect("a directory");
        let at = room.path().join("hung up");
        fs::create_dir(&at).expect("a directory");
        fs::write(room.path().join("file"), "x").expect("a file");
        let server = fs::File::options().read(true).write(true).open("/dev/fuse").expect("the kernel has it");
        let options = format!("fd={},rootmode=40755,user_id=0,group_id=0", server.as_raw_fd());
        nix::mount::mount(Some("none"), &at, Some("fuse"), nix::mount::MsFlags::empty(), Some(options.as_str()))
            .expect("a mount");
        let path =
            |name: &str| Probe::Path { path: room.path().join(name).display().to_string(), content: Fetch::Always };
        let probes = [path("hung up/file"), path("hung up/other"), path("hung up"), path("file"), path("hung upper")];
        let began = Instant::now();
        let readings: crate::step::Readings = paths(&probes, &accounts(room.path()), soon()).into_iter().collect();
        let took = began.elapsed();
        drop(server);
        nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH).expect("it goes");
        for probe in &probes[..2] {
            let why = readings.path(probe).expect_err("it hangs").0;
            assert!(why.contains("hung up does not answer"), "{why}");
        }
        assert!(matches!(readings.path(&probes[3]), Ok(PathReading::File { .. })));
        assert_eq!(readings.path(&probes[4]), Ok(&PathReading::Absent));
        assert!(took < PATIENCE * 3, "it is asked once: {took:?}");
    }
}
