//! A cable with faults, between a client and an sshd.
//!
//! In: an address, and for each connection what is wrong with it. Out: a port of the loopback that leads there, and how
//! many bytes each connection carried. Never: another order of bytes: TCP gives them in order, so what can be out of order
//! on the wire is seen here only as pieces that are cut or joined in other places, and later.
//!
//! Each way of a connection has two threads: one takes what comes and writes down when it is due, the other waits until
//! then, so that a delay costs no throughput.

#![allow(dead_code, reason = "the suite and the lab each use a part of it")]

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the host.
    There,
    /// From the host to the client.
    Back,
}

/// What happens after so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// Both ends are told that the other is gone, by a reset.
    Reset,
    /// Both ends are told that the other has nothing more to say.
    End,
    /// This way, nothing passes for so long; then all of it does.
    Stall(Duration),
    /// Nothing passes any more, in neither way, and nobody is told.
    Silence,
}

/// Where the pieces of what passes begin and end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// As they come.
    #[default]
    AsTheyCome,
    /// None is larger.
    AtMost(usize),
    /// All that came within this time is one.
    Gathered(Duration),
}

/// How a connection is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cable {
    /// What happens, which way, after how many bytes of that way. At most one fault for a way.
    pub(crate) faults: Vec<(Way, u64, What)>,
    /// How much later everything arrives, in each way.
    pub(crate) delay: Duration,
    /// How many bytes pass in a second, in each way.
    pub(crate) rate: Option<u64>,
    /// How it arrives.
    pub(crate) pieces: Pieces,
}

impl Cable {
    /// Nothing is wrong with it.
    pub(crate) fn sound() -> Self {
        Self::default()
    }

    /// One fault.
    pub(crate) fn with(way: Way, after: u64, what: What) -> Self {
        Self { faults: vec![(way, after, what)], ..Self::default() }
    }

    /// Everything arrives so much later.
    pub(crate) fn late(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }
}

/// Takes connections until it is dropped.
pub(crate) struct Proxy {
    /// Of the loopback.
    pub(crate) port: u16,
    all: Arc<Mutex<Vec<Known>>>,
    dumb: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
}

impl Proxy {
    /// Leads to `to`. `cable` says how the connection with this number is, from 0 on.
    pub(crate) fn start(to: SocketAddr, cable: impl Fn(usize) -> Cable + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("it").port();
        let proxy = Self { port, all: Arc::default(), dumb: Arc::default(), over: Arc::default() };
        let (all, dumb, over) = (Arc::clone(&proxy.all), Arc::clone(&proxy.dumb), Arc::clone(&proxy.over));
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(host)) = (client, TcpStream::connect(to)) else { continue };
                let number = lock(&all).len();
                let wire = Arc::new(Wire::new(client, host, cable(number), Arc::clone(&dumb)));
                lock(&all).push(Known { wire: Arc::downgrade(&wire), carried: Arc::clone(&wire.carried) });
                wire.carry();
            }
        });
        proxy
    }

    /// A cable like this for the first connection; all others are sound.
    pub(crate) fn first(to: SocketAddr, cable: Cable) -> Self {
        Self::start(to, move |number| if number == 0 { cable.clone() } else { Cable::sound() })
    }

    /// Nothing passes any more on any connection, old or new, and nobody is told.
    pub(crate) fn silence(&self) {
        self.dumb.store(true, Ordering::SeqCst);
    }

    /// What was held back passes, and everything new does.
    pub(crate) fn heal(&self) {
        self.dumb.store(false, Ordering::SeqCst);
    }

    /// Resets every connection there is.
    pub(crate) fn cut(&self) {
        let all: Vec<_> = lock(&self.all).iter().filter_map(|known| known.wire.upgrade()).collect();
        for wire in &all {
            wire.reset();
        }
    }

    /// How many connections there were.
    pub(crate) fn connections(&self) -> usize {
        lock(&self.all).len()
    }

    /// How many bytes a connection carried so far, there and back.
    pub(crate) fn carried(&self, number: usize) -> [u64; 2] {
        let all = lock(&self.all);
        all.get(number).map_or([0, 0], |known| *lock(&known.carried))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        // Wakes the one who waits for connections.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
        self.cut();
    }
}

/// A connection that was made; it is closed when its threads have ended.
struct Known {
    wire: Weak<Wire>,
    carried: Arc<Mutex<[u64; 2]>>,
}

/// One connection.
struct Wire {
    client: TcpStream,
    host: TcpStream,
    cable: Cable,
    carried: Arc<Mutex<[u64; 2]>>,
    /// This connection says nothing any more, or none does.
    silent: AtomicBool,
    dumb: Arc<AtomicBool>,
    cut: AtomicBool,
}

/// What came, and when it is due. An empty piece is the end.
type Piece = (Instant, Vec<u8>);

impl Wire {
    fn new(client: TcpStream, host: TcpStream, cable: Cable, dumb: Arc<AtomicBool>) -> Self {
        for stream in [&client, &host] {
            stream.set_nodelay(true).expect("an option of the socket");
        }
        Self { client, host, cable, carried: Arc::default(), silent: false.into(), dumb, cut: false.into() }
    }

    fn carry(self: &Arc<Self>) {
        for way in [Way::There, Way::Back] {
            let (sender, receiver) = channel();
            let (takes, gives) = (Arc::clone(self), Arc::clone(self));
            std::thread::spawn(move || takes.take(way, &sender));
            std::thread::spawn(move || gives.give(way, &receiver));
        }
    }

    fn ends(&self, way: Way) -> (&TcpStream, &TcpStream) {
        match way {
            Way::There => (&self.client, &self.host),
            Way::Back => (&self.host, &self.client),
        }
    }

    fn take(&self, way: Way, to: &Sender<Piece>) {
        let (mut from, _) = self.ends(way);
        let mut bytes = [0; 16 * 1024];
        loop {
            let count = from.read(&mut bytes).unwrap_or(0);
            let piece = (Instant::now() + self.cable.delay, bytes[..count].to_vec());
            if to.send(piece).is_err() || count == 0 {
                return;
            }
        }
    }

    fn give(&self, way: Way, from: &Receiver<Piece>) {
        let fault = self.cable.faults.iter().find(|(of, ..)| *of == way).map(|(_, after, what)| (*after, *what));
        let mut fault = fault;
        while let Ok((due, mut bytes)) = from.recv() {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let last = bytes.is_empty();
            if let Pieces::Gathered(time) = self.cable.pieces {
                std::thread::sleep(time);
                bytes.extend(from.try_iter().flat_map(|(_, bytes)| bytes));
            }
            if let Some((after, what)) = fault {
                let left = usize::try_from(after - self.sent(way)).unwrap_or(usize::MAX);
                if bytes.len() >= left {
                    fault = None;
                    let rest = bytes.split_off(left);
                    self.pass(way, &bytes);
                    self.happens(what);
                    bytes = rest;
                }
            }
            self.pass(way, &bytes);
            if last && !self.cut.load(Ordering::SeqCst) {
                let _ = self.ends(way).1.shutdown(Shutdown::Write);
            }
            if last {
                return;
            }
        }
    }

    fn sent(&self, way: Way) -> u64 {
        lock(&self.carried)[way as usize]
    }

    fn pass(&self, way: Way, bytes: &[u8]) {
        let most = if let Pieces::AtMost(most) = self.cable.pieces { most.max(1) } else { usize::MAX };
        for piece in bytes.chunks(most.min(bytes.len().max(1))) {
            while self.is_silent() && !self.cut.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(5));
            }
            if self.cut.load(Ordering::SeqCst) {
                return;
            }
            if let Some(rate) = self.cable.rate {
                std::thread::sleep(Duration::from_micros(piece.len() as u64 * 1_000_000 / rate.max(1)));
            }
            if self.ends(way).1.write_all(piece).is_ok() {
                lock(&self.carried)[way as usize] += piece.len() as u64;
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.silent.load(Ordering::SeqCst) || self.dumb.load(Ordering::SeqCst)
    }

    fn happens(&self, what: What) {
        match what {
            What::Reset => self.reset(),
            What::End => {
                self.cut.store(true, Ordering::SeqCst);
                for stream in [&self.client, &self.host] {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
            What::Stall(time) => std::thread::sleep(time),
            What::Silence => self.silent.store(true, Ordering::SeqCst),
        }
    }

    /// A socket that is closed without lingering sends a reset. It is closed when the last thread lets go of it; none is
    /// left waiting.
    fn reset(&self) {
        self.cut.store(true, Ordering::SeqCst);
        for stream in [&self.client, &self.host] {
            let _ = setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 });
            let _ = stream.shutdown(Shutdown::Read);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
