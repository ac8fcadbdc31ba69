//! Ansible's inventories, unchanged: the samples and folders of `tests/cases/inventory/ansible`, and what the real
//! `ansible-inventory` says of each of them. `tests/peer/ansible` installs it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use armilla::diag::Source;
use armilla::inventory::{Inventory, Texts};
use armilla::name::EnvName;
use armilla::report::inventory::{Details, Variables, View, pretty};
use armilla::vars::Layers;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/inventory/ansible")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing is in {}", folder.display());
    paths
}

/// The texts of a file, or of a folder and everything below it.
fn texts(path: &Path) -> Texts {
    let mut files = Vec::new();
    let mut open = vec![path.to_owned()];
    while let Some(at) = open.pop() {
        if at.is_dir() {
            open.extend(entries(&at));
            continue;
        }
        let name = at.strip_prefix(if path.is_dir() { path } else { path.parent().expect("a folder") }).expect("below");
        let name = name.to_str().expect("UTF-8").to_owned();
        files.push((name.as_str().into(), Source::new(name, fs::read_to_string(&at).expect("a text"))));
    }
    let config = fs::read_to_string(path.join("ansible.cfg")).ok().map(|text| Source::new("ansible.cfg", text));
    files.into_iter().collect::<Texts>().configured(config)
}

fn read(texts: &Texts) -> Inventory {
    let env = EnvName::new("test").expect("a name");
    Inventory::read(env, texts).unwrap_or_else(|problems| panic!("{problems}"))
}

fn with_view<T>(inventory: &Inventory, show: impl Fn(&View<'_>) -> T) -> T {
    let layers = |host: &armilla::inventory::Host| Layers::of(inventory, host);
    show(&View { inventory, layers: &layers, wanted: &|_| true })
}

#[test]
fn samples_are_read_as_ansible_reads_them() {
    let mut wrong = Vec::new();
    for sample in entries(&root().join("samples")) {
        let name = sample.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
        let found = with_view(&read(&texts(&sample)), |view| pretty(&view.list(Variables::Own)));
        let expected = fs::read_to_string(root().join(format!("expected/{name}.json"))).expect("what is expected");
        if found.trim() != expected.trim() {
            wrong.push(format!("== {name}\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What `ansible-inventory` prints of a file or folder.
fn ansible(path: &Path, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peer/ansible/bin/ansible-inventory");
    let config = Some(path.join("ansible.cfg")).filter(|config| config.exists());
    let output = Command::new(program)
        .args(["-i", path.to_str().expect("UTF-8")])
        .args(arguments)
        .env("ANSIBLE_CONFIG", config.unwrap_or_else(|| root().join("none.cfg")))
        .env("PYTHONUTF8", "1")
        .output()
        .expect("ansible-inventory starts");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !complaints.contains("Unable to parse"), "{}: {complaints}", path.display());
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn hosts(list: &Value) -> BTreeSet<String> {
    let hosts = list["_meta"]["hostvars"].as_object().expect("hosts");
    hosts.keys().cloned().collect()
}

/// Everything that differs between two lists, host by host and group by group.
fn differences(name: &str, ours: &Value, theirs: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    for host in hosts(ours).union(&hosts(theirs)) {
        let (ours, theirs) = (&ours["_meta"]["hostvars"][host], &theirs["_meta"]["hostvars"][host]);
        let empty = serde_json::Map::new();
        let names = |value: &Value| value.as_object().unwrap_or(&empty).keys().cloned().collect::<BTreeSet<String>>();
        for variable in names(ours).union(&names(theirs)).filter(|name| ours[name.as_str()] != theirs[name.as_str()]) {
            wrong.push(format!("{name}: {host}: {variable} is {}, Ansible: {}", ours[variable], theirs[variable]));
        }
    }
    let groups = |value: &Value| value.as_object().expect("groups").keys().cloned().collect::<BTreeSet<String>>();
    for group in groups(ours).union(&groups(theirs)).filter(|group| *group != "_meta" && ours[*group] != theirs[*group])
    {
        wrong.push(format!("{name}: group {group} is {}, Ansible: {}", ours[group], theirs[group]));
    }
    wrong
}

#[test]
#[ignore = "needs Ansible: tests/peer/ansible installs it"]
fn ansible_says_the_same_of_every_host_and_group() {
    let peer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peer/ansible");
    assert!(Command::new(peer).status().expect("tests/peer/ansible starts").success(), "Ansible is not there");
    let mut all = entries(&root().join("samples"));
    all.extend(entries(&root().join("folders")));
    let halves: Vec<Vec<PathBuf>> = all.chunks(all.len().div_ceil(2)).map(<[_]>::to_vec).collect();
    let threads = halves
        .into_iter()
        .map(|half| std::thread::spawn(move || half.iter().flat_map(|path| compare(path)).collect::<Vec<_>>()));
    let threads: Vec<_> = threads.collect();
    let wrong: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().expect("compared")).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn compare(path: &Path) -> Vec<String> {
    let name = path.file_name().and_then(|name| name.to_str()).expect("a name");
    let inventory = read(&texts(path));
    let mut wrong = Vec::new();
    let mut lists = vec![(&["--list"][..], Variables::Merged)];
    // What it exports of a sample is stored.
    if path.is_dir() {
        lists.push((&["--list", "--export"], Variables::Own));
    }
    for (flags, variables) in lists {
        let ours = with_view(&inventory, |view| view.list(variables));
        let theirs = serde_json::from_str(&ansible(path, flags)).expect("JSON");
        wrong.extend(differences(&format!("{name} {}", flags.join(" ")), &ours, &theirs));
    }
    if path.is_dir() {
        let ours = with_view(&inventory, |view| view.graph(Details::Names));
        let theirs = ansible(path, &["--graph"]);
        if ours != theirs {
            wrong.push(format!("{name} --graph:\n{ours}\nAnsible:\n{theirs}"));
        }
        assert!(
            !inventory.warnings.has_errors() && inventory.hosts().len() > 1,
            "{name}: {} hosts",
            inventory.hosts().len()
        );
    }
    wrong
}
