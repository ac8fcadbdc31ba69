//! How long a command waits for others.

use std::time::Duration;

/// How long to wait for others.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Waiting")]
pub(super) struct Patience {
    /// How long to wait for a lock that another run holds: 90s, 10m; 0 does not wait
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = span)]
    pub(super) lock_timeout: Duration,
    /// How long to wait for a host that becomes unreachable during the run, such as for a reboot
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = span)]
    pub(super) reboot_timeout: Duration,
}

/// A time as it is typed.
///
/// # Errors
/// How to write it.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let seconds = crate::role::parse_duration(&text.into());
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write it as 90s, 10m or 2h".to_owned())
}

/// The same, and at least a second.
pub(super) fn limit(text: &str) -> Result<Duration, String> {
    let wrong = || "write it as 90s, 10m or 2h, one second or more".to_owned();
    span(text).ok().filter(|span| span.as_secs() >= 1).ok_or_else(wrong)
}
