//! What runs and hosts wrote down in format 1 is read for ever, and a newer format is refused, never misread.
//!
//! In: `tests/cases/history`: a run of the controller, a ledger and a journal of a host, as they were written once. Out:
//! what `armilla runs` and `apply` say of them. Never: a file of them written anew because a test fails; the format has a
//! number for that.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use armilla::ledger::{Journal, Ledger, LedgerError, Reached};

use crate::host::Room;

const RUN: &str = "20261121-123831-m63r";

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/history").join(name)
}

fn text(name: &str) -> String {
    fs::read_to_string(golden(name)).expect("a golden file")
}

/// A machine with that one run, whose files may have been changed.
fn machine(name: &str, change: impl Fn(&str) -> String) -> Room {
    let room = Room::new(&format!("history-{name}"));
    let folder = room.0.join("runs").join(RUN);
    fs::create_dir_all(&folder).expect("a folder");
    for file in ["journal", "plan.json"] {
        fs::write(folder.join(file), change(&text(file))).expect("a file");
    }
    room
}

fn armilla(room: &Room, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_armilla"));
    command.args(arguments).env("ARMILLA_STATE_DIR", &room.0).env_remove("ARMILLA_PROJECT").current_dir(&room.0);
    let output = command.env("NO_COLOR", "1").output().expect("armilla runs");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn f06_a_run_of_format_1_is_read() {
    let room = machine("old", str::to_owned);
    for arguments in [&["runs", "list"][..], &["runs", "show"], &["runs", "show", RUN, "--json"], &["runs", "log"]] {
        let (code, said) = armilla(&room, arguments);
        assert!(code == Some(0) && !said.contains("error"), "{arguments:?}: {said}");
        assert!(said.contains("lab") || said.contains("points"), "{arguments:?}: {said}");
    }
    let (code, said) = armilla(&room, &["show", golden("plan.json").to_str().expect("a name in UTF-8")]);
    assert!(code == Some(0) && said.contains("/srv/points/conf"), "{said}");
    // A line that was being written when the program died does not count; one in the middle that is none is told.
    let torn = machine("torn", |text| text.strip_suffix("}\n").unwrap_or(text).to_owned());
    assert_eq!(armilla(&torn, &["runs", "list"]).0, Some(0));
    let broken = machine("broken", |text| text.replacen("{\"event\"", "{\"evnet\"", 1));
    let (code, said) = armilla(&broken, &["runs", "show", RUN]);
    assert!(code == Some(1) && said.contains("not a journal entry"), "{said}");
}

/// As `| head` does.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let room = machine("gone", str::to_owned);
    let plan = golden("plan.json");
    for arguments in [&["show", plan.to_str().expect("a name in UTF-8"), "--json"][..], &["runs", "log", "--json"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_armilla"));
        command.args(arguments).env("ARMILLA_STATE_DIR", &room.0).env_remove("ARMILLA_PROJECT").current_dir(&room.0);
        let output = command.stdout(writer).stderr(std::process::Stdio::piped()).output().expect("armilla runs");
        assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
    }
}

#[test]
fn f06_a_run_of_a_newer_format_is_refused() {
    let newer = |text: &str| text.replacen("\"version\":1", "\"version\":9,\"new\":true", 1);
    let room = machine("newer", newer);
    for arguments in [&["runs", "show", RUN][..], &["runs", "log", RUN], &["resume", RUN, "-y"]] {
        let (code, said) = armilla(&room, arguments);
        assert!(code == Some(1) && said.contains("has format 9") && said.contains("upgrade armilla"), "{said}");
    }
    let plan = room.0.join("runs").join(RUN).join("plan.json");
    for arguments in [["show", plan.to_str().expect("a name")], ["apply", plan.to_str().expect("a name")]] {
        let (code, said) = armilla(&room, &arguments);
        assert!(code == Some(1) && said.contains("the plan has format 9"), "{arguments:?}: {said}");
    }
}

#[test]
fn f06_what_hosts_keep_in_format_1_is_read_and_newer_is_refused() {
    let ledger = Ledger::parse(text("ledger").as_bytes()).expect("a ledger of format 1");
    assert!(ledger.generation > 0 && ledger.last.is_some() && !ledger.owned.is_empty());
    assert_eq!(String::from_utf8(ledger.text()).expect("text"), text("ledger"), "it is written as it was");
    let journal = Journal::parse(text("host-journal").as_bytes()).expect("a journal of format 1");
    let stage = journal.stages.last().expect("a stage");
    assert!(!stage.intent.entries.is_empty() && stage.step(0) == Reached::Done, "{stage:?}");
    let worked =
        Ledger::of(&ledger.environment, Some(text("ledger").as_bytes()), Some(text("host-journal").as_bytes()));
    assert!(worked.expect("both together").generation >= ledger.generation);

    // Whatever else a newer one has.
    let newer = "{\"version\":2,\"what\":\"nobody knows\"}";
    assert_eq!(Ledger::parse(newer.as_bytes()), Err(LedgerError::Newer { found: 2 }));
    let line = format!("{}stage a-boot {newer}\n", text("host-journal"));
    assert_eq!(Journal::parse(line.as_bytes()), Err(LedgerError::Newer { found: 2 }));
}
