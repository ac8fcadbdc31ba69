//! Which run `resume` takes, and which it refuses: a run never goes back in time.

use std::fs;
use std::process::{Child, Stdio};

use crate::projects::Here;
use crate::waiting::until;

/// A file with a version, and a program that waits until it may end.
fn waiting(here: &Here, version: &str) {
    let path = |name: &str| here.path(name).display().to_string();
    let wait = format!("touch {}; until [ -e {} ]; do sleep 0.05; done", path("begun"), path("go"));
    here.role(
        "shop",
        &format!(
            "  - file: {{ path: {}, content: {version} }}\n  - command: {{ run: [sh, -c, '{wait}'], creates: {} }}\n",
            path("conf"),
            path("go")
        ),
    );
}

/// Waits for what is sure to come.
#[track_caller]
/// An apply whose program waits.
fn begun(here: &Here) -> Child {
    let mut command = here.command("shop", &["apply", "here", "-y"]);
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("armilla runs");
    until("the program runs", || here.path("begun").exists());
    run
}

/// The name of the run that was begun last.
fn last(here: &Here) -> String {
    here.ends("shop", 0, &["runs", "list"])
        .lines()
        .last()
        .and_then(|line| line.split(' ').next())
        .expect("a run")
        .to_owned()
}

#[test]
fn a_run_that_a_later_one_overtook_is_never_resumed() {
    let here = Here::new("overtaken");
    waiting(&here, "one");
    let mut run = begun(&here);
    run.kill().expect("it is killed");
    run.wait().expect("it ends");
    let old = last(&here);
    let shown = here.ends("shop", 0, &["runs", "show", &old]);
    assert!(shown.contains("interrupted") && shown.contains(&format!("armilla resume {old}")), "{shown}");
    fs::write(here.path("go"), "").expect("a file");
    waiting(&here, "two");
    here.ends("shop", 0, &["apply", "here", "-y", "--lock-timeout", "3m"]);
    let conf = || fs::read_to_string(here.path("conf")).expect("it is there");
    assert_eq!(conf(), "two");
    let said = here.ends("shop", 1, &["resume", &old, "-y"]);
    assert!(said.contains("a later run has overtaken it; nothing was changed"), "{said}");
    assert!(said.contains("armilla plan here") && said.contains(&last(&here)), "{said}");
    here.ends("shop", 1, &["resume", "-y"]);
    assert_eq!(conf(), "two");
    // The hosts know it, too, if another machine was the later one.
    let name = last(&here);
    fs::remove_dir_all(here.path("state").join("runs").join(name)).expect("its record");
    let said = here.ends("shop", 1, &["resume", &old, "-y"]);
    assert!(said.contains("laptop: run ") && said.contains("overtaken"), "{said}");
    assert_eq!(conf(), "two");
}

#[test]
fn a_run_that_still_runs_is_followed_and_not_resumed() {
    let here = Here::new("running");
    waiting(&here, "one");
    let run = begun(&here);
    let name = last(&here);
    let shown = here.ends("shop", 0, &["runs", "show", &name]);
    assert!(shown.contains("running") && shown.contains(&format!("armilla runs log {name} --follow")), "{shown}");
    let said = here.ends("shop", 1, &["resume", &name, "-y"]);
    assert!(said.contains("is still running; nothing was changed"), "{said}");
    let said = here.ends("shop", 1, &["resume", "-y"]);
    assert!(!said.contains("laptop"), "{said}");
    let mut follow = here.command("shop", &["runs", "log", &name, "--follow", "--json"]);
    let mut follower = follow.stdout(Stdio::piped()).spawn().expect("armilla runs");
    assert!(follower.try_wait().expect("a child").is_none(), "it follows");
    fs::write(here.path("go"), "").expect("a file");
    assert!(run.wait_with_output().expect("it ends").status.success());
    let printed = follower.wait_with_output().expect("it ends with the run");
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    assert!(printed.status.success(), "{text}");
    let log = here.ends("shop", 0, &["runs", "log", &name, "--json"]);
    assert_eq!(text, log, "whoever followed saw all of it");
    assert!(text.lines().count() > 3, "{text}");
}
