//! The disk under all hosts: Debian 12 with systemd and sshd. In comes the package archive, out goes a read-only folder,
//! whole or absent. It never holds anything of one lab or one host, so labs may share it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{Flock, FlockArg};

use super::error::LabError;
use super::program::Program;
use super::site::{self, Site};
use super::{files, machine, proxy};

/// A changed recipe makes a new base: all of it is written beside the base and compared.
const RECIPE: &[(&str, &[&str])] = &[
    ("suite", &["bookworm"]),
    (
        "packages",
        &[
            "systemd-sysv",
            "dbus",
            "libpam-systemd",
            "openssh-server",
            "sudo",
            "curl",
            "iproute2",
            "iputils-ping",
            "procps",
            "cron",
            "ca-certificates",
            "netbase",
            "less",
        ],
    ),
    (
        "sources",
        &[
            "deb http://deb.debian.org/debian bookworm main",
            "deb http://deb.debian.org/debian bookworm-updates main",
            "deb http://deb.debian.org/debian-security bookworm-security main",
        ],
    ),
    // Needed: it fails, as the console of a host is a plain file, and the host would count as degraded.
    // By choice: getty-static, which has no terminal to serve either.
    ("masked", &["console-getty.service", "getty-static.service"]),
    // By choice: background runs of apt take dpkg's lock at odd times, and there is no disk to trim.
    (
        "disabled",
        &[
            "apt-daily.timer",
            "apt-daily-upgrade.timer",
            "fstrim.timer",
            "e2scrub_all.timer",
            "e2scrub_reap.service",
            "getty@tty1.service",
            "systemd-pstore.service",
        ],
    ),
    // What each host must have of its own, and what only served the building.
    (
        "removed",
        &[
            "etc/machine-id",
            "etc/hostname",
            "etc/resolv.conf",
            "usr/sbin/policy-rc.d",
            "etc/apt/apt.conf.d/99mmdebstrap",
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/ssh_host_rsa_key.pub",
            "etc/ssh/ssh_host_ecdsa_key",
            "etc/ssh/ssh_host_ecdsa_key.pub",
            "etc/ssh/ssh_host_ed25519_key",
            "etc/ssh/ssh_host_ed25519_key.pub",
        ],
    ),
];

/// Files of the base that are not Debian's.
const FILES: &[(&str, &str)] = &[
    // Look-ups then fail at once; names come from /etc/hosts.
    ("etc/resolv.conf", "# no name server in the lab\n"),
    // The clock may be far from the archive's day when packages come from the cache.
    ("etc/apt/apt.conf.d/90lab", "Acquire::Check-Valid-Until \"false\";\n"),
    // Kept on disk as on a server, but small.
    ("etc/systemd/journald.conf.d/lab.conf", "[Journal]\nSystemMaxUse=64M\n"),
    // pam_env complains of its absence.
    ("etc/default/locale", "LANG=C.UTF-8\n"),
];

/// Programs that building needs, beside those of every order.
const PROGRAMS: [(&str, &str); 2] = [("mmdebstrap", "mmdebstrap"), ("chroot", "coreutils")];

/// Whether to keep a base that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rebuild {
    /// Build only if there is none, or if it was built by another recipe.
    IfNeeded,
    /// Build again, with the archive's newest packages.
    Always,
}

/// The folder that overlays use as their lower layer.
pub(crate) fn root(site: &Site) -> PathBuf {
    site.base.join("root")
}

/// Whether the base is there and built by this recipe.
pub(crate) fn current(site: &Site) -> bool {
    fs::read_to_string(site.base.join("recipe")).is_ok_and(|text| text == recipe())
}

/// Held by every supervisor, so that no lab rebuilds the base under another one's hosts.
pub(crate) fn hold(site: &Site) -> Result<Option<Flock<File>>, LabError> {
    site::try_lock(&lock_path(site), FlockArg::LockSharedNonblock)
}

/// Makes sure that there is a base. The bridge and the proxy must be up.
pub(crate) fn ensure(site: &Site, rebuild: Rebuild, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    if rebuild == Rebuild::IfNeeded && current(site) {
        return Ok(());
    }
    let used = !site.names().is_empty();
    if rebuild == Rebuild::IfNeeded && used && root(site).exists() {
        tell("the base is of an older recipe; it is kept while hosts use it (`armilla lab down` frees it)");
        return Ok(());
    }
    files::make_above(&site.base)?;
    let building = site::lock_file(&build_lock_path(site), tell)?;
    if rebuild == Rebuild::Always || !current(site) {
        let Some(_alone) = site::try_lock(&lock_path(site), FlockArg::LockExclusiveNonblock)? else {
            return Err(LabError::BaseInUse);
        };
        if used && root(site).exists() {
            return Err(LabError::BaseInUse);
        }
        build(site, tell)?;
    }
    drop(building);
    Ok(())
}

/// Removes what a killed build left: a half-made disk, and mounts below it.
pub(crate) fn sweep(site: &Site) -> Result<(), LabError> {
    let new = building_path(site);
    if !new.exists() {
        return Ok(());
    }
    match site::try_lock(&build_lock_path(site), FlockArg::LockExclusiveNonblock)? {
        Some(_alone) => files::remove_folder(&new),
        None => Ok(()),
    }
}

fn building_path(site: &Site) -> PathBuf {
    site.base.with_extension("new")
}

fn build_lock_path(site: &Site) -> PathBuf {
    site.base.with_extension("build")
}

fn lock_path(site: &Site) -> PathBuf {
    site.base.with_extension("lock")
}

fn recipe() -> String {
    format!("{RECIPE:#?}\n{FILES:#?}\n")
}

fn words(key: &str) -> &'static [&'static str] {
    RECIPE.iter().find(|(name, _)| *name == key).map_or(&[], |(_, words)| words)
}

fn build(site: &Site, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    machine::need(&PROGRAMS)?;
    tell("building the Debian 12 base once (about a minute) ...");
    proxy::wait(site)?;
    let new = building_path(site);
    files::remove_folder(&new)?;
    files::make_folder(&new, 0o755)?;
    bootstrap(site, &new.join("root"), tell)?;
    tune(&new.join("root"))?;
    files::write(&new.join("recipe"), &recipe(), 0o644)?;
    files::remove_folder(&site.base)?;
    files::context(fs::rename(&new, &site.base), "renaming", &new)?;
    tell("the base is built");
    Ok(())
}

fn bootstrap(site: &Site, root: &Path, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    let mut command = Command::new("mmdebstrap");
    command.args(["--variant=minbase", "--mode=root", "--format=directory"]);
    command.arg(format!("--include={}", words("packages").join(",")));
    command.arg(format!("--aptopt=Acquire::http::Proxy \"{}\"", proxy::url(site)));
    command.args(words("suite")).arg(root).args(words("sources"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).current_dir("/");
    let child = files::context(command.spawn(), "starting", Path::new("mmdebstrap"))?;
    follow(child, tell)
}

/// Passes on what mmdebstrap says of its progress, and keeps the rest for an error.
fn follow(mut child: Child, tell: &mut dyn FnMut(&str)) -> Result<(), LabError> {
    let mut said = Vec::new();
    for line in child.stderr.take().map(BufReader::new).into_iter().flat_map(BufRead::lines).map_while(Result::ok) {
        match line.strip_prefix("I: ") {
            Some(step) => tell(step),
            None => said.push(line),
        }
    }
    let status = files::context(child.wait(), "awaiting", Path::new("mmdebstrap"))?;
    if status.success() {
        return Ok(());
    }
    let output = files::indented(&said[said.len().saturating_sub(10)..]);
    let (doing, program) = ("building the base".to_owned(), "mmdebstrap".to_owned());
    Err(LabError::Program { doing, program, status: status.to_string(), output })
}

/// What differs from a plain Debian install.
fn tune(root: &Path) -> Result<(), LabError> {
    for unit in words("masked") {
        let path = root.join("etc/systemd/system").join(unit);
        files::remove(&path)?;
        files::context(symlink("/dev/null", &path), "linking", &path)?;
    }
    let systemctl = Program::new("chroot", "disabling units in the base").args([root]);
    systemctl.args(["systemctl", "-q", "disable"]).args(words("disabled")).run()?;
    words("removed").iter().try_for_each(|path| files::remove(&root.join(path)))?;
    for (path, text) in FILES {
        let path = root.join(path);
        files::make_above(&path)?;
        files::write(&path, text, 0o644)?;
    }
    Ok(())
}
