//! Somebody who looks at every process all the time: arguments and environments, on this machine and in all lab hosts,
//! whose processes the machine sees too.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Looks until it is asked what it saw.
pub(crate) struct Watch {
    over: Arc<AtomicBool>,
    looks: JoinHandle<(usize, Vec<String>)>,
}

impl Watch {
    /// Begins to look for these texts.
    pub(crate) fn begin(texts: &[&str]) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let texts: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
        let ended = Arc::clone(&over);
        let looks = std::thread::spawn(move || {
            let (mut rounds, mut seen) = (0, Vec::new());
            while !ended.load(Ordering::Relaxed) {
                rounds += 1;
                look(&texts, &mut seen);
            }
            (rounds, seen)
        });
        Self { over, looks }
    }

    /// Ends; it must have looked often and seen nothing.
    #[track_caller]
    pub(crate) fn saw_nothing(self) {
        self.over.store(true, Ordering::Relaxed);
        let (rounds, seen) = self.looks.join().expect("it looked");
        assert!(rounds > 20, "only {rounds} looks");
        assert!(seen.is_empty(), "seen by everyone: {seen:#?}");
    }
}

fn look(texts: &[Vec<u8>], seen: &mut Vec<String>) {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    for path in processes.filter(|path| path.join("stat").exists()) {
        for what in ["cmdline", "environ"] {
            // A process may end at any time.
            let Ok(bytes) = fs::read(path.join(what)) else { continue };
            if texts.iter().any(|text| bytes.windows(text.len()).any(|window| window == text)) {
                seen.push(format!("{what}: {}", String::from_utf8_lossy(&bytes).replace('\0', " ")));
            }
        }
    }
}
