//! Where everything of one lab lies. In come a folder and a subnet, out go paths, the list of hosts and the lab's lock.
//! It never starts or stops anything.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::LabError;
use super::subnet::Subnet;
use super::{LabOptions, files, name};

/// Where the lab lives unless a user says otherwise.
const FOLDER: &str = "/var/lib/armilla/lab";

/// The running program, even after its file was replaced by a newer build.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Holds the path of the base, which may be another lab's.
const BASE_RECORD: &str = "base-folder";

/// The places of one lab.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The lab's own folder.
    pub(crate) folder: PathBuf,
    /// The shared disk under all hosts.
    pub(crate) base: PathBuf,
    /// Packages kept by the apt proxy.
    pub(crate) apt_cache: PathBuf,
    /// The network of the hosts.
    pub(crate) subnet: Subnet,
    /// The armilla program, which also is supervisor and first process of each host.
    pub(crate) program: PathBuf,
}

impl Site {
    /// Settles all places; nothing is made yet.
    pub(crate) fn new(options: LabOptions) -> Result<Self, LabError> {
        let folder = plain(options.folder.unwrap_or_else(|| PathBuf::from(FOLDER)))?;
        let subnet = settle_subnet(&folder, options.subnet.as_deref())?;
        Ok(Self {
            base: plain(options.base.or_else(|| recorded_base(&folder)).unwrap_or_else(|| folder.join("base")))?,
            apt_cache: plain(options.apt_cache.unwrap_or_else(|| folder.join("apt/cache")))?,
            program: options.program.unwrap_or_else(|| PathBuf::from(OWN_PROGRAM)),
            subnet,
            folder,
        })
    }

    /// Folder of a host.
    pub(crate) fn host(&self, name: &str) -> PathBuf {
        self.folder.join("hosts").join(name)
    }

    /// The private key that opens every host.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("id_ed25519")
    }

    /// Exact public keys of all hosts.
    pub(crate) fn known_hosts(&self) -> PathBuf {
        self.folder.join("known_hosts")
    }

    /// How ssh reaches all hosts.
    pub(crate) fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    /// What a host wrote to its console, and its supervisor's complaints.
    pub(crate) fn console(&self, name: &str) -> PathBuf {
        self.host(name).join("console.log")
    }

    /// Record of the process that plays the host's hardware.
    pub(crate) fn supervisor(&self, name: &str) -> PathBuf {
        self.host(name).join("supervisor")
    }

    /// Record of the host's first process.
    pub(crate) fn init(&self, name: &str) -> PathBuf {
        self.host(name).join("init")
    }

    /// Present while the host's wire is cut, so that the cut outlasts a reboot.
    pub(crate) fn cut_mark(&self, name: &str) -> PathBuf {
        self.host(name).join("cut")
    }

    /// Present from the first furnishing on: it is what makes a folder a host.
    fn address_file(&self, name: &str) -> PathBuf {
        self.host(name).join("address")
    }

    /// All hosts, ordered as a reader counts.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.join("hosts")).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.retain(|name| self.address_file(name).exists());
        names.sort_by_key(|name| name::natural(name));
        names
    }

    /// Refuses a name that no host has.
    pub(crate) fn known(&self, name: &str) -> Result<(), LabError> {
        let known = name::check(name).is_ok() && self.address_file(name).exists();
        if known { Ok(()) } else { Err(name::unknown(name, &self.names())) }
    }

    /// Address of a host.
    pub(crate) fn address(&self, name: &str) -> Result<Ipv4Addr, LabError> {
        let path = self.address_file(name);
        let text = files::context(fs::read_to_string(&path), "reading", &path)?;
        let parsed = text.trim().parse().map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error));
        files::context(parsed, "reading the address in", &path)
    }

    /// Names and addresses of all hosts.
    pub(crate) fn addresses(&self) -> Result<Vec<(String, Ipv4Addr)>, LabError> {
        self.names().into_iter().map(|name| Ok((name.clone(), self.address(&name)?))).collect()
    }

    /// Gives each new host the lowest free address; none, if there is not one for each.
    pub(crate) fn allocate(&self, names: &[&String]) -> Result<(), LabError> {
        let mut taken: BTreeSet<_> = self.addresses()?.into_iter().map(|(_, address)| address).collect();
        let mut given = Vec::new();
        for name in names {
            let address = self.subnet.free(&taken)?;
            taken.insert(address);
            given.push((name, address));
        }
        given.into_iter().try_for_each(|(name, address)| {
            files::make_folder(&self.host(name), 0o755)?;
            files::replace(&self.address_file(name), &format!("{address}\n"), 0o644)
        })
    }

    /// Makes the folder and records the subnet and the base, so that later commands agree without being told.
    pub(crate) fn settle(&self) -> Result<(), LabError> {
        // The apt proxy walks through as a user of its own; keys inside are 0600.
        files::make_folder(&self.folder, 0o711)?;
        files::make_folder(&self.folder.join("hosts"), 0o711)?;
        files::replace(&self.folder.join("subnet"), &format!("{}\n", self.subnet), 0o644)?;
        files::replace(&self.folder.join(BASE_RECORD), &format!("{}\n", self.base.display()), 0o644)
    }

    /// One order at a time: waits for another command on this lab to finish.
    pub(crate) fn lock(&self, tell: &mut dyn FnMut(&str)) -> Result<Flock<File>, LabError> {
        files::make_folder(&self.folder, 0o711)?;
        lock_file(&self.folder.join("lock"), tell)
    }
}

/// Takes a lock for one command, saying so if another one holds it.
pub(crate) fn lock_file(path: &Path, tell: &mut dyn FnMut(&str)) -> Result<Flock<File>, LabError> {
    let file = open_lock(path)?;
    let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => return Ok(lock),
        Err((file, _)) => file,
    };
    tell("waiting for another lab command to finish ...");
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| refused(path, errno))
}

/// Takes a lock with these arguments, or none if another holds it.
pub(crate) fn try_lock(path: &Path, how: FlockArg) -> Result<Option<Flock<File>>, LabError> {
    match Flock::lock(open_lock(path)?, how) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(refused(path, errno)),
    }
}

fn open_lock(path: &Path) -> Result<File, LabError> {
    let opened = File::options().create(true).truncate(false).write(true).open(path);
    files::context(opened, "opening", path)
}

fn refused(path: &Path, errno: Errno) -> LabError {
    LabError::File { doing: "locking", path: path.to_owned(), source: errno.into() }
}

/// Overlay options and the conf of the apt proxy have no reliable quoting.
fn plain(path: PathBuf) -> Result<PathBuf, LabError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
    let text = path.to_str().unwrap_or(":");
    if path.is_absolute() && text.chars().all(fine) { Ok(path) } else { Err(LabError::BadFolder(path)) }
}

/// The base in use, as long as it is there.
fn recorded_base(folder: &Path) -> Option<PathBuf> {
    let text = fs::read_to_string(folder.join(BASE_RECORD)).ok()?;
    Some(PathBuf::from(text.trim())).filter(|base| base.exists())
}

fn settle_subnet(folder: &Path, wanted: Option<&str>) -> Result<Subnet, LabError> {
    let recorded = fs::read_to_string(folder.join("subnet")).ok();
    let recorded = recorded.and_then(|text| text.trim().parse::<Subnet>().ok());
    let wanted = wanted.map(str::parse::<Subnet>).transpose()?;
    let empty = fs::read_dir(folder.join("hosts")).map_or(true, |mut hosts| hosts.next().is_none());
    match (recorded, wanted) {
        (Some(recorded), Some(wanted)) if recorded != wanted && !empty => Err(LabError::SubnetChanged {
            folder: folder.to_owned(),
            recorded: recorded.to_string(),
            wanted: wanted.to_string(),
        }),
        (recorded, wanted) => Ok(wanted.or(recorded).unwrap_or(Subnet::DEFAULT)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_that_overlay_options_cannot_hold_are_refused() {
        for folder in ["lab", "/a:b", "/a,b", "/a b", "/a\"b"] {
            assert!(plain(PathBuf::from(folder)).is_err(), "{folder}");
        }
        assert!(plain(PathBuf::from("/var/tmp/lab_2.x-y")).is_ok());
    }
}
