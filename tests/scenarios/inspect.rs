//! Looking at real hosts: programs run on them, what they lack, and why things are on them as they are.

use crate::house::{House, until};
use crate::project::Project;

const QUICK: [&str; 2] = ["--connect-timeout", "2"];

fn three<'a>(house: &'a House, name: &str) -> Project<'a> {
    house.up(&["h1", "h2", "h3"]);
    let project = house.project(name);
    project.only(&["h1", "h2", "h3"], "summary: x\nresources: []\n");
    project.file("inventories/lab/environment.yml", "production: false\n");
    project
}

/// Three hosts: one succeeds, one fails, one is cut off.
pub(crate) fn exec(house: &House) {
    let project = three(house, "exec");
    house.lab().cut("h3").expect("h3 is cut off");
    let exec = |more: &[&str]| project.run(&[&["exec", "lab", "--lab"], &QUICK[..], more].concat());

    let script = "hostname; echo \"$0\"; printf 'bell\\a\\n' >&2; test \"$(hostname)\" != h2";
    let run = exec(&["--", "sh", "-c", script, "; touch /srv/injected $(touch /srv/injected)"]).ends(3);
    let run = run.says("h1 | h1").says("h2 | h2").says("h2 ! bell\\u{7}").says("h2 exit code 1");
    let run = run.says("h3 h3 is unreachable").says("1 ok 1 failed 1 unreachable").keeps("\u{7}");
    assert_eq!(run.out.matches("; touch /srv/injected $(touch /srv/injected)").count(), 2, "{run}");
    assert!(!house.holds("h1", "test -e /srv/injected"));

    exec(&["-l", "h1:h3", "--", "true"]).ends(4).says("1 ok 1 unreachable");
    exec(&["-l", "h1,h2", "--", "true"]).ends(0).says("2 ok");
    exec(&["-l", "h9", "--", "true"]).ends(1).says("h9");
    let run = exec(&["-l", "h1", "--", "printf", "a\\tb\\n"]).ends(0);
    assert_eq!(run.out, "a\tb\n", "one host, no terminal: its very bytes");
    exec(&["-l", "h1:h2", "--grouped", "--", "echo", "same"]).ends(0).says("h1 h2 ok same");
    exec(&["-l", "h1", "--shell", "--", "echo $((6 * 7)) | cat"]).ends(0).says("42");
    exec(&["-l", "h1", "--timeout", "1s", "--", "sleep", "30"]).ends(3).says("timed out");
    project.file("input", b"raw \xff\0 bytes");
    let input = project.path("input").display().to_string();
    let digest = "1df7da65accc1b23ac7a260d9981a094e956983f23a38979e0ecc74db1e6cf75";
    exec(&["-l", "h1", "--stdin", &input, "--", "sha256sum"]).ends(0).says(digest);
    let lines = exec(&["-l", "h2", "--json", "--", "sh", "-c", "echo out; echo err >&2; exit 7"]).ends(3).out;
    let events: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
    assert!(events.iter().any(|event| event["stream"] == "stderr" && event["text"] == "err"), "{lines}");
    assert!(events.iter().any(|event| event["event"] == "end" && event["exit"] == 7), "{lines}");
    house.lab().heal("h3").expect("h3 is back");
}

/// Ctrl-C and kill -9 alike: nothing goes on running on a host.
pub(crate) fn exec_ends(house: &House) {
    let project = three(house, "exec-ends");
    let begin = |seconds: &str| {
        let script = format!("echo begun; sleep {seconds} & sleep {seconds}");
        let started = project.start(&["exec", "lab", "--lab", "-l", "h1:h2", "--", "sh", "-c", &script]);
        until("both hosts have begun", || started.said().matches("begun").count() == 2);
        started
    };
    let gone = |seconds: &str| {
        for host in ["h1", "h2"] {
            until("what it ran has ended", || !house.holds(host, &format!("pgrep -f '^sleep {seconds}$'")));
        }
    };
    let started = begin("4711");
    assert!(house.holds("h2", "pgrep -f '^sleep 4711$'"));
    started.ctrl_c();
    started.wait().ends(130).says("interrupted");
    gone("4711");

    let mut started = begin("4712");
    started.child.kill().expect("it is killed");
    started.child.wait().expect("it has ended");
    gone("4712");
}

/// One host is well, one has a user who may not use sudo and lacks a program, one is cut off.
pub(crate) fn doctor(house: &House) {
    let project = three(house, "doctor");
    project.only(
        &["h1", "h2", "h3"],
        "summary: x\nresources:\n  - group: { name: ships }\nhealth:\n  - http: { url: 'http://127.0.0.1/' }\n",
    );
    project.file("inventories/lab/environment.yml", "production: false\n");
    for host in ["h1", "h2"] {
        house.sh(host, "ln -sf /bin/true /usr/local/bin/wget");
    }
    let hosts = ["--ssh-config".to_owned(), house.lab().ssh_config().display().to_string()];
    let doctor = |more: &[&str]| {
        let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
        project.run(&[&["doctor", "lab"], &hosts[..], &QUICK[..], more].concat())
    };
    let run = doctor(&[]).ends(0).says("3 hosts ok").says("OpenSSH").says("environment.yml:1");
    assert!(run.out.lines().any(|line| line.starts_with("h1") && line.contains("root")), "{run}");

    house.sh("h2", "rm /usr/local/bin/wget; id landlubber 2>/dev/null || useradd --create-home landlubber");
    house.sh("h2", "install -d -o landlubber /home/landlubber/.ssh; install -o landlubber -m 600 /root/.ssh/authorized_keys /home/landlubber/.ssh/");
    let both = house.holds("h2", "command -v curl");
    project.file(
        "inventories/lab/hosts.yml",
        "groups:\n  all_hosts:\n    hosts: { h1: , h2: { user: landlubber, become: true }, h3: }\n",
    );
    house.lab().cut("h3").expect("h3 is cut off");
    let before = house.sh(
        "h2",
        "find / -xdev -newer /proc/1/stat -type f 2>/dev/null | grep -v -e /var/log -e /run -e wtmp -e lastlog -e /armilla/program/ | sort",
    );
    let run = doctor(&[]).ends(1).says("sudo on h2").says("h3 is unreachable").says("ping");
    let run = run.says("1 host ok 1 host with missing requirements 1 host unreachable");
    assert!(both || run.said().contains("apt-get install curl"), "{run}");
    let after = house.sh(
        "h2",
        "find / -xdev -newer /proc/1/stat -type f 2>/dev/null | grep -v -e /var/log -e /run -e wtmp -e lastlog -e /armilla/program/ | sort",
    );
    assert_eq!(before, after, "it only looked");
    doctor(&["-l", "h1:h3"]).ends(4);
    let run = doctor(&["-l", "h1", "--json"]).ends(0);
    let all: serde_json::Value = serde_json::from_str(&run.out).expect("JSON");
    assert_eq!((&all["format"], &all["hosts"][0]["host"]), (&"armilla-doctor".into(), &"h1".into()));
    house.lab().heal("h3").expect("h3 is back");
}

const ROLE: &str = r#"
summary: x
inputs:
  motto: { type: string, default: plain, description: what it says }
  half: { type: int, default: "{{ (facts.memory | int) // 2 }}" }
  token: { type: secret, default: hidden-4b1d }
resources:
  - directory: { path: /srv/explained }
  - file: { path: /srv/explained/motto, content: "{{ motto }}\n" }
  - file: { path: /srv/explained/token, content: "{{ token }}", mode: "0600" }
"#;

/// Values with their origins, and a resource before it is there, when it is, and after a hand has changed it.
pub(crate) fn explain(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -rf /srv/explained");
    let project = house.project("explain");
    project.only(&["h1"], ROLE).file("inventories/lab/host_vars/h1.yml", "motto: of the host\n");
    let explain = |more: &[&str]| project.run(&[&["explain", "lab", "--host", "h1", "--lab"], more].concat());

    let run = explain(&["motto"]).ends(0).says("\"of the host\"").says("inventories/lab/host_vars/h1.yml:1:8");
    run.says("file content roles/only/role.yml:9");
    let memory: u64 =
        house.sh("h1", "set -- $(grep ^MemTotal /proc/meminfo); echo $(($2 * 1024))").parse().expect("bytes");
    explain(&["half"]).ends(0).says(&(memory / 2).to_string());
    explain(&["half", "--offline"]).ends(0).says("not known").keeps(&(memory / 2).to_string());
    explain(&["token"]).ends(0).says("***").keeps("hidden-4b1d");

    explain(&["/srv/explained/motto"]).ends(0).says("now will change (add): is missing");
    project.apply(&[]).ends(0);
    explain(&["file", "/srv/explained/motto"]).ends(0).says("now in sync").says("after directory /srv/explained");
    house.sh("h1", "echo scribbled >/srv/explained/motto");
    explain(&["/srv/explained/motto"]).ends(0).says("- scribbled").says("+ of the host");
    house.sh("h1", "echo scribbled >/srv/explained/token");
    explain(&["/srv/explained/token"]).ends(0).says("differs (secret)").keeps("hidden-4b1d").keeps("scribbled");
    house.lab().cut("h1").expect("h1 is cut off");
    explain(&[&["/srv/explained/motto"][..], &QUICK[..]].concat()).ends(4).says("h1 is unreachable");
    explain(&["/srv/explained/motto", "--offline"]).ends(0).says("was not read");
    house.lab().heal("h1").expect("h1 is back");
}
