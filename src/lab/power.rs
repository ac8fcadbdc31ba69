//! Power and wires of hosts, from outside. In come names, out go hosts that run, are off, or are cut from the network.
//! It never leaves a process, interface or cgroup of a host that is off.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::fd::RawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::{scope, sleep, spawn};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{close, setsid};

use super::cgroup::Cgroups;
use super::error::LabError;
use super::process::Process;
use super::program::Program;
use super::site::Site;
use super::{files, machine};

/// The word by which a supervisor tells its starter that the host has its network.
pub(crate) const STARTED: &str = "started";

/// Bridge port states of the kernel (`BR_STATE_DISABLED`, `BR_STATE_FORWARDING`). A disabled port drops every frame both
/// ways while the carrier stays up, as when a switch further off fails.
const DISABLED: &str = "0";
const FORWARDING: &str = "3";

/// How long a killed host may take to be gone before the supervisor is ended too.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether a host has power. Between the two boots of a restart it has no init, but still a supervisor.
pub(crate) fn is_on(site: &Site, name: &str) -> bool {
    Process::recorded(&site.supervisor(name)).or_else(|| Process::recorded(&site.init(name))).is_some()
}

/// Whether a host's wire is cut.
pub(crate) fn is_cut(site: &Site, name: &str) -> bool {
    site.cut_mark(name).exists()
}

/// Starts all that are off, at once, and waits until each has its network.
pub(crate) fn on(site: &Site, names: &[String]) -> Result<(), LabError> {
    let off: Vec<_> = names.iter().filter(|name| !is_on(site, name)).collect();
    let started: Vec<_> =
        off.into_iter().map(|name| Ok((name, start_supervisor(site, name)?))).collect::<Result<_, _>>()?;
    for (name, mut supervisor) in started {
        let mut line = String::new();
        let said = supervisor.stdout.take().map(|output| BufReader::new(output).read_line(&mut line));
        reap(supervisor);
        if !matches!(said, Some(Ok(_))) || line.trim() != STARTED {
            return Err(not_started(site, name));
        }
    }
    Ok(())
}

/// Pulls the plugs: first the wires, so that peers see silence and no FIN, then every process at once.
pub(crate) fn off(site: &Site, names: &[String]) -> Result<(), LabError> {
    scope(|threads| {
        let all: Vec<_> = names.iter().map(|name| threads.spawn(|| off_one(site, name))).collect();
        all.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })
}

/// Drops every frame of a host, also after it restarts.
pub(crate) fn cut(site: &Site, name: &str) -> Result<(), LabError> {
    files::write(&site.cut_mark(name), "", 0o600)?;
    set_port(site, name, DISABLED)
}

/// Ends a cut.
pub(crate) fn heal(site: &Site, name: &str) -> Result<(), LabError> {
    files::remove(&site.cut_mark(name))?;
    set_port(site, name, FORWARDING)
}

/// Cuts a new wire of a host that is cut. Its carrier makes the port forward a moment after it is up, so that comes first.
pub(crate) fn renew_cut(site: &Site, name: &str) -> Result<(), LabError> {
    if !is_cut(site, name) {
        return Ok(());
    }
    let state = Path::new("/sys/class/net").join(site.subnet.port(site.address(name)?)).join("brport/state");
    let end = Instant::now() + Duration::from_secs(1);
    while fs::read_to_string(&state).is_ok_and(|text| text.trim() != FORWARDING) && Instant::now() < end {
        sleep(Duration::from_millis(5));
    }
    set_port(site, name, DISABLED)
}

/// Removes what a host leaves in the machine: its wire and its groups.
pub(crate) fn clear(site: &Site, name: &str) -> Result<(), LabError> {
    let port = site.subnet.port(site.address(name)?);
    // The kernel also removes it with the host's namespace, a moment after the last process.
    if machine::has_link(&port)
        && let Err(error) = machine::ip("removing a wire", &format!("link del {port}"))
        && machine::has_link(&port)
    {
        return Err(error);
    }
    if let Some(groups) = Cgroups::recorded(&site.host(name)) {
        groups.remove()?;
        files::remove(&site.host(name).join("cgroups"))?;
    }
    files::remove(&site.init(name))
}

/// The error for a host that is off though it was started.
pub(crate) fn not_started(site: &Site, name: &str) -> LabError {
    LabError::NotStarted { name: name.to_owned(), output: files::tail(&site.console(name), 8) }
}

/// Takes a child's exit status whenever it ends, for programs that use the lab and live on.
pub(crate) fn reap(mut child: Child) {
    spawn(move || child.wait());
}

/// Outlives the terminal, and lets go of pipes that whoever called armilla may be waiting on.
pub(crate) fn leave_starter() {
    // Fails only for one that leads a session already.
    let _ = setsid();
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let inherited = open.filter_map(|entry| entry.file_name().to_str()?.parse::<RawFd>().ok()).filter(|fd| *fd > 2);
    for fd in inherited.collect::<Vec<_>>() {
        // Nothing is open yet that this program opened; the folder just read is closed, which is no failure.
        let _ = close(fd);
    }
}

/// The supervisor has nothing of its starter: not its folder, its variables or its terminal.
fn start_supervisor(site: &Site, name: &str) -> Result<Child, LabError> {
    let console = open_console(site, name)?;
    let mut command = own_command(site);
    command.args(["__supervise", name]).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(console);
    let child = files::context(command.spawn(), "starting", &site.program)?;
    if let Some(process) = i32::try_from(child.id()).ok().and_then(Process::of) {
        process.record(&site.supervisor(name))?;
    }
    Ok(child)
}

/// This program again, told of this lab and nothing else.
pub(crate) fn own_command(site: &Site) -> Command {
    let mut command = Command::new(&site.program);
    command.arg0("armilla").arg("lab").env_clear();
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("ARMILLA_LAB_DIR", &site.folder).env("ARMILLA_LAB_SUBNET", site.subnet.to_string());
    command.env("ARMILLA_LAB_BASE", &site.base).env("ARMILLA_LAB_APT_CACHE", &site.apt_cache);
    command
}

fn open_console(site: &Site, name: &str) -> Result<File, LabError> {
    let path = site.console(name);
    files::context(OpenOptions::new().create(true).append(true).open(&path), "opening", &path)
}

/// The supervisor sees an end other than a restart, cleans up and ends too. Without one, all that is done here.
fn off_one(site: &Site, name: &str) -> Result<(), LabError> {
    if is_on(site, name) {
        // A wire that is gone already is as silent.
        let _ = set_port(site, name, DISABLED);
    }
    let end = Instant::now() + PATIENCE;
    while is_on(site, name) {
        if let Some(init) = Process::recorded(&site.init(name)) {
            init.signal(Signal::SIGKILL);
        }
        if let (Some(supervisor), true) = (Process::recorded(&site.supervisor(name)), Instant::now() > end) {
            supervisor.signal(Signal::SIGKILL);
        }
        sleep(Duration::from_millis(5));
    }
    clear(site, name)?;
    files::remove(&site.supervisor(name))
}

fn set_port(site: &Site, name: &str, state: &str) -> Result<(), LabError> {
    let port = site.subnet.port(site.address(name)?);
    if !machine::has_link(&port) {
        return Ok(());
    }
    Program::new("bridge", format!("switching the wire of {name}"))
        .args(["link", "set", "dev", &port, "state", state])
        .run()
}
