//! What armilla and the program on a host say to each other: frames with a version, a type and a length.
//!
//! A frame is a byte for [`VERSION`], a byte for what it is, four bytes (big endian) for the length of the rest, and the rest
//! in `MessagePack`. Whatever a file or a program of the host holds is data inside of a frame and can imitate none. Secrets
//! travel beside the value that they belong to, as in a saved plan, because a type that serializes itself in clear could do
//! so anywhere; the connection encrypts both.

use std::io::{self, Read, Write};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lease::{self, Lease, LeaseAnswer, Ticket};
use crate::name::HostName;
use crate::secret::{Guard, Secrets, sealing, unsealing};
use crate::step::{Command, Outcome, Probe, Reading, Step, span};

/// The version of this protocol. The program on a host is the one that armilla brought along, so that another version is
/// never met, only refused.
pub const VERSION: u8 = 1;

/// The longest rest of a frame, in bytes.
pub const LARGEST: usize = 96 << 20;

/// The length of what stands before the rest, in bytes.
const HEAD: usize = 6;

/// Requests, and the name by which the inventory knows this host: what armilla keeps there, it keeps under that name.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// The host.
    pub host: HostName,
    /// What it is to do, in order. After steps of which one failed or that were refused, nothing follows.
    pub requests: Vec<Request>,
}

/// What a host is asked or told to do.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Request {
    /// Reads; answered by [`Answer::Reading`] for each probe.
    Read {
        /// What is asked.
        probes: Vec<Probe>,
        /// The time for all of it together.
        #[serde(with = "span")]
        budget: Duration,
    },
    /// Carries out steps, up to the first that fails; answered by what happens.
    Perform {
        /// In order.
        steps: Vec<Step>,
        /// The lock that they are carried out under.
        ticket: Option<Ticket>,
        /// The crash point at which the host program ends itself; only tests give one. See [`crate::crash`].
        crash_at: Option<usize>,
    },
    /// Asks for the lock; answered by [`Answer::Lease`].
    Lease(lease::Request),
    /// Runs one program; answered by its output and [`Answer::Exited`].
    Run(Command),
}

/// What a host answers. Each request is answered by any number of these, and the last one of a call by [`Answer::Over`], too.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// To the probe with this number, from 0.
    Reading(u32, Reading),
    /// The step with this number starts.
    Started(u32),
    /// A check does not hold yet, and why, in one line.
    Waiting(u32, String),
    /// The step with this number is over.
    Ended {
        /// Which.
        index: u32,
        /// How.
        outcome: Outcome,
        /// How long it took.
        #[serde(with = "span")]
        took: Duration,
    },
    /// About the lock.
    Lease(LeaseAnswer),
    /// The program wrote this to its standard output.
    Out(#[serde(with = "crate::secret::bytes")] Vec<u8>),
    /// The program wrote this to its standard error.
    Err(#[serde(with = "crate::secret::bytes")] Vec<u8>),
    /// The program ended with this exit code; 124 if it ran out of time.
    Exited(i32),
    /// Nothing was done.
    Refused(Refusal),
    /// Wants the bytes of the large file with this SHA-256: not frames, but chunks; see [`chunk`].
    Wants(String),
    /// Cannot use more of them: no other chunk is to come but the empty one.
    Enough,
    /// There is no more to this answer.
    Over,
}

/// Why a host does nothing of what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The lock has ended; this one is there instead, if any.
    Fenced(Option<Box<Lease>>),
    /// It cannot write down what it must; its own words.
    Unable(String),
}

/// A value with its secrets apart.
#[derive(Serialize, Deserialize)]
struct Envelope {
    #[serde(with = "crate::secret::bytes")]
    value: Vec<u8>,
    #[serde(with = "crate::secret::bytes")]
    secrets: Vec<u8>,
}

/// The two directions, so that neither side takes its own words for the other's.
pub trait Message: Serialize + DeserializeOwned {
    /// What it is, in a frame.
    const TYPE: u8;
}

impl Message for Call {
    const TYPE: u8 = b'>';
}

impl Message for Answer {
    const TYPE: u8 = b'<';
}

/// One message as a frame.
///
/// # Errors
/// When it is larger than [`LARGEST`].
pub fn frame<M: Message>(message: &M) -> io::Result<Vec<u8>> {
    let (value, secrets) = sealing(Guard::Secrets, || rmp_serde::to_vec_named(message));
    let secrets = if secrets.is_empty() { Vec::new() } else { secrets.text().to_vec() };
    let mut frame = vec![VERSION, M::TYPE, 0, 0, 0, 0];
    let envelope = Envelope { value: value.map_err(io::Error::other)?, secrets };
    rmp_serde::encode::write(&mut frame, &envelope).map_err(io::Error::other)?;
    let length = frame.len() - HEAD;
    if length > LARGEST {
        return Err(io::Error::other(format!("more than {} MiB at once", LARGEST >> 20)));
    }
    let length = u32::try_from(length).map_err(io::Error::other)?;
    frame[2..HEAD].copy_from_slice(&length.to_be_bytes());
    Ok(frame)
}

fn message<M: Message>(rest: &[u8]) -> io::Result<M> {
    let strange = |error: rmp_serde::decode::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let Envelope { value, secrets } = rmp_serde::from_slice(rest).map_err(strange)?;
    let secrets = match secrets.as_slice() {
        [] => Secrets::default(),
        text => Secrets::parse(text).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))?,
    };
    unsealing(secrets, || rmp_serde::from_slice(&value)).map_err(strange)
}

/// The length of the rest of a frame that begins like this.
fn length<M: Message>(head: [u8; HEAD]) -> io::Result<usize> {
    let strange = |why: String| Err(io::Error::new(io::ErrorKind::InvalidData, why));
    let [version, kind, length @ ..] = head;
    if kind != M::TYPE {
        return strange("it is not a message of armilla's host program".to_owned());
    }
    if version != VERSION {
        return strange(format!("version {version} of the protocol is unknown; this is version {VERSION}"));
    }
    match usize::try_from(u32::from_be_bytes(length)) {
        Ok(length) if length <= LARGEST => Ok(length),
        _ => strange(format!("a message of more than {} MiB", LARGEST >> 20)),
    }
}

/// Writes one message, and sends it on.
///
/// # Errors
/// When nobody reads any more, or the message is too large.
pub fn send<M: Message>(to: &mut impl Write, message: &M) -> io::Result<()> {
    to.write_all(&frame(message)?)?;
    to.flush()
}

/// Reads one message; none at the end.
///
/// # Errors
/// When it ends in the middle of one, or it is something else.
pub fn receive<M: Message>(from: &mut impl Read) -> io::Result<Option<M>> {
    let mut head = [0; HEAD];
    let first = loop {
        match from.read(&mut head[..1]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => break other?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    from.read_exact(&mut head[1..])?;
    let length = length::<M>(head)?;
    // What is announced need not come: memory grows with what did.
    let mut rest = Vec::with_capacity(length.min(1 << 20));
    from.take(length as u64).read_to_end(&mut rest)?;
    if rest.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    message(&rest).map(Some)
}

/// The most bytes of a large file that travel in one piece.
pub const CHUNK: usize = 256 << 10;

/// A piece of a large file: four bytes (big endian) for its length, and the bytes. An empty one is the last.
pub fn chunk(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or_default();
    [&length.to_be_bytes(), bytes].concat()
}

/// Reads one piece of a large file into the place of what is in the buffer.
///
/// # Errors
/// When it ends in the middle of one, or is longer than [`CHUNK`].
pub fn receive_chunk(from: &mut (impl Read + ?Sized), buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > CHUNK {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece of a file is longer than it may be"));
    }
    buffer.resize(length, 0);
    from.read_exact(buffer)
}

/// Reads messages from pieces, as they arrive.
#[derive(Debug, Default)]
pub struct Frames {
    buffer: Vec<u8>,
}

impl Frames {
    /// Takes more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next message that is whole.
    ///
    /// # Errors
    /// When it is something else than a message.
    pub fn take<M: Message>(&mut self) -> io::Result<Option<M>> {
        let Some(head) = self.buffer.first_chunk::<HEAD>() else { return Ok(None) };
        let end = HEAD + length::<M>(*head)?;
        let Some(frame) = self.buffer.get(..end) else { return Ok(None) };
        let message = message(&frame[HEAD..])?;
        self.buffer.drain(..end);
        Ok(Some(message))
    }

    /// Whether something has arrived that is no whole message yet.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::{Content, Secret};
    use crate::step::{
        AccountUse, ApiRequest, CommandReading, FitnessReading, Ownership, RemovalReading, Sending, Sudo, Trust,
    };

    fn secret_step() -> Call {
        let content = Content::Secret(Secret::new(b"hunter2".to_vec()));
        let binary = Content::Plain((0..=255).collect());
        let path = |name: &str| format!("/srv/{name}");
        let write =
            |name: &str, content| Step::WriteFile { path: path(name), content, ownership: Ownership::default() };
        let steps = vec![write("secret", content), write("binary", binary)];
        let host = HostName::new("h1").expect("a name");
        Call { host, requests: vec![Request::Perform { steps, ticket: None, crash_at: None }] }
    }

    #[test]
    fn a_message_arrives_as_it_was_sent_in_pieces_of_any_size() {
        let reading = CommandReading { exit: 1, stdout: vec![0, 255, b'\n'], stderr: b"why".to_vec() };
        let all = [Answer::Started(0), Answer::Reading(7, Reading::Command(reading)), Answer::Over];
        let bytes: Vec<u8> = all.iter().flat_map(|answer| frame(answer).expect("a frame")).collect();
        for size in 1..bytes.len() {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for piece in bytes.chunks(size) {
                frames.push(piece);
                while let Some(answer) = frames.take::<Answer>().expect("a message") {
                    got.push(answer);
                }
            }
            assert_eq!(got, all);
        }
        let mut from = bytes.as_slice();
        for answer in &all {
            assert_eq!(receive::<Answer>(&mut from).expect("a message").as_ref(), Some(answer));
        }
        assert_eq!(receive::<Answer>(&mut from).expect("the end"), None);
    }

    #[test]
    fn bytes_and_secrets_travel_as_they_are() {
        let call = secret_step();
        let bytes = frame(&call).expect("a frame");
        assert!(bytes.len() < 700, "256 bytes are not blown up: {}", bytes.len());
        assert_eq!(receive::<Call>(&mut bytes.as_slice()).expect("a message"), Some(call));
    }

    #[test]
    fn requests_and_files_of_programs_travel_with_their_secrets() {
        let secret = |text: &str| Content::Secret(Secret::new(text.as_bytes().to_vec()));
        let request = ApiRequest {
            method: "PUT".to_owned(),
            url: "http://h/".to_owned(),
            headers: [("Authorization".to_owned(), secret("hunter2")), ("Accept".to_owned(), Content::from("a/b"))]
                .into(),
            body: Some(secret("hunter3")),
            trust: Trust::Authority("/ca".to_owned()),
            timeout: Duration::from_secs(15),
            retries: 10,
        };
        let sending = Sending { unless: Some(request.clone()), request, accepted: vec![404, 410] };
        let run =
            Command { file: Some(secret("--index-url https://me:hunter4@h/")), ..Command::new(["pip", Command::FILE]) };
        let steps = vec![Step::Send(Box::new(sending)), Step::Run(run)];
        let host = HostName::new("h1").expect("a name");
        let call = Call { host, requests: vec![Request::Perform { steps, ticket: None, crash_at: None }] };
        let bytes = frame(&call).expect("a frame");
        assert_eq!(receive::<Call>(&mut bytes.as_slice()).expect("a message"), Some(call));
        let uses = vec![AccountUse::Process { id: 7, name: "sh".to_owned() }, AccountUse::Crontab];
        let fitness =
            FitnessReading { free: [("/".to_owned(), 5)].into(), sudo: Sudo::Free, ..FitnessReading::default() };
        let removal = RemovalReading { left: true, ..RemovalReading::default() };
        for reading in [Reading::AccountUse(uses), Reading::Fitness(fitness), Reading::Removal(removal)] {
            let answer = Answer::Reading(0, reading);
            let bytes = frame(&answer).expect("a frame");
            assert_eq!(receive::<Answer>(&mut bytes.as_slice()).expect("a message"), Some(answer));
        }
    }

    #[test]
    fn what_is_no_message_is_refused_in_words() {
        for (bytes, why) in [
            (&b"Welcome to h1!\n"[..], "it is not a message"),
            (b"\x01<\xff\xff\xff\xff", "a message of more than"),
            (b"\x02<\0\0\0\0", "version 2 of the protocol is unknown"),
            (b"\x01>\0\0\0\0", "it is not a message"),
        ] {
            let mut frames = Frames::default();
            frames.push(bytes);
            let told = frames.take::<Answer>().expect_err("no message").to_string();
            assert!(told.contains(why), "{told}");
        }
        let cut = frame(&Answer::Over).expect("a frame");
        let told = receive::<Answer>(&mut &cut[..cut.len() - 1]).expect_err("it is cut off");
        assert_eq!(told.kind(), io::ErrorKind::UnexpectedEof);
    }
}
