//! A program inside a host, without ssh. In come a running host and a command line, out goes that program in all of the
//! host's namespaces. It never has more rights over the machine than the host's own root.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::cgroup::Cgroups;
use super::error::LabError;
use super::process::Process;
use super::site::Site;
use super::{files, init, power};

/// The host's first process, or a refusal that says how to start it.
pub(crate) fn running(site: &Site, name: &str) -> Result<Process, LabError> {
    Process::recorded(&site.init(name)).ok_or_else(|| LabError::Off(name.to_owned()))
}

/// Refuses a host without power.
pub(crate) fn powered(site: &Site, name: &str) -> Result<(), LabError> {
    if power::is_on(site, name) { Ok(()) } else { Err(LabError::Off(name.to_owned())) }
}

/// Becomes the program.
pub(crate) fn enter<S: AsRef<str>>(site: &Site, name: &str, argv: &[S]) -> Result<Infallible, LabError> {
    let first = running(site, name)?;
    let groups = Cgroups::recorded(&site.host(name)).ok_or_else(|| LabError::Off(name.to_owned()))?;
    groups.enter_devices()?;
    init::drop_privileges(&groups)?;
    let mut command = Command::new("nsenter");
    command.args(["--target", &first.pid().to_string()]);
    command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]);
    if Path::new("/proc/self/ns/time").exists() {
        command.arg("--time");
    }
    let terminal = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
    command.arg("--").args(argv.iter().map(AsRef::as_ref)).env_clear().env("TERM", terminal).env("HOME", "/root");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    files::context(Err(command.exec()), "starting", Path::new("nsenter"))
}

/// Keeps a program that entered a host going, until it is dropped. A host that shuts down stops all that runs in it before it
/// kills it; nsenter stops with its program, and would never see its end.
pub(crate) struct Awake {
    _until: Sender<()>,
}

impl Awake {
    /// For the process of this number.
    pub(crate) fn keep(id: u32) -> Self {
        let (until, ended) = mpsc::channel::<()>();
        if let Ok(id) = i32::try_from(id) {
            std::thread::spawn(move || {
                while ended.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                    // One that runs does not notice.
                    let _ = kill(Pid::from_raw(id), Signal::SIGCONT);
                }
            });
        }
        Self { _until: until }
    }
}
