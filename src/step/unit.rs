//! A systemd unit, as a host describes it.
//!
//! In: systemd's own words. Out: a value, and whether systemd keeps restarting the unit or it has failed for good. Never: what
//! to do about it.

/// How many seconds a service must run for each restart by systemd before it counts as running again.
pub const RESTARTED: u64 = 10;

/// The most that it must run, in seconds: half of what a check waits by default, so that a service that settles passes.
pub const SETTLED: u64 = 30;

/// A systemd unit, in systemd's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UnitReading {
    /// `loaded`, `not-found`, `masked`, ...
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, ...
    pub active: String,
    /// `running`, `exited`, `auto-restart`, ...; empty if the host did not say.
    pub sub: String,
    /// `enabled`, `disabled`, `static`, ... or empty. Of a script of System V what `systemctl is-enabled` says, as systemd
    /// itself only calls it `generated`.
    pub enabled: String,
    /// Whether its file changed since systemd read it.
    pub needs_reload: bool,
    /// When it became active, in seconds since 1970 by the host's own clock.
    pub since: Option<i64>,
    /// How often systemd restarted it by itself since it was last started by somebody else. 0 before systemd 235, which
    /// does not count them.
    pub restarts: u64,
    /// How long ago it became active, in seconds by the host's monotonic clock.
    pub age: Option<u64>,
    /// The units that stop when it stops, because they require it, are bound to it or are a part of it.
    pub required_by: Vec<String>,
}

impl UnitReading {
    /// Whether systemd keeps restarting it: it waits for the next start now, or it was restarted so recently that the next
    /// failure may be near. For each restart it must run [`RESTARTED`] seconds, [`SETTLED`] at most; otherwise a service that
    /// fails every few seconds would count as running whenever one looks at the right moment.
    pub fn is_restarting(&self) -> bool {
        let needed = self.restarts.saturating_mul(RESTARTED).min(SETTLED);
        let recent = self.active == "active" && self.age.is_some_and(|age| age < needed);
        self.sub.starts_with("auto-restart") || recent
    }
}

impl UnitReading {
    /// Whether it has failed for good: systemd does not start it again by itself, be it that it was not told to or that it
    /// gave up. Between two starts systemd may call a unit `failed`, too, but says beside it what follows.
    pub fn has_failed(&self) -> bool {
        self.active == "failed" && !self.sub.contains("auto-restart")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(active: &str, sub: &str, restarts: u64, age: Option<u64>) -> UnitReading {
        UnitReading { active: active.to_owned(), sub: sub.to_owned(), restarts, age, ..UnitReading::default() }
    }

    #[test]
    fn a_service_must_run_longer_the_more_often_systemd_restarted_it() {
        let running = |restarts, age| unit("active", "running", restarts, Some(age)).is_restarting();
        assert!(!running(0, 0), "somebody started it a moment ago");
        assert_eq!([running(1, 9), running(1, 10)], [true, false]);
        assert_eq!([running(2, 19), running(2, 20)], [true, false]);
        assert_eq!([running(5000, 29), running(5000, 30)], [true, false]);
    }

    #[test]
    fn a_service_that_is_started_again_has_not_failed_for_good() {
        assert!(unit("failed", "failed", 5, None).has_failed());
        assert!(!unit("activating", "auto-restart", 5, None).has_failed());
        assert!(!unit("failed", "failed-before-auto-restart", 5, None).has_failed());
        assert!(!unit("inactive", "dead", 0, None).has_failed(), "it may not have been started yet");
    }

    #[test]
    fn a_service_that_waits_for_its_next_start_is_restarting() {
        assert!(unit("activating", "auto-restart", 0, None).is_restarting());
        assert!(unit("activating", "auto-restart-queued", 7, Some(1)).is_restarting());
        assert!(!unit("activating", "start", 0, None).is_restarting());
        assert!(!unit("failed", "failed", 5, Some(1)).is_restarting(), "systemd gave up");
        assert!(!unit("active", "running", 3, None).is_restarting(), "since when it runs is not known");
    }
}
