//! The lock of this host: who holds it by the rule of [`crate::lease::grant`], and whether steps come from its holder.
//!
//! Four files, as every armilla wrote them: `fence` (the highest fencing token given, a line), `lease` (the lease as JSON, a
//! line, and the boot and the second in it of the last sign of life, a line), `guard` (its `flock` is held while these two
//! are read and written) and `busy` (its `flock` is held while steps are carried out). While a step runs a program, `busy`
//! holds a line about its process: where we are killed, the program may go on, and until it ends the lock is not free.

use std::fs::File;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, OFlags, fstat};

use super::super::{Failure, Result};
use super::folder::{Folder, Lock, is_same};
use super::walk::Missing;
use super::{Keep, Uptime, leftovers};
use crate::lease::{Desk, Lease, LeaseAnswer, LeaseId, Now, Request, Ticket, VERSION, grant};

/// The longest description of a holder, in bytes.
const LONGEST: usize = 32 << 10;

/// The largest file that is read.
const LARGEST: u64 = 4 * LONGEST as u64;

/// Answers a request about the lock, and writes down what follows from it.
///
/// # Errors
/// Why this host cannot say or write it; then nobody got anything.
pub(in crate::host) fn lease(keep: Keep<'_>, request: &Request) -> Result<LeaseAnswer> {
    check(request)?;
    match request {
        Request::Look => look(keep),
        _ => decide(keep, request),
    }
}

/// Older hosts compare names as text in JSON, so there is nothing in one that would be escaped there.
fn check(request: &Request) -> Result {
    let plain = |id: &LeaseId| {
        let name = &id.0;
        let right = (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if right { Ok(()) } else { Err(Failure::new(format!("invalid lease name `{}`", name.escape_debug()))) }
    };
    match request {
        Request::Look => Ok(()),
        Request::Renew { id } | Request::Release { id } | Request::Break { id } => plain(id),
        Request::Acquire { id, holder, instead_of, .. } => {
            let length = serde_json::to_string(holder).map_err(|error| Failure::new(error.to_string()))?.len();
            if length > LONGEST {
                return Err(Failure::new(format!("the holder of the lease is longer than {} KiB", LONGEST >> 10)));
            }
            plain(id).and_then(|()| instead_of.as_ref().map_or(Ok(()), plain))
        }
    }
}

/// Nothing is made, and nobody is kept waiting.
fn look(keep: Keep<'_>) -> Result<LeaseAnswer> {
    let Some(folder) = keep.insist(Missing::Leave)? else { return Ok(LeaseAnswer::Free) };
    let uptime = (keep.uptime)()?;
    let mut written = Written::read(&folder)?;
    let busy = written.line.is_some() && is_busy(&folder, &uptime.boot);
    Ok(grant(&mut written.desk, &Request::Look, now(&uptime, busy)))
}

fn now(uptime: &Uptime, busy: bool) -> Now<'_> {
    Now { boot: &uptime.boot, uptime: uptime.seconds, busy }
}

/// Whether steps are carried out. The lock is held for no time, and shared, so that it is in nobody's way.
fn is_busy(folder: &Folder, boot: &str) -> bool {
    let Ok(busy) = folder.open("busy", OFlags::RDONLY).map(Lock::new) else { return false };
    match busy.take(FlockOperation::NonBlockingLockShared) {
        Ok(free) => !free || goes_on(busy.file(), boot),
        Err(_) => false,
    }
}

/// Whether a program still runs that was started by an order that was killed.
fn goes_on(busy: &File, boot: &str) -> bool {
    let mut line = [0; 128];
    let length = busy.read_at(&mut line, 0).unwrap_or(0);
    let line = String::from_utf8_lossy(&line[..length]);
    let mut words = line.split_whitespace();
    let (Some(process), Some(beginning), Some(in_boot)) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    let beginning = beginning.parse().ok();
    in_boot == boot && beginning.is_some() && process.parse().ok().and_then(leftovers::beginning) == beginning
}

fn decide(keep: Keep<'_>, request: &Request) -> Result<LeaseAnswer> {
    let missing = if matches!(request, Request::Acquire { .. }) { Missing::Make } else { Missing::Leave };
    let Some((folder, _guard)) = guard(keep, missing)? else { return Ok(LeaseAnswer::Lost(None)) };
    // Others may have had the guard for a while.
    let uptime = (keep.uptime)()?;
    let Written { mut desk, line } = Written::read(&folder)?;
    let known = desk.lease.as_ref().map(|lease| lease.id.clone());
    let matters = match request {
        Request::Acquire { id, .. } => known.as_ref() != Some(id),
        Request::Renew { id } => known.as_ref().is_some_and(|known| known != id),
        _ => known.is_some(),
    };
    // As long as this is held no order begins.
    let idle = if matters { idle(&folder, &uptime.boot)? } else { None };
    let answer = grant(&mut desk, request, now(&uptime, matters && idle.is_none()));
    match (&answer, &desk.lease) {
        (LeaseAnswer::Granted(_) | LeaseAnswer::Shared(_), Some(lease)) if known.as_ref() == Some(&lease.id) => {
            write_lease(&folder, &line.unwrap_or_default(), &desk)?;
        }
        (LeaseAnswer::Granted(_), Some(lease)) => {
            if idle.is_some() {
                leftovers::sweep(keep, &folder);
            }
            write_new(&folder, lease, &desk)?;
        }
        (LeaseAnswer::Free, Some(ended)) => write_lease(&folder, &text(ended)?, &desk)?,
        (LeaseAnswer::Free, None) => {
            // What was killed since the lease began has nobody else who removes it before the next one.
            leftovers::sweep(keep, &folder);
            let removed = folder.remove("lease");
            removed.map_err(|_| Failure::new(format!("{} cannot be removed", folder.at("lease"))))?;
            leave(keep, &folder);
        }
        _ => {}
    }
    Ok(answer)
}

/// Lets only one at a time beyond this point, and only in a directory that is still there.
fn guard(keep: Keep<'_>, missing: Missing) -> Result<Option<(Folder, Lock)>> {
    for tries in 0..50 {
        let Some(folder) = keep.insist(missing)? else { return Ok(None) };
        // Who released the lock last removes it all; then there is nothing to write to.
        match folder.append("guard") {
            Err(error) if tries > 2 && error.kind() != ErrorKind::NotFound => return Err(folder.unwritable("guard")),
            Err(_) => {}
            Ok(guard) => {
                let guard = Lock::new(guard);
                if !guard.take_within(Duration::from_secs(20)).unwrap_or(false) {
                    return Err(Failure::new("another process has held the guard of its lease for 20 s"));
                }
                if is_the(&folder, "guard", guard.file()) {
                    return Ok(Some((folder, guard)));
                }
            }
        }
    }
    Err(Failure::new(format!("{} comes and goes", keep.place.directory().display())))
}

/// Whether a name in a directory is that of an open file.
fn is_the(folder: &Folder, name: &str, file: &File) -> bool {
    let named = folder.look(name).ok().flatten();
    named.is_some_and(|named| fstat(file).is_ok_and(|open| is_same(&named, &open)))
}

/// What keeps orders from beginning until it is dropped; none while one is being carried out.
fn idle(folder: &Folder, boot: &str) -> Result<Option<Lock>> {
    let busy = folder.append("busy").map(Lock::new).map_err(|_| folder.unwritable("busy"))?;
    // Who only looks holds it for no time.
    for pause in [0, 100, 200] {
        thread::sleep(Duration::from_millis(pause));
        match busy.take(FlockOperation::NonBlockingLockExclusive) {
            Ok(true) if goes_on(busy.file(), boot) => return Ok(None),
            Ok(true) => return Ok(Some(busy)),
            Ok(false) => {}
            Err(error) => return Err(Failure::new(format!("{}: {error}", folder.at("busy")))),
        }
    }
    Ok(None)
}

/// What is written down.
struct Written {
    desk: Desk,
    /// The lease as it is written, which a newer armilla may have written with more in it.
    line: Option<String>,
}

impl Written {
    fn read(folder: &Folder) -> Result<Self> {
        let fence = match read(folder, "fence")? {
            None => 0,
            Some(text) => number(text.lines().next().unwrap_or_default())
                .ok_or_else(|| Failure::new(format!("{} is damaged: it must hold one number", folder.at("fence"))))?,
        };
        let Some(text) = read(folder, "lease")? else {
            return Ok(Self { desk: Desk { fence, ..Desk::default() }, line: None });
        };
        let damaged = || {
            let why = "is damaged, or of a newer armilla: look at it, and remove it if it is damaged";
            Failure::new(format!("{} {why}", folder.at("lease")))
        };
        let mut lines = text.lines();
        let line = lines.next().ok_or_else(damaged)?;
        let lease: Lease = serde_json::from_str(line).map_err(|_| damaged())?;
        let (boot, beat) = lines.next().and_then(|beat| beat.split_once(' ')).ok_or_else(damaged)?;
        let beat = number(beat).ok_or_else(damaged)?;
        if lease.version != VERSION {
            return Err(damaged());
        }
        // A power loss may have kept the lease without its fence.
        let fence = fence.max(lease.fence);
        let desk = Desk { lease: Some(lease), boot: boot.to_owned(), beat, fence };
        Ok(Self { desk, line: Some(line.to_owned()) })
    }
}

fn read(folder: &Folder, name: &str) -> Result<Option<String>> {
    let content = folder.read(name, LARGEST);
    let content = content.map_err(|error| Failure::new(format!("{}: {error}", folder.at(name))))?;
    Ok(content.map(|content| String::from_utf8_lossy(&content).into_owned()))
}

/// A number: up to 18 digits, as earlier versions wrote and read it.
fn number(text: &str) -> Option<u64> {
    let right = (1..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    right.then(|| text.parse().ok()).flatten()
}

fn text(lease: &Lease) -> Result<String> {
    serde_json::to_string(lease).map_err(|error| Failure::new(error.to_string()))
}

fn write_lease(folder: &Folder, line: &str, desk: &Desk) -> Result {
    folder.replace("lease", format!("{line}\n{} {}\n", desk.boot, desk.beat).as_bytes())
}

/// The fence, and the lease under it: where the power goes between the two, no fence is given twice.
fn write_new(folder: &Folder, lease: &Lease, desk: &Desk) -> Result {
    let lease = format!("{}\n{} {}\n", text(lease)?, desk.boot, desk.beat);
    let written = folder
        .write_synced(".new-fence", format!("{}\n", desk.fence).as_bytes())
        .and_then(|()| folder.write_synced(".new-lease", lease.as_bytes()))
        .and_then(|()| folder.rename(".new-fence", "fence"))
        .and_then(|()| folder.rename(".new-lease", "lease"))
        .and_then(|()| folder.sync());
    written.map_err(|_| {
        let _ = folder.remove(".new-fence").and_then(|()| folder.remove(".new-lease"));
        folder.unwritable("lease")
    })
}

/// Where no environment is left, nothing is. The guard and the lock of all orders are ours meanwhile; the guard goes last, for
/// as soon as it is gone another run begins anew in this directory.
fn leave(keep: Keep<'_>, folder: &Folder) {
    if !folder.folders().is_empty() {
        return;
    }
    for name in ["fence", "busy", ".new-fence", ".new-lease", "guard"] {
        let _ = folder.remove(name);
    }
    let all = keep.place.directory();
    let _ = std::fs::remove_dir(all).and_then(|()| all.parent().map_or(Ok(()), std::fs::remove_dir));
}

/// Why steps were not carried out: nothing was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) enum Refusal {
    /// They do not come from the holder of the lock; whose it is now, if anybody's.
    Fenced(Option<Box<Lease>>),
    /// This host cannot keep what it must; its own words.
    Unable(String),
    /// Nobody waits for it any more.
    Gone,
}

/// The right to carry out steps. As long as it is not dropped, nobody else carries out any, and nobody else gets the lock.
#[derive(Debug)]
pub(in crate::host) struct Admitted {
    busy: Lock,
    boot: String,
}

impl Admitted {
    /// Writes down which process runs for the order; none when it has ended.
    pub(in crate::host) fn runs(&self, process: Option<u32>) {
        let process = process.map(u64::from);
        let began = process.and_then(|process| Some((process, leftovers::beginning(process)?)));
        let line = began.map_or_else(String::new, |(process, began)| format!("{process} {began} {}\n", self.boot));
        // Where it cannot be written down, the order goes on: only one that is killed would have needed it.
        let busy = self.busy.file();
        let _ = busy.set_len(0).and_then(|()| busy.write_all_at(line.as_bytes(), 0));
    }
}

/// How long an order waits for the one before it.
const PATIENCE: Duration = Duration::from_secs(600);

/// Lets steps in that come from the holder of the lock. While an earlier order is being carried out, `waiting` gets to know:
/// every 0.2 s, with words every two seconds at most; with `Break` it ends the waiting.
pub(in crate::host) fn admit(
    keep: Keep<'_>,
    ticket: &Ticket,
    waiting: &mut dyn FnMut(Option<&str>) -> ControlFlow<()>,
) -> std::result::Result<Admitted, Refusal> {
    const EARLIER: &str = "an earlier order is still being carried out there";
    const OFTEN: Duration = Duration::from_secs(2);
    let boot = (keep.uptime)().map_err(|failure| Refusal::Unable(failure.why))?.boot;
    let begun = Instant::now();
    let mut tell = OFTEN;
    let (folder, busy) = loop {
        if let Some(taken) = taken(keep, &boot)? {
            break taken;
        }
        let waited = begun.elapsed();
        if waited >= PATIENCE {
            return Err(Refusal::Unable(format!("{EARLIER} after ten minutes of waiting")));
        }
        let words = (waited >= tell).then_some(EARLIER);
        if words.is_some() {
            tell = waited + OFTEN;
        }
        if waiting(words).is_break() {
            return Err(Refusal::Gone);
        }
        thread::sleep(Duration::from_millis(200));
    };
    let written = Written::read(&folder).map_err(|failure| Refusal::Unable(failure.why))?;
    match written.desk.lease {
        Some(lease) if lease.id == ticket.id && lease.fence == ticket.fence => Ok(Admitted { busy, boot }),
        other => Err(Refusal::Fenced(other.map(Box::new))),
    }
}

/// The lock of all orders, if it is ours now. The directory may have been removed while we waited for it.
fn taken(keep: Keep<'_>, boot: &str) -> std::result::Result<Option<(Folder, Lock)>, Refusal> {
    let folder = keep.insist(Missing::Leave).map_err(|failure| Refusal::Unable(failure.why))?;
    let Some(folder) = folder else { return Err(Refusal::Fenced(None)) };
    if !folder.has("busy") {
        return Err(Refusal::Fenced(None));
    }
    let unable = |error: std::io::Error| Refusal::Unable(format!("{}: {error}", folder.at("busy")));
    let busy = match folder.open("busy", OFlags::RDWR) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(Refusal::Fenced(None)),
        busy => Lock::new(busy.map_err(unable)?),
    };
    let ours = busy.take(FlockOperation::NonBlockingLockExclusive).map_err(unable)?;
    Ok((ours && is_the(&folder, "busy", busy.file()) && !goes_on(busy.file(), boot)).then_some((folder, busy)))
}
