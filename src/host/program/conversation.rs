//! One program from its start to its end: its three streams, its time, and the end of all that belongs to it.

use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process_group};

use super::bounded::{Bounded, Kept};
use super::{Heard, Leftover, Limits, Watch};

/// Between two looks whether a program has ended that says nothing.
const SHORTEST: Duration = Duration::from_micros(200);
const LONGEST: Duration = Duration::from_millis(50);

/// How long a program may take to end when it is asked to, and then until the kernel has ended it.
const GRACE: Duration = Duration::from_secs(5);

/// How often the watch is asked whether to go on.
const BEAT: Duration = Duration::from_secs(1);

/// What the kernel keeps in a pipe, in bytes.
const PIPE: usize = 64 << 10;

/// Why it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::host) enum Cause {
    /// The program ended.
    Itself,
    /// It was ended because its time was over.
    Overdue,
    /// It was ended because the watch said so.
    Stopped,
}

/// A program that runs, in a group of its own.
pub(super) struct Conversation<'a> {
    child: Child,
    group: Pid,
    input: Option<(OwnedFd, &'a [u8])>,
    outputs: [Output; 2],
    status: Option<ExitStatus>,
    stopped: bool,
    buffer: Vec<u8>,
}

/// One of its two streams.
struct Output {
    pipe: Option<OwnedFd>,
    said: Bounded,
}

/// How it went.
pub(super) struct Talked {
    pub(super) cause: Cause,
    /// None if it is not known, or not even the kernel could end it: it waits for a disk or a network.
    pub(super) status: Option<ExitStatus>,
    pub(super) said: [Bounded; 2],
    /// What somebody else holds open that it left running.
    pub(super) held: Vec<OwnedFd>,
}

impl<'a> Conversation<'a> {
    /// Begins with a program that was just started, with pipes for its outputs and, where there is input, for that.
    pub(super) fn begin(mut child: Child, input: &'a [u8], limits: &Limits) -> std::io::Result<Self> {
        let number = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = number.ok_or_else(|| std::io::Error::other("a process without a number"))?;
        let input = child.stdin.take().map(|pipe| (OwnedFd::from(pipe), input));
        let [out, err] = [child.stdout.take().map(OwnedFd::from), child.stderr.take().map(OwnedFd::from)];
        for pipe in input.iter().map(|(pipe, _)| pipe).chain(&out).chain(&err) {
            fcntl_setfl(pipe, OFlags::NONBLOCK)?;
        }
        let output = |pipe, kept: Kept| Output { pipe, said: Bounded::new(kept) };
        let outputs = [output(out, limits.stdout), output(err, limits.stderr)];
        Ok(Self { child, group, input, outputs, status: None, stopped: false, buffer: vec![0; PIPE] })
    }

    /// Holds it to its end.
    pub(super) fn hold(mut self, limits: &Limits, watch: &mut Watch<'_>) -> Talked {
        let began = Instant::now();
        let cause = self.last(began, limits.time, watch);
        let patience = match (limits.leftover, cause) {
            (Leftover::Awaited, Cause::Itself) => limits.time.saturating_sub(began.elapsed()),
            _ => Duration::ZERO,
        };
        self.rest(patience, watch);
        let held = self.outputs.iter_mut().filter_map(|output| output.pipe.take()).collect();
        Talked { cause, status: self.status, said: self.outputs.map(|output| output.said), held }
    }

    /// Until it has ended, by itself or not.
    fn last(&mut self, began: Instant, limit: Duration, watch: &mut Watch<'_>) -> Cause {
        let (mut nap, mut beat) = (SHORTEST, began + BEAT);
        loop {
            let left = limit.saturating_sub(began.elapsed());
            nap = if self.exchange(nap.min(left), watch) { SHORTEST } else { (nap * 2).min(LONGEST) };
            if self.has_ended() {
                return Cause::Itself;
            }
            if Instant::now() >= beat {
                beat += BEAT;
                self.stopped |= watch(Heard::Beat).is_break();
            }
            let overdue = began.elapsed() >= limit;
            if overdue || self.stopped {
                self.end(watch);
                return if overdue { Cause::Overdue } else { Cause::Stopped };
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        match self.child.try_wait() {
            Ok(status) => {
                self.status = status;
                status.is_some()
            }
            // It is gone, and who started us made the kernel keep no word of how: that is not a success.
            Err(_) => true,
        }
    }

    /// Ends it and all that it started, unless that has left its group.
    fn end(&mut self, watch: &mut Watch<'_>) {
        for signal in [Signal::TERM, Signal::KILL] {
            // Before it has a group of its own, it is alone.
            if kill_process_group(self.group, signal).is_err() && !self.has_ended() {
                let _ = kill_process(self.group, signal);
            }
            let began = Instant::now();
            while began.elapsed() < GRACE {
                // The number of a group is given to nobody else while one process is in it.
                if self.has_ended() && test_kill_process_group(self.group).is_err() {
                    return;
                }
                self.exchange(Duration::from_millis(10), watch);
            }
        }
    }

    /// Passes on what there is, waiting for it at most so long; whether there was anything.
    fn exchange(&mut self, wait: Duration, watch: &mut Watch<'_>) -> bool {
        let [input, out, err] = self.ready(wait);
        if input {
            self.feed();
        }
        let heard = [out, err].into_iter().enumerate().filter(|(_, ready)| *ready);
        let heard = heard.map(|(which, _)| self.hear(which, usize::MAX, watch)).filter(|count| *count > 0).count();
        input || heard > 0
    }

    /// Which of the three streams are ready, or closed.
    fn ready(&self, wait: Duration) -> [bool; 3] {
        let [out, err] =
            [&self.outputs[0].pipe, &self.outputs[1].pipe].map(|pipe| pipe.as_ref().map(|pipe| (pipe, PollFlags::IN)));
        let pipes = [self.input.as_ref().map(|(pipe, _)| (pipe, PollFlags::OUT)), out, err];
        let mut asked: Vec<PollFd<'_>> =
            pipes.iter().flatten().map(|(pipe, flags)| PollFd::new(*pipe, *flags)).collect();
        let wait = Timespec::try_from(wait).unwrap_or_default();
        if poll(&mut asked, Some(&wait)).is_err() {
            // A signal came between; the next look tells.
            return [false; 3];
        }
        let mut answers = asked.iter().map(|asked| !asked.revents().is_empty());
        pipes.map(|pipe| pipe.is_some() && answers.next().unwrap_or_default())
    }

    fn feed(&mut self) {
        let Some((pipe, rest)) = &mut self.input else { return };
        match rustix::io::write(&*pipe, rest) {
            Ok(count) => *rest = &rest[count..],
            Err(Errno::AGAIN | Errno::INTR) => {}
            // It does not want to know the rest.
            Err(_) => *rest = &[],
        }
        if rest.is_empty() {
            self.input = None;
        }
    }

    /// Reads once, so many bytes at most; gives how many there were.
    fn hear(&mut self, which: usize, most: usize, watch: &mut Watch<'_>) -> usize {
        let most = most.min(self.buffer.len());
        let output = &mut self.outputs[which];
        let Some(pipe) = &output.pipe else { return 0 };
        let count = match rustix::io::read(pipe, &mut self.buffer[..most]) {
            Err(Errno::AGAIN | Errno::INTR) => return 0,
            Ok(0) | Err(_) => {
                output.pipe = None;
                return 0;
            }
            Ok(count) => count,
        };
        let bytes = &self.buffer[..count];
        output.said.push(bytes);
        let heard = if which == 0 { Heard::Stdout(bytes) } else { Heard::Stderr(bytes) };
        self.stopped |= watch(heard).is_break();
        count
    }

    /// What it said before it ended, and what others say who hold its outputs, so long.
    fn rest(&mut self, patience: Duration, watch: &mut Watch<'_>) {
        self.input = None;
        for which in [0, 1] {
            let pending = |output: &Output| rustix::io::ioctl_fionread(output.pipe.as_ref()?).ok();
            let mut left = pending(&self.outputs[which]).map_or(0, |count| usize::try_from(count).unwrap_or(0));
            while left > 0 {
                match self.hear(which, left, watch) {
                    0 => break,
                    count => left -= count,
                }
            }
        }
        let began = Instant::now();
        // One more look tells what is closed.
        self.exchange(Duration::ZERO, watch);
        while self.outputs.iter().any(|output| output.pipe.is_some()) && !self.stopped && began.elapsed() < patience {
            self.exchange(LONGEST.min(patience), watch);
        }
    }
}

/// A watch that lets a program do what it does.
pub(in crate::host) fn undisturbed(_: Heard<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}
