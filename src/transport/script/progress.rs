//! What happens while steps are done.
//!
//! In: the answer to a step script, in pieces as they arrive. Out: events at once, and all outcomes at the end.
//! Never: an outcome for a step the host did not tell of.

use std::collections::BTreeMap;
use std::time::Duration;

use super::frame::{Frame, Frames};
use super::lease;
use crate::lease::Lease;
use crate::step::Outcome;
use crate::transport::api::StepEvent;

/// Reads the answer to [`super::step_script`].
#[derive(Debug)]
pub struct Progress {
    frames: Frames,
    began: BTreeMap<usize, u64>,
    outcomes: Vec<Outcome>,
    ended: bool,
    refusal: Option<Refusal>,
}

/// Why a host does none of the steps it was given a ticket for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The ticket's lease has ended; this one is there instead, if any.
    Fenced(Option<Box<Lease>>),
    /// It cannot write down what it must; its own words.
    Unable(String),
}

impl Progress {
    /// Before the first byte.
    pub fn new(nonce: &str) -> Self {
        Self { frames: Frames::new(nonce), began: BTreeMap::new(), outcomes: Vec::new(), ended: false, refusal: None }
    }

    /// Takes more of the answer; gives what it tells.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<StepEvent> {
        let frames = self.frames.push(bytes);
        frames.iter().filter_map(|frame| self.event(frame)).collect()
    }

    /// Whether the host has said all it will say.
    pub fn is_over(&self) -> bool {
        self.ended
    }

    /// Why nothing was done, if nothing was.
    pub fn refusal(&self) -> Option<&Refusal> {
        self.refusal.as_ref()
    }

    /// The outcomes of the steps that ended, in order; none if the answer ended before the host was done.
    pub fn outcomes(self) -> Option<Vec<Outcome>> {
        self.ended.then_some(self.outcomes)
    }

    fn event(&mut self, frame: &Frame) -> Option<StepEvent> {
        match frame.word.as_str() {
            "end" => self.ended = true,
            "fenced" => self.refusal = Some(Refusal::Fenced(lease::lease(&frame.data).map(Box::new))),
            "unable" => self.refusal = Some(Refusal::Unable(end_of(&frame.data).trim().to_owned())),
            _ => {}
        }
        let index: usize = frame.number(0)?;
        let outcome = match frame.word.as_str() {
            "begin" => {
                self.began.insert(index, frame.number(1)?);
                return Some(StepEvent::Started { index });
            }
            "waiting" => return Some(StepEvent::Waiting { index, why: frame.text() }),
            "done" => Outcome::Done,
            "skipped" => Outcome::NotNeeded,
            "failed" => Outcome::Failed { exit: frame.number(2)?, stderr: end_of(&frame.data) },
            _ => return None,
        };
        self.outcomes.push(outcome.clone());
        let hundredths = frame.number::<u64>(1)?.saturating_sub(*self.began.get(&index)?);
        Some(StepEvent::Ended { index, outcome, took: Duration::from_millis(hundredths * 10) })
    }
}

/// How much of a complaint is worth keeping, in bytes.
const COMPLAINT: usize = 16 * 1024;

fn end_of(complaint: &[u8]) -> String {
    let from = complaint.len().saturating_sub(COMPLAINT);
    String::from_utf8_lossy(&complaint[from..]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_as_soon_as_they_are_told_and_outcomes_only_at_the_end() {
        let mut progress = Progress::new("N");
        assert_eq!(progress.push(b"\nN begin 0 100\n\nN .\n"), [StepEvent::Started { index: 0 }]);
        let waiting = StepEvent::Waiting { index: 0, why: "not yet".to_owned() };
        assert_eq!(progress.push(b"\nN waiting 0\nnot yet\nN .\n"), [waiting]);
        let failed = Outcome::Failed { exit: 7, stderr: "why".to_owned() };
        let ended = StepEvent::Ended { index: 0, outcome: failed.clone(), took: Duration::from_millis(2500) };
        assert_eq!(progress.push(b"\nN failed 0 350 7\nwhy\n\nN .\n"), [ended]);
        assert!(!progress.is_over());
        assert!(progress.push(b"\nN end\n\nN .\n").is_empty());
        assert_eq!(progress.outcomes(), Some(vec![failed]));
    }

    #[test]
    fn without_an_end_there_are_no_outcomes() {
        let mut progress = Progress::new("N");
        progress.push(b"\nN begin 0 1\n\nN .\n\nN done 0 2\n\nN .\n");
        assert_eq!(progress.outcomes(), None);
    }
}
