//! What is taken away leaves nothing on a real host.

use crate::house::House;

/// Packages, configuration in force, accounts: all that lasts, but for caches and logs.
const LASTS: &str = "export LC_ALL=C
dpkg -l | sed 's/  */ /g'
dpkg --get-selections; apt-mark showauto; apt-mark showhold
find /etc -xdev ! -path /etc/ld.so.cache -printf '%y %m %u:%g %p %l\\n' | sort
find /etc -xdev -type f ! -path /etc/ld.so.cache -exec sha256sum {} + | sort -k 2
getent passwd; getent group";

const MADE: &str = r#"
summary: Packages, with what they need.
resources:
  - package: tmux
  - package: { name: screen, hold: true }
  - package: nginx
  - line: { path: /etc/nginx/nginx.conf, match: "worker_connections ", line: "\tworker_connections 512;" }
"#;

/// A part of a file goes while the file is still there.
const PARTLY: &str = "
summary: Packages, with what they need.
resources:
  - package: tmux
  - package: { name: screen, hold: true }
  - package: nginx
";

const UNMADE: &str = r"
summary: No packages.
resources:
  - package: { name: nginx, state: absent, purge: true }
  - package: { name: screen, state: absent, purge: true, hold: false }
  - package: { name: tmux, state: absent, purge: true }
";

/// A host is as it was before: also what two packages needed together goes, and what nothing needed before stays.
pub(crate) fn packages(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("removal");
    let sh = |script: &str| house.sh("h1", script);
    sh(
        "apt-get update -q >/dev/null && apt-get install -y -q --no-install-recommends tree >/dev/null 2>&1 && apt-mark auto tree",
    );
    let before = sh(LASTS);
    project.only(&["h1"], MADE);
    project.converges();
    assert_eq!(sh("dpkg -s libutempter0 nginx-common | grep -c '^Status: install ok installed'"), "2");
    project.only(&["h1"], PARTLY);
    project.converges();
    project.only(&["h1"], UNMADE);
    project.plan(&["--detailed-exitcode"]).ends(2).says("nginx-common");
    project.converges();
    same(&before, &sh(LASTS));

    // What was only removed keeps its configuration, until that is not wanted either.
    project.only(&["h1"], "summary: One.\nresources:\n  - package: screen\n");
    project.converges();
    project.only(&["h1"], "summary: None.\nresources:\n  - package: { name: screen, state: absent }\n");
    project.converges();
    assert_eq!(sh("dpkg -l screen | tail -n 1 | cut -c 1-2; ls /etc/screenrc"), "rc\n/etc/screenrc");
    project.only(&["h1"], "summary: None.\nresources:\n  - package: { name: screen, state: absent, purge: true }\n");
    project.converges();
    assert_eq!(sh("ls /etc/screenrc 2>/dev/null; dpkg -l screen 2>/dev/null | grep -c ^rc || true"), "0");
}

fn same(before: &str, after: &str) {
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line)).map(|line| format!("-{line}"));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line)).map(|line| format!("+{line}"));
    let different: Vec<String> = gone.chain(new).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
