//! What keeps an account or a package on a host, and what goes with it, as the host says.

/// What uses an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub enum AccountUse {
    /// A process of no unit of the system.
    Process {
        /// Its number.
        id: u32,
        /// Its name.
        name: String,
    },
    /// A process of this unit of the system.
    Unit(String),
    /// Jobs of its own.
    Crontab,
}

/// What the removal of a package would take along, by name. What nothing needs already is not in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RemovalReading {
    /// What depends on it.
    pub needs: Vec<String>,
    /// The same, where each needs the other and this one came only for it.
    pub serves: Vec<String>,
    /// What came only for it and nothing else needs.
    pub along: Vec<String>,
    /// What would be installed in its place.
    pub instead: Vec<String>,
    /// Whether it is gone and its configuration is not.
    pub left: bool,
}
