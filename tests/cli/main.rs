//! Transcripts: what a user types and what the program really answers, as files beside this one.
//!
//! `NAME.trycmd` runs in `NAME.in/`, a project. `TRYCMD=overwrite cargo test --test cli` writes new answers into the
//! files; look at the difference before you keep it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[test]
fn transcripts_hold() {
    let folder = fs::read_dir("tests/cli").expect("tests/cli").flatten().map(|entry| entry.path());
    let transcripts: Vec<PathBuf> = folder.filter(|path| path.extension().is_some_and(|end| end == "trycmd")).collect();
    assert!(transcripts.len() > 10);
    // One after the other, each on a host of its own: this machine gives one lease at a time.
    for path in transcripts {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        trycmd::TestCases::new()
            .case(&path)
            .env("COLUMNS", "100")
            .env("NO_COLOR", "1")
            .env("ARMILLA_STATE_DIR", state(&name).display().to_string())
            .env("ARMILLA_HOST_DIR", state(&format!("{name}-host")).display().to_string())
            .insert_var("[VERSION]", env!("CARGO_PKG_VERSION"))
            .expect("a name for the version");
    }
}

/// The whole way on the machine the test runs on: a role that writes below a folder of its own, and nothing else.
#[test]
fn a_plan_is_made_and_done_on_this_machine() {
    // The columns of a plan follow its longest path, so this one is always as long.
    let folder = Path::new("/tmp").join(format!("armilla-transcript-{:07}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    let owner = format!("owner: {}\ngroup: {}\nfolder: {}/there\n", id("-un"), id("-gn"), folder.display());
    write(&folder.join("site.yml"), "services:\n  greeting: { hosts: all }\n");
    write(&folder.join("inventories/here/hosts.yml"), "hosts:\n  laptop: { connection: local }\n");
    write(&folder.join("inventories/here/environment.yml"), "production: false\n");
    write(&folder.join("inventories/here/group_vars/all.yml"), &owner);
    write(&folder.join("roles/greeting/role.yml"), ROLE);
    write(&folder.join("roles/greeting/templates/greeting.j2"), "Hello from {{ host.name }}.\n{{ motto }}\n");
    // They run when they are dropped.
    let cases = trycmd::TestCases::new();
    cases
        .case("tests/cli/local/*.trycmd")
        .env("ARMILLA_PROJECT", folder.display().to_string())
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("ARMILLA_STATE_DIR", state("local").display().to_string())
        .env("ARMILLA_HOST_DIR", state("local-host").display().to_string())
        .register_bin("sh", Path::new("/bin/sh"))
        .insert_var("[FOLDER]", folder.display().to_string())
        .expect("a name for the folder");
    drop(cases);
    let _ = fs::remove_dir_all(&folder);
}

/// Where the program writes down its runs, and what it keeps on this host: nothing of the user's own, nothing of an earlier
/// test, and nothing that another test waits for.
fn state(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli-state").join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

const ROLE: &str = r#"summary: A greeting.
inputs:
  folder: { type: path, required: true, description: where the greeting is }
  owner:  { type: string, required: true }
  group:  { type: string, required: true }
  motto:  { type: string, default: Measure twice. }
resources:
  - directory: { path: "{{ folder }}", owner: "{{ owner }}", group: "{{ group }}" }
  - template: { src: greeting.j2, path: "{{ folder }}/greeting", owner: "{{ owner }}", group: "{{ group }}" }
"#;

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
    fs::write(path, text).expect("a file can be written");
}

#[expect(clippy::disallowed_methods, reason = "only the system knows who runs the test")]
fn id(flag: &str) -> String {
    let output = Command::new("id").arg(flag).output().expect("id is there");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
