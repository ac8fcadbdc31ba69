//! The machine under the lab: its programs, the bridge and two kernel settings. In comes a subnet, out goes a machine
//! ready for hosts, or one without a trace of them. It never lets a packet of a host leave the machine.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::error::LabError;
use super::files;
use super::program::{Program, find};
use super::site::Site;

/// Programs that every order needs, each with the Debian package that brings it.
const PROGRAMS: [(&str, &str); 6] = [
    ("ip", "iproute2"),
    ("bridge", "iproute2"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("nsenter", "util-linux"),
    ("apt-cacher-ng", "apt-cacher-ng"),
];

/// A host takes 7 inotify instances and 10 with a login, all charged to the machine's root: the kernel's default of
/// 128 would be spent at 18 hosts.
const INOTIFY_INSTANCES: u32 = 8192;

/// Checks what every order needs.
pub(crate) fn check() -> Result<(), LabError> {
    if !geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    need(&PROGRAMS)
}

/// Refuses with all missing programs at once, so that one `apt-get` line is enough.
pub(crate) fn need(wanted: &[(&str, &str)]) -> Result<(), LabError> {
    let missing: Vec<_> = wanted.iter().filter(|(program, _)| find(program).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let programs: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    Err(LabError::Missing { programs: programs.join(", "), packages: packages.join(" ") })
}

/// Makes the bridge and the kernel settings, unless they are there.
pub(crate) fn ready(site: &Site, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    if !own_bridge(site)? {
        refuse_taken_subnet(site)?;
        make_bridge(site)?;
        warn_of_filtering(tell);
    }
    raise_inotify()
}

/// Removes the bridge if it is this lab's.
pub(crate) fn clear(site: &Site) -> Result<(), LabError> {
    if alias(site).is_some_and(|alias| Path::new(&alias) == site.folder) {
        ip("removing the bridge", &format!("link del {}", site.subnet.bridge()))?;
    }
    Ok(())
}

/// Runs lines of `ip` in one process.
pub(crate) fn ip(doing: &str, lines: &str) -> Result<(), LabError> {
    Program::new("ip", doing).args(["-batch", "-"]).feed(lines)
}

/// Whether a network interface exists.
pub(crate) fn has_link(link: &str) -> bool {
    Path::new("/sys/class/net").join(link).exists()
}

/// The bridge carries its lab's folder as alias, so that two labs of one subnet cannot share it by accident.
fn own_bridge(site: &Site) -> Result<bool, LabError> {
    match alias(site) {
        None => Ok(false),
        Some(alias) if Path::new(&alias) == site.folder => Ok(true),
        Some(alias) if alias.is_empty() => taken(site, format!("the interface {}", site.subnet.bridge())),
        Some(alias) => taken(site, format!("the lab in {alias}")),
    }
}

fn alias(site: &Site) -> Option<String> {
    let path = Path::new("/sys/class/net").join(site.subnet.bridge()).join("ifalias");
    fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
}

fn taken<T>(site: &Site, owner: String) -> Result<T, LabError> {
    Err(LabError::SubnetTaken { subnet: site.subnet.to_string(), owner })
}

/// Another interface in this network would make its answers go astray.
fn refuse_taken_subnet(site: &Site) -> Result<(), LabError> {
    let network = site.subnet.network();
    let text = output_of("ip", &["-o", "-4", "addr", "show", "to", &network]);
    match text.split_whitespace().nth(1) {
        Some(link) => taken(site, format!("the interface {link}")),
        None => Ok(()),
    }
}

/// Without spanning tree, a port forwards from its first moment and can be cut by its state.
fn make_bridge(site: &Site) -> Result<(), LabError> {
    let (bridge, subnet) = (site.subnet.bridge(), site.subnet);
    let lines = format!(
        "link add {bridge} address {mac} type bridge stp_state 0 forward_delay 0\n\
         link set {bridge} alias {folder}\n\
         addr add {gateway}/24 dev {bridge}\n\
         link set {bridge} up\n",
        mac = subnet.gateway_mac(),
        folder = site.folder.display(),
        gateway = subnet.gateway(),
    );
    ip("making the bridge", &lines)?;
    // On a machine that forwards (one with containers, often), hosts still must not reach further than the machine.
    let forwarding = PathBuf::from(format!("/proc/sys/net/ipv4/conf/{bridge}/forwarding"));
    files::context(fs::write(&forwarding, "0"), "writing", &forwarding)
}

fn raise_inotify() -> Result<(), LabError> {
    let path = Path::new("/proc/sys/fs/inotify/max_user_instances");
    let text = files::context(fs::read_to_string(path), "reading", path)?;
    if text.trim().parse().unwrap_or(0) >= INOTIFY_INSTANCES {
        return Ok(());
    }
    files::context(fs::write(path, INOTIFY_INSTANCES.to_string()), "writing", path)
}

/// Container engines often pass bridged frames through the machine's packet filter, and let it drop what they do not know.
fn warn_of_filtering(tell: &mut dyn FnMut(&str)) {
    let setting = fs::read_to_string("/proc/sys/net/bridge/bridge-nf-call-iptables").unwrap_or_default();
    if setting.trim() == "1" && output_of("iptables", &["-S", "FORWARD"]).contains("-P FORWARD DROP") {
        tell("the packet filter drops frames between hosts: type `sysctl -w net.bridge.bridge-nf-call-iptables=0`");
    }
}

/// What a program answers; nothing, if it cannot be asked.
fn output_of(program: &str, args: &[&str]) -> String {
    let Some(program) = find(program) else { return String::new() };
    let output = std::process::Command::new(program).args(args).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
