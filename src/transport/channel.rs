//! One script on one host: in goes the script, out come bytes.
//!
//! In: the three streams of a shell, however it was started. Out: what it printed. Never: a password sent twice, or a
//! script sent to anything but our own shell.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::secret::Secret;

/// What our shell says first; everything before it is somebody's banner.
pub(super) const READY: &str = "armilla-ready";
/// How sudo asks for the password, so that no other text is taken for it.
pub(super) const PROMPT: &str = "[armilla: sudo password]";
/// No host has more to say than this, in bytes.
const MOST: usize = 64 * 1024 * 1024;

/// The streams of a shell.
pub(super) struct Streams<I, O, E> {
    pub(super) input: I,
    pub(super) output: O,
    pub(super) errors: E,
}

/// Why a script did not come to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// The shell never began; what was said instead.
    NotStarted(String),
    /// sudo took another password than this.
    WrongPassword,
    /// The streams ended or failed in the middle.
    Lost(String),
    /// It took too long.
    TimedOut(Duration),
    /// It said too much.
    TooMuch,
}

/// The shell to start on the far side: says it is ready, then reads the script.
pub(super) fn bootstrap() -> String {
    format!("echo {READY}; exec sh -s")
}

impl<I, O, E> Streams<I, O, E>
where
    I: AsyncWrite + Unpin,
    O: AsyncRead + Unpin,
    E: AsyncRead + Unpin,
{
    /// Waits until our shell is ready (giving sudo the password once if it asks), sends the script, and hands on what
    /// it prints. `limit` bounds the silence before anything is printed and between two prints.
    pub(super) async fn converse(
        mut self,
        script: &[u8],
        password: Option<&Secret<String>>,
        limit: Duration,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Broken> {
        let rest = self.ready(password, limit).await?;
        self.input.write_all(script).await.map_err(|error| Broken::Lost(error.to_string()))?;
        let _ = self.input.shutdown().await;
        drop(self.input);
        take(&rest);
        let mut errors = self.errors;
        // Whatever a far shell complains must be read, or it would stand still.
        let drained = tokio::spawn_local_or(async move { drain(&mut errors).await });
        let mut total = rest.len();
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = tokio::time::timeout(limit, self.output.read(&mut buffer)).await;
            match read {
                Err(_) => return Err(Broken::TimedOut(limit)),
                Ok(Err(error)) => return Err(Broken::Lost(error.to_string())),
                Ok(Ok(0)) => break,
                Ok(Ok(count)) => {
                    total += count;
                    if total > MOST {
                        return Err(Broken::TooMuch);
                    }
                    take(&buffer[..count]);
                }
            }
        }
        drop(drained);
        Ok(())
    }
}
