//! What can go wrong in the lab, each with what to type next. In come the facts of a failure, out goes one sentence.
//! It never decides what to do about it.

use std::io;
use std::path::PathBuf;

/// Why an order to the lab was not carried out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// Namespaces, cgroups and overlays are Linux's.
    #[error("the lab needs Linux: its hosts are namespaces of this kernel. Run it on a Linux machine or in a Linux VM")]
    NotLinux,
    /// Making namespaces, bridges and mounts needs root.
    #[error("the lab needs root, to make namespaces, a bridge and mounts: run it with sudo")]
    NotRoot,
    /// Programs of the machine that the lab uses and did not find.
    #[error("the lab needs {programs}: type `apt-get install {packages}`")]
    Missing {
        /// The programs that were not found, for a reader.
        programs: String,
        /// The Debian packages that hold them, for `apt-get`.
        packages: String,
    },
    /// A folder that cannot be written into overlay options.
    #[error(
        "the lab folder {0:?} cannot be used: give an absolute path of letters, digits and . _ - / in ARMILLA_LAB_DIR"
    )]
    BadFolder(PathBuf),
    /// A subnet that is not of the accepted form.
    #[error(
        "{0:?} is not a lab subnet: give the first three numbers of a 10.x.y.0/24 network, like ARMILLA_LAB_SUBNET=10.90.0"
    )]
    BadSubnet(String),
    /// The subnet of this lab is in use by something else.
    #[error("{subnet}.0/24 is used by {owner}: choose another subnet, like ARMILLA_LAB_SUBNET=10.90.0")]
    SubnetTaken {
        /// First three numbers of the network.
        subnet: String,
        /// An interface, or another lab's folder.
        owner: String,
    },
    /// The hosts of this folder were made in another subnet.
    #[error(
        "the hosts in {folder} live in {recorded}.0/24, not in {wanted}.0/24: type `armilla lab down` first, or unset ARMILLA_LAB_SUBNET"
    )]
    SubnetChanged {
        /// Folder of this lab.
        folder: PathBuf,
        /// Where its hosts live.
        recorded: String,
        /// What was asked for now.
        wanted: String,
    },
    /// A host name that systemd, ssh and resolvers would not all accept.
    #[error("{name:?} cannot be the name of a lab host: {reason}")]
    BadName {
        /// As given.
        name: String,
        /// The rule that was broken, with an example where it helps.
        reason: &'static str,
    },
    /// No such host.
    #[error("no host {name:?} in the lab{hint}")]
    Unknown {
        /// As given.
        name: String,
        /// The nearest names, or what to type when there is no host at all.
        hint: String,
    },
    /// All addresses of the subnet are given out.
    #[error("the lab is full: {0} hosts is all its subnet holds. Take some down with `armilla lab down NAME`")]
    Full(usize),
    /// The host has no running init.
    #[error("{0} is powered off: type `armilla lab boot {0}`")]
    Off(String),
    /// Hosts use the base that was to be rebuilt.
    #[error(
        "hosts use the base: type `armilla lab down` first (in every lab that shares it), then `armilla lab base --rebuild`"
    )]
    BaseInUse,
    /// A program of the machine failed.
    #[error("{doing}: {program} failed ({status}){output}")]
    Program {
        /// What was being done.
        doing: String,
        /// Which program.
        program: String,
        /// Its exit status in words.
        status: String,
        /// What it said, with a leading line break, or nothing.
        output: String,
    },
    /// A file or folder could not be read or written.
    #[error("{doing} {path}")]
    File {
        /// What was being done, as "writing" or "removing".
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The kernel refused a step of making a host.
    #[error("{doing}")]
    Kernel {
        /// What was being done.
        doing: String,
        /// The kernel's reason.
        source: nix::Error,
    },
    /// The proxy through which hosts reach the package archive does not answer.
    #[error("the apt proxy on {address} does not answer; it says: {output}")]
    Proxy {
        /// Where it should listen.
        address: String,
        /// Its last words.
        output: String,
    },
    /// The host did not come up, or went off while it was awaited.
    #[error("{name} did not start{output}")]
    NotStarted {
        /// Which host.
        name: String,
        /// The end of its console, with a leading line break, or nothing.
        output: String,
    },
    /// The host is up but its sshd does not answer.
    #[error(
        "{name} runs, but its sshd did not answer in {seconds} s: see {console}, or is it disconnected? `armilla lab heal {name}`"
    )]
    Silent {
        /// Which host.
        name: String,
        /// How long it was awaited.
        seconds: u64,
        /// The host's console.
        console: PathBuf,
    },
    /// The supervisor and the new init lost each other.
    #[error("{0} ended before it had a network: the lines above say why")]
    Stillborn(String),
}
