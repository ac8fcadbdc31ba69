//! The packages of a host, of whichever program manages them.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::time::{ClockId, clock_gettime};

use super::tools::{Output, PATIENCE, Tools};
use crate::step::{Holding, Manager, PackageReading};

/// How many packages one program is asked about: far from the limits of arguments and of output.
const AT_ONCE: usize = 500;

/// The output of the package manager, and what all packages have in common.
struct Listing {
    manager: Manager,
    output: Result<Output, String>,
    /// The list of packages that are held, where it is not part of the answer about them.
    locks: Option<String>,
    lists_age: Option<u64>,
    interrupted: bool,
}

/// Each of these packages, in their order.
pub(super) fn packages(names: &[&str], tools: &Tools) -> Vec<Result<PackageReading, String>> {
    if names.is_empty() {
        return Vec::new();
    }
    let listing = Listing::of(names, tools);
    names.iter().map(|name| listing.package(name)).collect()
}

/// The one that is in charge. A Debian host may well have rpm, and the other way round.
fn manager(tools: &Tools) -> Manager {
    let has_status = fs::metadata(tools.file("var/lib/dpkg/status")).is_ok_and(|status| status.len() > 0);
    if has_status && tools.has("dpkg-query") {
        return Manager::Apt;
    }
    let others = [Manager::Dnf, Manager::Yum, Manager::Zypper, Manager::Apk, Manager::Pacman];
    others.into_iter().find(|manager| tools.has(&manager.to_string())).unwrap_or(Manager::Apt)
}

impl Listing {
    fn of(names: &[&str], tools: &Tools) -> Self {
        let manager = manager(tools);
        let interrupted = interrupted(manager, tools);
        let output = match manager {
            Manager::Apt => tools.left(PATIENCE).and_then(|_| dpkg(names, tools, interrupted)),
            Manager::Dnf | Manager::Yum | Manager::Zypper => {
                // In the form of dpkg-query's answer.
                let format = "%{NAME}\\t%{ARCH}\\tii \\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\\n";
                together(&["rpm", "-q", "--qf", format], names, tools)
            }
            Manager::Apk => database_of_apk(tools),
            Manager::Pacman => together(&["pacman", "-Q", "--"], names, tools),
        };
        Self { manager, output, locks: locks(manager, tools), lists_age: lists_age(manager, tools), interrupted }
    }

    fn package(&self, name: &str) -> Result<PackageReading, String> {
        let output = self.output.as_ref().map_err(Clone::clone)?;
        let (installed, held) = match self.manager {
            Manager::Apt => of_dpkg(output, name)?,
            Manager::Dnf | Manager::Yum | Manager::Zypper => (of_rpm(output, name)?, self.is_locked(name)),
            Manager::Apk => (of_apk(output, name)?, false),
            Manager::Pacman => (of_pacman(output, name)?, false),
        };
        let able = self.manager == Manager::Apt || self.locks.is_some();
        Ok(PackageReading {
            manager: self.manager,
            holding: if able { Holding::Able } else { Holding::Unable },
            installed,
            held,
            lists_age: self.lists_age,
            interrupted: self.interrupted,
        })
    }

    fn is_locked(&self, name: &str) -> bool {
        let lines = self.locks.iter().flat_map(|text| text.lines());
        lines.filter_map(|line| locked(self.manager, line)).any(|locked| locked == name)
    }
}

/// What one program says of all packages, or several where there are very many.
fn together(words: &[&str], names: &[&str], tools: &Tools) -> Result<Output, String> {
    let mut all = Output::default();
    for some in names.chunks(AT_ONCE) {
        let output = tools.tell(words.iter().chain(some).copied())?;
        all.exit = all.exit.max(output.exit);
        all.text.push_str(&output.text);
    }
    Ok(all)
}

/// dpkg's own program is asked where its database does not say all. Where it is missing, nothing can be done with packages.
fn dpkg(names: &[&str], tools: &Tools, interrupted: bool) -> Result<Output, String> {
    if tools.has("dpkg-query")
        && !interrupted
        && let Some(output) = database_of_dpkg(names, tools)
    {
        return Ok(output);
    }
    let format = "${Package}\\t${Architecture}\\t${db:Status-Abbrev}\\t${Version}\\n";
    together(&["dpkg-query", "-W", "-f", format], names, tools)
}

/// What dpkg's database says of these packages, in the form of dpkg-query's answer, which takes several times as long; none
/// where it is no such text. dpkg puts a new one in its place at once, after what `updates` holds was entered (dpkg(1), FILES).
fn database_of_dpkg(names: &[&str], tools: &Tools) -> Option<Output> {
    let stems: HashSet<&[u8]> = names.iter().filter_map(|name| name.split(':').next()).map(str::as_bytes).collect();
    let text = fs::read(tools.file("var/lib/dpkg/status")).ok().filter(|text| text.starts_with(b"Package: "))?;
    let (mut rows, mut package, mut fields) = (String::new(), None, ["", "", ""]);
    for line in text.split(|byte| *byte == b'\n') {
        match (line.strip_prefix(b"Package: "), &package) {
            (Some(name), _) => package = stems.get(name.trim_ascii_end()).copied(),
            (None, Some(name)) if line.is_empty() => {
                rows.push_str(&row(name, std::mem::take(&mut fields))?);
                package = None;
            }
            (None, Some(_)) => {
                let words: [&[u8]; 3] = [b"Architecture: ", b"Status: ", b"Version: "];
                let found = words.iter().zip(&mut fields);
                for (value, field) in found.filter_map(|(word, field)| Some((line.strip_prefix(*word)?, field))) {
                    *field = std::str::from_utf8(value).ok()?.trim_end();
                }
            }
            (None, None) => {}
        }
    }
    Some(Output { exit: 0, text: rows })
}

/// A row of dpkg-query; none for a state that it has no letters for.
fn row(name: &[u8], [architecture, status, version]: [&str; 3]) -> Option<String> {
    let [want, flag, state] = status.split_ascii_whitespace().collect::<Vec<_>>().try_into().ok()?;
    let want = match want {
        "unknown" => 'u',
        "install" => 'i',
        "hold" => 'h',
        "deinstall" => 'r',
        "purge" => 'p',
        _ => return None,
    };
    let state = match state {
        "not-installed" => 'n',
        "config-files" => 'c',
        "half-installed" => 'H',
        "unpacked" => 'U',
        "half-configured" => 'F',
        "triggers-awaited" => 'W',
        "triggers-pending" => 't',
        "installed" => 'i',
        _ => return None,
    };
    let flag = match flag {
        "ok" => ' ',
        "reinstreq" => 'R',
        _ => return None,
    };
    Some(format!("{}\t{architecture}\t{want}{state}{flag}\t{version}\n", std::str::from_utf8(name).ok()?))
}

/// The database of apk, which is a text.
fn database_of_apk(tools: &Tools) -> Result<Output, String> {
    let places = ["lib/apk/db/installed", "usr/lib/apk/db/installed"].map(|place| tools.file(place));
    let place = places.iter().find(|place| place.exists()).unwrap_or(&places[1]);
    let text = fs::read(place).map_err(|error| format!("{}: {error}", place.display()))?;
    let text = String::from_utf8_lossy(&text);
    // The lines about names and versions, and those between packages.
    let lines = text.lines().filter(|line| line.is_empty() || line.starts_with("P:") || line.starts_with("V:"));
    Ok(Output { exit: 0, text: lines.collect::<Vec<_>>().join("\n") })
}

/// The list of held packages, if the host can hold packages.
fn locks(manager: Manager, tools: &Tools) -> Option<String> {
    let (able, file) = match manager {
        // In version 5 it is built in.
        Manager::Dnf if tools.has("dnf5") => ("", "etc/dnf/versionlock.toml"),
        Manager::Dnf => ("etc/dnf/plugins/versionlock.conf", "etc/dnf/plugins/versionlock.list"),
        Manager::Yum => ("etc/yum/pluginconf.d/versionlock.conf", "etc/yum/pluginconf.d/versionlock.list"),
        Manager::Zypper => ("", "etc/zypp/locks"),
        Manager::Apt | Manager::Apk | Manager::Pacman => return None,
    };
    let text = || String::from_utf8_lossy(&fs::read(tools.file(file)).unwrap_or_default()).into_owned();
    tools.file(able).exists().then(text)
}

/// Seconds since the package lists were fetched; none if they never were.
fn lists_age(manager: Manager, tools: &Tools) -> Option<u64> {
    let any = |directory: &str, wanted: fn(&str) -> bool| {
        let mut names = fs::read_dir(tools.file(directory)).ok()?.flatten();
        names.find(|entry| wanted(&entry.file_name().to_string_lossy())).map(|entry| entry.path())
    };
    let written = |path: &Path| fs::metadata(path).map(|of| of.mtime()).ok();
    let fetched = match manager {
        Manager::Apt => {
            any("var/lib/apt/lists", |name| name.contains('_'))?;
            // apt gives a list the time of the mirror; only the directories move with every fetch.
            let directories = ["var/lib/apt/lists", "var/lib/apt/lists/partial"];
            directories.iter().filter_map(|directory| written(&tools.file(directory))).max()?
        }
        Manager::Pacman => {
            let is_database = |name: &str| Path::new(name).extension().is_some_and(|extension| extension == "db");
            written(&any("var/lib/pacman/sync", is_database)?)?
        }
        Manager::Dnf | Manager::Yum | Manager::Zypper | Manager::Apk => return None,
    };
    Some(u64::try_from(clock_gettime(ClockId::Realtime).tv_sec - fetched).unwrap_or(0))
}

/// Whether there is something that dpkg has not yet entered into its database; apt refuses to work then.
fn interrupted(manager: Manager, tools: &Tools) -> bool {
    let is_update = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(|c: char| c.is_ascii_digit());
    manager == Manager::Apt
        && fs::read_dir(tools.file("var/lib/dpkg/updates")).is_ok_and(|files| files.flatten().any(is_update))
}

/// The version, and whether it is held. dpkg-query ends with 1 when it does not know one of the names.
fn of_dpkg(output: &Output, name: &str) -> Result<(Option<String>, bool), String> {
    let text = output.fine("dpkg-query", &[0, 1])?;
    let stem = name.split(':').next().unwrap_or_default();
    let rows = text.lines().filter(|line| line.starts_with(stem));
    let mine = rows.filter_map(|line| match line.split('\t').collect::<Vec<_>>().as_slice() {
        [package, arch, status, version] if name == *package || name == format!("{package}:{arch}") => {
            Some((*status, *version))
        }
        _ => None,
    });
    let row = mine.max_by_key(|(status, _)| status.get(1..) == Some("i "));
    let (status, version) = row.unwrap_or_default();
    Ok(((status.get(1..) == Some("i ")).then(|| version.to_owned()), status.starts_with('h')))
}

/// rpm ends with the number of names it does not know, and says of each that it does not. Of several versions of one package,
/// such as of the kernel, the last it names counts.
fn of_rpm(output: &Output, name: &str) -> Result<Option<String>, String> {
    let rows =
        output.text.lines().filter(|line| line.starts_with(name)).map(|line| line.split('\t').collect::<Vec<_>>());
    let mine = rows.filter(|row| row.first() == Some(&name));
    if let Some(version) = mine.filter_map(|row| row.get(3).map(|version| (*version).to_owned())).next_back() {
        return Ok(Some(version));
    }
    let absent = format!("package {name} is not installed");
    match output.text.trim() {
        _ if output.text.lines().any(|line| line == absent) => Ok(None),
        "" => Err("rpm did not say".to_owned()),
        message => Err(message.to_owned()),
    }
}

/// Lines of apk's database: an empty one before each package, `P:name` and `V:version` among others.
fn of_apk(output: &Output, name: &str) -> Result<Option<String>, String> {
    let text = output.fine("apk", &[0])?;
    let (mut mine, mut found) = (false, None);
    for line in text.lines() {
        match line.split_once(':') {
            Some(("P", package)) => mine = package == name,
            Some(("V", version)) if mine => found = Some(version.to_owned()),
            _ => mine = mine && !line.is_empty(),
        }
    }
    Ok(found)
}

/// `name version`; pacman ends with 1 when it does not know one of the names.
fn of_pacman(output: &Output, name: &str) -> Result<Option<String>, String> {
    let text = output.fine("pacman", &[0, 1])?;
    Ok(text.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(' ')?.to_owned())))
}

/// The package that a line holds: `bash-0:5.1.8-6.el9.*` of dnf 4, `name = "bash"` of dnf 5, `0:bash-4.2.46-34.el7.*` of
/// yum, `solvable_name: bash` of zypper (`locks(5)`).
fn locked(manager: Manager, line: &str) -> Option<&str> {
    let line = line.trim();
    if manager == Manager::Zypper {
        return line.strip_prefix("solvable_name:").map(str::trim);
    }
    if let Some(name) = line.strip_prefix("name = \"") {
        return name.strip_suffix('"');
    }
    // An exclusion keeps one version away; it holds nothing.
    if line.starts_with(['!', '#']) {
        return None;
    }
    let mut parts = line.rsplitn(3, '-');
    let name = parts.nth(2)?;
    Some(name.split_once(':').map_or(name, |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Command, CommandReading};
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// A host with these programs and files, of which every program says the same.
    struct Room {
        directory: tempfile::TempDir,
        tools: Tools,
    }

    impl Room {
        fn new(programs: &[&str], said: &str, exit: i32) -> Self {
            let directory = tempfile::tempdir().expect("a directory");
            let stdout = said.as_bytes().to_vec();
            let run = move |_: &Command| Ok(CommandReading { exit, stdout: stdout.clone(), stderr: Vec::new() });
            let deadline = Instant::now() + Duration::from_secs(60);
            let tools = Tools { tool: Arc::new(run), root: directory.path().to_owned(), deadline };
            let room = Self { directory, tools };
            for program in programs {
                let file = room.write(&format!("usr/bin/{program}"), "");
                fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("a mode");
            }
            room
        }

        fn dpkg(said: &str, exit: i32) -> Self {
            let room = Self::new(&["dpkg-query", "dnf", "rpm"], said, exit);
            room.write("var/lib/dpkg/status", "x");
            room
        }

        fn write(&self, path: &str, text: &str) -> PathBuf {
            let file = self.directory.path().join(path);
            fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
            fs::write(&file, text).expect("a file");
            file
        }

        fn package(&self, name: &str) -> Result<PackageReading, String> {
            packages(&[name], &self.tools).remove(0)
        }

        fn installed(&self, name: &str) -> Result<Option<String>, String> {
            self.package(name).map(|package| package.installed)
        }
    }

    #[test]
    fn a_package_is_installed_only_when_it_wholly_is() {
        let room = Room::dpkg(
            "held\tamd64\thi \t1.0\nhalf\tamd64\tiF \t2.0\nremoved\tall\trc \t3.0\nboth\ti386\trc \t4.0\n\
             both\tamd64\tii \t4.1\ndpkg-query: no packages found matching none\n",
            1,
        );
        let held = room.package("held").expect("an answer");
        assert_eq!((held.installed.as_deref(), held.held, held.manager), (Some("1.0"), true, Manager::Apt));
        assert_eq!((held.lists_age, held.interrupted, held.holding), (None, false, Holding::Able));
        for absent in ["half", "removed", "both:i386", "none"] {
            assert_eq!(room.installed(absent), Ok(None), "{absent}");
        }
        assert_eq!(room.installed("both").expect("an answer").as_deref(), Some("4.1"));
        room.write("var/lib/dpkg/updates/0001", "");
        assert!(room.package("held").expect("an answer").interrupted);
        let broken = Room::dpkg("dpkg-query: error: status database is broken", 2);
        assert_eq!(broken.installed("held"), Err("dpkg-query: error: status database is broken".to_owned()));
    }

    #[test]
    fn the_database_of_dpkg_says_what_dpkg_query_says() {
        let room = Room::dpkg("dpkg-query was asked", 2);
        room.write(
            "var/lib/dpkg/status",
            "Package: held\nStatus: hold ok installed\nArchitecture: amd64\nVersion: 1:1.0-1\nDescription: a\n Version: 9\n\n\
             Package: half\nStatus: install reinstreq half-configured\nArchitecture: all\nVersion: 2\n\n\
             Package: gone\nStatus: purge ok not-installed\nArchitecture: all\n\n\
             Package: both\nStatus: deinstall ok config-files\nArchitecture: i386\nVersion: 4.0\n\n\
             Package: both\nStatus: install ok installed\nArchitecture: amd64\nVersion: 4.1\n\n",
        );
        let names = ["held", "half", "gone", "both:i386", "none"];
        let rows = database_of_dpkg(&names, &room.tools).expect("a database").text;
        let wanted = "held\tamd64\thi \t1:1.0-1\nhalf\tall\tiFR\t2\ngone\tall\tpn \t\nboth\ti386\trc \t4.0\nboth\tamd64\tii \t4.1\n";
        assert_eq!(rows, wanted);
        let held = room.package("held").expect("an answer");
        assert_eq!((held.installed.as_deref(), held.held), (Some("1:1.0-1"), true));
        assert_eq!(room.installed("both"), Ok(Some("4.1".to_owned())));
        // Not all of it is in the database, or it has another form.
        room.write("var/lib/dpkg/updates/0001", "");
        assert!(room.installed("held").is_err_and(|why| why == "dpkg-query was asked"));
        fs::remove_file(room.directory.path().join("var/lib/dpkg/updates/0001")).expect("removed");
        room.write("var/lib/dpkg/status", "Package: held\nStatus: hold fine installed\n\n");
        assert!(room.installed("held").is_err_and(|why| why == "dpkg-query was asked"));
    }

    #[test]
    fn the_database_of_this_machine_says_what_dpkg_query_says() {
        let tools = Tools { root: "/".into(), ..Room::new(&[], "", 0).tools };
        if manager(&tools) != Manager::Apt || interrupted(Manager::Apt, &tools) {
            return;
        }
        let format = "${Package}\t${Architecture}\t${db:Status-Abbrev}\t${Version}\n";
        let query = std::process::Command::new("dpkg-query").args(["-W", "-f", format]).output().expect("dpkg-query");
        let said = String::from_utf8(query.stdout).expect("text");
        let names: Vec<&str> = said.lines().filter_map(|line| line.split('\t').next()).collect();
        let found = database_of_dpkg(&names, &tools).expect("a database").text;
        let sorted = |text: &str| text.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(sorted(&found), sorted(&said));
        assert!(names.len() > 50, "{}", names.len());
    }

    #[test]
    fn the_age_of_package_lists_is_that_of_their_directory() {
        let room = Room::dpkg("", 1);
        let age = || room.package("x").expect("an answer").lists_age;
        fs::create_dir_all(room.directory.path().join("var/lib/apt/lists/partial")).expect("directories");
        assert_eq!(age(), None, "never fetched");
        let list = room.write("var/lib/apt/lists/mirror_Packages", "");
        assert!(age().is_some_and(|age| age < 60));
        let at = |path: &Path, ago: u64| {
            let time = std::fs::FileTimes::new().set_modified(
                fs::metadata(&list).and_then(|of| of.modified()).expect("a time") - Duration::from_secs(ago),
            );
            fs::File::open(path).and_then(|file| file.set_times(time)).expect("times");
        };
        at(&room.directory.path().join("var/lib/apt/lists"), 5000);
        at(&room.directory.path().join("var/lib/apt/lists/partial"), 1000);
        assert!(age().is_some_and(|age| (1000..1060).contains(&age)), "{:?}", age());
        let none = Room::new(&[], "", 0);
        assert_eq!(none.installed("bash"), Err("this host has no dpkg-query".to_owned()));
    }

    #[test]
    fn packages_of_rpm_are_read_and_their_locks() {
        let rpm = "bash\tx86_64\tii \t5.1.8-6.el9_1\nopenssl\tx86_64\tii \t1:3.0.6-1\nopenssl\tx86_64\tii \t1:3.0.7-6.el9_2\n\
                   package nano is not installed\n";
        let room = |manager: &str| Room::new(&["rpm", manager], rpm, 1);
        assert_eq!(room("dnf").installed("bash").expect("an answer").as_deref(), Some("5.1.8-6.el9_1"));
        assert_eq!(room("yum").installed("openssl").expect("an answer").as_deref(), Some("1:3.0.7-6.el9_2"));
        assert_eq!(room("zypper").installed("nano"), Ok(None));
        assert!(room("dnf").installed("vim").is_err(), "no message about it");
        let broken = Room::new(&["rpm", "dnf"], "error: cannot open Packages database in /var/lib/rpm", 1);
        assert!(broken.installed("bash").expect_err("no answer").contains("cannot open Packages database"));

        let held = |manager: &str, files: &[(&str, &str)]| {
            let room = room(manager);
            for (file, text) in files {
                room.write(file, text);
            }
            let found = room.package("bash").expect("an answer");
            (found.holding == Holding::Able, found.held)
        };
        let (dnf, yum) = ("etc/dnf/plugins/versionlock", "etc/yum/pluginconf.d/versionlock");
        let plugin = |base: &str, list: &str| {
            let (conf, file) = (format!("{base}.conf"), format!("{base}.list"));
            held(if base == dnf { "dnf" } else { "yum" }, &[(&conf, ""), (&file, list)])
        };
        assert_eq!(plugin(dnf, "# Added lock on Tue Nov 21\nbash-0:5.1.8-6.el9_1.*\n"), (true, true));
        assert_eq!(plugin(dnf, "bash-completion-0:2.11-4.el9.*\n!bash-0:5.1.8-6.el9_1.*\n"), (true, false));
        assert_eq!(plugin(yum, "0:bash-4.2.46-34.el7.*\n"), (true, true));
        let zypper = "\ntype: package\nmatch_type: glob\ncase_sensitive: on\nsolvable_name: bash\n";
        assert_eq!(held("zypper", &[("etc/zypp/locks", zypper)]), (true, true));
        assert_eq!(held("zypper", &[]), (true, false));
        assert_eq!(held("dnf", &[]), (false, false), "it has no plugin for it");
        let dnf5 = Room::new(&["rpm", "dnf", "dnf5"], rpm, 1);
        dnf5.write("etc/dnf/versionlock.toml", "version = \"1.0\"\n[[packages]]\nname = \"bash\"\n");
        assert!(dnf5.package("bash").expect("an answer").held);
    }

    #[test]
    fn packages_of_apk_and_pacman_are_read() {
        let apk = Room::new(&["apk"], "", 0);
        assert!(apk.installed("musl").is_err(), "no database");
        apk.write(
            "lib/apk/db/installed",
            "C:Q1x=\nP:musl\nV:1.2.4_git20230717-r4\nA:x86_64\n\nC:Q2\nP:busybox\nA:x\nV:1.36.1-r19\nF:bin\n",
        );
        let of = |name: &str| apk.installed(name).expect("an answer");
        assert_eq!(
            (of("musl").as_deref(), of("busybox").as_deref()),
            (Some("1.2.4_git20230717-r4"), Some("1.36.1-r19"))
        );
        assert_eq!(of("mus"), None);
        assert_eq!(apk.package("musl").expect("an answer").manager, Manager::Apk);

        let pacman = Room::new(&["pacman"], "bash 5.2.026-2\nerror: package 'nano' was not found", 1);
        assert_eq!(pacman.installed("bash").expect("an answer").as_deref(), Some("5.2.026-2"));
        assert_eq!(pacman.installed("nano"), Ok(None));
        assert_eq!(pacman.package("bash").expect("an answer").holding, Holding::Unable);
        pacman.write("var/lib/pacman/sync/core.db", "");
        assert!(pacman.package("bash").expect("an answer").lists_age.is_some_and(|age| age < 60));
    }
}
