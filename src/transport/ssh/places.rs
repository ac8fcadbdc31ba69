//! How much may be open at the same time: each channel, with the connection it goes over, has a place while it is there.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::transport::way::Purpose;

/// What a place is worth in open files: one holds a connection, and a channel has six ends of pipes and a socket while it
/// is opened (four of the seven stay). The start of an `ssh` takes fewer, and comes before.
const EACH: usize = 8;

/// Open files of all else that a run does meanwhile: the locks and records it writes, a `git` that it asks, the host
/// program that it reads, a channel to this machine.
const ALL_ELSE: usize = 12;

/// More would never be used.
const MOST: usize = 1 << 16;

/// A connection that somebody looks at just now is not closed for another: it is looked at again after this time.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// How many places there are, if so many files may be open, and so many are.
fn within(limit: usize, open: usize) -> usize {
    (limit.saturating_sub(open + ALL_ELSE) / EACH).min(MOST)
}

/// The places of one program.
///
/// A place is in use, or parked: then it is kept with a connection that waits for more to do, and goes to whoever needs one.
/// Work on hosts never uses the last one: locks must be renewed while all that works takes its time.
#[derive(Debug)]
pub(super) struct Places {
    number: usize,
    all: Arc<Semaphore>,
    work: Arc<Semaphore>,
    parked: Notify,
}

/// The right to use a place for this purpose. Who has it gets a place as soon as somebody gives one up.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
}

/// One place; free when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// As many as this process has room for.
    pub(super) fn here() -> Self {
        let limit = getrlimit(Resource::RLIMIT_NOFILE)
            .map_or(MOST * EACH, |(now, _)| usize::try_from(now).unwrap_or(MOST * EACH));
        // One of them is the directory that is read.
        let open = std::fs::read_dir("/dev/fd").map_or(16, |files| files.count().saturating_sub(1));
        Self::new(within(limit, open))
    }

    fn new(number: usize) -> Self {
        let semaphore = |number| Arc::new(Semaphore::new(number));
        Self { number, all: semaphore(number), work: semaphore((number.max(2) - 1).min(number)), parked: Notify::new() }
    }

    /// Whether there is not even one.
    pub(super) fn is_none(&self) -> bool {
        self.number == 0
    }

    /// Waits until something with this purpose may use a place.
    pub(super) async fn turn(&self, purpose: Purpose) -> Turn {
        match purpose {
            Purpose::Lease => Turn { _permit: None },
            Purpose::Work => Turn { _permit: Arc::clone(&self.work).acquire_owned().await.ok() },
        }
    }

    /// A place for work that can do without, if one is free.
    pub(super) fn spare(&self) -> Option<(Turn, Place)> {
        let turn = Arc::clone(&self.work).try_acquire_owned().ok()?;
        Some((Turn { _permit: Some(turn) }, self.free()?))
    }

    fn free(&self) -> Option<Place> {
        let permit = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// A place, for one whose turn it is. If none is free, `make_room` frees one that is parked, or says that all are in
    /// use. Whoever waits longest is first. For ever, if there is not even one.
    pub(super) async fn take<F: Future<Output = bool>>(&self, make_room: impl Fn() -> F) -> Place {
        if let Some(place) = self.free() {
            return place;
        }
        let mut permit = std::pin::pin!(Arc::clone(&self.all).acquire_owned());
        loop {
            let is_in_use = !make_room().await;
            tokio::select! {
                biased;
                Ok(permit) = &mut permit => return Place { _permit: permit },
                () = std::future::ready(()), if !is_in_use => {}
                () = self.parked.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
    }

    /// One was parked.
    pub(super) fn parked(&self) {
        self.parked.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    async fn soon<T>(work: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_millis(20), work).await.ok()
    }

    #[test]
    fn places_are_what_is_left_of_the_limit() {
        assert_eq!(within(26, 9), 0);
        assert_eq!(within(29, 9), 1);
        assert_eq!(within(40, 12), 2);
        assert_eq!(within(40, 50), 0);
        assert_eq!(within(usize::MAX, 9), MOST);
        assert!((100..200).contains(&within(1024, 9)), "the usual soft limit");
    }

    #[tokio::test]
    async fn the_last_place_is_for_locks_and_work_waits_until_work_is_over() {
        let places = Places::new(2);
        let none = || async { false };
        let work = (places.turn(Purpose::Work).await, places.take(none).await);
        assert!(soon(places.turn(Purpose::Work)).await.is_none());
        assert!(places.spare().is_none(), "a login in advance is work");
        let lease = (soon(places.turn(Purpose::Lease)).await.expect("a turn"), places.take(none).await);
        assert!(soon(places.take(none)).await.is_none(), "no more than there are");
        drop(lease);
        assert!(soon(places.turn(Purpose::Work)).await.is_none(), "still");
        drop(work);
        assert!(soon(places.turn(Purpose::Work)).await.is_some());
        assert_eq!(places.all.available_permits(), 2, "whoever gave up waiting has none");
    }

    #[tokio::test]
    async fn with_only_one_place_everything_takes_turns() {
        let places = Places::new(1);
        let none = || async { false };
        let work = (places.turn(Purpose::Work).await, places.take(none).await);
        let lease = async { (places.turn(Purpose::Lease).await, places.take(none).await) };
        let mut lease = std::pin::pin!(lease);
        assert!(soon(&mut lease).await.is_none());
        drop(work);
        assert!(soon(lease).await.is_some());
        assert!(Places::new(0).is_none() && Places::new(0).spare().is_none());
    }

    #[tokio::test]
    async fn what_is_parked_makes_room_as_soon_as_it_is() {
        let places = Places::new(2);
        let none = || async { false };
        let parked = std::sync::Mutex::new(vec![places.take(none).await]);
        let used = places.take(none).await;
        let asked = AtomicUsize::new(0);
        let make_room = || async {
            asked.fetch_add(1, Ordering::Relaxed);
            parked.lock().expect("a lock").pop().is_some()
        };
        let _first = soon(places.take(make_room)).await.expect("the parked one");
        assert_eq!(asked.load(Ordering::Relaxed), 1);
        let mut second = std::pin::pin!(places.take(make_room));
        assert!(soon(&mut second).await.is_none(), "all are in use");
        parked.lock().expect("a lock").push(used);
        places.parked();
        assert!(soon(second).await.is_some());
    }
}
