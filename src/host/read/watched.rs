//! Work that may hang on a file system, in threads that are abandoned then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The error for work that the time was too short for.
pub(super) const LATE: &str = "no time was left for it";

/// Counts progress, and knows the deadline.
#[derive(Debug)]
pub(super) struct Pulse {
    beats: AtomicU64,
    deadline: Instant,
}

impl Pulse {
    /// For work with this deadline.
    pub(super) fn until(deadline: Instant) -> Self {
        Self { beats: AtomicU64::new(0), deadline }
    }

    /// Reports progress.
    ///
    /// # Errors
    /// When the deadline has passed.
    pub(super) fn beat(&self) -> Result<(), String> {
        self.beats.fetch_add(1, Ordering::Relaxed);
        if Instant::now() < self.deadline { Ok(()) } else { Err(LATE.to_owned()) }
    }
}

/// How long work may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Without a [`Pulse::beat`].
    pub(super) patience: Duration,
    /// For all jobs.
    pub(super) deadline: Instant,
}

/// The work for one job.
pub(super) type Work<J, A> = Arc<dyn Fn(&J, &Pulse) -> A + Send + Sync>;

/// Does the work for each job in turn, in another thread. If that thread hangs, `hung` answers for the job, and a new thread
/// continues with the next one.
pub(super) fn each<J, A>(jobs: Vec<J>, limits: Limits, work: &Work<J, A>, hung: &dyn Fn(&J) -> A) -> Vec<A>
where
    J: Send + Sync + 'static,
    A: Send + 'static,
{
    let jobs = Arc::new(jobs);
    let mut answers = Vec::with_capacity(jobs.len());
    while answers.len() < jobs.len() {
        let pulse = Arc::new(Pulse::until(limits.deadline));
        let (sender, receiver) = channel();
        let worker = {
            let (jobs, work, pulse, first) = (Arc::clone(&jobs), Arc::clone(work), Arc::clone(&pulse), answers.len());
            move || {
                for job in jobs.iter().skip(first) {
                    // The receiver is gone if this thread had hung.
                    if sender.send(work(job, &pulse)).is_err() {
                        return;
                    }
                }
            }
        };
        if std::thread::Builder::new().name("read".to_owned()).spawn(worker).is_err() {
            // Without a thread it hangs where it hangs; the whole program has a limit, too.
            let pulse = Pulse::until(limits.deadline);
            answers.extend(jobs.iter().skip(answers.len()).map(|job| work(job, &pulse)));
            break;
        }
        collect(&receiver, &pulse, limits.patience, &mut answers);
        if let Some(job) = jobs.get(answers.len()) {
            answers.push(hung(job));
        }
    }
    answers
}

/// Collects answers until all are there, or the thread makes no progress.
fn collect<A>(receiver: &Receiver<A>, pulse: &Pulse, patience: Duration, answers: &mut Vec<A>) {
    let mut seen = pulse.beats.load(Ordering::Relaxed);
    loop {
        match receiver.recv_timeout(patience) {
            Ok(answer) => answers.push(answer),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                let beats = pulse.beats.load(Ordering::Relaxed);
                if beats == seen {
                    return;
                }
                seen = beats;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::program::tests::NOT_HELD_UP;

    #[test]
    fn what_hangs_hides_only_itself() {
        let limits =
            Limits { patience: Duration::from_millis(1500), deadline: Instant::now() + Duration::from_secs(60) };
        let work: Work<&'static str, String> = Arc::new(|job: &&str, pulse: &Pulse| {
            match *job {
                "hangs" => std::thread::sleep(Duration::from_secs(3600)),
                // Long, but it goes on.
                "slow" => {
                    for _ in 0..30 {
                        std::thread::sleep(Duration::from_millis(60));
                        pulse.beat().expect("there is time");
                    }
                }
                _ => {}
            }
            format!("{job} done")
        });
        let began = Instant::now();
        let answers = each(vec!["a", "hangs", "slow", "b", "hangs"], limits, &work, &|job| format!("{job}!"));
        assert_eq!(answers, ["a done", "hangs!", "slow done", "b done", "hangs!"]);
        assert!(began.elapsed() < NOT_HELD_UP);
        assert_eq!(each(Vec::new(), limits, &work, &|_| String::new()), Vec::<String>::new());
    }
}
