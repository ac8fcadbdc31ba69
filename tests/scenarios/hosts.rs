//! The lab itself, and what armilla learns of its hosts.

use std::fs;
use std::path::{Path, PathBuf};

use armilla::lab::{Power, Wire};

use crate::house::{House, until};

/// Up, talk, cut, heal, pull the plug, boot, reboot from inside, down: all by the program itself.
pub(crate) fn a_whole_life(house: &House) {
    let project = house.project("life");
    let names = ["h1", "h2", "h3"];
    house.down(&names);
    project.run(&["lab", "up", "3"]).ends(0).says("h1").says("h3");
    let listed = project.run(&["lab", "list", "--json"]).ends(0);
    let listed: serde_json::Value = serde_json::from_str(&listed.out).expect("a list of hosts");
    for (host, name) in listed.as_array().expect("a list").iter().zip(names) {
        assert_eq!((&host["name"], &host["power"], &host["wire"]), (&name.into(), &"on".into(), &"connected".into()));
    }
    for name in names {
        house.sh(name, "systemctl is-system-running --wait");
        assert_eq!(house.sh(name, "hostname"), name);
        for other in names {
            assert!(house.holds(name, &reach(other)), "{name} does not reach {other} by its name");
        }
    }

    project.run(&["lab", "cut", "h2"]).ends(0);
    assert_eq!(house.lab().hosts().expect("a list")[1].wire, Wire::Cut);
    assert!(!house.holds("h1", &reach("h2")) && !house.holds("h2", &reach("h1")), "h2 is cut off, both ways");
    assert!(house.holds("h1", &reach("h3")), "the others are not");
    project.run(&["lab", "heal", "h2"]).ends(0);
    until("h2 is reached again", || house.holds("h1", &reach("h2")));

    let first = house.sh("h3", "echo here >/root/marker; sync; cat /proc/sys/kernel/random/boot_id");
    project.run(&["lab", "kill", "h3"]).ends(0);
    assert_eq!(house.lab().hosts().expect("a list")[2].power, Power::Off);
    project.run(&["lab", "exec", "h3", "--", "true"]).ends(1).says("h3");
    project.run(&["lab", "boot", "h3"]).ends(0);
    let second = boot_of(house, "h3").expect("h3 runs");
    assert_ne!(first, second, "a boot has an id of its own");
    assert_eq!(house.sh("h3", "cat /root/marker"), "here");

    project.run(&["lab", "ssh", "h3", "systemctl", "reboot"]);
    until("h3 runs again", || boot_of(house, "h3").is_some_and(|third| third != second));
    project.run(&["lab", "wait", "h3"]).ends(0);
    assert_eq!(house.sh("h3", "cat /root/marker"), "here");

    assert!(!traces(house).is_empty(), "what is looked for at the end is there before it");
    project.run(&["lab", "down"]).ends(0);
    assert_eq!(traces(house), Vec::<String>::new(), "the lab left something");
}

/// Five facts that the host itself knows by other ways.
pub(crate) fn facts(house: &House) {
    let hosts = ["h1", "h2"];
    house.up(&hosts);
    let project = house.project("facts");
    project.only(&hosts, "summary: Nothing.\n");
    let run = project.run(&["facts", "lab", "--lab", "--json"]).ends(0);
    let facts: serde_json::Value = serde_json::from_str(&run.out).expect("facts by host");
    for host in hosts {
        let known = &facts[host];
        let kib: u64 =
            house.sh(host, "sed -n 's/^MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo").parse().expect("a number");
        assert_eq!(known["memory"], kib * 1024, "{known}");
        assert_eq!(known["cpus"].to_string(), house.sh(host, "nproc"));
        let os = serde_json::json!({ "id": "debian", "version": "12", "codename": "bookworm", "family": "debian" });
        assert_eq!(known["os"], os);
        assert_eq!(known["hostname"], host);
        assert_eq!(known["kernel"], house.sh(host, "uname -r"));
        assert_eq!(known["boot"]["id"], house.sh(host, "cat /proc/sys/kernel/random/boot_id"));
        assert_eq!(known["addresses"], serde_json::json!([house.address(host)]));
    }
    let one = project.run(&["facts", "lab", "--lab", "--fact", "cpus", "-l", "h2"]).ends(0).says("cpus");
    one.keeps("memory").keeps("h1");
}

fn reach(other: &str) -> String {
    format!("timeout 3 bash -c 'exec 3<>/dev/tcp/{other}/22 && read -r banner <&3'")
}

fn boot_of(house: &House, host: &str) -> Option<String> {
    let output = house.lab().exec(host, &["cat", "/proc/sys/kernel/random/boot_id"]).ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Everything of this lab on the machine, outside of its folder. Its bridge and its groups are called by its network, and
/// its wires begin with it.
fn traces(house: &House) -> Vec<String> {
    let numbers: Vec<&str> = house.subnet().split('.').collect();
    let (second, third) = (numbers[1], numbers[2]);
    let lab = if third == "0" { format!("armilla{second}") } else { format!("armilla{second}-{third}") };
    let wires = format!("arm{second}-{third}-");
    let folder = |text: &str| text.split(house.folder()).skip(1).any(|rest| rest.starts_with(['/', '\0', ' ']));
    let read =
        |path: PathBuf| fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let mut found = Vec::new();
    let links = names("/sys/class/net").into_iter().filter(|link| *link == lab || link.starts_with(&wires));
    found.extend(links.map(|link| format!("link {link}")));
    let mounts = read("/proc/self/mountinfo".into());
    found.extend(mounts.lines().filter(|line| folder(line)).map(|line| format!("mount {line}")));
    for process in names("/proc").into_iter().filter(|name| name.parse::<u32>().is_ok()) {
        let of = |what: &str| read(Path::new("/proc").join(&process).join(what));
        let ours = of("environ").contains(&format!("ARMILLA_LAB_DIR={}\0", house.folder()))
            && of("cmdline").contains("\0lab\0__");
        if ours || folder(&of("cmdline")) || of("cgroup").contains(&format!("/{lab}/")) {
            found.push(format!("process {process}: {}", of("cmdline").replace('\0', " ")));
        }
    }
    let mut open: Vec<PathBuf> = vec!["/sys/fs/cgroup".into()];
    while let Some(group) = open.pop() {
        for entry in
            fs::read_dir(&group).into_iter().flatten().flatten().filter(|e| e.path().is_dir() && !e.path().is_symlink())
        {
            if entry.file_name() == *lab {
                found.push(format!("cgroup {}", entry.path().display()));
            }
            open.push(entry.path());
        }
    }
    found
}

fn names(folder: &str) -> Vec<String> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}
