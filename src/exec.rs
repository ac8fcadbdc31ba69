//! One program on many hosts, outside of any plan.
//!
//! In: hosts and a program. Out: what each host says, line by line as it comes, and how it ended there. Never: a plan, or
//! a word about what the program did.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::inventory::Endpoint;
use crate::name::HostName;
use crate::step::Command;
pub use crate::transport::Stream;
use crate::transport::{Connections, TransportError};

/// The longest line that is kept together, in bytes: one without an end would take all memory.
const LONGEST: usize = 64 * 1024;

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// A host said a line.
    Line {
        /// Which host.
        host: HostName,
        /// Where to.
        stream: Stream,
        /// Without its end.
        bytes: Vec<u8>,
    },
    /// It ended on a host.
    Ended(Ended),
}

/// How it ended on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which host.
    pub host: HostName,
    /// The exit code (124: it ran out of time), or why there is none.
    pub how: Result<i32, NoEnd>,
    /// How long it took, the way there included.
    pub took: Duration,
}

/// Why there is no exit code, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoEnd {
    /// It was not started: sudo does not make us root there, or this machine lacks something.
    NotStarted(String),
    /// The host is unreachable, or was lost.
    Unreachable(String),
}

impl NoEnd {
    /// Why.
    pub fn why(&self) -> &str {
        match self {
            Self::NotStarted(why) | Self::Unreachable(why) => why,
        }
    }
}

/// Who hears of it.
#[derive(Clone)]
pub struct Hearer {
    /// Is told everything at once.
    pub tell: Arc<dyn Fn(Heard) + Send + Sync>,
    /// Why a host could not be worked with, in words.
    pub explain: fn(&TransportError) -> String,
}

/// Runs the program on every host, `forks` hosts at a time; gives how it ended on each, in the order in which it did.
/// If the future is dropped, it is ended everywhere.
pub async fn everywhere(
    connections: &Arc<Connections>,
    hosts: Vec<Endpoint>,
    command: &Command,
    forks: usize,
    hearer: Hearer,
) -> Vec<Ended> {
    let slots = Arc::new(Semaphore::new(forks.max(1)));
    let command = Arc::new(command.clone());
    let mut tasks = JoinSet::new();
    for host in hosts {
        let (connections, slots) = (Arc::clone(connections), Arc::clone(&slots));
        let (command, hearer) = (Arc::clone(&command), hearer.clone());
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            one(&connections, &host, &command, &hearer).await
        });
    }
    let mut all = Vec::new();
    while let Some(result) = tasks.join_next().await {
        match result {
            Ok(ended) => all.push(ended),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    all
}

async fn one(connections: &Connections, host: &Endpoint, command: &Command, hearer: &Hearer) -> Ended {
    let begun = Instant::now();
    let lines = Mutex::new([Lines::default(), Lines::default()]);
    let line = |stream, bytes| (hearer.tell)(Heard::Line { host: host.name.clone(), stream, bytes });
    let heard = |stream: Stream, bytes: &[u8]| {
        let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines[stream as usize].push(bytes).into_iter().for_each(|bytes| line(stream, bytes));
    };
    let how = connections.run(host, command, &heard).await.map_err(|error| {
        let why = (hearer.explain)(&error);
        if error.is_setup() { NoEnd::NotStarted(why) } else { NoEnd::Unreachable(why) }
    });
    let rest = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
    for (stream, lines) in [Stream::Out, Stream::Err].into_iter().zip(rest) {
        lines.end().into_iter().for_each(|bytes| line(stream, bytes));
    }
    let ended = Ended { host: host.name.clone(), how, took: begun.elapsed() };
    (hearer.tell)(Heard::Ended(ended.clone()));
    ended
}

/// Puts lines together.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut whole = Vec::new();
        for byte in bytes {
            match byte {
                b'\n' => whole.push(std::mem::take(&mut self.0)),
                _ => self.0.push(*byte),
            }
            if self.0.len() >= LONGEST {
                whole.push(std::mem::take(&mut self.0));
            }
        }
        whole
    }

    /// What has no end of line.
    fn end(self) -> Option<Vec<u8>> {
        (!self.0.is_empty()).then_some(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_however_they_arrive_and_the_last_needs_no_end() {
        let mut lines = Lines::default();
        let mut all: Vec<Vec<u8>> = [&b"a"[..], b"b\n\nc\nd"].iter().flat_map(|bytes| lines.push(bytes)).collect();
        all.extend(lines.end());
        assert_eq!(all, [&b"ab"[..], b"", b"c", b"d"]);
    }

    #[test]
    fn a_line_without_end_takes_no_memory() {
        let mut lines = Lines::default();
        let pieces = lines.push(&vec![b'x'; 3 * LONGEST + 1]);
        assert_eq!((pieces.len(), lines.end()), (3, Some(b"x".to_vec())));
    }
}
