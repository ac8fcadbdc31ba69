//! What `armilla import` would take over, as text.
//!
//! In: an import. Out: what becomes armilla's on each host, and what does not, with the reason. Never: a control character
//! that came from a user or a host.

use super::layout::{self, paint, wrap};
use super::words;
use crate::name::{EnvName, HostName};
use crate::plan::{Import, Left};

/// What would become armilla's, and what would not.
pub fn import(environment: &EnvName, import: &Import, width: usize) -> String {
    let hosts = import.saves.len();
    let amount = format!("{} on {}", words::count(import.taken.len(), "resource"), words::count(hosts, "host"));
    let mut lines = vec![format!("{}   {amount}", paint(layout::NAME, &format!("import {environment}")))];
    let mut last: Option<&HostName> = None;
    for address in &import.taken {
        if last != Some(&address.host) {
            lines.extend([String::new(), paint(layout::NAME, &words::one_line(address.host.as_str()))]);
            last = Some(&address.host);
        }
        lines.push(format!("  {}   (role {})", words::address(address), address.role));
    }
    if !import.left.is_empty() {
        lines.extend([String::new(), paint(layout::WRONG, "Not imported")]);
    }
    for (address, why) in &import.left {
        let text = format!("{} {}: {}", address.host, words::address(address), reason(*why));
        lines.extend(wrap(&text, width.saturating_sub(2)).into_iter().map(|line| format!("  {line}")));
    }
    for (host, why) in &import.unreachable {
        let text = format!("{host} is unreachable: {}", words::one_line(why.trim()));
        lines.extend(wrap(&text, width).into_iter().map(|line| paint(layout::WRONG, &line)));
    }
    if !import.taken.is_empty() {
        let text = "Nothing on the hosts changes. From then on, armilla removes these resources when they are removed from the roles.";
        lines.push(String::new());
        lines.extend(wrap(text, width));
    }
    lines.join("\n") + "\n"
}

fn reason(why: Left) -> &'static str {
    match why {
        Left::Owned => "armilla already owns it",
        Left::Foreign => "it belongs to another project or environment",
        Left::Missing => "it does not exist; `armilla apply` creates it",
        Left::Differs => "it differs from the project; change the project, or `armilla apply`",
        Left::Unreadable => "its state could not be read",
        Left::Away => "it is to be absent, and does not exist",
        Left::Lasting => "it cannot be removed, so it always stays",
    }
}
