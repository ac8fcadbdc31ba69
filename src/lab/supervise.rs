//! The hardware of one host: a process that gives it namespaces, a wire and groups, and starts it again when it asks for
//! a restart. In comes a host that is off, out goes one life after another until one ends otherwise. It never ends
//! with the terminal or the command that started it.

use std::fs;
use std::io::{Read, Write, stderr, stdout};
use std::net::Ipv4Addr;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::unistd::dup2_stdout;

use super::cgroup::Cgroups;
use super::error::LabError;
use super::process::Process;
use super::site::Site;
use super::{base, files, machine, power, subnet};

/// Time namespaces, of Linux 5.6; the crate has no name for the flag.
const NEW_TIME: CloneFlags = CloneFlags::from_bits_retain(0x80);

/// Plays the hardware of a host until it goes off.
pub(crate) fn supervise(site: &Site, name: &str) -> Result<(), LabError> {
    power::leave_starter();
    let _base = base::hold(site)?.ok_or(LabError::BaseInUse)?;
    let mut tell = tell_starter as fn() -> Result<(), LabError>;
    loop {
        let end = one_life(site, name, tell);
        power::clear(site, name)?;
        if !asked_for_restart(end?) {
            return Ok(());
        }
        tell = || Ok(());
    }
}

/// reboot(2) in a PID namespace ends its init by SIGHUP for a restart, and by SIGINT for a halt.
fn asked_for_restart(end: ExitStatus) -> bool {
    end.signal() == Some(Signal::SIGHUP as i32)
}

/// Says that the host has its network. From then on, the console takes what is said here.
fn tell_starter() -> Result<(), LabError> {
    // A starter that went away meanwhile does not matter to the host.
    let _ = writeln!(stdout(), "{}", power::STARTED).and_then(|()| stdout().flush());
    dup2_stdout(stderr()).map_err(|source| LabError::Kernel { doing: "leaving the starter".to_owned(), source })
}

fn one_life(site: &Site, name: &str, started: fn() -> Result<(), LabError>) -> Result<ExitStatus, LabError> {
    power::clear(site, name)?;
    let groups = Cgroups::below_own(&site.subnet.bridge(), name)?;
    groups.record(&site.host(name))?;
    groups.make()?;
    // With `volatile`, overlay leaves this mark after a pulled plug, and would refuse the disk from then on.
    files::remove_folder(&site.host(name).join("work/work/incompat"))?;
    let mut child = spawn_init(site, name)?;
    match connect(site, name, &mut child).and_then(|()| started()) {
        Ok(()) => files::context(child.wait(), "awaiting", &site.program),
        Err(error) => {
            // Not yet under way, or already dead: nothing is lost by ending it.
            let _ = child.kill().and_then(|()| child.wait());
            Err(error)
        }
    }
}

/// The next child is the first process of new PID and time namespaces; those after it are of this process's own again.
fn spawn_init(site: &Site, name: &str) -> Result<Child, LabError> {
    let mut command = power::own_command(site);
    // The group changes nothing: it makes the standard library fork, as vfork is refused by some kernels here.
    command.args(["__init", name]).gid(0).stdin(Stdio::piped()).stdout(Stdio::piped());
    unshare(CloneFlags::CLONE_NEWPID).map_err(refused("making a PID namespace"))?;
    new_clock()?;
    let child = files::context(command.spawn(), "starting", &site.program);
    return_to_own("pid", CloneFlags::CLONE_NEWPID)?;
    return_to_own("time", NEW_TIME)?;
    let child = child?;
    if let Some(process) = i32::try_from(child.id()).ok().and_then(Process::of) {
        // Before it gets its network: from then on it can outlive this process, and must be found.
        process.record(&site.init(name))?;
    }
    Ok(child)
}

/// A clock that starts at 0, so that uptime is the host's own.
fn new_clock() -> Result<(), LabError> {
    if !Path::new("/proc/self/ns/time").exists() {
        return Ok(());
    }
    unshare(NEW_TIME).map_err(refused("making a time namespace"))?;
    let uptime = fs::read_to_string("/proc/uptime").unwrap_or_default();
    let seconds = uptime.split('.').next().unwrap_or("0").trim();
    let path = Path::new("/proc/self/timens_offsets");
    files::context(fs::write(path, format!("monotonic -{seconds} 0\nboottime -{seconds} 0\n")), "writing", path)
}

fn return_to_own(kind: &str, flag: CloneFlags) -> Result<(), LabError> {
    let path = Path::new("/proc/self/ns").join(kind);
    match fs::File::open(&path) {
        Ok(own) => setns(own, flag).map_err(refused("returning to the machine's namespaces")),
        Err(_) => Ok(()),
    }
}

/// Lays the wire: the child says when it has a network namespace, and again when eth0 is up in it.
fn connect(site: &Site, name: &str, child: &mut Child) -> Result<(), LabError> {
    hear(name, child)?;
    lay_wire(site, site.address(name)?, child.id())?;
    let input = child.stdin.take();
    input.map_or(Ok(()), |mut input| files::context(input.write_all(b"."), "telling", Path::new("init")))?;
    hear(name, child)?;
    power::renew_cut(site, name)
}

fn hear(name: &str, child: &mut Child) -> Result<(), LabError> {
    let heard = child.stdout.as_mut().map(|output| output.read_exact(&mut [0]));
    if matches!(heard, Some(Ok(()))) { Ok(()) } else { Err(LabError::Stillborn(name.to_owned())) }
}

fn lay_wire(site: &Site, address: Ipv4Addr, pid: u32) -> Result<(), LabError> {
    let (port, mac, bridge) = (site.subnet.port(address), subnet::mac(address), site.subnet.bridge());
    let lines = format!(
        "link add {port} type veth peer name eth0 address {mac} netns {pid}\nlink set {port} master {bridge} up\n"
    );
    machine::ip("laying the wire", &lines)
}

fn refused(doing: &str) -> impl FnOnce(Errno) -> LabError {
    let doing = doing.to_owned();
    move |source| LabError::Kernel { doing, source }
}
