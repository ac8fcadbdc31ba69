//! What the user or the system asks of a process while it works: to end.
//!
//! In: signals. Out: the exit code of whoever is ended so. Never: an end by itself.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Exit;

/// Ctrl-C, SIGTERM, and a terminal that is gone. From here on none of them ends the process by itself.
pub(super) struct Signals {
    interrupt: Option<Signal>,
    terminate: Option<Signal>,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Listens from now on.
    pub(super) fn new() -> Self {
        Self {
            interrupt: signal(SignalKind::interrupt()).ok(),
            terminate: signal(SignalKind::terminate()).ok(),
            hang_up: signal(SignalKind::hangup()).ok(),
        }
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Exit {
        tokio::select! {
            () = received(&mut self.interrupt) => Exit::Interrupted,
            () = received(&mut self.terminate) => Exit::Terminated,
            // The terminal is gone.
            () = received(&mut self.hang_up) => Exit::Terminated,
        }
    }
}

async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
