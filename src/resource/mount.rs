//! `mount`: a file system at its place, now and after every boot.
//!
//! In: what, where and how. Out: a `.mount` unit of our own, enabled and active. Never: a line of `/etc/fstab`, which
//! belongs to others; a lazy or forced unmount; a file system that stops a boot because it is not there; a password.

use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fields::{self, Presence};
use super::generated::Parts;
use super::systemd::{self, Units, escaped};
use super::{Claim, Kind, Others, Verdict, Wish, trace};
use crate::step::{Command, Fetch, PathReading, Probe, Readings, Unreadable};

const FSTAB: &str = "/etc/fstab";

/// Those that need the network, as systemd counts them (`fstype_is_network` in its `mountpoint-util.c`).
const NETWORK: &[&str] = &[
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "ceph",
    "glusterfs",
    "9p",
    "sshfs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "afs",
    "ocfs2",
    "gfs2",
];

/// Options that the kernel shows of a mounted file system in the very words in which they were given.
const SHOWN: &[&str] =
    &["ro", "rw", "noexec", "nosuid", "nodev", "noatime", "nodiratime", "relatime", "sync", "dirsync"];

/// A file system at its place.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Mount {
    /// Where it is mounted. The directory is made if it is not there.
    path: String,
    /// What is mounted: `/dev/vdb1`, `UUID=...`, `nas:/export`, a directory (with the option `bind`), `tmpfs`.
    #[serde(default)]
    source: Option<String>,
    /// Its sort, as `mount -t` takes it: `ext4`, `nfs4`, `tmpfs`; `none` for a bind.
    #[serde(default, rename = "type")]
    sort: Option<String>,
    /// Options, as a list: `[noatime, size=1G]`. A password is none: name a file that has it (`credentials=/etc/...`).
    #[serde(default)]
    options: Vec<String>,
    /// Whether it is mounted. The directory stays when it is not.
    #[serde(default)]
    state: Presence,
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    units: systemd::State,
    /// Whether `/etc/fstab` speaks of this place.
    listed: bool,
    mounted: Option<Mounted>,
}

/// What is mounted at the place.
#[derive(Debug, PartialEq)]
struct Mounted {
    source: String,
    sort: String,
    options: Vec<String>,
}

impl Kind for Mount {
    const NAME: &'static str = "mount";
    const SUMMARY: &'static str = "A mounted file system";
    const EXAMPLE: &'static str =
        "mount: { path: /srv/scratch, source: tmpfs, type: tmpfs, options: [size=1G, nosuid, nodev] }";
    const SHORT: &'static str = "path";
    const MAKES_DIRECTORIES: bool = true;
    type State = State;

    fn target(&self) -> String {
        self.path.clone()
    }

    /// A place can be a directory with owner and mode and have a file system, so it is no claim on the path.
    fn claim(&self) -> Claim {
        Claim::Own(Self::NAME)
    }

    fn check(&self) -> Result<(), String> {
        fields::check_path(&self.path)?;
        check_value("path", &self.path)?;
        if self.path == "/" || ["/proc", "/sys", "/dev", "/run"].iter().any(|own| below(&self.path, own)) {
            return Err(format!("{} belongs to the system", self.path));
        }
        match (self.state, &self.source, &self.sort) {
            (Presence::Present, Some(source), Some(sort)) => self.check_present(source, sort),
            (Presence::Present, _, _) => Err("a mount needs `source` and `type`".to_owned()),
            (Presence::Absent, None, None) if self.options.is_empty() => Ok(()),
            (Presence::Absent, _, _) => Err("a mount with `state: absent` takes only a path".to_owned()),
        }
    }

    fn probes(&self) -> Vec<Probe> {
        self.units().probes().into_iter().chain([fstab(), self.looking()]).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let answer = readings.command(&self.looking())?;
        let mounted = match answer.exit {
            0 => Some(mounted(&String::from_utf8_lossy(&answer.stdout))?),
            // findmnt(8): nothing was found.
            1 => None,
            _ => return Err(Unreadable(format!("findmnt: {}", String::from_utf8_lossy(&answer.stderr).trim()))),
        };
        let listed = match readings.path(&fstab())? {
            PathReading::File { content: Some(bytes), .. } => lists(&String::from_utf8_lossy(bytes), &self.path),
            _ => false,
        };
        Ok(State { units: self.units().observe(readings)?, listed, mounted })
    }

    fn change(&self, state: &State) -> Verdict {
        if self.state == Presence::Absent {
            return self.units().absent(&state.units);
        }
        if let Some(why) = self.hindrance(state) {
            return Verdict::Refuse(why);
        }
        self.parted(state).map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn among(&self, state: &State, _wish: Wish, others: &Others) -> Verdict {
        match self.state {
            Presence::Absent => self.units().absent_among(&state.units, others),
            Presence::Present => self.change(state),
        }
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({ "path": self.path }))
    }

    fn exists(&self, state: &State) -> bool {
        state.units.exists() || state.mounted.is_some()
    }

    fn fingerprint(&self, state: &State) -> String {
        format!("{}\n{} {:?}", state.units.fingerprint(), state.listed, state.mounted)
    }

    fn imprint(&self, state: &State) -> String {
        state.units.imprint()
    }
}

impl Mount {
    fn check_present(&self, source: &str, sort: &str) -> Result<(), String> {
        check_value("source", source)?;
        fields::check_word("file system", sort)?;
        if sort == "swap" {
            return Err("swap cannot be mounted: use the kind `swap`".to_owned());
        }
        self.options.iter().try_for_each(|option| check_option(option))
    }

    fn unit(&self) -> String {
        format!("{}.mount", escaped(&self.path))
    }

    fn units(&self) -> Units {
        Units::new(self.unit(), vec![("unit", self.unit(), self.text())])
    }

    fn is_remote(&self) -> bool {
        let sort = self.sort.as_deref().unwrap_or_default();
        NETWORK.contains(&sort) || self.options.iter().any(|option| option == "_netdev")
    }

    /// Wanted, not required: what is not there must not keep a host from booting.
    fn text(&self) -> String {
        let target = if self.is_remote() { "remote-fs.target" } else { "local-fs.target" };
        let (source, sort) = (self.source.as_deref().unwrap_or_default(), self.sort.as_deref().unwrap_or_default());
        let mut text = format!(
            "[Unit]\nDescription={0}\n\n[Mount]\nWhat={1}\nWhere={0}\nType={sort}\n",
            plain(&self.path),
            plain(source)
        );
        if !self.options.is_empty() {
            let _ = writeln!(text, "Options={}", plain(&self.options.join(",")));
        }
        let _ = write!(text, "\n[Install]\nWantedBy={target}\n");
        text
    }

    fn looking(&self) -> Probe {
        let argv =
            ["findmnt", "--noheadings", "--raw", "--output", "SOURCE,FSTYPE,OPTIONS", "--mountpoint", &self.path];
        Probe::Command(Command::new(argv).within(Duration::from_secs(20)))
    }

    fn hindrance(&self, state: &State) -> Option<String> {
        let path = &self.path;
        if state.listed {
            return Some(format!("{FSTAB} has a line for {path}: remove the line first"));
        }
        let foreign = state.units.files.last() == Some(&PathReading::Absent);
        match &state.mounted {
            Some(found) if foreign && self.source.as_ref() != Some(&found.source) => Some(format!(
                "{} ({}) is mounted at {path} and not managed by armilla: unmount it first",
                found.source, found.sort
            )),
            _ => None,
        }
    }

    /// Other options are given to what is mounted; anything else needs it to be unmounted, which fails if it is busy.
    fn parted(&self, state: &State) -> Result<Parts, String> {
        let units = self.units();
        let mut parts = units.files(&state.units)?;
        let unshown = self.unshown(state);
        let call = match (parts.is_empty(), &unshown) {
            (true, None) => None,
            _ if self.is_elsewhere(state) => Some("restart"),
            _ => Some("reload"),
        };
        parts.fields.extend(unshown.map(|(found, option)| fields::text("option", &found, &option)));
        units.running(&mut parts, &state.units, call);
        Ok(parts)
    }

    /// An option that the mounted file system does not have, and all that it has.
    fn unshown(&self, state: &State) -> Option<(String, String)> {
        let mounted = state.mounted.as_ref()?;
        let missing = |option: &&String| SHOWN.contains(&option.as_str()) && !mounted.options.contains(option);
        Some((mounted.options.join(","), self.options.iter().find(missing)?.clone()))
    }

    /// Whether the unit that is there mounts something else, or as another sort.
    fn is_elsewhere(&self, state: &State) -> bool {
        let Some(PathReading::File { content: Some(old), .. }) = state.units.files.last() else { return false };
        let (old, new) = (String::from_utf8_lossy(old).into_owned(), self.text());
        ["What=", "Type="].iter().any(|key| line(&old, key) != line(&new, key))
    }
}

fn line<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find(|line| line.starts_with(key))
}

fn fstab() -> Probe {
    Probe::Path { path: FSTAB.to_owned(), content: Fetch::Always }
}

fn below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// A value of a unit that is a whole line; `%` begins a specifier there.
fn plain(text: &str) -> String {
    text.replace('%', "%%")
}

fn check_value(key: &str, text: &str) -> Result<(), String> {
    fields::check_line(key, text)?;
    if text.is_empty() || text.trim() != text || text.contains('\\') || text.starts_with('-') {
        return Err(format!("`{}` is not a valid `{key}`", text.escape_debug()));
    }
    Ok(())
}

fn check_option(option: &str) -> Result<(), String> {
    check_value("option", option)?;
    let name = option.split('=').next().unwrap_or_default();
    if ["password", "pass", "passwd", "password2"].contains(&name) {
        return Err(format!(
            "mount option `{name}` is not allowed: everyone can read a unit\nwrite `credentials=` and the path of a file that only root can read"
        ));
    }
    if option.contains([',', ' ']) {
        return Err(format!(
            "invalid mount option `{}`: `options` is a list with one in each entry",
            option.escape_debug()
        ));
    }
    if ["nofail", "auto", "noauto", "defaults"].contains(&name) || name.starts_with("x-systemd.") {
        return Err(format!(
            "`{name}` is an option of fstab: armilla mounts at every boot, and the boot does not wait for the mount"
        ));
    }
    Ok(())
}

/// One line of three words; where file systems are stacked, the last is the one that is seen.
fn mounted(output: &str) -> Result<Mounted, Unreadable> {
    let last = output.lines().last().unwrap_or_default();
    match last.split(' ').collect::<Vec<_>>().as_slice() {
        [source, sort, options] => Ok(Mounted {
            source: (*source).to_owned(),
            sort: (*sort).to_owned(),
            options: options.split(',').map(str::to_owned).collect(),
        }),
        _ => Err(Unreadable(format!("findmnt says `{}`, which armilla does not understand", last.escape_debug()))),
    }
}

/// Whether a line of fstab(5) is about a place. A blank in it is written `\040`.
fn lists(fstab: &str, path: &str) -> bool {
    let lines = fstab.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut places = lines.filter_map(|line| line.split_whitespace().nth(1));
    places.any(|place| place.replace("\\040", " ").trim_end_matches('/') == path)
}
