//! What uses an account: its processes and its crontab.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::step::AccountUse;

/// How many processes and units are told: a person needs no more to see that the account is in use.
const MOST: usize = 50;

/// Where the jobs of a user are: on Debian, and elsewhere.
const TABS: [&str; 2] = ["var/spool/cron/crontabs", "var/spool/cron"];

/// What uses the account of this name and number. `root` is `/`, but for tests.
///
/// # Errors
/// When the processes of this host cannot be listed.
pub(in crate::host) fn usage(name: &str, uid: u32, root: &Path) -> Result<Vec<AccountUse>, String> {
    let processes = root.join("proc");
    let listed = fs::read_dir(&processes).map_err(|error| format!("{}: {error}", processes.display()))?;
    let ids = listed.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let found: BTreeSet<AccountUse> = ids.filter_map(|id| process(id, uid, &processes)).collect();
    let tab = TABS.iter().any(|directory| {
        let data = fs::symlink_metadata(root.join(directory).join(name));
        data.is_ok_and(|data| data.is_file())
    });
    Ok(found.into_iter().take(MOST).chain(tab.then_some(AccountUse::Crontab)).collect())
}

/// A process of the user: real, effective, saved or for files. One that has just ended, or that is the manager which systemd
/// keeps of a user for a while after a login, is no use.
fn process(id: u32, uid: u32, processes: &Path) -> Option<AccountUse> {
    let text = |name: &str| {
        let bytes = fs::read(processes.join(id.to_string()).join(name)).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    };
    let status = text("status")?;
    let numbers = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    if !numbers.split_ascii_whitespace().any(|number| number.parse() == Ok(uid)) {
        return None;
    }
    let name: String = text("comm")?.chars().filter(|c| !c.is_control()).collect();
    if let Some(unit) = text("cgroup").unwrap_or_default().lines().find_map(unit) {
        return Some(AccountUse::Unit(unit.to_owned()));
    }
    (!["systemd", "(sd-pam)"].contains(&name.as_str())).then_some(AccountUse::Process { id, name })
}

/// The service of the system that a line of `/proc/PID/cgroup` names, in a slice of any depth.
fn unit(line: &str) -> Option<&str> {
    let (_, below) = line.rsplit_once("/system.slice/")?;
    let name = below.split('/').find(|name| name.strip_suffix(".slice").is_none())?;
    let end = name.rfind(".service")? + ".service".len();
    (end > ".service".len()).then(|| &name[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_found_in_a_slice_of_any_depth() {
        assert_eq!(unit("0::/system.slice/web.service"), Some("web.service"));
        assert_eq!(unit("0::/system.slice/a.slice/a-b.slice/web@1.service/x"), Some("web@1.service"));
        assert_eq!(unit("1:name=systemd:/docker/1/system.slice/web.service"), Some("web.service"));
        for other in [
            "0::/user.slice/user-1.slice/user@1.service",
            "0::/system.slice/x.scope",
            "0::/",
            "0::/system.slice/.service",
        ] {
            assert_eq!(unit(other), None, "{other}");
        }
    }

    #[test]
    fn processes_units_and_crontabs_of_a_user_are_found() {
        let root = tempfile::tempdir().expect("a directory");
        let process = |id: u32, uids: &str, name: &str, group: &str| {
            let at = root.path().join(format!("proc/{id}"));
            fs::create_dir_all(&at).expect("a directory");
            fs::write(at.join("status"), format!("Name:\t{name}\nUid:\t{uids}\nGid:\t7\n")).expect("a file");
            fs::write(at.join("comm"), format!("{name}\n")).expect("a file");
            fs::write(at.join("cgroup"), format!("0::{group}\n")).expect("a file");
        };
        process(1, "0\t0\t0\t0", "init", "/init.scope");
        process(20, "7\t7\t7\t7", "sl\x1beep", "/user.slice/session-1.scope");
        process(3, "0\t0\t7\t0", "saved", "/");
        process(4, "77\t77\t77\t77", "other", "/");
        process(5, "7\t7\t7\t7", "java", "/system.slice/web.service");
        process(6, "7\t7\t7\t7", "java", "/system.slice/web.service");
        process(7, "7\t7\t7\t7", "systemd", "/user.slice/user-7.slice/user@7.service/init.scope");
        let run = |id, name: &str| AccountUse::Process { id, name: name.to_owned() };
        let mut wanted = vec![run(3, "saved"), run(20, "sleep"), AccountUse::Unit("web.service".to_owned())];
        assert_eq!(usage("app", 7, root.path()), Ok(wanted.clone()));
        assert_eq!(usage("app", 8, root.path()), Ok(Vec::new()));
        let tabs = root.path().join("var/spool/cron/crontabs");
        fs::create_dir_all(&tabs).expect("a directory");
        fs::write(tabs.join("app"), "").expect("a file");
        wanted.push(AccountUse::Crontab);
        assert_eq!(usage("app", 7, root.path()), Ok(wanted));
        assert!(usage("app", 7, &root.path().join("nowhere")).is_err());
    }

    #[test]
    fn this_process_uses_the_account_that_it_runs_as() {
        let uid = rustix::process::geteuid().as_raw();
        assert!(usage("nobody-at-all", uid, Path::new("/")).is_ok_and(|found| !found.is_empty()));
    }
}
