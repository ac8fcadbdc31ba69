//! The groups of a user, as `id` tells them.

use crate::step::MembershipReading;

/// The groups of a user, each by number and, if it has one, name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) struct Groups {
    pub(super) primary: (u32, Option<String>),
    /// Without the primary one.
    pub(super) others: Vec<(u32, Option<String>)>,
}

impl Groups {
    /// All numbers, the primary group's first: what `setgroups(2)` is given.
    pub(in crate::host) fn numbers(&self) -> Vec<u32> {
        std::iter::once(&self.primary).chain(&self.others).map(|(gid, _)| *gid).collect()
    }

    /// By name, or the number where a group has none.
    pub(in crate::host) fn names(&self) -> MembershipReading {
        let named = |(gid, name): &(u32, Option<String>)| name.clone().unwrap_or_else(|| gid.to_string());
        let mut groups: Vec<String> = self.others.iter().map(named).collect();
        groups.sort();
        MembershipReading { group: named(&self.primary), groups }
    }
}

/// The user and the groups of `uid=1000(ada) gid=1000(ada) groups=1000(ada),27(sudo)`. A name may have spaces and commas.
pub(super) fn parse_id(line: &str) -> Option<(String, Groups)> {
    let (user, rest) = numbered(line.strip_prefix("uid=")?)?;
    let (primary, rest) = numbered(rest.strip_prefix(" gid=")?)?;
    // An effective identity, of programs that run with the rights of another.
    let mut rest = rest.split_once(" groups=").map_or("", |(_, groups)| groups);
    let mut others = Vec::new();
    while let Some((group, more)) = numbered(rest) {
        if group.0 != primary.0 {
            others.push(group);
        }
        rest = more.strip_prefix(',').unwrap_or_default();
    }
    Some((user.1.unwrap_or_else(|| user.0.to_string()), Groups { primary, others }))
}

/// The number and name at the beginning of `27(sudo),...`, and what follows.
fn numbered(text: &str) -> Option<((u32, Option<String>), &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number = number.parse().ok()?;
    match rest.strip_prefix('(').and_then(|rest| rest.split_once(')')) {
        Some((name, rest)) => Some(((number, Some(name.to_owned())), rest)),
        None => Some(((number, None), rest)),
    }
}
