//! What must reach the disk before an order is over.

use std::collections::BTreeMap;

use crate::host::directory::{Directory, told};
use crate::host::{Failure, Result};

/// So many flushes wait for the disk at once: it writes them together.
const AT_ONCE: usize = 16;

/// Directories whose names are flushed together, each once.
#[derive(Debug, Default)]
pub(in crate::host) struct Flush {
    directories: BTreeMap<(u64, u64), Directory>,
}

impl Flush {
    /// How many directories there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.directories.len()
    }

    /// A name in this directory was given or removed.
    pub(in crate::host) fn remember(&mut self, directory: Directory) {
        self.directories.entry(directory.identity()).or_insert(directory);
    }

    /// Flushes all of them; says which error was the first.
    pub(in crate::host) fn finish(self) -> Result {
        let directories: Vec<Directory> = self.directories.into_values().collect();
        let failed = |errno| Failure::new(format!("the disk does not take new names of files: {}", told(errno)));
        together(&directories, |directory| directory.flush().map_err(failed))
    }
}

/// Does it with all, some at the same time; the first error counts.
pub(super) fn together<T: Sync>(all: &[T], one: impl Fn(&T) -> Result + Sync) -> Result {
    if let [only] = all {
        return one(only);
    }
    let part = all.len().div_ceil(AT_ONCE).max(1);
    let one = &one;
    // One that fails keeps none of the others from the disk.
    let each = |part: &[T]| part.iter().map(one).collect::<Vec<Result>>();
    std::thread::scope(|scope| {
        let started: Vec<_> = all.chunks(part).map(|part| scope.spawn(move || each(part))).collect();
        let broken = |_| vec![Err(Failure::new("a thread that flushed files ended early"))];
        let results: Vec<Vec<Result>> =
            started.into_iter().map(|thread| thread.join().unwrap_or_else(broken)).collect();
        results.into_iter().flatten().collect()
    })
}
