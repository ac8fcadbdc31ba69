//! What this host is, has and could become, for those who ask before they plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::paths::PATIENCE;
use super::tools::Tools;
use super::watched::{Limits, Work, each};
use crate::host::account::Accounts;
use crate::step::{Command, FitnessReading, Sudo};

/// Where free space is looked for.
const DIRECTORIES: [&str; 2] = ["/", "/var/tmp"];

/// How long sudo may take.
const ASKING: Duration = Duration::from_secs(10);

/// This host, with those of the programs that it has.
pub(super) fn fitness(programs: &BTreeSet<String>, tools: &Tools, accounts: &Accounts) -> FitnessReading {
    let uid = rustix::process::geteuid().as_raw();
    let account = accounts.user_numbered(uid).ok().flatten();
    FitnessReading {
        user: account.map_or_else(|| uid.to_string(), |account| account.name),
        sudo: if uid == 0 { Sudo::NotNeeded } else { sudo(tools) },
        programs: programs.iter().filter(|program| is_name(program) && tools.has(program)).cloned().collect(),
        free: free(tools),
        // Last, as it is compared with ours.
        clock: clock_gettime(ClockId::Realtime).tv_sec,
    }
}

fn is_name(program: &str) -> bool {
    !program.is_empty() && !program.contains(['/', '\0'])
}

/// Whether sudo lets this user in without a password.
fn sudo(tools: &Tools) -> Sudo {
    if !tools.has("sudo") {
        return Sudo::Missing;
    }
    match tools.run(&Command::new(["sudo", "-n", "true"]).within(ASKING)) {
        Ok(ended) if ended.exit == 0 => Sudo::Free,
        Ok(ended) => {
            let said = [ended.stdout, ended.stderr].concat();
            Sudo::Refused(String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned())
        }
        Err(why) => Sudo::Refused(why),
    }
}

/// Free bytes for other users than root; what does not answer is left out.
fn free(tools: &Tools) -> BTreeMap<String, u64> {
    let work: Work<&str, Option<u64>> = Arc::new(|directory, _| {
        let data = rustix::fs::statvfs(*directory).ok()?;
        Some(data.f_bavail.saturating_mul(data.f_frsize))
    });
    let limits = Limits { patience: PATIENCE, deadline: tools.deadline };
    let found = each(DIRECTORIES.to_vec(), limits, &work, &|_| None);
    DIRECTORIES.iter().zip(found).filter_map(|(directory, free)| Some(((*directory).to_owned(), free?))).collect()
}
