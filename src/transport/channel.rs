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
        let Self { mut input, mut output, mut errors } = self;
        take(&rest);
        let mut total = rest.len();
        let send = async move {
            let sent = input.write_all(script).await;
            let _ = input.shutdown().await;
            sent
        };
        let receive = async {
            let mut buffer = vec![0; 64 * 1024];
            loop {
                let count = within(limit, output.read(&mut buffer)).await?;
                total += count;
                match count {
                    0 => return Ok(()),
                    _ if total > MOST => return Err(Broken::TooMuch),
                    count => take(&buffer[..count]),
                }
            }
        };
        // What a far shell complains must be read, or it would stand still; it is only of use before the script runs.
        let complaints = async {
            let mut buffer = vec![0; 4096];
            while errors.read(&mut buffer).await.is_ok_and(|count| count > 0) {}
        };
        let together = async {
            let (sent, received) = tokio::join!(send, receive);
            received.and(sent.map_err(|error| Broken::Lost(error.to_string())))
        };
        tokio::pin!(together);
        tokio::select! {
            result = &mut together => result,
            () = complaints => together.await,
        }
    }

    /// Reads until our shell says it is ready; gives what it printed after that.
    async fn ready(&mut self, password: Option<&Secret<String>>, limit: Duration) -> Result<Vec<u8>, Broken> {
        let (mut said, mut complained, mut asked) = (Vec::new(), Vec::new(), false);
        let (mut out, mut err) = (vec![0; 8192], vec![0; 4096]);
        let mut open = true;
        loop {
            tokio::select! {
                count = within(limit, self.output.read(&mut out)) => {
                    let count = count?;
                    if count == 0 {
                        return Err(Broken::NotStarted(last_words(&complained)));
                    }
                    said.extend_from_slice(&out[..count]);
                    if said.len() > MOST {
                        return Err(Broken::TooMuch);
                    }
                    if let Some(end) = after_line(&said, READY) {
                        return Ok(said.split_off(end));
                    }
                }
                count = within(limit, self.errors.read(&mut err)), if open => {
                    let count = count?;
                    open = count > 0;
                    complained.extend_from_slice(&err[..count.min(err.len())]);
                    if find(&complained, PROMPT.as_bytes()).is_none() {
                        continue;
                    }
                    complained.clear();
                    let Some(password) = password.filter(|_| !asked) else { return Err(Broken::WrongPassword) };
                    asked = true;
                    let line = format!("{}\n", password.expose());
                    self.input.write_all(line.as_bytes()).await.map_err(|error| Broken::Lost(error.to_string()))?;
                    let _ = self.input.flush().await;
                }
            }
        }
    }
}

async fn within(limit: Duration, read: impl Future<Output = std::io::Result<usize>>) -> Result<usize, Broken> {
    match tokio::time::timeout(limit, read).await {
        Err(_) => Err(Broken::TimedOut(limit)),
        Ok(read) => read.map_err(|error| Broken::Lost(error.to_string())),
    }
}

/// The place after a line that is exactly this text.
fn after_line(bytes: &[u8], text: &str) -> Option<usize> {
    let line = format!("{text}\n").into_bytes();
    let at = find(bytes, &line)?;
    (at == 0 || bytes[at - 1] == b'\n').then_some(at + line.len())
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn last_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("the shell did not start").to_owned()
}
