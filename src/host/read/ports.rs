//! Whether something accepts TCP connections, asked by a connection of our own.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream};
use std::time::{Duration, Instant};

use super::tools::Tools;
use crate::step::{Command, PortReading};

/// Whether a port accepts connections. It is closed if it does not answer in time, or the name does not resolve.
pub(super) fn port(address: &str, port: u16, timeout: Duration, tools: &Tools) -> Result<PortReading, String> {
    let until = Instant::now() + tools.left(timeout)?;
    for address in addresses(address, port, until, tools)? {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        match TcpStream::connect_timeout(&address, left) {
            // The kernel may choose the port itself as the source of the connection, which then connects to itself.
            Ok(stream) if stream.local_addr().ok() != stream.peer_addr().ok() => return Ok(PortReading::Open),
            Err(error) if is_shortage(&error, address) => return Err(format!("cannot connect to {address}: {error}")),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(PortReading::Closed)
}

/// Whether it was this host that could not ask: descriptors, memory or ports of its own ran out. Without IPv6 it says of all
/// such addresses that they are not there.
fn is_shortage(error: &std::io::Error, address: SocketAddr) -> bool {
    let errno = error.raw_os_error().map(nix::errno::Errno::from_raw);
    matches!(errno, Some(nix::errno::Errno::EMFILE | nix::errno::Errno::ENFILE | nix::errno::Errno::ENOBUFS))
        || error.kind() == ErrorKind::OutOfMemory
        || error.kind() == ErrorKind::AddrNotAvailable && address.is_ipv4()
}

/// The addresses of a name. The host's own name service is asked by a program: it has plugins that a static program cannot
/// load.
fn addresses(address: &str, port: u16, until: Instant, tools: &Tools) -> Result<Vec<SocketAddr>, String> {
    if let Some(known) = numeric(address, port) {
        return Ok(vec![known]);
    }
    if address == "localhost" {
        return Ok(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()]);
    }
    if !tools.has("getent") {
        let known = in_hosts(address, port, tools);
        return if known.is_empty() { Err(format!("finding {address} needs getent on the host")) } else { Ok(known) };
    }
    let left = until.saturating_duration_since(Instant::now());
    let ended = tools.run(&Command::new(["getent", "ahosts", "--", address]).within(left))?;
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    let mut found = Vec::new();
    for address in text.lines().filter_map(|line| numeric(line.split_ascii_whitespace().next()?, port)) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    Ok(found)
}

/// An address in digits, perhaps with the interface it is at: `fe80::1%eth0`.
fn numeric(text: &str, port: u16) -> Option<SocketAddr> {
    if let Some((address, zone)) = text.split_once('%') {
        let address: Ipv6Addr = address.parse().ok()?;
        let of_interface = || {
            let is_name = !zone.contains('/') && zone != "..";
            let file = is_name.then(|| std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex")))?;
            file.ok()?.trim().parse().ok()
        };
        let zone = zone.parse().ok().or_else(of_interface)?;
        return Some(SocketAddrV6::new(address, port, 0, zone).into());
    }
    text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, port))
}

/// The addresses that `hosts(5)` has for a name.
fn in_hosts(name: &str, port: u16, tools: &Tools) -> Vec<SocketAddr> {
    let text = std::fs::read(tools.file("etc/hosts")).unwrap_or_default();
    let address = |line: &str| {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        let address = words.next()?;
        words.any(|word| word.eq_ignore_ascii_case(name)).then(|| numeric(address, port))?
    };
    String::from_utf8_lossy(&text).lines().filter_map(address).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::program::tests::NOT_HELD_UP;
    use crate::step::CommandReading;
    use std::net::TcpListener;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::sync::Arc;

    fn tools(root: &Path, said: &'static str) -> Tools {
        let run = move |command: &Command| {
            assert_eq!(command.argv[..3], ["getent", "ahosts", "--"]);
            Ok(CommandReading { exit: 0, stdout: said.as_bytes().to_vec(), stderr: Vec::new() })
        };
        Tools { tool: Arc::new(run), root: root.to_owned(), deadline: Instant::now() + Duration::from_secs(60) }
    }

    #[test]
    fn a_port_is_open_where_somebody_listens() {
        let root = tempfile::tempdir().expect("a directory");
        let tools = tools(root.path(), "");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("its address").port();
        let closed = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        let ask = |address: &str, number| port(address, number, Duration::from_secs(5), &tools);
        assert_eq!(ask("127.0.0.1", open), Ok(PortReading::Open));
        assert_eq!(ask("localhost", open), Ok(PortReading::Open));
        assert_eq!(ask("127.0.0.1", closed), Ok(PortReading::Closed));
        let late = Tools { deadline: Instant::now(), ..tools.clone() };
        assert!(port("127.0.0.1", open, Duration::from_secs(5), &late).is_err());
        // Nobody answers there.
        let began = Instant::now();
        assert_eq!(port("192.0.2.1", 9, Duration::from_millis(300), &tools), Ok(PortReading::Closed));
        assert!(began.elapsed() < NOT_HELD_UP);
    }

    #[test]
    fn a_name_is_found_by_the_hosts_own_name_service() {
        let root = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let open = listener.local_addr().expect("its address").port();
        let tools = tools(root.path(), "127.0.0.9      STREAM db\n127.0.0.9 DGRAM\n127.0.0.1 STREAM\n");
        let ask = |name: &str| port(name, open, Duration::from_secs(5), &tools);
        assert!(ask("db").expect_err("unknown is not closed").contains("needs getent"));
        std::fs::create_dir_all(root.path().join("etc")).expect("a directory");
        std::fs::write(root.path().join("etc/hosts"), "127.0.0.1 x DB # y\n").expect("a file");
        assert_eq!((ask("db"), ask("y").is_err()), (Ok(PortReading::Open), true));
        std::fs::create_dir_all(root.path().join("usr/bin")).expect("a directory");
        std::fs::write(root.path().join("usr/bin/getent"), "").expect("a file");
        std::fs::set_permissions(root.path().join("usr/bin/getent"), std::fs::Permissions::from_mode(0o755))
            .expect("a mode");
        assert_eq!(ask("other"), Ok(PortReading::Open));
    }

    #[test]
    fn an_address_may_say_at_which_interface() {
        assert_eq!(numeric("fe80::1%7", 80), Some(SocketAddrV6::new("fe80::1".parse().expect("one"), 80, 0, 7).into()));
        assert_eq!(
            numeric("fe80::1%lo", 80),
            Some(SocketAddrV6::new("fe80::1".parse().expect("one"), 80, 0, 1).into())
        );
        assert_eq!(
            (numeric("fe80::1%../x", 80), numeric("fe80::1%none0", 80), numeric("name", 80)),
            (None, None, None)
        );
    }
}
