//! Disposable real hosts on one Linux machine. In come names and orders, out go hosts with real systemd, real sshd, an
//! address, a disk and a boot id of their own. It never lets them reach outside the machine, and `down` leaves no trace.
//!
//! The map, in the order of a host's life:
//!
//! - `name`, `subnet`: what a host is called and where it lives (pure);
//! - `site`, `files`, `process`, `program`: places, records and programs, with errors that name them;
//! - `machine`, `proxy`, `base`: what all hosts share: the bridge, the apt proxy, the Debian disk below theirs;
//! - `host`, `ssh`: the first disk of one host, and the way into it;
//! - `power`: on, off, cut and healed, from outside;
//! - `supervise`, `init`, `cgroup`: the host's hardware, and its first process until that becomes systemd;
//! - `enter`: a program inside a host without ssh.

#![expect(clippy::disallowed_methods, reason = "the lab is one of the rooms that start programs")]

mod base;
mod cgroup;
mod enter;
mod error;
mod files;
mod host;
mod init;
mod machine;
mod name;
mod power;
mod process;
mod program;
mod proxy;
mod site;
mod ssh;
mod subnet;
mod supervise;

use std::convert::Infallible;
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use nix::fcntl::Flock;

pub use base::Rebuild;
pub use error::LabError;
pub use name::numbered;
use site::Site;

/// Where a lab lives. What is left out has a default, so that two commands without options speak of the same lab.
#[derive(Debug, Clone, Default)]
pub struct LabOptions {
    /// The lab's own folder; default `/var/lib/armilla/lab`.
    pub folder: Option<PathBuf>,
    /// First three numbers of its network, of the form `10.x.y`; default what the folder records, else `10.89.0`.
    pub subnet: Option<String>,
    /// The built base, which labs may share; default `base` in the lab's folder.
    pub base: Option<PathBuf>,
    /// Where packages are kept; default `apt/cache` in the lab's folder.
    pub apt_cache: Option<PathBuf>,
    /// The armilla program, for a caller that is another one; default the running program.
    pub program: Option<PathBuf>,
}

impl LabOptions {
    /// Takes `ARMILLA_LAB_DIR`, `_SUBNET`, `_BASE` and `_APT_CACHE` from the environment.
    pub fn from_environment() -> Self {
        let path = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        Self {
            folder: path("ARMILLA_LAB_DIR"),
            subnet: std::env::var("ARMILLA_LAB_SUBNET").ok().filter(|value| !value.is_empty()),
            base: path("ARMILLA_LAB_BASE"),
            apt_cache: path("ARMILLA_LAB_APT_CACHE"),
            program: None,
        }
    }
}

/// Whether a host has power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Power {
    /// Its init runs, or is about to run again.
    On,
    /// Nothing of it runs; its disk is kept.
    Off,
}

/// Whether frames of a host pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// They pass.
    Connected,
    /// All are dropped, both ways.
    Cut,
}

/// A host as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabHost {
    /// Its name, which all other hosts resolve.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it has power.
    pub power: Power,
    /// Whether its frames pass.
    pub wire: Wire,
}

impl LabHost {
    /// Its power and network, in words.
    fn state(&self) -> &'static str {
        match (self.power, self.wire) {
            (Power::On, Wire::Connected) => "on",
            (Power::On, Wire::Cut) => "on, disconnected",
            (Power::Off, Wire::Connected) => "off",
            (Power::Off, Wire::Cut) => "off, disconnected",
        }
    }
}

/// Hosts as a table: name, address, state.
pub fn table(hosts: &[LabHost]) -> String {
    let width = hosts.iter().map(|host| host.name.len()).max().unwrap_or(0);
    let line = |host: &LabHost| format!("{:width$}  {:<13}  {}\n", host.name, host.address, host.state());
    hosts.iter().map(line).collect()
}

/// Hosts as data.
pub fn data(hosts: &[LabHost]) -> serde_json::Value {
    let value = |host: &LabHost| {
        serde_json::json!({
            "name": host.name,
            "address": host.address.to_string(),
            "power": match host.power { Power::On => "on", Power::Off => "off" },
            "wire": match host.wire { Wire::Connected => "connected", Wire::Cut => "cut" },
        })
    };
    hosts.iter().map(value).collect()
}

/// One lab. Every order checks first, takes the lab's lock, and is idempotent.
#[derive(Debug, Clone)]
pub struct Lab {
    site: Site,
}

impl Lab {
    /// Settles where the lab lives; makes nothing yet.
    ///
    /// # Errors
    /// When this is not root, a program is missing (with the `apt-get` line that brings it), or an option is unusable.
    pub fn open(options: LabOptions) -> Result<Self, LabError> {
        if !cfg!(target_os = "linux") {
            return Err(LabError::NotLinux);
        }
        machine::check()?;
        Ok(Self { site: Site::new(options)? })
    }

    /// Builds the disk below all hosts, which `up` also does when it is missing.
    ///
    /// # Errors
    /// When hosts use the base, or the package archive cannot be reached.
    pub fn base(&self, rebuild: Rebuild, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        let _lock = self.site.lock(tell)?;
        if rebuild == Rebuild::IfNeeded && base::current(&self.site) {
            tell("the base is there and current");
            return Ok(());
        }
        self.ready(tell)?;
        let built = base::ensure(&self.site, rebuild, tell);
        self.leave_if_empty()?;
        built
    }

    /// Makes the hosts that do not exist, starts those that are off, and waits for sshd in all of them.
    ///
    /// # Errors
    /// A bad name is refused before anything is made; a host that does not start brings the end of its console.
    pub fn up<S: AsRef<str>>(&self, names: &[S], tell: &mut dyn FnMut(&str)) -> Result<Vec<LabHost>, LabError> {
        name::check_all(names)?;
        let names = owned(names);
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let lock = self.site.lock(tell)?;
        self.ready(tell)?;
        let made = base::ensure(&self.site, Rebuild::IfNeeded, tell).and_then(|()| self.make(&names));
        if made.is_err() {
            self.leave_if_empty()?;
        }
        made?;
        power::on(&self.site, &names)?;
        drop(lock);
        ssh::wait(&self.site, &names)?;
        proxy::wait(&self.site)?;
        names.iter().map(|name| self.host(name)).collect()
    }

    /// Removes hosts with their disks. With the last one, the bridge, the apt proxy and the cgroups go too.
    ///
    /// # Errors
    /// An unknown name is refused before anything is removed.
    pub fn down<S: AsRef<str>>(&self, names: &[S], tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        let _lock = self.lock_known(names, tell)?;
        self.remove(&owned(names))
    }

    /// Removes all hosts; a lab without hosts is fine.
    ///
    /// # Errors
    /// When something of a host cannot be removed.
    pub fn down_all(&self, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        if !self.site.folder.exists() {
            return Ok(());
        }
        let _lock = self.site.lock(tell)?;
        self.remove(&self.site.names())
    }

    /// All hosts, ordered as a reader counts.
    ///
    /// # Errors
    /// When the lab's records cannot be read.
    pub fn hosts(&self) -> Result<Vec<LabHost>, LabError> {
        self.site.names().iter().map(|name| self.host(name)).collect()
    }

    /// Runs a program as root inside a host, without ssh, and takes what it says.
    ///
    /// # Errors
    /// When the host is unknown or off, or the program could not be started at all.
    pub fn exec<S: AsRef<str>>(&self, name: &str, argv: &[S]) -> Result<Output, LabError> {
        let mut command = self.exec_command(name, argv)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = files::context(command.spawn(), "starting", &self.site.program)?;
        let _awake = enter::Awake::keep(child.id());
        files::context(child.wait_with_output(), "waiting for", &self.site.program)
    }

    /// The command behind [`Lab::exec`], for a caller with other wishes for its input and output.
    ///
    /// # Errors
    /// When the host is unknown or off.
    pub fn exec_command<S: AsRef<str>>(&self, name: &str, argv: &[S]) -> Result<Command, LabError> {
        self.site.known(name)?;
        enter::running(&self.site, name)?;
        let mut command = power::own_command(&self.site);
        command.env("TERM", std::env::var_os("TERM").unwrap_or_else(|| "dumb".into()));
        command.args(["__enter", name, "--"]).args(argv.iter().map(AsRef::as_ref));
        Ok(command)
    }

    /// An ssh client that uses the lab's keys.
    ///
    /// # Errors
    /// When the host is unknown.
    pub fn ssh_command<S: AsRef<str>>(&self, name: &str, argv: &[S]) -> Result<Command, LabError> {
        self.site.known(name)?;
        let mut command = Command::new("ssh");
        command.arg("-F").arg(self.ssh_config()).arg(name).args(argv.iter().map(AsRef::as_ref));
        Ok(command)
    }

    /// Drops every frame of a host, both ways, while its carrier stays up. Lasts over restarts, until [`Lab::heal`].
    ///
    /// # Errors
    /// When the host is unknown.
    pub fn cut(&self, name: &str) -> Result<(), LabError> {
        self.site.known(name)?;
        power::cut(&self.site, name)
    }

    /// Ends a cut.
    ///
    /// # Errors
    /// When the host is unknown.
    pub fn heal(&self, name: &str) -> Result<(), LabError> {
        self.site.known(name)?;
        power::heal(&self.site, name)
    }

    /// Pulls the plug of hosts: peers see silence, no process gets a signal it could handle, and the disk stays.
    ///
    /// # Errors
    /// When a host is unknown.
    pub fn kill<S: AsRef<str>>(&self, names: &[S], tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        let _lock = self.lock_known(names, tell)?;
        power::off(&self.site, &owned(names))
    }

    /// Switches hosts on with the disk they have, and waits for sshd unless their wire is cut.
    ///
    /// # Errors
    /// When a host is unknown, or does not start.
    pub fn boot<S: AsRef<str>>(&self, names: &[S], tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        let lock = self.lock_known(names, tell)?;
        let mut names = owned(names);
        self.ready(tell)?;
        power::on(&self.site, &names)?;
        drop(lock);
        names.retain(|name| !power::is_cut(&self.site, name));
        ssh::wait(&self.site, &names)
    }

    /// Waits until sshd answers in these hosts; in all that are on, if none is named.
    ///
    /// # Errors
    /// When a host is unknown or off, or stays silent.
    pub fn wait<S: AsRef<str>>(&self, names: &[S]) -> Result<(), LabError> {
        self.check_known(names)?;
        let mut all = owned(names);
        if all.is_empty() {
            all = self.site.names();
            all.retain(|name| power::is_on(&self.site, name) && !power::is_cut(&self.site, name));
        }
        all.iter().try_for_each(|name| enter::powered(&self.site, name))?;
        ssh::wait(&self.site, &all)
    }

    /// The file that tells ssh all about the hosts: `ssh -F FILE NAME`.
    pub fn ssh_config(&self) -> PathBuf {
        self.site.ssh_config()
    }

    /// Plays the hardware of a host until it goes off: what the hidden command `lab __supervise` does.
    ///
    /// # Errors
    /// When a step of making the host fails; the console file of the host is where it is read.
    #[doc(hidden)]
    pub fn supervise(&self, name: &str) -> Result<(), LabError> {
        self.site.known(name)?;
        supervise::supervise(&self.site, name)
    }

    /// Becomes the apt proxy: what the hidden command `lab __proxy` does.
    ///
    /// # Errors
    /// When the proxy's program does not start.
    #[doc(hidden)]
    pub fn proxy(&self) -> Result<Infallible, LabError> {
        proxy::become_proxy(&self.site)
    }

    /// Becomes the first process of a host: what the hidden command `lab __init` does.
    ///
    /// # Errors
    /// When a step of making the host fails.
    #[doc(hidden)]
    pub fn init(&self, name: &str) -> Result<Infallible, LabError> {
        init::init(&self.site, name)
    }

    /// Becomes a program inside a host: what the hidden command `lab __enter` does.
    ///
    /// # Errors
    /// When the host is unknown or off.
    #[doc(hidden)]
    pub fn enter<S: AsRef<str>>(&self, name: &str, argv: &[S]) -> Result<Infallible, LabError> {
        self.site.known(name)?;
        enter::enter(&self.site, name, argv)
    }

    fn host(&self, name: &str) -> Result<LabHost, LabError> {
        Ok(LabHost {
            name: name.to_owned(),
            address: self.site.address(name)?,
            power: if power::is_on(&self.site, name) { Power::On } else { Power::Off },
            wire: if power::is_cut(&self.site, name) { Wire::Cut } else { Wire::Connected },
        })
    }

    fn check_known<S: AsRef<str>>(&self, names: &[S]) -> Result<(), LabError> {
        names.iter().try_for_each(|name| self.site.known(name.as_ref()))
    }

    /// Checks names before and after waiting for the lock: another command may remove a host meanwhile.
    fn lock_known<S: AsRef<str>>(&self, names: &[S], tell: &mut dyn FnMut(&str)) -> Result<Flock<File>, LabError> {
        self.check_known(names)?;
        let lock = self.site.lock(tell)?;
        self.check_known(names)?;
        Ok(lock)
    }

    /// Brings up what all hosts share.
    fn ready(&self, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
        // First, as it refuses a subnet that is taken.
        machine::ready(&self.site, tell)?;
        self.site.settle()?;
        host::ensure_key(&self.site)?;
        proxy::start(&self.site)
    }

    /// Gives the missing hosts an address and a disk, and tells all hosts of each other.
    fn make(&self, names: &[String]) -> Result<(), LabError> {
        let known = self.site.names();
        self.site.allocate(&names.iter().filter(|name| !known.contains(name)).collect::<Vec<_>>())?;
        let bare = names.iter().filter(|name| !host::furnished(&self.site, name));
        let keys: Vec<_> = bare.map(|name| host::furnish(&self.site, name)).collect::<Result<_, _>>()?;
        keys.into_iter().try_for_each(program::Started::finish)?;
        host::introduce_all(&self.site)?;
        ssh::write(&self.site)
    }

    fn remove(&self, names: &[String]) -> Result<(), LabError> {
        power::off(&self.site, names)?;
        names.iter().try_for_each(|name| files::remove_folder(&self.site.host(name)))?;
        if !names.is_empty() {
            host::introduce_all(&self.site)?;
            ssh::write(&self.site)?;
        }
        self.leave_if_empty()
    }

    fn leave_if_empty(&self) -> Result<(), LabError> {
        if !self.site.names().is_empty() {
            return Ok(());
        }
        base::sweep(&self.site)?;
        proxy::stop(&self.site)?;
        machine::clear(&self.site)
    }
}

/// Each name once, in the order given.
fn owned<S: AsRef<str>>(names: &[S]) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    names.iter().map(|name| name.as_ref().to_owned()).filter(|name| seen.insert(name.clone())).collect()
}
