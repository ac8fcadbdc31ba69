//! Completion in a real bash: the script of `armilla completion bash`, and what it offers in a project.
//!
//! In: words as somebody types them, the cursor at their end. Out: what bash would offer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Project(PathBuf);

impl Project {
    fn new(name: &str, hosts: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("armilla-completion-{name}-{}", std::process::id()));
        let project = Self(folder);
        project.write("site.yml", "services:\n  web: { hosts: servers, tags: front }\n");
        project.write("roles/web/role.yml", "tags: [config]\nresources: []\n");
        project.write("inventories/staging/hosts.yml", &format!("groups:\n  servers: {{ hosts: \"w[1:{hosts}]\" }}\n"));
        project.write("inventories/production/hosts.yml", "hosts: { p1: }\n");
        project
    }

    /// A run of this machine.
    fn ran(&self, name: &str) {
        let head = serde_json::json!({ "head": {
            "version": 1, "run": name, "environment": "staging", "command": "armilla apply staging", "who": "ada@deck",
            "at": "2026-11-21T14:02:11Z", "project": "/home/ada/shop", "revision": null, "resumes": null, "changes": 1,
        } });
        self.write(&format!("state/runs/{name}/journal"), &format!("{head}\n"));
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder can be made");
        fs::write(path, text).expect("a file can be written");
    }

    /// What bash offers, sorted; and nothing may be said.
    fn offered(&self, words: &[&str]) -> Vec<String> {
        let script = "source <(armilla completion bash); COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMP_TYPE=9
            $(complete -p armilla | sed 's/.*-F \\([^ ]*\\).*/\\1/') armilla \"${!#}\" \"\"
            printf '%s\\n' \"${COMPREPLY[@]}\"";
        let program = Path::new(env!("CARGO_BIN_EXE_armilla")).parent().expect("a folder");
        let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap_or_default());
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-c", script, "bash", "armilla"]).args(words);
        bash.current_dir(&self.0).env("PATH", path).env("ARMILLA_STATE_DIR", self.0.join("state"));
        let output = bash.output().expect("bash");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "a shell that completes is silent");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut offered: Vec<String> =
            text.lines().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect();
        offered.sort();
        offered
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn bash_offers_the_names_of_the_project() {
    let project = Project::new("names", 3);
    project.ran("20261121-140211-k7xq");
    project.ran("20261121-150000-abcd");
    let cases: &[(&[&str], &[&str])] = &[
        (&["pla"], &["plan"]),
        (&["plan", ""], &["production", "staging"]),
        (&["plan", "staging", "-l", "w"], &["w1", "w2", "w3"]),
        (&["plan", "staging", "--limit", "se"], &["servers"]),
        (&["plan", "production", "-l", "p"], &["p1"]),
        (&["plan", "staging", "-t", ""], &["config", "front", "web"]),
        (&["plan", "staging", "-t", "front,c"], &["front,config"]),
        (&["plan", "staging", "--target", "we"], &["web"]),
        (&["resume", ""], &["20261121-140211-k7xq", "20261121-150000-abcd"]),
        (&["runs", "log", "20261121-14"], &["20261121-140211-k7xq"]),
        (&["runs", "list", "st"], &["staging"]),
        (&["lock", "break", "prod"], &["production"]),
        (&["plan", "staging", "--target", "temp"], &["template"]),
    ];
    for (words, want) in cases {
        let offered = project.offered(words);
        let names: Vec<&String> = offered.iter().filter(|name| !name.starts_with('-')).collect();
        assert_eq!(names, *want, "{words:?}");
    }
}

#[test]
fn outside_of_a_project_and_with_broken_files_nothing_is_said() {
    let project = Project::new("broken", 3);
    project.write("inventories/staging/hosts.yml", "groups: [");
    project.write("site.yml", ": {");
    assert_eq!(project.offered(&["plan", "staging", "-l", "w"]), Vec::<String>::new());
    fs::remove_file(project.0.join("site.yml")).expect("it is there");
    assert_eq!(project.offered(&["plan", "staging", "-t", "c"]), Vec::<String>::new());
}

#[test]
fn five_hundred_hosts_are_offered() {
    let project = Project::new("many", 500);
    let mut ask = Command::new(env!("CARGO_BIN_EXE_armilla"));
    ask.args(["--", "armilla", "plan", "staging", "-l", "w"]).current_dir(&project.0);
    ask.env("ARMILLA_STATE_DIR", &project.0)
        .env("ARMILLA_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", "4")
        .env("_CLAP_IFS", "\n");
    let output = ask.output().expect("armilla");
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 500);
}
