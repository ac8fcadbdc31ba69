//! The way into hosts. In come names, addresses and public keys, out go `ssh_config` and `known_hosts`, and the moment
//! at which each sshd answers. It never trusts a key on first sight.

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use super::error::LabError;
use super::site::Site;
use super::{files, host, power};

/// A host needs about a second; with 32 started at once on two cores, the last needs fifteen.
const PATIENCE: Duration = Duration::from_secs(90);

/// Renews `known_hosts` and `ssh_config`.
pub(crate) fn write(site: &Site) -> Result<(), LabError> {
    let mut hosts = site.addresses()?;
    hosts.retain(|(name, _)| host::furnished(site, name));
    let mut known = String::new();
    for (name, address) in &hosts {
        known += &known_host(name, *address, &host::public_key(&host::host_key(site, name))?);
    }
    let config: String =
        hosts.iter().map(|(name, address)| block(name, *address, &site.key(), &site.known_hosts())).collect();
    files::replace(&site.known_hosts(), &known, 0o644)?;
    files::replace(&site.ssh_config(), &config, 0o644)
}

/// Waits until every sshd sends its banner.
pub(crate) fn wait(site: &Site, names: &[String]) -> Result<(), LabError> {
    scope(|threads| {
        let all: Vec<_> = names.iter().map(|name| threads.spawn(|| wait_one(site, name))).collect();
        all.into_iter().try_for_each(|thread| thread.join().unwrap_or(Ok(())))
    })
}

fn wait_one(site: &Site, name: &str) -> Result<(), LabError> {
    let address = SocketAddr::new(site.address(name)?.into(), 22);
    let end = Instant::now() + PATIENCE;
    while !greets(address) {
        if !power::is_on(site, name) {
            return Err(power::not_started(site, name));
        }
        if Instant::now() > end {
            let (name, console) = (name.to_owned(), site.console(name));
            return Err(LabError::Silent { name, seconds: PATIENCE.as_secs(), console });
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn greets(address: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_millis(500)) else { return false };
    let mut banner = [0; 4];
    let patient = stream.set_read_timeout(Some(Duration::from_secs(2)));
    patient.and_then(|()| stream.read_exact(&mut banner)).is_ok() && banner == *b"SSH-"
}

fn known_host(name: &str, address: Ipv4Addr, key: &str) -> String {
    let words: Vec<_> = key.split_whitespace().take(2).collect();
    format!("{name},{address} {}\n", words.join(" "))
}

/// One block per host and none for all, so that a user can include the file in an own `~/.ssh/config`.
///
/// The key exchange is named because the default of OpenSSH 9 costs 300 ms of CPU per connection, most of it here.
fn block(name: &str, address: Ipv4Addr, key: &Path, known_hosts: &Path) -> String {
    format!(
        "Host {name} {address}
  HostName {address}
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org,ecdh-sha2-nistp256
  ConnectTimeout 5
  LogLevel ERROR
",
        key = key.display(),
        known_hosts = known_hosts.display(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 89, 0, 11);

    #[test]
    fn a_known_host_has_its_key_under_name_and_address() {
        assert_eq!(known_host("h1", ADDRESS, "ssh-ed25519 AAAA root@h1\n"), "h1,10.89.0.11 ssh-ed25519 AAAA\n");
    }

    #[test]
    fn a_block_says_all_that_ssh_needs_and_speaks_of_its_host_only() {
        let text = block("h1", ADDRESS, Path::new("/lab/id_ed25519"), Path::new("/lab/known_hosts"));
        assert!(text.starts_with("Host h1 10.89.0.11\n  HostName 10.89.0.11\n"));
        for line in ["IdentityFile /lab/id_ed25519", "UserKnownHostsFile /lab/known_hosts", "StrictHostKeyChecking yes"]
        {
            assert!(text.contains(line), "{line}");
        }
        assert!(!text.contains('*'));
    }
}
