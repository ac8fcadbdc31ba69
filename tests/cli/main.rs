//! Transcripts: what a user types and what the program really answers, as files beside this one.
//!
//! `NAME.trycmd` runs in `NAME.in/`, a project. `TRYCMD=overwrite cargo test --test cli` writes new answers into the
//! files; look at the difference before you keep it.

#![expect(clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One test for each transcript, and one that none is forgotten.
macro_rules! transcripts {
    ($($name:ident),+ $(,)?) => {
        $(
            #[test]
            fn $name() {
                transcript(&stringify!($name).replace('_', "-"));
            }
        )+

        #[test]
        fn every_transcript_is_a_test() {
            let tests: BTreeSet<String> = [$(stringify!($name)),+].map(|name| name.replace('_', "-")).into();
            let folder = fs::read_dir("tests/cli").expect("tests/cli").flatten().map(|entry| entry.path());
            let files = folder.filter(|path| path.extension().is_some_and(|ending| ending == "trycmd"));
            let files: BTreeSet<String> =
                files.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
            assert_eq!(tests, files);
        }
    };
}

transcripts![
    ansible,
    circles,
    environments,
    flags,
    fmt,
    help,
    init,
    look,
    mistakes_in_form,
    mistakes_in_names,
    mistakes_in_values,
    part,
    project,
    saved,
    vault,
    verify,
];

/// Plays `NAME.trycmd` with a state directory and a host directory of its own: transcripts run at the same time.
fn transcript(name: &str) {
    trycmd::TestCases::new()
        .case(format!("tests/cli/{name}.trycmd"))
        .env("COLUMNS", "100")
        .env("NO_COLOR", "1")
        .env("ARMILLA_STATE_DIR", state(name).display().to_string())
        .env("ARMILLA_HOST_DIR", state(&format!("{name}-host")).display().to_string())
        .insert_var("[VERSION]", env!("CARGO_PKG_VERSION"))
        .expect("a name for the version");
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
