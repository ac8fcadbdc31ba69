//! A line of `passwd(5)` or `group(5)`.

/// A user account, as in `passwd(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) struct Account {
    /// Its name.
    pub(in crate::host) name: String,
    /// Its number.
    pub(in crate::host) uid: u32,
    /// The number of its primary group.
    pub(in crate::host) gid: u32,
    /// The comment field.
    pub(in crate::host) comment: String,
    /// Its home directory.
    pub(in crate::host) home: String,
    /// Its login shell.
    pub(in crate::host) shell: String,
}

/// A group of users, as in `group(5)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::host) struct Group {
    /// Its name.
    pub(in crate::host) name: String,
    /// Its number.
    pub(in crate::host) gid: u32,
    /// The users whose supplementary group it is, by name.
    pub(super) members: Vec<String>,
}

/// A line of a database of accounts.
pub(super) trait Entry: Clone {
    /// The name of the database, and of its file in `/etc`.
    const DATABASE: &'static str;
    /// What it has.
    const WHAT: &'static str;
    fn parse(line: &str) -> Option<Self>;
    fn name(&self) -> &str;
    fn number(&self) -> u32;
}

impl Entry for Account {
    const DATABASE: &'static str = "passwd";
    const WHAT: &'static str = "user";

    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, comment, home, shell] = fields.as_slice() else { return None };
        let text = |field: &str| field.to_owned();
        let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
        Some(Self { name: text(name), uid, gid, comment: text(comment), home: text(home), shell: text(shell) })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> u32 {
        self.uid
    }
}

impl Entry for Group {
    const DATABASE: &'static str = "group";
    const WHAT: &'static str = "group";

    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split(':');
        let (name, _, gid) = (fields.next()?, fields.next()?, fields.next()?);
        let members = fields.next().unwrap_or_default().split(',').map(str::trim).filter(|member| !member.is_empty());
        Some(Self { name: name.to_owned(), gid: gid.parse().ok()?, members: members.map(str::to_owned).collect() })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn number(&self) -> u32 {
        self.gid
    }
}
