//! A value of a vault file goes to one place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use armilla::vault::{Key, SALT, seal};

use crate::house::House;
use crate::project::Project;
use crate::watch::Watch;

const FILE: &str = "canary-file-3c90ab";
const VALUE: &str = "canary-value-8d21ef";
const PASSWORD: &str = "canary-key-51e0d7";

/// Plain inputs are given values of an encrypted file and of `!vault`; only the files on the host hold them.
pub(crate) fn nowhere_else(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -rf /srv/v; mkdir /srv/v");
    let project = house.project("vault");
    let role = r#"
summary: Keeps what vault files hold.
inputs:
  token: { type: string }
  users: { type: list }
resources:
  - file: { path: /srv/v/token, content: "token={{ token }}\n", mode: "0600" }
  - template: { path: /srv/v/users, src: users.j2, mode: "0640" }
  - command: { run: [sh, -c, "cat >&2; exit 7"], stdin: "{{ token }}\n" }
"#;
    project
        .only(&["h1"], role)
        .file("roles/only/templates/users.j2", "{% for u in users %}{{ u.name }}:{{ u.pw }}\n{% endfor %}");
    write_vaults(&project);

    let watch = Watch::begin(&[FILE, VALUE, PASSWORD]);
    let mut runs = vec![
        project.run(&["validate", "lab"]).ends(0),
        project.run(&["inventory", "lab", "--list"]).ends(0).says("***"),
        project.plan(&["-D", "-vv"]).ends(0).says("/srv/v/token"),
        project.plan(&["-D", "--json"]).ends(0),
        // The command complains with the secret itself.
        project.apply(&["-D", "-vv"]).ends(3).says("exit code 7"),
        project.apply(&["-D", "--json"]).ends(3),
    ];
    watch.saw_nothing();
    project.only(&["h1"], &role[..role.find("  - command: {").expect("the failing one")]);
    runs.push(project.plan(&["-D", "--detailed-exitcode"]).ends(0));
    for run in runs {
        run.keeps(FILE).keeps(VALUE).keeps(PASSWORD);
    }
    let files = house.sh("h1", "cd /srv/v; cat token users");
    assert_eq!(files, format!("token={VALUE}\nme:{FILE}"));
    let found = house.sh(
        "h1",
        "grep -rlsa -e canary-file -e canary-value -e canary-key /tmp /var /etc /root /run /srv /home | sort",
    );
    assert_eq!(found, "/srv/v/token\n/srv/v/users", "nothing else on the host holds it");
    // Files that are being worked on have passed; the project itself holds the key, and nothing else in the clear.
    let left: Vec<String> = [std::env::temp_dir().as_path(), Path::new("/dev/shm"), &project.path("inventories")]
        .into_iter()
        .flat_map(|folder| holding(folder, &[FILE, VALUE]))
        .collect();
    assert!(left.is_empty(), "left on this machine: {left:?}");
}

fn write_vaults(project: &Project<'_>) {
    let key = Key::new(PASSWORD.as_bytes().to_vec()).expect("a key");
    let whole = seal(format!("users:\n  - {{ name: me, pw: {FILE} }}\n").as_bytes(), &key, None, &[1; SALT]);
    let value = seal(VALUE.as_bytes(), &key, Some("lab"), &[2; SALT]);
    project
        .file("inventories/lab/group_vars/all_hosts/vault.yml", whole)
        .file(
            "inventories/lab/group_vars/all_hosts/token.yml",
            format!("token: !vault |\n  {}\n", value.trim_end().replace('\n', "\n  ")),
        )
        .file("inventories/lab/environment.yml", "vault:\n  - { id: lab, file: key }\n")
        .file("key", PASSWORD);
    fs::set_permissions(project.path("key"), fs::Permissions::from_mode(0o600)).expect("a mode");
}

/// Files below a folder that hold one of these texts.
fn holding(folder: &Path, texts: &[&str]) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let found = entries.flat_map(|entry| {
        let path = entry.path();
        let kind = entry.file_type().ok();
        match kind {
            // A checkout of this text holds them too.
            Some(kind) if kind.is_dir() && path.join("tests/scenarios/vault.rs").is_file() => Vec::new(),
            Some(kind) if kind.is_dir() => holding(&path, texts),
            Some(kind) if kind.is_file() && entry.metadata().is_ok_and(|meta| meta.len() < 1024 * 1024) => {
                let bytes = fs::read(&path).unwrap_or_default();
                let holds = |text: &&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
                if texts.iter().any(holds) { vec![path.display().to_string()] } else { Vec::new() }
            }
            _ => Vec::new(),
        }
    });
    found.collect()
}
