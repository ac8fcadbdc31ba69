//! Where armilla keeps what it must know about a host.

use std::path::{Path, PathBuf};

/// The directory for ledgers, journals, locks and copies, and whom this program works as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    directory: PathBuf,
    uid: u32,
}

/// What decides where the place is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// `$ARMILLA_HOST_DIR`: a test on the machine that it runs on has a place of its own.
    pub host_dir: Option<&'a str>,
    /// `$XDG_STATE_HOME`.
    pub state_home: Option<&'a str>,
    /// `$HOME`.
    pub home: Option<&'a str>,
}

impl Place {
    /// The place of the user with this number: `/var/lib/armilla/host` for root, `~/.local/state/armilla/host` for others.
    /// None if a user without a home has none.
    pub fn of(uid: u32, around: Surroundings<'_>) -> Option<Self> {
        let absolute = |text: Option<&str>| text.filter(|text| text.starts_with('/')).map(PathBuf::from);
        let parent = match absolute(around.host_dir) {
            Some(directory) => directory,
            None if uid == 0 => PathBuf::from("/var/lib/armilla"),
            None => absolute(around.state_home)
                .or_else(|| Some(absolute(around.home)?.join(".local/state")))?
                .join("armilla"),
        };
        Some(Self { directory: parent.join("host"), uid })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Whom it must belong to.
    pub fn uid(&self) -> u32 {
        self.uid
    }
}
