//! `authorized_key`: a key with which one may log in as a user.
//!
//! In: a user and a public key, or all of the user's keys. Out: the key in `~/.ssh/authorized_keys`, in a folder and file
//! that sshd trusts. Never: a private key, or a line of which only a part is a key.

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, FileMode, Presence, Wanted};
use super::part::Piece;
use super::regular::{OtherContent, Regular, modified};
use super::{Change, Field, Hold, Kind, Verdict, trace};
use crate::edit::{self, Edit, Entry, LoginKey, PublicKey};
use crate::secret::Content;
use crate::step::{Fetch, Mode, Ownership, PathReading, Probe, Readings, Step, Unreadable, UserReading};

/// A key with which one may log in as a user.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AuthorizedKey {
    /// The user. Can be created by an earlier `user`.
    user: String,
    /// The public key, as `ssh-keygen` writes it into the `.pub` file.
    #[serde(default)]
    key: Option<String>,
    /// Instead of `key`: exactly these keys. All other keys are removed, also keys added by hand.
    #[serde(default)]
    keys: Option<Vec<String>>,
    /// What is allowed with it, as in `sshd(8)`: `from="192.0.2.0/24",restrict`. Nothing special by default.
    #[serde(default)]
    options: Option<String>,
    /// Another file than `.ssh/authorized_keys` in the home of the user, if sshd is configured for it. It belongs to root.
    #[serde(default)]
    path: Option<String>,
    /// Whether it exists. `absent` removes the key, whatever its options and comment are; with `keys: []`, the whole file.
    #[serde(default)]
    state: Presence,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    user: Option<UserReading>,
    /// `~/.ssh`, unless another file is meant.
    folder: Option<PathReading>,
    file: PathReading,
}

impl Kind for AuthorizedKey {
    const NAME: &'static str = "authorized_key";
    const SUMMARY: &'static str = "A key that allows to log in as a user";
    const EXAMPLE: &'static str = "authorized_key: { user: root, key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH9O7fFVOEwGtHvMdKYr1NOT4b8Pn1yOwiUEfKNl7wtt ada@example.org }";
    const SHORT: &'static str = "key";
    type State = State;

    fn target(&self) -> String {
        let place = self.path.as_ref().map(|path| format!(" in {path}")).unwrap_or_default();
        match self.parsed().ok().as_deref() {
            Some([key]) if self.keys.is_none() => format!("{} {} ...{}{place}", self.user, key.kind, key.short()),
            _ => format!("{}{place}", self.user),
        }
    }

    fn holds(&self) -> Option<Hold> {
        Some(if self.keys.is_some() { Hold::Whole(self.file()) } else { Hold::Part(self.file()) })
    }

    fn check(&self) -> Result<(), String> {
        fields::check_account("user", &self.user)?;
        self.path.iter().try_for_each(|path| fields::check_path(path))?;
        self.options.iter().try_for_each(|options| check_options(options))?;
        let keys = self.parsed()?;
        match (&self.key, &self.keys, self.state) {
            (Some(_), None, _) => {}
            (None, Some(keys), Presence::Present) if !keys.is_empty() => {}
            (None, Some(keys), Presence::Absent) if keys.is_empty() => {}
            (None, Some(_), Presence::Present) => {
                return Err("without any key nobody can log in: use `state: absent` to remove a single key".to_owned());
            }
            (None, Some(_), Presence::Absent) => {
                return Err(
                    "`keys` lists every key of the file and cannot be absent; `keys: []` removes all".to_owned()
                );
            }
            _ => return Err("it needs either `key` or a list of `keys`".to_owned()),
        }
        let twice = keys.iter().enumerate().find(|(at, key)| keys[..*at].iter().any(|before| before.blob == key.blob));
        twice.map_or(Ok(()), |(_, key)| Err(format!("the key ...{} is listed twice", key.short())))
    }

    fn probes(&self) -> Vec<Probe> {
        let user = Probe::User(self.user.clone());
        [Some(user), self.folder_probe(), Some(self.file_probe())].into_iter().flatten().collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let user = readings.user(&Probe::User(self.user.clone()))?.clone();
        let folder = self.folder_probe().map(|probe| readings.path(&probe).cloned()).transpose()?;
        Ok(State { user, folder, file: readings.path(&self.file_probe())?.clone() })
    }

    fn change(&self, state: &State) -> Verdict {
        match self.of_file(&state.file) {
            Verdict::InSync => self.of_folder(state).map_or_else(Verdict::Refuse, |(fields, steps)| {
                let steps = if state.file == PathReading::Absent { Vec::new() } else { steps };
                if steps.is_empty() { Verdict::InSync } else { Verdict::differing(fields, steps) }
            }),
            Verdict::Change(change) => self.of_folder(state).map_or_else(Verdict::Refuse, |(fields, steps)| {
                let Change { action, fields: more, steps: then } = change;
                Verdict::change(action, [more, fields].concat(), [steps, then].concat())
            }),
            other => other,
        }
    }

    fn written(&self, state: &State) -> Option<i64> {
        modified(&state.file)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        let keys = self.keys.as_ref().map(|_| serde_json::json!([]));
        trace::away(
            self.state,
            serde_json::json!({ "user": self.user, "key": self.key, "keys": keys, "path": self.path }),
        )
    }

    fn exists(&self, state: &State) -> bool {
        if self.keys.is_some() {
            state.file != PathReading::Absent
        } else {
            self.removal().is_some_and(|piece| piece.is_there(&state.file))
        }
    }

    fn fingerprint(&self, state: &State) -> String {
        let home = state.user.as_ref().map(|user| (user.uid, user.gid, &user.home));
        format!("{home:?}\n{}\n{}", trace::paths(&state.folder), trace::path(&state.file))
    }

    fn imprint(&self, state: &State) -> String {
        if self.keys.is_some() {
            trace::path(&state.file)
        } else {
            self.removal().map_or_else(String::new, |piece| piece.imprint(&state.file))
        }
    }
}

impl AuthorizedKey {
    fn parsed(&self) -> Result<Vec<PublicKey>, String> {
        self.key.iter().chain(self.keys.iter().flatten()).map(|key| PublicKey::parse(key)).collect()
    }

    fn folder(&self) -> Option<String> {
        self.path.is_none().then(|| format!("~{}/.ssh", self.user))
    }

    fn file(&self) -> String {
        self.path.clone().unwrap_or_else(|| format!("~{}/.ssh/authorized_keys", self.user))
    }

    fn folder_probe(&self) -> Option<Probe> {
        self.folder().map(|path| Probe::Path { path, content: Fetch::Digest })
    }

    fn file_probe(&self) -> Probe {
        Probe::Path { path: self.file(), content: Fetch::Always }
    }

    /// sshd (`StrictModes`) goes by no file that another could have written.
    fn ownership(&self, mode: u32) -> Ownership {
        match self.path {
            None => Ownership { mode: Some(Mode(mode)), owner: Some(self.user.clone()), group: None },
            Some(_) => fields::ownership("root", "root", FileMode(Mode(0o644))),
        }
    }

    fn lines(&self) -> Vec<LoginKey> {
        let keys = self.parsed().unwrap_or_default();
        keys.into_iter().map(|key| LoginKey { key, options: self.options.clone() }).collect()
    }

    /// What takes the one key away.
    fn removal(&self) -> Option<Piece> {
        let entry = self.lines().pop().map(Entry::LoginKey)?;
        Some(Piece::own(&self.file(), Edit::Entry(entry, edit::State::Absent)))
    }

    fn of_file(&self, found: &PathReading) -> Verdict {
        let mut lines = self.lines();
        if self.keys.is_some() {
            let all: Vec<String> = lines.iter().map(|line| line.line() + "\n").collect();
            let content = Content::from(all.concat().as_str());
            let content = (self.state == Presence::Present).then_some(Wanted::Content(&content));
            let path = self.file();
            let ownership = self.ownership(0o600);
            return Regular { path: &path, content, ownership, other: OtherContent::Replaced }.verdict(found);
        }
        let Some(line) = lines.pop() else { return Verdict::Refuse("it has no key".to_owned()) };
        let piece = Piece::own(&self.file(), Edit::Entry(Entry::LoginKey(line), self.state.into()));
        let ownership = if self.state == Presence::Present { self.ownership(0o600) } else { Ownership::default() };
        Piece { ownership, ..piece }.verdict(found)
    }

    /// What `~/.ssh` needs before a key can be in it.
    fn of_folder(&self, state: &State) -> Result<(Vec<Field>, Vec<Step>), String> {
        let (Some(path), Some(found)) = (self.folder(), &state.folder) else { return Ok((Vec::new(), Vec::new())) };
        if self.state == Presence::Absent {
            return Ok((Vec::new(), Vec::new()));
        }
        let ownership = self.ownership(0o700);
        match found {
            PathReading::Absent => Ok((Vec::new(), vec![Step::MakeDirectory { path, ownership }])),
            PathReading::Directory(attributes) => {
                let different = fields::ownership_fields(attributes, &ownership);
                let steps = if different.is_empty() { vec![] } else { vec![Step::SetOwnership { path, ownership }] };
                Ok((different, steps))
            }
            other => Err(fields::in_the_way(other, "the directory .ssh")),
        }
    }
}

/// Options end at the first space that is not in quotes.
fn check_options(options: &str) -> Result<(), String> {
    fields::check_line("options", options)?;
    let (mut quoted, mut escaped, mut outside) = (false, false, String::new());
    for c in options.chars() {
        if c == '"' && !escaped {
            quoted = !quoted;
        } else if !quoted {
            outside.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    if quoted || outside.contains(' ') || options.is_empty() {
        return Err(
            "`options` must be separated by commas, with spaces only in double quotes, as in sshd(8)".to_owned()
        );
    }
    Ok(())
}
