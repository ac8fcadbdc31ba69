//! What ssh said when it could not connect.
//!
//! In: its log. Out: whether a host key was the reason, with fingerprints, or its last words.
//! Never: a key accepted.

use base64::Engine as _;

/// Why ssh did not connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Another key is known; in which file and line.
    Changed { file: String, line: usize, offered: String },
    /// No key is known.
    Unknown { offered: String },
    /// Something on this machine, such as a mistake in the configuration of ssh.
    Local(String),
    /// Anything else: ssh's last line.
    Other(String),
}

/// Reads a log written at `DEBUG1`.
pub(super) fn explain(log: &str) -> Refusal {
    let said = |text: &str| log.lines().any(|line| line.contains(text));
    let offered = offered(log).unwrap_or_else(|| "a key that ssh did not show".to_owned());
    if said("REMOTE HOST IDENTIFICATION HAS CHANGED")
        && let Some((file, line)) = offending(log)
    {
        return Refusal::Changed { file, line, offered };
    }
    if said("host key is known for") {
        return Refusal::Unknown { offered };
    }
    if is_local(log) { Refusal::Local(last_words(log)) } else { Refusal::Other(last_words(log)) }
}

/// Whether ssh ended before it tried to connect, for another reason than a name that nobody knows, or had no place for its
/// socket. What a host says comes after the connection, so no host can look like this.
fn is_local(log: &str) -> bool {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tries =
        |line: &&str| line.starts_with("debug1: Connecting to ") || line.starts_with("debug1: Executing proxy ");
    if lines.iter().any(tries) {
        return lines.iter().any(|line| line.starts_with("unix_listener: "));
    }
    let nobody_knows = lines.iter().any(|line| line.contains("Could not resolve hostname"));
    !nobody_knows && lines.iter().any(|line| !is_debug(line))
}

/// `debug1: Server host key: ssh-ed25519 SHA256:...`
fn offered(log: &str) -> Option<String> {
    log.lines().rev().find_map(|line| line.split_once("Server host key: ")).map(|(_, key)| key.trim().to_owned())
}

/// `Offending ED25519 key in /root/.ssh/known_hosts:3`
fn offending(log: &str) -> Option<(String, usize)> {
    let place = log.lines().find_map(|line| line.trim().strip_prefix("Offending ")?.split_once(" key in "))?.1;
    let (file, line) = place.trim().rsplit_once(':')?;
    Some((file.to_owned(), line.parse().ok()?))
}

/// The last line that says something, without what is only for debugging.
pub(super) fn last_words(log: &str) -> String {
    let talk: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty() && !is_debug(line)).collect();
    super::words::brief(talk.last().copied().unwrap_or("ssh said nothing"))
}

fn is_debug(line: &str) -> bool {
    ["debug", "OpenSSH_", "Authenticated to ", "Transferred: ", "Bytes per second"]
        .iter()
        .any(|word| line.starts_with(word))
}

/// The fingerprint of a line of `known_hosts`, as `ssh-keygen -l` prints it.
pub(super) fn fingerprint(line: &str) -> Option<String> {
    use sha2::Digest as _;
    let mut fields = line.split_ascii_whitespace().skip_while(|field| field.starts_with('@')).skip(1);
    let (kind, key) = (fields.next()?, fields.next()?);
    let key = base64::engine::general_purpose::STANDARD.decode(key).ok()?;
    let digest = base64::engine::general_purpose::STANDARD_NO_PAD.encode(sha2::Sha256::digest(key));
    Some(format!("{kind} SHA256:{digest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: &str = "debug1: Server host key: ssh-ed25519 SHA256:new\r
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r
Offending ED25519 key in /home/ada/my known_hosts:3\r
Host key verification failed.\r\n";

    #[test]
    fn a_changed_key_is_told_from_an_unknown_one_and_from_a_broken_line() {
        assert_eq!(
            explain(CHANGED),
            Refusal::Changed {
                file: "/home/ada/my known_hosts".to_owned(),
                line: 3,
                offered: "ssh-ed25519 SHA256:new".to_owned()
            }
        );
        let unknown = "debug1: Server host key: ssh-rsa SHA256:x\nNo RSA host key is known for h and you have requested strict checking.";
        assert_eq!(explain(unknown), Refusal::Unknown { offered: "ssh-rsa SHA256:x".to_owned() });
        let mistake = "OpenSSH_9.2\r\n/home/ada/.ssh/config: line 3: Bad configuration option: hst\r\n";
        assert!(matches!(explain(mistake), Refusal::Local(why) if why.contains("line 3")));
        let nobody = "OpenSSH_9.2\nssh: Could not resolve hostname h: Name or service not known\n";
        assert!(matches!(explain(nobody), Refusal::Other(_)));
        let banner = "debug1: Connecting to h [10.0.0.1] port 22.\nBad configuration option: x\n";
        assert!(matches!(explain(banner), Refusal::Other(_)));
        let refused =
            "debug1: Connecting to h.\ndebug1: x\nssh: connect to host h port 1: Connection \x1b[31mrefused\ndebug1: y";
        assert_eq!(
            explain(refused),
            Refusal::Other("ssh: connect to host h port 1: Connection  [31mrefused".to_owned())
        );
    }

    #[test]
    fn a_fingerprint_is_the_one_of_ssh_keygen() {
        let line =
            "@cert-authority h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl github";
        let known = "ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
        assert_eq!(fingerprint(line).as_deref(), Some(known));
        assert_eq!(fingerprint("# nothing"), None);
    }
}
