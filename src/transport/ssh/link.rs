//! One connection: a master `ssh` process and its control socket.
//!
//! In: an endpoint and options. Out: channels, as many as wanted, over one connection.
//! Never: an option taken from a name; the master is told everything before `--`.

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::directory::Directory;
use super::kept::{self, Spot};
use super::options::{KnownHosts, ORPHAN, SshOptions};
use super::places::{Place, Places, Turn};
use crate::inventory::{Become, Endpoint};
use crate::transport::dialogue::Channel;
use crate::transport::error::TransportError;
use crate::transport::host_key::{Refusal, explain, fingerprint, last_words};
use crate::transport::shortage::shortage;

/// How long a shell that has nothing to do is asked for more.
const FRESH: Duration = Duration::from_secs(2);

/// A connection that was made.
#[derive(Debug)]
pub(in crate::transport) struct Link {
    session: Arc<openssh::Session>,
    socket: PathBuf,
    log: PathBuf,
    closed: AtomicBool,
    /// How much of what was begun over it is not known to have ended.
    begun: AtomicUsize,
    usage: Mutex<Usage>,
    /// Whether it stays for the next who wants it.
    kept: bool,
    /// A connection to the master over which nothing is said. The kernel closes it however we end, and then the time of
    /// the master begins to run.
    hold: Mutex<Option<UnixStream>>,
    /// Removed when the last connection in it is gone.
    _directory: Arc<Directory>,
}

/// Who uses a connection. There is a parked place, or somebody with a place of their own, as long as it is open.
#[derive(Debug, Default)]
struct Usage {
    users: usize,
    parked: Option<Parked>,
}

/// A place that nobody uses, with a shell that waits for more to do, and its rights, if there is one.
#[derive(Debug)]
struct Parked {
    since: Instant,
    place: Place,
    shell: Option<(Become, Channel)>,
}

/// A connection in use, by a place of its own. At the end the place is parked.
#[derive(Debug)]
pub(in crate::transport) struct InUse {
    pub(super) link: Arc<Link>,
    places: Arc<Places>,
    place: Option<Place>,
    /// A shell that waits for more to do, since when, and with which rights.
    shell: Option<(Instant, Become, Channel)>,
    /// Given back last.
    _turn: Turn,
}

impl InUse {
    /// Begins to use a connection.
    pub(super) fn new(link: &Arc<Link>, places: &Arc<Places>, (turn, place): (Turn, Place)) -> Self {
        link.usage().users += 1;
        let (link, places) = (Arc::clone(link), Arc::clone(places));
        Self { link, places, place: Some(place), shell: None, _turn: turn }
    }

    /// Begins to use a connection by the place that is parked there; if there is none, the turn is given back.
    pub(super) fn again(link: &Arc<Link>, places: &Arc<Places>, turn: Turn) -> Result<Self, Turn> {
        let Some(Parked { since, place, shell }) = link.usage().parked.take() else { return Err(turn) };
        let mut held = Self::new(link, places, (turn, place));
        held.shell = shell.map(|(rights, channel)| (since, rights, channel));
        Ok(held)
    }

    /// The shell that was just started, or has just done something and is ready for more, if there is one with these
    /// rights; [`Link::ended`] must be told when that is known to be over. One that had nothing to do for longer may be
    /// behind a connection that is gone without a sign; a new one would show that at once.
    pub(super) async fn idle(&mut self, rights: Become) -> Option<Channel> {
        let (since, its, mut channel) = self.shell.take()?;
        let is_new = !channel.is_used;
        if since.elapsed() > FRESH || its != rights || !(is_new || channel.is_waiting().await) {
            return None;
        }
        self.link.begun.fetch_add(1, Ordering::Relaxed);
        Some(channel)
    }

    /// A new shell; see [`Link::open`].
    pub(super) async fn open(&mut self, line: &str, token: String, limit: Duration) -> Result<Channel, NotStarted> {
        self.shell = None;
        self.link.open(line, token, limit).await
    }

    /// What was begun over it has ended, and it may do more with these rights.
    pub(super) fn free(mut self, rights: Become, channel: Channel) {
        self.shell = Some((Instant::now(), rights, channel));
    }
}

impl Drop for InUse {
    /// Of two that would be parked at one connection the later one stays, unless only the other has a shell. At one that was
    /// closed none is: nobody would find it there.
    fn drop(&mut self) {
        let mut usage = self.link.usage();
        usage.users -= 1;
        let shell = self.shell.take().map(|(_, rights, channel)| (rights, channel));
        let is_worth_it = usage.parked.is_none() || shell.is_some();
        if let Some(place) = self.place.take()
            && is_worth_it
            && !self.link.closed.load(Ordering::Relaxed)
        {
            usage.parked = Some(Parked { since: Instant::now(), place, shell });
            self.places.parked();
        }
    }
}

/// A login that succeeded, and whose connection was gone before anything was asked.
pub(super) const ENDED_AT_ONCE: &str = "its connection ended at once";

/// Makes a connection.
pub(super) async fn connect(
    host: &Endpoint,
    options: &SshOptions,
    directory: Arc<Directory>,
) -> Result<Link, TransportError> {
    let unreachable = |why: String| TransportError::Unreachable { host: host.name.to_string(), why };
    let local = |why: String| TransportError::Local { host: host.name.to_string(), why };
    let arguments = arguments(host, options).map_err(unreachable)?;
    let link = |socket: PathBuf, kept: bool| {
        Link::hold(socket, kept, Arc::clone(&directory))
            .map_err(|error| shortage(&error).map_or_else(|| unreachable(format!("{ENDED_AT_ONCE}: {error}")), local))
    };
    let spot = match options.keep {
        None => Spot::Taken,
        Some(_) => kept::spot(&arguments, options.control_dir.as_deref())
            .await
            .map_err(|error| local(format!("connections cannot be kept: {error}")))?,
    };
    let (socket, alone) = match spot {
        Spot::There(socket) => return link(socket, true),
        Spot::Free(socket, alone) => (socket, Some(alone)),
        Spot::Taken => (directory.next(), None),
    };
    let log = socket.with_extension("log");
    let mut master = master(&arguments, &socket, &log).map_err(|error| {
        local(shortage(&error).unwrap_or_else(|| format!("{} cannot be written: {error}", log.display())))
    })?;
    // `-f`: it comes back when the login succeeded, and goes on in the background.
    let limit = options.connect_timeout * 2;
    let ended = match tokio::time::timeout(limit, master.status()).await {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => {
            return Err(local(shortage(&error).unwrap_or_else(|| format!("ssh cannot be started: {error}"))));
        }
        Err(_) => return Err(unreachable(format!("no login within {} s", limit.as_secs()))),
    };
    if !ended.success() {
        return Err(refused(host, &read_log(&log)));
    }
    link(socket, alone.is_some())
}

/// What the master is told besides where its socket is.
pub(super) fn arguments(host: &Endpoint, options: &SshOptions) -> Result<Vec<OsString>, String> {
    let mut all: Vec<OsString> = Vec::new();
    let mut say = |words: &[&str]| all.extend(words.iter().map(OsString::from));
    for option in fixed_options(options) {
        say(&["-o", &option]);
    }
    if let Some(config) = &options.config {
        say(&["-F", config.as_str()]);
    }
    if let Some(port) = host.port {
        say(&["-p", &port.to_string()]);
    }
    if let Some(user) = host.user.as_ref().or(options.user.as_ref()) {
        say(&["-l", harmless("user", user)?]);
    }
    if let Some(key) = host.key.as_ref().or(options.key.as_ref()) {
        say(&["-o", "IdentitiesOnly=yes", "-i", key.as_str()]);
    }
    for (name, value) in host.ssh.iter().flat_map(|arguments| &arguments.options) {
        say(&["-o", &format!("{name}={value}")]);
    }
    if let Some(proxy) = host.ssh.iter().find_map(|arguments| arguments.proxy_command.as_ref()) {
        // Plain words that were allowed: the shell that ssh starts for them finds nothing to replace.
        say(&["-o", &format!("ProxyCommand={}", proxy.argv.join(" "))]);
    }
    say(&["--", harmless("address", &host.address)?]);
    Ok(all)
}

/// The program that makes the connection and keeps it.
fn master(arguments: &[OsString], socket: &Path, log: &Path) -> std::io::Result<tokio::process::Command> {
    let own_words = fs::File::options().create(true).append(true).open(log)?;
    let mut ssh = tokio::process::Command::new("ssh");
    ssh.args(["-M", "-N", "-f", "-S"]).arg(percent(socket)).arg("-E").arg(log).args(arguments);
    unattended(&mut ssh).stderr(own_words);
    Ok(ssh)
}

/// Nobody is there to ask, and nobody to be told. It is out of reach of the terminal's signals.
pub(super) fn unattended(ssh: &mut tokio::process::Command) -> &mut tokio::process::Command {
    // A jump host's ssh does not know that nobody is there to ask; this tells it.
    ssh.env("SSH_ASKPASS", "/bin/false").env("SSH_ASKPASS_REQUIRE", "force");
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0).kill_on_drop(true)
}

/// What the user's configuration cannot change.
fn fixed_options(options: &SshOptions) -> Vec<String> {
    let known = match options.known_hosts {
        KnownHosts::Strict => "yes",
        KnownHosts::AcceptNew => "accept-new",
    };
    let mut all: Vec<String> = [
        "BatchMode=yes",
        "ServerAliveCountMax=3",
        // At this level ssh names the key a host offers.
        "LogLevel=DEBUG1",
        "FingerprintHash=sha256",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "UpdateHostKeys=no",
        "Tunnel=no",
    ]
    .map(str::to_owned)
    .into();
    all.push(format!("StrictHostKeyChecking={known}"));
    all.push(format!("ConnectTimeout={}", options.connect_timeout.as_secs().max(1)));
    all.push(format!("ServerAliveInterval={}", options.keep_alive.as_secs().max(1)));
    all.push(format!("ControlPersist={}", options.keep.unwrap_or(ORPHAN).as_secs().max(1)));
    all
}

/// ssh replaces `%` in the path of a socket.
fn percent(path: &Path) -> String {
    path.to_string_lossy().replace('%', "%%")
}

/// A name or address that is one, also after ssh has put it into a `ProxyCommand`.
fn harmless<'a>(what: &str, text: &'a str) -> Result<&'a str, String> {
    let fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    let fine = |c: char| fine(c) || (what == "address" && c == '%') || (what == "user" && matches!(c, '@' | '+'));
    if text.is_empty() || text.starts_with('-') || !text.chars().all(fine) {
        return Err(format!("invalid {what} `{}`", text.escape_debug()));
    }
    Ok(text)
}

fn refused(host: &Endpoint, log: &str) -> TransportError {
    let host = host.name.to_string();
    match explain(log) {
        Refusal::Changed { file, line, offered } => {
            let text = fs::read_to_string(&file).unwrap_or_default();
            let known = text.lines().nth(line.saturating_sub(1)).and_then(fingerprint);
            let known = known.unwrap_or_else(|| "a key that cannot be read".to_owned());
            TransportError::HostKeyChanged { host, known: format!("{known} ({file}:{line})"), offered }
        }
        Refusal::Unknown { offered } => TransportError::HostKeyUnknown { host, offered },
        Refusal::Local(why) => TransportError::Local { host, why },
        Refusal::Other(why) => TransportError::Unreachable { host, why },
    }
}

fn read_log(log: &Path) -> String {
    String::from_utf8_lossy(&fs::read(log).unwrap_or_default()).into_owned()
}

/// Why no command could be started over a connection.
#[derive(Debug)]
pub(super) enum NotStarted {
    /// This machine has too little of something. The connection is as it was.
    Local(String),
    /// The connection does not work.
    Lost(String),
}

impl Link {
    /// Takes a connection whose master has just been started, or is there, and keeps it alive.
    fn hold(socket: PathBuf, kept: bool, directory: Arc<Directory>) -> std::io::Result<Self> {
        let hold = UnixStream::connect(&socket)?;
        Ok(Self {
            session: Arc::new(openssh::Session::resume_mux(socket.clone().into_boxed_path(), None)),
            log: socket.with_extension("log"),
            socket,
            closed: AtomicBool::new(false),
            begun: AtomicUsize::new(0),
            usage: Mutex::default(),
            kept,
            hold: Mutex::new(Some(hold)),
            _directory: directory,
        })
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since when a place is parked here, if there is one.
    pub(super) fn parked_since(&self) -> Option<Instant> {
        Some(self.usage().parked.as_ref()?.since)
    }

    /// Gives up the place that is parked here and its shell, and says whether somebody uses the connection by another.
    pub(super) fn vacate(&self) -> Option<(Place, bool)> {
        let mut usage = self.usage();
        let is_used = usage.users > 0;
        usage.parked.take().map(|parked| (parked.place, is_used))
    }

    /// Starts a command on the host; [`Link::ended`] must be told when it is known to be over.
    async fn open(&self, line: &str, token: String, limit: Duration) -> Result<Channel, NotStarted> {
        let mut command = Arc::clone(&self.session).arc_raw_command(line);
        command.stdin(openssh::Stdio::piped()).stdout(openssh::Stdio::piped()).stderr(openssh::Stdio::piped());
        let mut child = match tokio::time::timeout(limit, command.spawn()).await {
            Ok(Ok(child)) => child,
            Ok(Err(error)) => {
                return Err(shortage(&error).map_or_else(|| NotStarted::Lost(error.to_string()), NotStarted::Local));
            }
            Err(_) => return Err(NotStarted::Lost(format!("no answer within {} s", limit.as_secs()))),
        };
        self.begun.fetch_add(1, Ordering::Relaxed);
        let missing = || NotStarted::Lost("a pipe is missing".to_owned());
        Ok(Channel {
            stdin: Box::pin(child.stdin().take().ok_or_else(missing)?),
            stdout: Box::pin(child.stdout().take().ok_or_else(missing)?),
            stderr: Box::pin(child.stderr().take().ok_or_else(missing)?),
            keep: Box::new(child),
            token,
            is_used: false,
        })
    }

    /// Whether the master still has a connection.
    pub(super) async fn is_alive(&self) -> bool {
        let check = tokio::time::timeout(Duration::from_secs(2), self.session.check());
        matches!(check.await, Ok(Ok(())))
    }

    /// All that ssh said.
    pub(super) fn log(&self) -> String {
        read_log(&self.log)
    }

    /// What ssh said last.
    pub(super) fn last_words(&self) -> String {
        last_words(&read_log(&self.log))
    }

    /// What was begun over one of its channels has ended.
    pub(super) fn ended(&self) {
        self.begun.fetch_sub(1, Ordering::Relaxed);
    }

    /// What was begun over it may never end.
    pub(super) fn doubt(&self) {
        self.begun.fetch_add(1, Ordering::Relaxed);
    }

    /// A shell that waits for more to do ends, and the master is no longer kept alive.
    fn dismiss(&self) {
        self.usage().parked.take();
        self.hold.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Is done with it. One that is to be kept stays, unless something may still go on over it.
    pub(super) async fn leave(&self) {
        self.dismiss();
        if self.kept && self.begun.load(Ordering::Relaxed) == 0 {
            self.closed.store(true, Ordering::Relaxed);
        } else {
            self.close().await;
        }
    }

    /// Ends the connection. A master is asked to end with what still goes over it, which costs nothing; where that may be
    /// never it is told to end at once, by a program.
    pub(super) async fn close(&self) {
        self.dismiss();
        if self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        let session = openssh::Session::resume_mux(self.socket.clone().into_boxed_path(), None);
        if self.begun.load(Ordering::Relaxed) == 0
            && let Ok(Ok(())) = tokio::time::timeout(Duration::from_secs(1), session.close()).await
        {
            return;
        }
        if let Ok(exit) = exit(&self.socket) {
            let mut exit = tokio::process::Command::from(exit);
            let _ = tokio::time::timeout(Duration::from_secs(5), exit.status()).await;
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if !*self.closed.get_mut()
            && let Ok(mut exit) = exit(&self.socket)
        {
            let _ = exit.status();
        }
    }
}

/// The command that ends a master.
fn exit(socket: &Path) -> std::io::Result<std::process::Command> {
    fs::symlink_metadata(socket)?;
    let mut ssh = std::process::Command::new("ssh");
    ssh.args(["-F", "none", "-O", "exit", "-S"]).arg(percent(socket)).args(["--", "armilla"]);
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Ok(ssh)
}
