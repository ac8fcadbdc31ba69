//! The apt proxy of the lab. In comes the lab's gateway address, out goes an apt-cacher-ng there that keeps every
//! package once. It never is reachable from outside the machine, and never outlives the last host.

use std::convert::Infallible;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::{Gid, Uid, User, chown};

use super::error::LabError;
use super::process::Process;
use super::site::Site;
use super::{files, power, program};

/// Not the usual 3142, which the machine's own apt-cacher-ng may hold on all addresses.
const PORT: u16 = 13142;

/// Its own user, made by its Debian package.
const USER: &str = "apt-cacher-ng";

/// How long it may take to listen, or to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// The proxy as apt in a host names it.
pub(crate) fn url(site: &Site) -> String {
    format!("http://{}", address(site))
}

/// Starts the proxy unless it runs.
pub(crate) fn start(site: &Site) -> Result<(), LabError> {
    if Process::recorded(&record(site)).is_some() {
        return Ok(());
    }
    furnish(site, &user()?)?;
    let child = files::context(command(site)?.spawn(), "starting", Path::new(USER))?;
    if let Some(process) = i32::try_from(child.id()).ok().and_then(Process::of) {
        process.record(&record(site))?;
    }
    power::reap(child);
    Ok(())
}

/// Waits until the proxy takes connections.
pub(crate) fn wait(site: &Site) -> Result<(), LabError> {
    let end = Instant::now() + PATIENCE;
    while TcpStream::connect_timeout(&address(site), Duration::from_secs(1)).is_err() {
        if Instant::now() > end || Process::recorded(&record(site)).is_none() {
            return Err(silent(site));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Ends the proxy; what it keeps stays.
pub(crate) fn stop(site: &Site) -> Result<(), LabError> {
    let Some(process) = Process::recorded(&record(site)) else { return files::remove(&record(site)) };
    process.signal(Signal::SIGTERM);
    let end = Instant::now() + PATIENCE;
    while process.runs() {
        if Instant::now() > end {
            process.signal(Signal::SIGKILL);
        }
        sleep(Duration::from_millis(10));
    }
    files::remove(&record(site))
}

fn address(site: &Site) -> SocketAddr {
    SocketAddr::new(site.subnet.gateway().into(), PORT)
}

fn record(site: &Site) -> PathBuf {
    site.folder.join("apt.process")
}

fn output(site: &Site) -> PathBuf {
    site.folder.join("apt/output.log")
}

fn silent(site: &Site) -> LabError {
    LabError::Proxy { address: address(site).to_string(), output: files::tail(&output(site), 5) }
}

fn user() -> Result<User, LabError> {
    let missing = || LabError::Missing { programs: format!("the user {USER}"), packages: USER.to_owned() };
    User::from_name(USER).ok().flatten().ok_or_else(missing)
}

/// A conf of our own: Debian's maps its archive to a list of mirrors, and hangs where those are closed. The small files that
/// say what is new are passed through: where several hosts ask for one at the same moment, and the one that is kept has to
/// be fetched again, most of them get half an answer or none, for which apt may wait for ever.
fn furnish(site: &Site, user: &User) -> Result<(), LabError> {
    let apt = site.folder.join("apt");
    for folder in [&apt, &apt.join("conf"), &apt.join("log"), &site.apt_cache] {
        files::make_folder(folder, 0o755)?;
    }
    let conf = format!(
        "ForeGround:1\nPort:{PORT}\nBindAddress:{}\nCacheDir:{}\nLogDir:{}\nExThreshold:400\n\
         DontCacheResolved:/(In)?Release(\\.gpg)?$\n",
        site.subnet.gateway(),
        site.apt_cache.display(),
        apt.join("log").display(),
    );
    files::replace(&apt.join("conf/acng.conf"), &conf, 0o644)?;
    hand_over(&apt.join("log"), user)?;
    hand_over(&site.apt_cache, user)
}

/// A cache brought from elsewhere belongs to whoever copied it, and may be large: it is walked only once.
fn hand_over(folder: &Path, user: &User) -> Result<(), LabError> {
    let owner = files::context(fs::metadata(folder), "reading", folder)?.uid();
    if owner == user.uid.as_raw() { Ok(()) } else { give(folder, user.uid, user.gid) }
}

fn give(path: &Path, uid: Uid, gid: Gid) -> Result<(), LabError> {
    if path.is_dir() && !path.is_symlink() {
        for entry in files::context(fs::read_dir(path), "reading", path)?.flatten() {
            give(&entry.path(), uid, gid)?;
        }
    } else if path.is_symlink() {
        return Ok(());
    }
    // The folder itself comes last: it is how an interrupted walk is noticed.
    files::context(chown(path, Some(uid), Some(gid)).map_err(Into::into), "handing over", path)
}

/// This program again, which leaves its starter and becomes the proxy.
fn command(site: &Site) -> Result<Command, LabError> {
    let path = output(site);
    let log = files::context(File::create(&path), "writing", &path)?;
    let errors = files::context(log.try_clone(), "writing", &path)?;
    let mut command = power::own_command(site);
    command.arg("__proxy").current_dir("/").stdin(Stdio::null()).stdout(log).stderr(errors);
    Ok(command)
}

/// Becomes the proxy, under its own user.
pub(crate) fn become_proxy(site: &Site) -> Result<Infallible, LabError> {
    power::leave_starter();
    let user = user()?;
    let program = program::find(USER).unwrap_or_else(|| PathBuf::from(USER));
    let mut command = Command::new(program);
    command.arg("-c").arg(site.folder.join("apt/conf")).uid(user.uid.as_raw()).gid(user.gid.as_raw());
    files::context(Err(command.exec()), "starting", Path::new(USER))
}
