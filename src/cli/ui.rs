//! The only place that prints. stdout is the result, stderr the talk.

use std::io::{self, IsTerminal, Write};

use crate::diag::Diagnostics;
use crate::report::json;

/// Prints a result. A reader that went away (`| head`) is no error.
pub(super) fn result(text: &str) {
    let mut out = anstream::stdout().lock();
    let _ = writeln!(out, "{}", text.trim_end_matches('\n'));
}

/// Prints bytes as they are. On a terminal, what would steer it is made visible.
pub(super) fn raw(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    let _ = if out.is_terminal() {
        out.write_all(crate::diag::shown(&String::from_utf8_lossy(bytes)).as_bytes())
    } else {
        out.write_all(bytes)
    };
    let _ = out.flush();
}

/// Prints a value as one line of JSON, such as an event, at once: as it is made, so that a large one is never held as a
/// whole. A reader that went away (`| head`) is no error.
pub(super) fn json(value: &impl serde::Serialize) {
    let mut out = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    match json::write(&mut out, value) {
        Err(error) if !error.is_io() => failure(&error),
        _ => drop(writeln!(out).and_then(|()| out.flush())),
    }
}

/// Prints one line as it is, with whatever bytes are in it, to where the program on a host wrote it.
pub(super) fn bytes(stream: crate::exec::Stream, line: &[u8]) {
    let line = [line, b"\n"].concat();
    let _ = match stream {
        crate::exec::Stream::Out => io::stdout().lock().write_all(&line),
        crate::exec::Stream::Err => io::stderr().lock().write_all(&line),
    };
}

/// Prints one line of text to where the program on a host wrote it.
pub(super) fn passed_on(stream: crate::exec::Stream, line: &str) {
    match stream {
        crate::exec::Stream::Out => drop(writeln!(anstream::stdout().lock(), "{line}")),
        crate::exec::Stream::Err => say(line),
    }
}

/// Whether what goes there is read from a terminal.
pub(super) fn is_terminal(stream: crate::exec::Stream) -> bool {
    match stream {
        crate::exec::Stream::Out => io::stdout().is_terminal(),
        crate::exec::Stream::Err => io::stderr().is_terminal(),
    }
}

/// Talks.
pub(super) fn say(text: &str) {
    let mut err = anstream::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// Shows what is wrong.
pub(super) fn problems(problems: &Diagnostics) {
    let error = anstyle::AnsiColor::Red.on_default().bold();
    let warning = anstyle::AnsiColor::Yellow.on_default().bold();
    let place = anstyle::AnsiColor::Blue.on_default();
    let hint = anstyle::AnsiColor::Cyan.on_default();
    for (index, problem) in problems.clone().sorted().iter().enumerate() {
        let text = problem.to_string();
        let coloured = text.lines().enumerate().map(|(row, line)| match row {
            0 if line.starts_with("warning") => format!("{warning}warning{warning:#}{}", &line["warning".len()..]),
            0 => format!("{error}error{error:#}{}", line.strip_prefix("error").unwrap_or(line)),
            _ if line.starts_with("hint:") => format!("{hint}hint:{hint:#}{}", &line["hint:".len()..]),
            _ if line.starts_with("  --> ") => format!("{place}{line}{place:#}"),
            _ => line.to_owned(),
        });
        let gap = if index == 0 { "" } else { "\n" };
        say(&format!("{gap}{}", coloured.collect::<Vec<_>>().join("\n")));
    }
}

/// Shows what went wrong, with its causes.
pub(super) fn failure(error: &dyn std::error::Error) {
    let mut text = format!("error: {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}\n  cause: {cause}");
        source = cause.source();
    }
    say(&crate::diag::shown(&text));
}

/// How wide the terminal is; 100 columns where there is none.
pub(super) fn width() -> usize {
    terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0))
}

/// Whether somebody looks on while things happen.
pub(super) fn live() -> bool {
    io::stderr().is_terminal()
}

/// Whether a person can be asked: both what they see and what they type is a terminal.
pub(super) fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// Asks, and gives what was typed without the end of the line. Whoever no longer waits for the answer may go on: it is read on
/// a thread of its own.
pub(super) async fn ask(question: &str) -> String {
    let _ = write!(anstream::stderr(), "{question} ").and_then(|()| anstream::stderr().flush());
    let (tell, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let mut answer = String::new();
        let _ = io::stdin().read_line(&mut answer);
        let _ = tell.send(answer.trim().to_owned());
    });
    told.await.unwrap_or_default()
}

/// Counts hosts that answered, where somebody looks and it takes more than a moment.
pub(super) struct Counter(indicatif::ProgressBar);

impl Counter {
    /// So many hosts are asked.
    pub(super) fn new(what: &'static str, hosts: usize) -> Self {
        let bar = indicatif::ProgressBar::new(hosts as u64).with_message(what);
        if let Ok(style) = indicatif::ProgressStyle::with_template("{msg} {pos} of {len} hosts {elapsed} {prefix}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(150));
        Self(bar)
    }

    /// One has answered, or has failed to.
    pub(super) fn answered(&self, host: &crate::name::HostName, failed: bool) {
        if failed {
            self.0.set_prefix(format!("({host} is unreachable)"));
        }
        self.0.inc(1);
    }

    /// All have.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
