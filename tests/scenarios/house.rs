//! The labs of the stories. In come names of hosts, out go hosts that are up, and what they answer.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use armilla::lab::{Lab, LabOptions, Rebuild, Wire};

use crate::project::Project;

/// The program under test.
pub(crate) const ARMILLA: &str = env!("CARGO_BIN_EXE_armilla");

/// Nothing on these hosts takes longer.
const PATIENCE: Duration = Duration::from_secs(180);

fn told(variable: &str, otherwise: &str) -> String {
    std::env::var(variable).ok().filter(|value| !value.is_empty()).unwrap_or_else(|| otherwise.to_owned())
}

/// The lock that one run holds at a time; it ends with the process.
fn alone(folder: &str) -> io::Result<File> {
    let path = format!("{folder}.lock");
    std::fs::create_dir_all("/var/lib/armilla")?;
    let file = File::create(path)?;
    file.lock()?;
    Ok(file)
}

/// The hosts of one story at a time.
pub(crate) struct House {
    lab: Lab,
    number: u8,
    folder: String,
    subnet: String,
    base: PathBuf,
    /// Two runs on one machine would take each other's hosts away: the second waits until the first has ended.
    _alone: File,
}

impl House {
    /// An empty lab, also after a run that crashed. Each has a number of its own, from 0, and with it a folder, which is not
    /// that of a user, and a network. Another run beside this one is told of others.
    pub(crate) fn open(number: u8) -> Result<Self, String> {
        let folder = told("ARMILLA_LAB_DIR", "/var/lib/armilla/test-lab");
        let folder = if number == 0 { folder } else { format!("{folder}-{number}") };
        let subnet = told("ARMILLA_LAB_SUBNET", "10.90.0");
        let (network, third) = subnet.rsplit_once('.').ok_or_else(|| format!("{subnet} is no network"))?;
        let third: u8 = third.parse().map_err(|_| format!("{subnet} is no network"))?;
        let subnet = format!("{network}.{}", third.saturating_add(number));
        let needs = "stories on real hosts need Linux and root, and what `tests/prepare` installs";
        let given = LabOptions::from_environment();
        let base = given.base.unwrap_or_else(|| "/var/lib/armilla/lab/base".into());
        let options = LabOptions {
            folder: Some(folder.as_str().into()),
            subnet: Some(subnet.clone()),
            base: Some(base.clone()),
            apt_cache: None,
            program: Some(ARMILLA.into()),
        };
        let alone = alone(&folder).map_err(|error| format!("{needs}\n  {folder}.lock: {error}"))?;
        let lab = Lab::open(options).map_err(|error| format!("{needs}\n  {error}"))?;
        let tell = &mut |_: &str| {};
        lab.down_all(tell).map_err(|error| format!("what an earlier run left could not be removed: {error}"))?;
        lab.base(Rebuild::IfNeeded, tell).map_err(|error| format!("the base could not be built: {error}"))?;
        Ok(Self { lab, number, folder, subnet, base, _alone: alone })
    }

    /// Removes all hosts.
    pub(crate) fn close(&self) -> Result<(), String> {
        self.lab.down_all(&mut |_| {}).map_err(|error| error.to_string())
    }

    /// Which of the labs it is.
    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// Where it is kept.
    pub(crate) fn folder(&self) -> &str {
        &self.folder
    }

    /// The first three numbers of its network.
    pub(crate) fn subnet(&self) -> &str {
        &self.subnet
    }

    /// The address of this machine, as hosts see it.
    pub(crate) fn machine(&self) -> String {
        format!("{}.1", self.subnet)
    }

    /// How the ssh of this machine is told of its hosts.
    pub(crate) fn ssh_config(&self) -> String {
        format!("{}/ssh_config", self.folder)
    }

    /// The lab itself, for a story about it.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// What an armilla of this lab must be told.
    pub(crate) fn environment(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("ARMILLA_LAB_DIR", self.folder.as_str().into()),
            ("ARMILLA_LAB_SUBNET", self.subnet.as_str().into()),
            ("ARMILLA_LAB_BASE", self.base.clone()),
        ]
    }

    /// An empty project.
    pub(crate) fn project(&self, name: &str) -> Project<'_> {
        // The stories share hosts and the name of an environment: what one owns there is no other's to take away.
        for host in self.lab.hosts().expect("the hosts are listed") {
            let _ = self.lab.exec(&host.name, &["rm", "-rf", "/var/lib/armilla"]);
        }
        Project::new(self, name)
    }

    /// Hosts that are on and connected; their disks are as they were left.
    pub(crate) fn up(&self, names: &[&str]) {
        let hosts = self.lab.up(names, &mut |_| {}).expect("the hosts start");
        for host in hosts.iter().filter(|host| host.wire == Wire::Cut) {
            self.lab.heal(&host.name).expect("the wire is mended");
        }
        self.lab.wait(names).expect("the hosts answer");
    }

    /// Hosts with empty disks. With the first member of an ensemble go all that another story may have left: at the same
    /// addresses, they would give the new ensemble the list of members that they have.
    pub(crate) fn fresh(&self, names: &[&str]) {
        if names.contains(&"zk1") {
            self.down(&["zk1", "zk2", "zk3", "zk4", "zk5"]);
        }
        self.down(names);
        self.up(names);
    }

    /// The members of an ensemble, as another story may have left them; with empty disks if it left more members, who would
    /// go on as those of the same ensemble.
    pub(crate) fn members(&self, names: &[&str]) {
        let all = self.lab.hosts().expect("the hosts are listed");
        let is_other = |host: &str| host.starts_with("zk") && !names.contains(&host);
        if all.iter().any(|host| is_other(&host.name)) { self.fresh(names) } else { self.up(names) }
    }

    /// Removes those of the hosts that are there.
    pub(crate) fn down(&self, names: &[&str]) {
        let all = self.lab.hosts().expect("the hosts are listed");
        let there: Vec<_> =
            all.into_iter().map(|host| host.name).filter(|name| names.contains(&name.as_str())).collect();
        self.lab.down(&there, &mut |_| {}).expect("the hosts are removed");
    }

    /// The address of a host.
    pub(crate) fn address(&self, name: &str) -> String {
        let all = self.lab.hosts().expect("the hosts are listed");
        all.iter().find(|host| host.name == name).expect("the host is there").address.to_string()
    }

    /// Runs a shell script in a host, from outside and as root.
    pub(crate) fn ask(&self, host: &str, script: &str) -> Output {
        self.lab.exec(host, &["sh", "-c", script]).expect("the host is entered")
    }

    /// What a script in a host prints, without white space around it. The script must succeed.
    pub(crate) fn sh(&self, host: &str, script: &str) -> String {
        let output = self.ask(host, script);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        assert!(output.status.success(), "`{script}` on {host}: {} {}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Whether a script in a host succeeds.
    pub(crate) fn holds(&self, host: &str, script: &str) -> bool {
        self.ask(host, script).status.success()
    }
}

/// Waits until something holds.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "it never came true that {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
