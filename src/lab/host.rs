//! The disk of one host. In come its name, address and the list of its neighbours, out goes an upper layer with what
//! only this host may have. It never writes to a disk that is mounted, except through the running host itself.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use super::error::LabError;
use super::name::GATEWAY;
use super::process::Process;
use super::program::{Program, Started};
use super::site::Site;
use super::{files, proxy};

/// The part of /etc/hosts that the lab keeps up to date. A host whose file has no such part is left alone: it then
/// belongs to a role.
const BEGIN: &str = "# armilla lab: hosts";
const END: &str = "# armilla lab: end";

/// Writes the first disk of a host; its key is made by the process returned.
pub(crate) fn furnish(site: &Site, name: &str) -> Result<Started, LabError> {
    let upper = site.host(name).join("upper");
    for folder in ["work", "root"] {
        files::make_folder(&site.host(name).join(folder), 0o755)?;
    }
    for (folder, mode) in [("", 0o755), ("etc/ssh", 0o755), ("etc/apt/apt.conf.d", 0o755), ("root/.ssh", 0o700)] {
        files::make_folder(&upper.join(folder), mode)?;
    }
    // The overlay takes a folder's mode from the upper layer.
    files::make_folder(&upper.join("root"), 0o700)?;
    // A request that was sent ahead on a connection which the proxy then closes is waited for without end.
    let proxy = format!("Acquire::http::Proxy \"{}\";\nAcquire::http::Pipeline-Depth \"0\";\n", proxy::url(site));
    files::write(&upper.join("etc/hostname"), &format!("{name}\n"), 0o644)?;
    files::write(&upper.join("etc/machine-id"), &machine_id()?, 0o444)?;
    files::write(&upper.join("etc/hosts"), &hosts_text(&hosts_part(site)?), 0o644)?;
    files::write(&upper.join("etc/apt/apt.conf.d/91lab-proxy"), &proxy, 0o644)?;
    files::write(&upper.join("root/.ssh/authorized_keys"), &public_key(&site.key())?, 0o600)?;
    start_keygen(&host_key(site, name), &format!("root@{name}"))
}

/// Whether the host has its first disk.
pub(crate) fn furnished(site: &Site, name: &str) -> bool {
    host_key(site, name).with_extension("pub").exists()
}

/// Makes the key that opens all hosts, once per lab.
pub(crate) fn ensure_key(site: &Site) -> Result<(), LabError> {
    if site.key().with_extension("pub").exists() { Ok(()) } else { start_keygen(&site.key(), "armilla-lab")?.finish() }
}

/// Public half of a key.
pub(crate) fn public_key(private: &Path) -> Result<String, LabError> {
    let path = private.with_extension("pub");
    files::context(fs::read_to_string(&path), "reading", &path)
}

/// The key by which a host proves itself, made outside so that no scan is needed to know it.
pub(crate) fn host_key(site: &Site, name: &str) -> PathBuf {
    site.host(name).join("upper/etc/ssh/ssh_host_ed25519_key")
}

/// Tells every host of all others.
pub(crate) fn introduce_all(site: &Site) -> Result<(), LabError> {
    let part = hosts_part(site)?;
    for name in site.names() {
        let running = Process::recorded(&site.init(&name));
        let root = running.map_or_else(|| site.host(&name).join("upper"), |init| root_of(&init));
        // A host that removed its /etc/hosts, or goes off at this moment, keeps what it has.
        let _ = files::edit_below(&root, "etc/hosts", |old| renew(old, &part));
    }
    Ok(())
}

fn root_of(init: &Process) -> PathBuf {
    PathBuf::from(format!("/proc/{}/root", init.pid()))
}

/// Left-overs of a cut short attempt are removed first, as ssh-keygen would ask about them.
fn start_keygen(path: &Path, comment: &str) -> Result<Started, LabError> {
    files::remove(path)?;
    let program = Program::new("ssh-keygen", format!("making the key {}", path.display()));
    program.args(["-q", "-t", "ed25519", "-N", "", "-C", comment, "-f"]).args([path]).start()
}

fn machine_id() -> Result<String, LabError> {
    let path = Path::new("/proc/sys/kernel/random/uuid");
    Ok(files::context(fs::read_to_string(path), "reading", path)?.replace('-', ""))
}

fn hosts_part(site: &Site) -> Result<String, LabError> {
    Ok(part(site.subnet.gateway(), &site.addresses()?))
}

fn part(gateway: Ipv4Addr, hosts: &[(String, Ipv4Addr)]) -> String {
    let lines: Vec<_> = hosts.iter().map(|(name, address)| format!("{address}\t{name}\n")).collect();
    let lines = lines.concat();
    format!("{BEGIN}\n{gateway}\t{GATEWAY}\n{lines}{END}\n")
}

fn hosts_text(part: &str) -> String {
    format!("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n{part}")
}

/// Puts the new part in the place of the old one.
fn renew(old: &str, part: &str) -> Option<String> {
    let (before, rest) = old.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{part}{}", after.strip_prefix('\n').unwrap_or(after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GATE: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 1);

    fn some(names: &[&str]) -> String {
        let hosts: Vec<_> =
            (11..).zip(names).map(|(n, name)| ((*name).to_owned(), Ipv4Addr::new(10, 89, 0, n))).collect();
        part(GATE, &hosts)
    }

    #[test]
    fn all_hosts_and_the_gateway_are_named() {
        let text = hosts_text(&some(&["h1", "h2"]));
        for line in ["127.0.0.1\tlocalhost", "10.89.0.1\tlab-gateway", "10.89.0.11\th1", "10.89.0.12\th2"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }

    #[test]
    fn only_the_labs_part_is_renewed() {
        let old = format!("{}192.0.2.1 mine\n", hosts_text(&some(&["h1"])));
        let new = renew(&old, &some(&["h1", "h2"])).expect("the part is there");
        assert_eq!(new, format!("{}192.0.2.1 mine\n", hosts_text(&some(&["h1", "h2"]))));
        assert_eq!(renew(&new, &some(&["h1", "h2"])), Some(new.clone()));
    }

    #[test]
    fn a_file_that_a_role_took_over_is_left_alone() {
        assert_eq!(renew("127.0.0.1 localhost\n", &some(&["h1"])), None);
    }
}
