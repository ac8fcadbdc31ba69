//! A program inside a host, without ssh. In come a running host and a command line, out goes that program in all of the
//! host's namespaces. It never has more rights over the machine than the host's own root.

use std::convert::Infallible;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

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
