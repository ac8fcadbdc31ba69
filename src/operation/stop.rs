//! A request to stop, handed in by whoever asked for an operation.

use tokio::sync::watch;

/// Requests the stop.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

impl Stopper {
    /// Requests it. Twice is the same as once.
    pub fn request(&self) {
        self.0.send_replace(true);
    }
}

/// Whether a stop was requested. An operation looks at it before everything that cannot be taken back: before the run begins it
/// ends with [`super::Abort::Stopped`]; during the run it lets the running stages end and begins no other.
#[derive(Debug, Clone)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Who can request it, and who is asked to stop.
    pub fn channel() -> (Stopper, Self) {
        let (sender, receiver) = watch::channel(false);
        (Stopper(sender), Self(receiver))
    }

    /// Nobody ever requests it.
    pub fn never() -> Self {
        Self(watch::channel(false).1)
    }

    /// Whether it was requested.
    pub fn is_requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits for the request; for ever, if nobody can request it any more.
    pub async fn requested(&self) {
        if self.0.clone().wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Does work that changes nothing, and gives it up when the stop is requested.
    pub(super) async fn unless_requested<T>(&self, work: impl Future<Output = T>) -> Result<T, super::Abort> {
        tokio::select! {
            biased;
            () = self.requested() => Err(super::Abort::Stopped),
            done = work => Ok(done),
        }
    }

    pub(super) fn receiver(&self) -> watch::Receiver<bool> {
        self.0.clone()
    }
}
