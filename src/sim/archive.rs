//! The packages that simulated hosts can install.
//!
//! In: a name. Out: what the package brings. Never: a package that exists outside of the simulator in this form.

/// A package and what it brings.
#[derive(Debug, Clone, Copy)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// Its versions in the archive, the newest last.
    pub versions: &'static [&'static str],
    /// The packages that are installed with it.
    pub depends: &'static [&'static str],
    /// A user of this name, with a group of this name, and this home.
    pub user: Option<(&'static str, &'static str)>,
    /// Directories; those below `/var` belong to the user.
    pub directories: &'static [&'static str],
    /// Files, replaced at every installation.
    pub files: &'static [(&'static str, &'static str)],
    /// Files that stay as they are where they were changed, and where the package is removed.
    pub configuration: &'static [(&'static str, &'static str)],
    /// A unit, enabled and started.
    pub unit: Option<(&'static str, &'static str)>,
}

const NOTHING: Package = Package {
    name: "",
    versions: &[],
    depends: &[],
    user: None,
    directories: &[],
    files: &[],
    configuration: &[],
    unit: None,
};

/// Every package there is.
///
/// The line `ExecStart` of a unit says how the simulated service behaves: `--port N` it listens there, `--quorum` only
/// while most hosts that have the unit run it, `--warm N` not before it has run for N seconds, `--config PATH` it reads
/// that file or folder when it starts, `--needs PATH` it cannot start without it.
pub static PACKAGES: &[Package] = &[
    Package { name: "curl", versions: &["7.88.1-10", "8.5.0-2"], files: &[("/usr/bin/curl", "program")], ..NOTHING },
    // Packages that bring nothing, for roles that want many.
    Package { name: "p0", versions: &["1.0-1", "1.1-1"], ..NOTHING },
    Package { name: "p1", versions: &["1.0-1", "1.1-1"], ..NOTHING },
    Package { name: "p2", versions: &["1.0-1", "1.1-1"], ..NOTHING },
    Package { name: "p3", versions: &["1.0-1", "1.1-1"], ..NOTHING },
    Package { name: "tree", versions: &["2.1.0-1"], files: &[("/usr/bin/tree", "program")], ..NOTHING },
    Package {
        name: "openjdk-17-jre-headless",
        versions: &["17.0.9+9-1", "17.0.13+11-2"],
        files: &[("/usr/bin/java", "program")],
        ..NOTHING
    },
    Package {
        name: "zookeeper",
        versions: &["3.8.0-11", "3.9.2-1"],
        user: Some(("zookeeper", "/var/lib/zookeeper")),
        directories: &["/etc/zookeeper", "/etc/zookeeper/conf", "/var/lib/zookeeper"],
        configuration: &[
            ("/etc/zookeeper/conf/zoo.cfg", "# as it came\n"),
            ("/etc/zookeeper/conf/myid", "replace this\n"),
        ],
        ..NOTHING
    },
    Package {
        name: "zookeeperd",
        versions: &["3.8.0-11", "3.9.2-1"],
        depends: &["zookeeper"],
        unit: Some((
            "zookeeper.service",
            "[Service]\nUser=zookeeper\n\
             ExecStart=/usr/bin/zookeeper --port 2181 --quorum --config /etc/zookeeper/conf\n\
             [Install]\nWantedBy=multi-user.target\n",
        )),
        ..NOTHING
    },
    Package {
        name: "nginx",
        versions: &["1.22.1-9", "1.26.0-1"],
        user: Some(("www-data", "/var/www")),
        directories: &["/etc/nginx", "/etc/nginx/sites-enabled", "/var/www"],
        configuration: &[
            ("/etc/nginx/nginx.conf", "# as it came\n"),
            ("/etc/nginx/sites-enabled/default", "# welcome\n"),
        ],
        unit: Some((
            "nginx.service",
            "[Service]\nExecStart=/usr/sbin/nginx --port 80 --config /etc/nginx\n[Install]\nWantedBy=multi-user.target\n",
        )),
        ..NOTHING
    },
    Package {
        name: "spark",
        versions: &["3.5.1-1"],
        depends: &["openjdk-17-jre-headless"],
        user: Some(("spark", "/var/lib/spark")),
        directories: &["/etc/spark", "/var/lib/spark"],
        configuration: &[("/etc/spark/spark.conf", "# as it came\n")],
        unit: Some((
            "spark.service",
            "[Service]\nUser=spark\nExecStart=/usr/bin/spark --port 7077 --warm 3 --config /etc/spark\n\
             [Install]\nWantedBy=multi-user.target\n",
        )),
        ..NOTHING
    },
];

/// The package of that name.
pub fn package(name: &str) -> Option<&'static Package> {
    PACKAGES.iter().find(|package| package.name == name)
}

impl Package {
    /// The newest version that a wish means: none, an exact one, or a beginning with `*`.
    pub fn version(&self, wish: Option<&str>) -> Option<&'static str> {
        let fits = |version: &str| match wish {
            None => true,
            Some(wish) => wish.strip_suffix('*').map_or(version == wish, |stem| version.starts_with(stem)),
        };
        self.versions.iter().rev().copied().find(|version| fits(version))
    }

    /// The place of a version in the archive: later is newer.
    pub fn age(&self, version: &str) -> Option<usize> {
        self.versions.iter().position(|other| *other == version)
    }
}
