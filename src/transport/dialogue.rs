//! Conversations with a host, one after the other: a request goes in, frames come out.
//!
//! In: the three streams of a shell that runs the words of `bootstrap.rs`. Out: what the host program answered, as it
//! arrives, and the program, for the next request. Never: a password written before sudo asked for it, or a second time; a
//! request written before it can only be read as one.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::bootstrap::{NO_PLACE, NO_SUDO, NOT_ROOT, NOT_WHOLE, PLACES, PROMPT, READY, SUDO, UPLOAD};
use super::error::WRONG_PASSWORD;
use super::feed::Feed;
use super::programs::Programs;
use crate::host::wire::VERSION;
use crate::secret::Secret;

/// The streams of a program on a host, or of the shell that is to become it.
pub(super) struct Channel {
    pub(super) stdin: Pin<Box<dyn AsyncWrite + Send>>,
    pub(super) stdout: Pin<Box<dyn AsyncRead + Send>>,
    pub(super) stderr: Pin<Box<dyn AsyncRead + Send>>,
    /// What must live as long as the streams are used.
    pub(super) keep: Box<dyn Send>,
    /// The random word by which the shell says that it is ready, and by which sudo asks for the password.
    pub(super) token: String,
    /// Whether the program has answered before, and waits for more.
    pub(super) is_used: bool,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl Channel {
    /// Whether the program still waits for more. It says nothing by itself: what can be read now is its end.
    pub(super) async fn is_waiting(&mut self) -> bool {
        tokio::time::timeout(Duration::ZERO, self.stdout.read(&mut [0])).await.is_err()
    }
}

/// A line with the token, without the end of the line.
fn sign(word: &str, token: &str) -> Vec<u8> {
    format!("{word} {token}").into_bytes()
}

/// What is to be said.
pub(super) struct Speech<'a> {
    pub(super) password: Option<&'a Secret<String>>,
    pub(super) request: &'a [u8],
    /// What the host program may be.
    pub(super) programs: &'a Programs,
    /// How many bytes it may answer.
    pub(super) largest: usize,
}

/// How a conversation fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Broken {
    /// sudo did not let us.
    Become(String),
    /// The host program cannot be brought there, and why.
    NoProgram(String),
    /// The shell never came to read the request; what came instead.
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

/// How long sudo may take until it asks or lets us in. A custom prompt of PAM is never recognized as ours.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a piece of an answer was.
pub(super) enum Received<'a> {
    /// The end of it.
    Whole,
    /// A part of it.
    Unfinished,
    /// The wish for a large file.
    Wants(Feed<'a>),
    /// No more of the file is wanted.
    Enough,
}

/// Holds a conversation. `take` gets every piece of the answer and says when it is whole. Gives back the program, unless it
/// cannot be told what else to do.
pub(super) async fn converse<'a>(
    channel: Channel,
    speech: &'a Speech<'a>,
    take: &mut (dyn FnMut(&[u8]) -> Received<'a> + Send),
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
                let answer = talk.heard(&bytes)?;
                if !answer.is_empty() && talk.has_all(&answer, take) {
                    return Ok(talk.over());
                }
                if bytes.is_empty() {
                    // What was complained before the end may still be on its way.
                    while let Some(bytes) = talk.last_words().await {
                        talk.complained(&bytes)?;
                    }
                    return Err(talk.ended());
                }
            }
            Event::Err(bytes) => talk.complained(&bytes)?,
            Event::Impatient => return Err(talk.silent()),
        }
    }
}

enum Event {
    Wrote(usize),
    Out(Vec<u8>),
    Err(Vec<u8>),
    Impatient,
}

/// How far the other side is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The login shell, sudo, or whatever they print.
    Starting,
    /// The shell looks for the program. What it says next is the program's first frame, or that it wants the program.
    Looking,
    /// The program answers.
    Answering,
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
    /// Whether what is being written is the request, after which there is nothing to say.
    last: bool,
    /// The file that is sent when that is written.
    feed: Option<Feed<'a>>,
    asked: usize,
    /// Whether the shell is there: sudo is over.
    ready: bool,
    stage: Stage,
    /// What was heard before the answer.
    noise: Vec<u8>,
    complaint: Vec<u8>,
    answered: usize,
    token: String,
    keep: Box<dyn Send>,
}

impl<'a> Talk<'a> {
    fn new(channel: Channel, speech: &'a Speech<'a>) -> Self {
        let is_used = channel.is_used;
        let mut talk = Self {
            stdin: Some(channel.stdin),
            stdout: channel.stdout,
            stderr: Some(channel.stderr),
            speech,
            writing: Vec::new(),
            written: 0,
            last: false,
            feed: None,
            asked: 0,
            ready: is_used,
            stage: if is_used { Stage::Answering } else { Stage::Starting },
            noise: Vec::new(),
            complaint: Vec::new(),
            answered: 0,
            token: channel.token,
            keep: channel.keep,
        };
        // Only sudo with a password could mistake the request for something else.
        if talk.ready || speech.password.is_none() {
            talk.say_request();
        }
        talk
    }

    /// The length stands before it: a shell that does not have the program knows what to skip.
    fn say_request(&mut self) {
        self.writing = format!("{}\n", self.speech.request.len()).into_bytes();
        self.writing.extend_from_slice(self.speech.request);
        self.written = 0;
        self.last = true;
    }

    /// The program, whose answer is whole.
    fn over(self) -> Option<Channel> {
        let whole = self.last && self.written == self.writing.len() && self.feed.is_none();
        let Self { stdin, stdout, stderr, keep, token, .. } = self;
        whole.then_some(Channel { stdin: stdin?, stdout, stderr: stderr?, keep, token, is_used: true })
    }

    /// Takes a piece of the answer, and says whether the answer is whole. Several wishes may be in it, and the end after them.
    fn has_all(&mut self, mut piece: &[u8], take: &mut (dyn FnMut(&[u8]) -> Received<'a> + Send)) -> bool {
        loop {
            match take(piece) {
                Received::Whole => return true,
                Received::Unfinished => return false,
                Received::Wants(feed) => self.feed = Some(feed),
                Received::Enough => self.feed.iter_mut().for_each(Feed::cut),
            }
            piece = &[];
        }
    }

    fn patience(&self) -> Option<Duration> {
        (self.speech.password.is_some() && !self.ready).then_some(PATIENCE)
    }

    /// Waits for whatever comes first: a piece said, heard or complained.
    async fn next(&mut self) -> Event {
        if self.written == self.writing.len()
            && let Some(feed) = &mut self.feed
        {
            self.writing = feed.next().await;
            self.written = 0;
            self.feed.take_if(|feed| feed.is_over);
        }
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

    /// Takes what was heard, and gives what of it is of the answer.
    fn heard(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Broken> {
        self.answered += bytes.len();
        if self.answered > self.speech.largest {
            return Err(Broken::TooMuch);
        }
        if self.stage == Stage::Answering {
            return Ok(bytes.to_vec());
        }
        if self.noise.len() < NOISE {
            self.noise.extend_from_slice(bytes);
        }
        if self.stage == Stage::Starting {
            self.look_for_shell();
        }
        match self.noise.first() {
            Some(&VERSION) if self.stage == Stage::Looking => {
                self.stage = Stage::Answering;
                Ok(std::mem::take(&mut self.noise))
            }
            Some(_) if self.stage == Stage::Looking => self.look_for_upload().map(|()| Vec::new()),
            _ => Ok(Vec::new()),
        }
    }

    fn look_for_shell(&mut self) {
        let sign = [&*sign(READY, &self.token), b"\n"].concat();
        let Some(at) = position(&self.noise, &sign) else { return };
        self.noise.drain(..at + sign.len());
        self.ready = true;
        self.stage = Stage::Looking;
        if !self.last {
            self.say_request();
        }
    }

    /// Sends the program, if that is what the shell wants. It says once more that it is ready when it has taken it.
    fn look_for_upload(&mut self) -> Result<(), Broken> {
        let Some(end) = self.noise.iter().position(|byte| *byte == b'\n') else { return Ok(()) };
        let line: Vec<u8> = self.noise.drain(..=end).collect();
        let architecture = line.strip_prefix(&*sign(UPLOAD, &self.token)).map(String::from_utf8_lossy);
        let Some(architecture) = architecture else {
            return Err(Broken::NotReady(String::from_utf8_lossy(&line).trim().to_owned()));
        };
        let program = self.speech.programs.of(architecture.trim()).map_err(Broken::NoProgram)?;
        self.writing = format!("{} {}\n", program.bytes.len(), program.digest.0).into_bytes();
        self.writing.extend_from_slice(&program.bytes);
        (self.written, self.last, self.stage) = (0, false, Stage::Starting);
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
        let says = |word: &str| complaint.lines().any(|line| line.trim() == word);
        if says(NO_PLACE) {
            return Broken::NoProgram(format!("{PLACES}: none of these can be written to and run programs from"));
        }
        if says(NOT_WHOLE) {
            return Broken::NoProgram("it did not arrive as it was sent; is the disk full?".to_owned());
        }
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

    #[tokio::test]
    async fn what_comes_at_once_is_heard_to_its_end() {
        let said: &[u8] = b"more than one answer";
        let channel = Channel {
            stdin: Box::pin(tokio::io::sink()),
            stdout: Box::pin(tokio::io::AsyncReadExt::chain(said, tokio::io::empty())),
            stderr: Box::pin(tokio::io::empty()),
            keep: Box::new(()),
            token: String::new(),
            is_used: true,
        };
        let programs = Programs::default();
        let speech = Speech { password: None, request: b"request", programs: &programs, largest: LARGEST };
        let mut left = [Received::Whole, Received::Enough, Received::Enough].into_iter().collect::<Vec<_>>();
        let ended = converse(channel, &speech, &mut |_| left.pop().unwrap_or(Received::Unfinished)).await;
        assert!(ended.is_ok() && left.is_empty(), "{ended:?}");
    }
}
