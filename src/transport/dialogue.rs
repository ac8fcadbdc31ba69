//! Conversations with a host, one after the other: a script goes in, frames come out.
//!
//! In: the three streams of a shell that runs the words of `bootstrap.rs`. Out: what it answered, as it arrives, and the
//! shell, for the next script. Never: a password written before sudo asked for it, or a second time; a script written
//! before it can only be read as one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::bootstrap::{NO_SUDO, NOT_ROOT, PROMPT, READY, SUDO};
use super::error::WRONG_PASSWORD;
use crate::secret::Secret;

/// The streams of a running shell.
pub(super) struct Channel {
    pub(super) stdin: Pin<Box<dyn AsyncWrite + Send>>,
    pub(super) stdout: Pin<Box<dyn AsyncRead + Send>>,
    pub(super) stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// What must live as long as the streams are used.
    pub(super) keep: Box<dyn Send>,
    /// The random word by which it says that it is ready, and by which sudo asks for the password.
    pub(super) token: String,
    /// What it has said since its last script, where that is over.
    pub(super) rest: Option<Vec<u8>>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl Channel {
    /// Waits until it is ready for another script. One that is not, in a moment, never will be.
    pub(super) async fn is_ready(&mut self) -> bool {
        let Some(rest) = &mut self.rest else { return false };
        let sign = sign(&self.token);
        let mut bytes = [0; REST];
        loop {
            let ready = contains(rest, &sign);
            // After the sign it says nothing more. It may have ended since.
            let wait = if ready { Duration::ZERO } else { MOMENT };
            match tokio::time::timeout(wait, self.stdout.read(&mut bytes)).await {
                Ok(Ok(count)) if count > 0 => rest.extend_from_slice(&bytes[..count]),
                Ok(_) => return false,
                Err(_) => return ready,
            }
        }
    }
}

/// How long a shell may take from the end of its answer to the next script: it removes its temporary files meanwhile.
const MOMENT: Duration = Duration::from_secs(2);

/// What says that a shell is about to read a script.
fn sign(token: &str) -> Vec<u8> {
    format!("{READY} {token}\n").into_bytes()
}

/// What is to be said.
pub(super) struct Speech<'a> {
    pub(super) password: Option<&'a Secret<String>>,
    pub(super) script: &'a str,
    /// How many bytes it may answer.
    pub(super) largest: usize,
}

/// How a conversation fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// sudo did not let us.
    Become(String),
    /// The shell never came to read the script; what came instead.
    NotReady(String),
    /// It was ready, and ended before the answer did; its last words.
    Ended(String),
    /// It answered more than it may.
    TooMuch,
}

/// The largest answer, in bytes: hundreds of times what a busy host has to say.
pub(super) const LARGEST: usize = 64 << 20;

/// How much noise before the answer is looked at: a long message of the day.
const NOISE: usize = 64 * 1024;

/// How much of the last words is kept.
const LAST_WORDS: usize = 16 * 1024;

/// How much of an answer is kept: more than the sign that the shell is ready again.
const REST: usize = 256;

/// How long sudo may take until it asks or lets us in. A custom prompt of PAM is never recognized as ours.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the answer is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    Whole,
    Unfinished,
}

/// A piece of what is heard.
#[derive(Debug, Clone, Copy)]
pub(super) enum Piece<'a> {
    /// Of the answer.
    Out(&'a [u8]),
    /// Of what stands beside it, with sudo's words before it.
    Err(&'a [u8]),
}

/// Holds a conversation. `take` gets every piece and says when the answer is whole. Gives back the shell, unless it cannot
/// be told what else to do.
pub(super) async fn converse(
    channel: Channel,
    speech: &Speech<'_>,
    take: &mut (dyn FnMut(Piece<'_>) -> Received + Send),
) -> Result<Option<Channel>, Broken> {
    let mut talk = Talk::new(channel, speech);
    loop {
        let event = match talk.patience() {
            None => talk.next().await,
            Some(limit) => tokio::time::timeout(limit, talk.next()).await.unwrap_or(Event::Impatient),
        };
        match event {
            Event::Wrote(written) => talk.wrote(written),
            Event::Out(bytes) => {
                talk.heard(&bytes)?;
                if !bytes.is_empty() && take(Piece::Out(&bytes)) == Received::Whole {
                    return Ok(talk.over());
                }
                if bytes.is_empty() || talk.gave_up() {
                    // What was complained before the end may still be on its way.
                    while let Some(bytes) = talk.last_words().await {
                        talk.complained(&bytes)?;
                        if take(Piece::Err(&bytes)) == Received::Whole {
                            return Ok(talk.over());
                        }
                    }
                    return Err(talk.ended());
                }
            }
            Event::Err(bytes) => {
                talk.complained(&bytes)?;
                if take(Piece::Err(&bytes)) == Received::Whole {
                    return Ok(talk.over());
                }
            }
            Event::Impatient => {
                return Err(talk.silent());
            }
        }
    }
}

enum Event {
    Wrote(usize),
    Out(Vec<u8>),
    Err(Vec<u8>),
    Impatient,
}

/// Where a conversation stands.
struct Talk<'a> {
    stdin: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    stdout: Pin<Box<dyn AsyncRead + Send>>,
    stderr: Option<Pin<Box<dyn AsyncRead + Send>>>,
    speech: &'a Speech<'a>,
    /// What is being written, and how much of it was.
    writing: Vec<u8>,
    written: usize,
    /// Whether what is being written is the script, after which there is nothing to say.
    last: bool,
    asked: usize,
    ready: bool,
    noise: Vec<u8>,
    complaint: Vec<u8>,
    answered: usize,
    /// The last of what was heard since it was ready.
    rest: Vec<u8>,
    token: String,
    keep: Box<dyn Send>,
}

impl<'a> Talk<'a> {
    fn new(channel: Channel, speech: &'a Speech<'a>) -> Self {
        let mut talk = Self {
            stdin: Some(channel.stdin),
            stdout: channel.stdout,
            stderr: Some(channel.stderr),
            speech,
            writing: Vec::new(),
            written: 0,
            last: false,
            asked: 0,
            ready: channel.rest.is_some(),
            noise: Vec::new(),
            complaint: Vec::new(),
            answered: 0,
            rest: Vec::new(),
            token: channel.token,
            keep: channel.keep,
        };
        // Only sudo with a password could mistake the script for something else.
        if talk.ready || speech.password.is_none() {
            talk.say_script();
        }
        talk
    }

    fn say_script(&mut self) {
        self.writing = format!("{}\n{}", self.speech.script.len(), self.speech.script).into_bytes();
        self.written = 0;
        self.last = true;
    }

    /// Whether the script ended before its answer did: something killed it, and its shell is ready for another.
    fn gave_up(&self) -> bool {
        contains(&self.rest, &sign(&self.token))
    }

    /// The shell, whose answer is whole.
    fn over(self) -> Option<Channel> {
        let Self { stdin, stdout, stderr, keep, token, rest, .. } = self;
        let whole = self.last && self.written == self.writing.len();
        whole.then_some(Channel { stdin: stdin?, stdout, stderr: stderr?, keep, token, rest: Some(rest) })
    }

    fn patience(&self) -> Option<Duration> {
        (self.speech.password.is_some() && !self.ready).then_some(PATIENCE)
    }

    /// Waits for whatever comes first: a piece said, heard or complained.
    async fn next(&mut self) -> Event {
        let (mut out, mut err) = (vec![0; 32 * 1024], vec![0; 4096]);
        let rest = &self.writing[self.written..];
        tokio::select! {
            written = write(&mut self.stdin, rest) => Event::Wrote(written.unwrap_or(0)),
            read = self.stdout.read(&mut out) => {
                out.truncate(read.unwrap_or(0));
                Event::Out(out)
            }
            read = read(&mut self.stderr, &mut err) => {
                err.truncate(read.unwrap_or(0));
                Event::Err(err)
            }
        }
    }

    /// A host that does not want to read any more will say why, or end.
    fn wrote(&mut self, count: usize) {
        self.written += count;
        if count == 0 {
            self.stdin = None;
        }
    }

    fn heard(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.answered += bytes.len();
        if self.answered > self.speech.largest {
            return Err(Broken::TooMuch);
        }
        if self.ready {
            self.rest.extend_from_slice(bytes);
        } else if self.noise.len() < NOISE {
            self.noise.extend_from_slice(bytes);
            let sign = sign(&self.token);
            if let Some(at) = position(&self.noise, &sign) {
                self.ready = true;
                self.rest = self.noise.split_off(at + sign.len());
                if !self.last {
                    self.say_script();
                }
            }
        }
        let surplus = self.rest.len().saturating_sub(REST);
        self.rest.drain(..surplus);
        Ok(())
    }

    fn complained(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        if bytes.is_empty() {
            self.stderr = None;
        }
        self.complaint.extend_from_slice(bytes);
        let surplus = self.complaint.len().saturating_sub(LAST_WORDS);
        self.complaint.drain(..surplus);
        let Some(password) = self.speech.password.filter(|_| !self.ready) else { return Ok(()) };
        let prompt = format!("{PROMPT} {}", self.token).into_bytes();
        while let Some(at) = position(&self.complaint, &prompt) {
            self.complaint.drain(at..at + prompt.len());
            self.asked += 1;
            if self.asked > 1 {
                return Err(Broken::Become(WRONG_PASSWORD.to_owned()));
            }
            self.writing = format!("{}\n", password.expose()).into_bytes();
            self.written = 0;
        }
        Ok(())
    }

    /// Listens a moment for more complaints.
    async fn last_words(&mut self) -> Option<Vec<u8>> {
        let stderr = self.stderr.as_mut()?;
        let mut bytes = vec![0; 4096];
        let count = tokio::time::timeout(Duration::from_secs(1), stderr.read(&mut bytes)).await.ok()?.ok()?;
        bytes.truncate(count);
        (count > 0).then_some(bytes)
    }

    /// sudo neither let us in nor asked for the password as it was told to. It may have asked for something else.
    fn silent(&self) -> Broken {
        let complaint = String::from_utf8_lossy(&self.complaint);
        let answer = complaint.rsplit_once(SUDO).map_or("", |(_, answer)| answer).trim();
        if answer.to_lowercase().contains("expired") {
            return Broken::Become(meaning(answer, self.asked));
        }
        let said = super::words::brief(answer);
        let said = if said.is_empty() { said } else { format!("; it said: {said}") };
        Broken::Become(format!("it neither logged in nor asked for the password within {} s{said}", PATIENCE.as_secs()))
    }

    /// Why the answer ended too early.
    fn ended(&self) -> Broken {
        let complaint = String::from_utf8_lossy(&self.complaint).trim().to_owned();
        if self.ready {
            return Broken::Ended(complaint);
        }
        match refusal(&complaint, self.asked) {
            Some(why) => Broken::Become(why),
            None => {
                Broken::NotReady(format!("{}\n{complaint}", String::from_utf8_lossy(&self.noise)).trim().to_owned())
            }
        }
    }
}

/// Writes some of it; for ever, if there is nothing to write or nowhere to.
async fn write(to: &mut Option<Pin<Box<dyn AsyncWrite + Send>>>, bytes: &[u8]) -> io::Result<usize> {
    match to {
        Some(to) if !bytes.is_empty() => to.write(bytes).await,
        _ => std::future::pending().await,
    }
}

/// Reads some; for ever, once it has ended.
async fn read(from: &mut Option<Pin<Box<dyn AsyncRead + Send>>>, bytes: &mut [u8]) -> io::Result<usize> {
    match from {
        Some(from) => from.read(bytes).await,
        None => std::future::pending().await,
    }
}

/// Why we are not root, if sudo stands between us and the shell. What the host says for us are lines of their own; sudo may
/// repeat the same words as part of what it was to run.
fn refusal(complaint: &str, asked: usize) -> Option<String> {
    let mut lines = complaint.lines().map(str::trim);
    if lines.clone().any(|line| line == NO_SUDO) {
        return Some("it is not installed: install it on the host, or log in as root (-u root)".to_owned());
    }
    let other = |line: &str| line.strip_prefix(NOT_ROOT)?.trim().parse::<u32>().ok();
    if let Some(user) = lines.find_map(other) {
        return Some(format!(
            "it became the user with the id {user}, not root: check the rules for this user in the sudoers of the host"
        ));
    }
    complaint.rsplit_once(SUDO).map(|(_, answer)| meaning(answer, asked))
}

/// What an answer of sudo means, and what to do. Its locale was set, so it speaks English: that of Todd Miller as well as
/// the one in Rust. Another answer is passed on.
fn meaning(answer: &str, asked: usize) -> String {
    let lower = answer.to_lowercase();
    let says = |texts: &[&str]| texts.iter().any(|text| lower.contains(text));
    let meaning = if says(&["must have a tty"]) {
        "a terminal is required: remove `requiretty` for this user from the host's sudoers"
    } else if says(&["expired"]) {
        "the account or the password of this user has expired: renew it on the host (`chage -l USER` shows when)"
    } else if asked > 0
        && says(&["incorrect password", "no password was provided", "authentication fail", "incorrect auth"])
    {
        WRONG_PASSWORD
    } else if says(&["password is required", "terminal is required", "no tty present", "authentication is required"]) {
        "a password is required: give it with -K (--ask-become-pass), or allow this user to use sudo without one (`NOPASSWD:` in the sudoers of the host)"
    } else if says(&["not in the sudoers file"]) {
        "this user is not in the sudoers file of the host: add a rule for it there, or log in as another user (-u)"
    } else if says(&["not allowed to", "may not run sudo", "afraid i can't"]) {
        "the host's sudoers do not allow this user to run /bin/sh as root; rules for other programs are not enough"
    } else {
        return match super::words::brief(answer) {
            words if words.is_empty() => "it exited without a message".to_owned(),
            words => words,
        };
    };
    meaning.to_owned()
}

fn position(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    position(bytes, part).is_some()
}

/// 128 random bits in hexadecimal.
pub(super) fn random() -> io::Result<String> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(format!("{:032x}", u128::from_be_bytes(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_of_sudo_is_a_reason_whatever_its_make_and_language() {
        let after = |answer: &str, asked| refusal(&format!("motd\n{SUDO}\n{answer}"), asked).expect("a reason");
        for answer in [
            "sudo: a password is required\n",
            "sudo: a terminal is required to read the password; either use the -S option",
            "sudo: no tty present and no askpass program specified",
            "sudo: interactive authentication is required",
        ] {
            assert!(after(answer, 0).contains("-K (--ask-become-pass)"), "{answer}");
        }
        for answer in
            ["Sorry, try again.\nsudo: 1 incorrect password attempt\n", "sudo: Authentication failed, try again."]
        {
            assert_eq!(after(answer, 1), "wrong password", "{answer}");
        }
        assert!(after("sudo: Account or password is expired, reset your password", 0).contains("has expired"));
        assert!(after("Sorry, user ada is not allowed to execute '/bin/sh -c LC_ALL=C; x' as root", 1).len() < 120);
        assert_eq!(after("sudo: il faut un mot de passe\n", 0), "sudo: il faut un mot de passe");
        assert_eq!(after("", 0), "it exited without a message");
        let repeated = format!(
            "Sorry, user ada is not allowed to execute '/bin/sh -c x || {{ echo \"{NOT_ROOT} $u\" >&2; }}' as root"
        );
        assert!(after(&repeated, 1).contains("do not allow"));
        let other = refusal(&format!("{SUDO}\n{NOT_ROOT} 1001\n"), 0).expect("a reason");
        assert!(other.contains("id 1001, not root"), "{other}");
        assert_eq!(refusal("sudo: this is what a login shell says", 0), None, "sudo was not started");
    }
}
