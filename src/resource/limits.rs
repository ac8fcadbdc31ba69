//! `limits`: how much of something the sessions of a user may use.
//!
//! In: who, what and how much. Out: one line below `/etc/security/limits.d`. Never: a limit of a systemd service, which
//! does not read this: `LimitNOFILE=` of its unit does that.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::part::{FilePart, Piece};
use crate::edit::{Edit, Entry, Limit};

/// How much of something the sessions of a user may use. Sessions that are open keep their limits; services of systemd do
/// not go by it (their unit's `LimitNOFILE=` does).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// A user, `@group`, or `*` for everyone but root.
    domain: String,
    /// `soft`, which a user may raise up to `hard`, or `-` for both.
    #[serde(rename = "type")]
    kind: Sort,
    /// What: `nofile`, `nproc`, `memlock`, ... as in `limits.conf(5)`.
    item: String,
    /// How much: a number in the unit of `limits.conf(5)`, or `unlimited`.
    #[serde(default)]
    value: Option<Amount>,
    /// The file's name below `/etc/security/limits.d`, without `.conf`.
    #[serde(default = "armilla")]
    file: String,
    /// Whether it exists.
    #[serde(default)]
    state: Presence,
}

/// Which limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Sort {
    /// What a session begins with.
    Soft,
    /// The most it can be raised to.
    Hard,
    /// Both.
    #[serde(rename = "-")]
    Both,
}

/// A number or a word.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
enum Amount {
    Number(i64),
    Word(String),
}

/// The items of `limits.conf(5)` of Linux-PAM 1.5.
const ITEMS: &[&str] = &[
    "core",
    "data",
    "fsize",
    "memlock",
    "nofile",
    "rss",
    "stack",
    "cpu",
    "nproc",
    "as",
    "maxlogins",
    "maxsyslogins",
    "nonewprivs",
    "priority",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
];

/// Those that may be below zero.
const SIGNED: &[&str] = &["priority", "nice"];

fn armilla() -> String {
    "armilla".to_owned()
}

impl Limits {
    fn amount(&self) -> String {
        match &self.value {
            Some(Amount::Number(number)) => number.to_string(),
            Some(Amount::Word(word)) => word.clone(),
            None => String::new(),
        }
    }

    fn check_amount(&self) -> Result<(), String> {
        let amount = self.amount();
        let number = amount.parse::<i64>().ok().filter(|number| number.to_string() == amount);
        let enough = |number: i64| number >= 0 || number == -1 || SIGNED.contains(&self.item.as_str());
        if number.is_some_and(enough) || ["unlimited", "infinity"].contains(&amount.as_str()) {
            return Ok(());
        }
        Err(format!("invalid amount `{}`: a whole number, or `unlimited`", amount.escape_debug()))
    }
}

impl FilePart for Limits {
    const NAME: &'static str = "limits";
    const SUMMARY: &'static str = "A resource limit of the sessions of a user";
    const EXAMPLE: &'static str = "limits: { domain: \"@zookeeper\", type: \"-\", item: nofile, value: 65536 }";
    const SHORT: &'static str = "domain";

    fn check(&self) -> Result<(), String> {
        fields::check_word("limits file", &self.file)?;
        if self.domain != "*" {
            let name = self.domain.strip_prefix('@').unwrap_or(&self.domain);
            fields::check_account("user or @group", name)?;
        }
        if !ITEMS.contains(&self.item.as_str()) {
            let hint = crate::name::did_you_mean(&self.item, ITEMS.iter().copied());
            let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
            return Err(format!("unknown limit `{}`{hint}", self.item.escape_debug()));
        }
        match (self.state, &self.value) {
            (Presence::Present, None) => Err("it needs a `value`".to_owned()),
            (Presence::Absent, Some(_)) => Err("a limit with `state: absent` takes no value".to_owned()),
            (Presence::Present, Some(_)) => self.check_amount(),
            (Presence::Absent, None) => Ok(()),
        }
    }

    fn part(&self) -> String {
        let Limit { domain, kind, item, .. } = self.limit();
        format!("{domain} {kind} {item}")
    }

    fn piece(&self) -> Piece {
        let path = format!("/etc/security/limits.d/{}.conf", self.file);
        Piece::own(&path, Edit::Entry(Entry::Limit(self.limit()), self.state.into()))
    }

    fn keys(&self) -> Option<serde_json::Value> {
        let Limit { domain, kind, item, .. } = self.limit();
        let file = (self.file != armilla()).then_some(&self.file);
        Some(serde_json::json!({ "domain": domain, "type": kind, "item": item, "file": file }))
    }
}

impl Limits {
    fn limit(&self) -> Limit {
        let kind = match self.kind {
            Sort::Soft => "soft",
            Sort::Hard => "hard",
            Sort::Both => "-",
        };
        Limit { domain: self.domain.clone(), kind: kind.to_owned(), item: self.item.clone(), value: self.amount() }
    }
}
