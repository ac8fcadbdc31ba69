//! What the first process of a host does before it becomes systemd. In comes a fresh PID namespace, out goes
//! `/sbin/init` with its own network, mounts, groups and clock. It never returns, and never shows the machine's disk.

use std::convert::Infallible;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write, stdin, stdout};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod, umask};
use nix::unistd::{chdir, pivot_root, sethostname};
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};

use super::cgroup::Cgroups;
use super::error::LabError;
use super::site::Site;
use super::{base, files, machine};

/// What is the machine's and not a host's: modules, raw I/O, the clock, its log, accounting and tracing. Without raw
/// I/O, systemd also leaves the kernel's debug file systems alone. Reboot stays, as it ends this namespace only.
const DROPPED: CapabilitySet = CapabilitySet::SYS_MODULE
    .union(CapabilitySet::SYS_RAWIO)
    .union(CapabilitySet::SYS_TIME)
    .union(CapabilitySet::SYS_PACCT)
    .union(CapabilitySet::SYSLOG)
    .union(CapabilitySet::WAKE_ALARM)
    .union(CapabilitySet::BLOCK_SUSPEND)
    .union(CapabilitySet::MAC_OVERRIDE)
    .union(CapabilitySet::MAC_ADMIN)
    .union(CapabilitySet::AUDIT_READ)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::CHECKPOINT_RESTORE);

/// The parts of /proc/sys that belong to a host's own namespaces.
const OWN_SETTINGS: [&str; 10] = [
    "net",
    "kernel/hostname",
    "kernel/domainname",
    "kernel/shmmax",
    "kernel/shmall",
    "kernel/shmmni",
    "kernel/sem",
    "kernel/msgmax",
    "kernel/msgmnb",
    "kernel/msgmni",
];

const DEVICES: [(&str, u64, u64); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

const LINKS: [(&str, &str); 5] =
    [("pts/ptmx", "ptmx"), ("/proc/self/fd", "fd"), ("fd/0", "stdin"), ("fd/1", "stdout"), ("fd/2", "stderr")];

const NO_SUID: MsFlags = MsFlags::MS_NOSUID;
const NO_DEV: MsFlags = NO_SUID.union(MsFlags::MS_NODEV);
const NO_EXEC: MsFlags = NO_DEV.union(MsFlags::MS_NOEXEC);

/// Becomes the host's systemd.
pub(crate) fn init(site: &Site, name: &str) -> Result<Infallible, LabError> {
    network(site, name)?;
    let groups = Cgroups::recorded(&site.host(name)).ok_or_else(|| LabError::Stillborn(name.to_owned()))?;
    groups.enter()?;
    // Only now, so that the group just entered is the root of all that the host sees.
    step("making a cgroup namespace", unshare(CloneFlags::CLONE_NEWCGROUP))?;
    let root = site.host(name).join("root");
    mount_all(site, name, &root)?;
    step("naming the host", sethostname(name))?;
    enter_root(&root)?;
    drop_privileges(&groups)?;
    become_systemd()
}

/// Drops what would let a process in a host act on the machine. Where no group limits the opening of devices, none may
/// be made either.
pub(crate) fn drop_privileges(groups: &Cgroups) -> Result<(), LabError> {
    let nodes = if groups.guard_devices() { CapabilitySet::empty() } else { CapabilitySet::MKNOD };
    for capability in DROPPED.union(nodes) {
        match remove_capability_from_bounding_set(capability) {
            // An older kernel does not know the newest ones.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(errno) => return step("dropping privileges", Err(Errno::from_raw(errno.raw_os_error()))),
        }
    }
    Ok(())
}

/// All namespaces but the cgroup's; then the supervisor lays a wire into it, and the rest of the network is set here.
fn network(site: &Site, name: &str) -> Result<(), LabError> {
    let new = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC;
    step("making namespaces", unshare(new))?;
    step("leaving the machine's mounts", mount_plain(None, Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE))?;
    say()?;
    files::context(stdin().read_exact(&mut [0]), "hearing from", Path::new("the supervisor"))?;
    let lines = format!(
        "link set lo up\naddr add {}/24 brd + dev eth0\nlink set eth0 up\nroute add default via {}\n",
        site.address(name)?,
        site.subnet.gateway(),
    );
    machine::ip("setting up eth0", &lines)?;
    say()
}

fn say() -> Result<(), LabError> {
    let said = stdout().write_all(b".").and_then(|()| stdout().flush());
    files::context(said, "telling", Path::new("the supervisor"))
}

fn mount_all(site: &Site, name: &str, root: &Path) -> Result<(), LabError> {
    mount_disk(site, name, root)?;
    mount_proc(root)?;
    // Read-only, which also keeps udevd from starting.
    mount_new("sysfs", &root.join("sys"), NO_EXEC | MsFlags::MS_RDONLY, "")?;
    mount_new("cgroup2", &root.join("sys/fs/cgroup"), NO_EXEC, "")?;
    mount_dev(root)?;
    mount_new("tmpfs", &root.join("run"), NO_DEV, "mode=755,size=20%")?;
    step("making /dev/console", bind(&site.console(name), &made(root.join("dev/console"))?))?;
    new_boot_id(site, name, root)?;
    for file in ["kmsg", "kcore"].map(|file| root.join("proc").join(file)).into_iter().filter(|file| file.exists()) {
        step("hiding the kernel's memory", bind(&root.join("dev/null"), &file))?;
    }
    Ok(())
}

/// `volatile` spares the waits of fsync, which nearly all time of a package install is; a pulled plug keeps the data
/// all the same, as the machine's page cache lives on. Kernels before 5.10 do not know it.
fn mount_disk(site: &Site, name: &str, root: &Path) -> Result<(), LabError> {
    let (lower, host) = (base::root(site), site.host(name));
    let places = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        host.join("upper").display(),
        host.join("work").display(),
    );
    let volatile = mount_new("overlay", root, MsFlags::empty(), &format!("{places},volatile"));
    volatile.or_else(|_| mount_new("overlay", root, MsFlags::empty(), &places))
}

/// /proc/sys is the machine's, but for what belongs to a namespace.
fn mount_proc(root: &Path) -> Result<(), LabError> {
    let proc = root.join("proc");
    mount_new("proc", &proc, NO_EXEC, "")?;
    let settings = proc.join("sys");
    // Held open from before: afterwards these paths lead into the read-only mount.
    let own = OWN_SETTINGS.map(|part| (part, open_path(&settings.join(part))));
    read_only(&settings)?;
    for (part, file) in own.into_iter().filter_map(|(part, file)| Some((part, file.ok()?))) {
        let source = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        step("binding a setting", bind(&source, &settings.join(part)))?;
    }
    let fixed = ["bus", "fs", "irq", "sysrq-trigger"].map(|part| proc.join(part));
    fixed.iter().filter(|path| path.exists()).try_for_each(|path| read_only(path))
}

fn open_path(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)
}

fn mount_dev(root: &Path) -> Result<(), LabError> {
    let dev = root.join("dev");
    mount_new("tmpfs", &dev, NO_SUID, "mode=755,size=4m")?;
    let before = umask(Mode::empty());
    for (name, major, minor) in DEVICES {
        let made = mknod(&dev.join(name), SFlag::S_IFCHR, Mode::from_bits_truncate(0o666), makedev(major, minor));
        step("making devices", made)?;
    }
    umask(before);
    for folder in ["pts", "shm"] {
        files::make_folder(&dev.join(folder), 0o755)?;
    }
    let terminals = "newinstance,ptmxmode=666,mode=620,gid=5";
    mount_new("devpts", &dev.join("pts"), NO_SUID | MsFlags::MS_NOEXEC, terminals)?;
    mount_new("tmpfs", &dev.join("shm"), NO_DEV, "mode=1777")?;
    LINKS.into_iter().try_for_each(|(target, link)| files::context(symlink(target, dev.join(link)), "linking", &dev))
}

/// A boot id per boot: it is how a restart is told, by journalctl and by every orchestrator.
fn new_boot_id(site: &Site, name: &str, root: &Path) -> Result<(), LabError> {
    let (random, own) = (Path::new("/proc/sys/kernel/random"), site.host(name).join("boot_id"));
    let text = files::context(fs::read_to_string(random.join("uuid")), "reading", random)?;
    files::write(&own, &text, 0o444)?;
    let place = root.join("proc/sys/kernel/random/boot_id");
    step("giving a boot id", bind(&own, &place).and_then(|()| remount_read_only(&place)))
}

fn enter_root(root: &Path) -> Result<(), LabError> {
    let entered = chdir(root).and_then(|()| pivot_root(".", ".")).and_then(|()| umount2(".", MntFlags::MNT_DETACH));
    step("entering the host's root", entered.and_then(|()| chdir("/")))
}

/// With a path and the word by which systemd knows a container, and nothing else of the machine's environment.
fn become_systemd() -> Result<Infallible, LabError> {
    umask(Mode::from_bits_truncate(0o022));
    let console = Path::new("/dev/console");
    let output = files::context(OpenOptions::new().append(true).open(console), "opening", console)?;
    let errors = files::context(output.try_clone(), "opening", console)?;
    let mut command = Command::new("/sbin/init");
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("container", "lab").stdin(Stdio::null()).stdout(output).stderr(errors);
    files::context(Err(command.exec()), "starting", Path::new("/sbin/init"))
}

fn mount_new(kind: &str, place: &Path, flags: MsFlags, options: &str) -> Result<(), LabError> {
    let mounted = mount(Some(kind), place, Some(kind), flags, Some(options));
    step(&format!("mounting {kind} on {}", place.display()), mounted)
}

fn read_only(path: &Path) -> Result<(), LabError> {
    step("making a part of /proc read-only", bind(path, path).and_then(|()| remount_read_only(path)))
}

fn remount_read_only(path: &Path) -> nix::Result<()> {
    mount_plain(None, path, MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | NO_EXEC)
}

fn bind(source: &Path, place: &Path) -> nix::Result<()> {
    mount_plain(Some(source), place, MsFlags::MS_BIND)
}

fn mount_plain(source: Option<&Path>, place: &Path, flags: MsFlags) -> nix::Result<()> {
    mount(source, place, None::<&str>, flags, None::<&str>)
}

fn made(file: PathBuf) -> Result<PathBuf, LabError> {
    files::write(&file, "", 0o600)?;
    Ok(file)
}

fn step<T>(doing: &str, result: nix::Result<T>) -> Result<T, LabError> {
    result.map_err(|source| LabError::Kernel { doing: doing.to_owned(), source })
}
