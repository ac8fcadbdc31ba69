//! A login that is measured by what ssh logs, and used for nothing else.

use std::ffi::OsString;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::link;
use super::options::SshOptions;
use crate::inventory::Endpoint;
use crate::transport::api::Login;

/// What ssh logs of the algorithm by which keys were agreed on.
const ALGORITHM: &str = "kex: algorithm: ";
/// How long ssh may take to end.
const END: Duration = Duration::from_secs(2);

/// The algorithm in the log of a connection.
pub(super) fn algorithm(log: &str) -> Option<String> {
    log.lines().find_map(|line| logged(line)?.strip_prefix(ALGORITHM)).map(str::to_owned)
}

/// Logs in over a connection of its own, by this key exchange or as usual. Nothing if that is not possible, or ssh does not say
/// how long it took.
pub(super) async fn time(host: &Endpoint, options: &SshOptions, exchange: Option<&str>) -> Option<Login> {
    // What is said first counts. At this level ssh names what the host offers.
    let own = ["-S", "none", "-N", "-o", "ControlMaster=no", "-o", "LogLevel=DEBUG2"].map(OsString::from);
    let exchange: Option<OsString> = exchange.map(|name| format!("-oKexAlgorithms={name}").into());
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.args(own).args(&exchange).args(link::arguments(host, options).ok()?);
    link::unattended(&mut ssh).stderr(Stdio::piped());
    let begun = Instant::now();
    let mut child = ssh.spawn().ok()?;
    let mut lines = BufReader::new(child.stderr.take()?).split(b'\n');
    let reading = async {
        let mut log = Log::new(begun);
        while let Ok(Some(line)) = lines.next_segment().await {
            if let Some(login) = log.line(&String::from_utf8_lossy(&line), Instant::now()) {
                return Some(login);
            }
        }
        None
    };
    let login = tokio::time::timeout(options.connect_timeout * 2, reading).await.ok().flatten();
    if let Some(process) = child.id().and_then(|id| i32::try_from(id).ok()) {
        // Asked, it ends the way by which it came, too.
        let _ = kill(Pid::from_raw(process), Signal::SIGTERM);
        let _ = tokio::time::timeout(END, child.wait()).await;
    }
    login
}

/// What a line of the log says, but for the word that names its level.
fn logged(line: &str) -> Option<&str> {
    line.strip_prefix("debug1: ").or_else(|| line.strip_prefix("debug2: ")).map(str::trim_end)
}

/// The log as it arrives.
struct Log {
    begun: Instant,
    /// Whether another ssh makes the way there. It may log to the same place, and is done before.
    is_proxied: bool,
    is_of_host: bool,
    offered: Vec<String>,
    algorithm: Option<String>,
    met: Option<Instant>,
    agreed: Option<Instant>,
}

impl Log {
    fn new(begun: Instant) -> Self {
        let (algorithm, met, agreed) = (None, None, None);
        Self { begun, is_proxied: false, is_of_host: false, offered: Vec::new(), algorithm, met, agreed }
    }

    /// The next line, and when it came; the login, when it is over.
    fn line(&mut self, line: &str, at: Instant) -> Option<Login> {
        if line.starts_with("Authenticated to ") && line.contains("(via proxy)") == self.is_proxied {
            let (met, agreed) = (self.met?, self.agreed?);
            return Some(Login {
                exchange: self.algorithm.take()?,
                offered: std::mem::take(&mut self.offered),
                connecting: met - self.begun,
                exchanging: agreed.checked_duration_since(met)?,
                authenticating: at - agreed,
            });
        }
        match logged(line)? {
            "SSH2_MSG_KEXINIT received" => self.met = Some(at),
            "SSH2_MSG_NEWKEYS received" => self.agreed = Some(at),
            "local client KEXINIT proposal" => self.is_of_host = false,
            "peer server KEXINIT proposal" => self.is_of_host = true,
            text if text.starts_with("Executing proxy command") => self.is_proxied = true,
            text => {
                if let Some(name) = text.strip_prefix(ALGORITHM) {
                    self.algorithm = Some(name.to_owned());
                } else if let Some(names) = text.strip_prefix("KEX algorithms: ").filter(|_| self.is_of_host) {
                    self.offered = names.split(',').map(str::to_owned).collect();
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of OpenSSH 9.2, with what is of no interest left out.
    const DIRECT: &str = "debug1: Connection established.\n\
        debug1: SSH2_MSG_KEXINIT sent\n\
        debug1: SSH2_MSG_KEXINIT received\n\
        debug2: local client KEXINIT proposal\n\
        debug2: KEX algorithms: sntrup761x25519-sha512@openssh.com,curve25519-sha256,ext-info-c\n\
        debug2: peer server KEXINIT proposal\n\
        debug2: KEX algorithms: sntrup761x25519-sha512@openssh.com,diffie-hellman-group16-sha512\n\
        debug1: kex: algorithm: sntrup761x25519-sha512@openssh.com\r\n\
        debug1: SSH2_MSG_NEWKEYS sent\n\
        debug1: SSH2_MSG_NEWKEYS received\n\
        debug1: Next authentication method: publickey\n";

    /// Each line comes a millisecond after the one before.
    fn read(text: &str) -> Option<Login> {
        let begun = Instant::now();
        let mut log = Log::new(begun);
        text.lines().zip(1..).find_map(|(line, at)| log.line(line, begun + Duration::from_millis(at)))
    }

    #[test]
    fn the_parts_of_a_login_are_told_apart() {
        let login =
            read(&format!("{DIRECT}Authenticated to h1 ([10.0.0.1]:22) using \"publickey\".\n")).expect("a login");
        assert_eq!(login.exchange, "sntrup761x25519-sha512@openssh.com");
        assert_eq!(login.offered, ["sntrup761x25519-sha512@openssh.com", "diffie-hellman-group16-sha512"]);
        let parts = [login.connecting, login.exchanging, login.authenticating];
        assert_eq!(parts.map(|part| part.as_millis()), [3, 7, 2]);
        assert_eq!(algorithm(DIRECT).as_deref(), Some("sntrup761x25519-sha512@openssh.com"));
    }

    #[test]
    fn a_login_to_a_jump_host_is_not_the_one_to_the_host() {
        let through = DIRECT.replace("sntrup761x25519-sha512@openssh.com", "curve25519-sha256");
        let text = format!(
            "debug1: Executing proxy command: exec ssh -W '[h1]:22' jump\n{DIRECT}\
             Authenticated to jump ([10.0.0.9]:22) using \"publickey\".\n{through}\
             Authenticated to h1 (via proxy) using \"publickey\".\n"
        );
        let login = read(&text).expect("a login");
        assert_eq!((login.exchange.as_str(), login.connecting.as_millis()), ("curve25519-sha256", 16));
    }

    #[test]
    fn what_is_not_over_or_not_understood_is_no_login() {
        assert_eq!(read(DIRECT), None);
        assert_eq!(read("Authenticated to h1 ([10.0.0.1]:22) using \"none\".\n"), None);
        assert_eq!(algorithm("debug1: kex: host key algorithm: ssh-ed25519\n"), None);
    }
}
