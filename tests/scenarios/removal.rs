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

/// A host is as it was before, but for what several of the packages needed together; what nothing needed before stays.
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
    // What only two packages together needed came for neither alone: it stays, as no longer needed, until somebody asks apt.
    sh(
        "apt-get autoremove --purge -y -q >/dev/null; dpkg -s tree >/dev/null 2>&1 || apt-get install -y -q --no-install-recommends tree >/dev/null 2>&1; apt-mark auto tree",
    );
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

/// A repository on the host: `keel` with a configuration file and data that its own script deletes when it is purged; `hull`
/// and `mast` depend on it.
const SHIPYARD: &str = r#"mkdir -p /srv/debs && cd /srv/debs && rm -rf ./* && : >Packages
deb() {
  mkdir -p "$1/DEBIAN" "$1/usr/share/$1"
  printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: Ada <ada@example.org>\nDescription: A part\n' "$1" >"$1/DEBIAN/control"
  [ -z "$2" ] || echo "Depends: $2" >>"$1/DEBIAN/control"
  if [ "$1" = keel ]; then
    mkdir keel/etc && echo 'oak' >keel/etc/keel.conf && echo /etc/keel.conf >keel/DEBIAN/conffiles
    printf '#!/bin/sh\n[ "$1" != purge ] || rm -rf /var/lib/keel\n' >keel/DEBIAN/postrm && chmod 755 keel/DEBIAN/postrm
  fi
  dpkg-deb --root-owner-group --build "$1" "$1.deb" >/dev/null
  { cat "$1/DEBIAN/control"; printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' "$1" "$(stat -c %s "$1.deb")" "$(sha256sum "$1.deb" | cut -d' ' -f1)"; } >>Packages
}
deb keel ''; deb hull keel; deb mast keel
echo 'deb [trusted=yes] file:/srv/debs ./' >/etc/apt/sources.list.d/shipyard.list
apt-get update -q >/dev/null"#;

/// What needs a package keeps it, and its data outlive it, unless somebody says that they are purged.
pub(crate) fn dependencies(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("dependencies");
    let sh = |script: &str| house.sh("h1", script);
    let role = |resources: &str| {
        project.only(&["h1"], &format!("summary: It.\nresources:\n{resources}"));
    };
    let there = |name: &str| {
        house.holds("h1", &format!("dpkg -s {name} 2>/dev/null | grep -q '^Status: install ok installed'"))
    };
    let data = || house.holds("h1", "test -e /var/lib/keel/log && test -e /etc/keel.conf");
    sh(SHIPYARD);
    role("  - package: keel\n");
    project.converges();
    sh("mkdir -p /var/lib/keel && echo miles >/var/lib/keel/log");

    // Somebody installs what depends on it.
    sh("DEBIAN_FRONTEND=noninteractive apt-get install -y -q hull >/dev/null 2>&1");
    role("  - file: { path: /srv/other, content: x }\n");
    project.plan(&[]).ends(0).says("package hull depends on it");
    project.apply(&[]).ends(0);
    assert!(there("keel") && there("hull") && data());

    // It leaves for what depends on it, in one run.
    sh("apt-get remove -y -q hull >/dev/null 2>&1");
    role("  - package: mast\n");
    project.plan(&[]).ends(0).says("1 to add").says("1 may change");
    project.apply(&[]).ends(0);
    assert!(there("keel") && there("mast") && data());
    project.plan(&["--detailed-exitcode"]).ends(0).says("package mast (which is in a role) depends on it");

    // What was planned without it is refused by the step itself.
    project.file("site.yml", "services: {}\n");
    let file = project.path("saved.plan");
    let file = file.to_str().expect("a path");
    project.plan(&["-o", file]).ends(0).says("2 to remove");
    sh("DEBIAN_FRONTEND=noninteractive apt-get install -y -q hull >/dev/null 2>&1");
    project.run(&["apply", file, "-y"]).ends(3).says("package keel changed since the plan was made");
    assert!(there("keel") && there("hull") && data());
    sh("apt-get remove -y -q hull >/dev/null 2>&1");

    // Both go; the data stay.
    project.converges();
    assert!(!there("keel") && !there("mast") && data());
    role("  - package: { name: keel, purge: true }\n");
    project.converges();
    project.file("site.yml", "services: {}\n");
    project.plan(&[]).ends(0).says("configuration deleted");
    project.converges();
    assert!(!there("keel") && !data() && !house.holds("h1", "test -e /var/lib/keel"));
}

/// Who is in a group, uses an account or requires a unit keeps them.
pub(crate) fn accounts_and_units(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("users");
    let sh = |script: &str| house.sh("h1", script);
    let unit = "[Service]\\nUser=sailor\\nExecStart=/bin/sleep infinity\\n[Install]\\nWantedBy=multi-user.target\\n";
    let role = format!(
        "summary: It.\nresources:\n  - group: {{ name: sailor }}\n  - user: {{ name: sailor, group: sailor, system: true }}\n  - unit: {{ name: sail.service, content: \"{unit}\" }}\n  - service: {{ name: sail, enabled: true }}\n"
    );
    project.only(&["h1"], &role);
    project.converges();
    sh("printf '[Unit]\\nRequires=sail.service\\n[Service]\\nExecStart=/bin/sleep infinity\\n' >/etc/systemd/system/theirs.service
systemctl daemon-reload; systemctl start theirs; useradd -G sailor passenger");
    project.file("site.yml", "services: {}\n");
    let plan = project.plan(&[]).ends(0).says("the unit theirs.service requires it").says("user passenger is in it");
    plan.says("service sail runs as it");
    project.apply(&[]).ends(0);
    assert!(house.holds("h1", "systemctl is-active -q sail theirs && id sailor"));

    sh("systemctl stop theirs; rm /etc/systemd/system/theirs.service; systemctl daemon-reload");
    sh(
        "echo '0 0 * * * true' >/var/spool/cron/crontabs/sailor 2>/dev/null || { mkdir -p /var/spool/cron/crontabs; echo '0 0 * * * true' >/var/spool/cron/crontabs/sailor; }",
    );
    project.plan(&[]).ends(0).says("it has a crontab");
    project.apply(&[]).ends(0);
    assert!(!house.holds("h1", "systemctl is-active -q sail || systemctl cat sail") && house.holds("h1", "id sailor"));
    sh("rm /var/spool/cron/crontabs/sailor");
    project.apply(&[]).ends(0);
    assert_eq!(sh("id sailor 2>/dev/null; getent group sailor | cut -d: -f1,4"), "sailor:passenger");
}

/// A keeper whose service writes into a directory of its own.
const KEEPER: &str = "summary: It.
resources:
  - group: { name: hold, system: true }
  - user: { name: keeper, group: hold, system: true }
  - directory: { path: /srv/hold, owner: keeper, group: hold }
  - unit:
      name: keep.service
      content: |
        [Service]
        User=keeper
        ExecStart=/bin/sh -c 'echo all >/srv/hold/log; exec sleep infinity'
  - service: { name: keep }
";

/// The user and the group of what stays stay, and the next system user gets another number; all goes where that is asked for.
pub(crate) fn accounts_with_data(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("data");
    let sh = |script: &str| house.sh("h1", script);
    project.only(&["h1"], KEEPER);
    project.converges();
    let owner = || sh("stat -c %U:%G /srv/hold/log");
    assert_eq!(owner(), "keeper:hold");
    project.file("site.yml", "services: {}\n");
    let plan = project.plan(&[]).ends(0).says("it is removed only if nothing stays in /srv/hold, which belongs to it");
    plan.says("3 may change");
    project.apply(&[]).ends(0);
    assert!(!house.holds("h1", "systemctl cat keep") && owner() == "keeper:hold");
    let plan = project.plan(&["--detailed-exitcode"]).ends(0).says("/srv/hold, which stays, belongs to it");
    plan.says("delete it by hand, or with --with-data");
    let number = sh("stat -c %u /srv/hold/log");
    assert_ne!(sh("useradd --system next && id -u next"), number, "the data would belong to another user");

    // The command that the plan suggests does it.
    let plan = project.plan(&["--with-data"]).ends(0).says("3 to remove").says("armilla apply lab --with-data --lab");
    project.suggested(&plan, "To apply this plan:").ends(0);
    assert!(!house.holds("h1", "test -e /srv/hold || id keeper || getent group hold"), "something is left");
    project.is_empty();
    project.plan(&[]).ends(0).keeps("Kept");

    // At once, where the service leaves; and where a person deletes the data.
    for last in [&["--with-data"][..], &[]] {
        project.only(&["h1"], KEEPER);
        project.converges();
        project.file("site.yml", "services: {}\n");
        if last.is_empty() {
            project.apply(&[]).ends(0);
            sh("rm -r /srv/hold");
        }
        project.apply(last).ends(0);
        assert!(!house.holds("h1", "test -e /srv/hold || id keeper || getent group hold"), "something is left");
        project.is_empty();
    }
}

fn same(before: &str, after: &str) {
    let gone = before.lines().filter(|line| !after.lines().any(|other| other == *line)).map(|line| format!("-{line}"));
    let new = after.lines().filter(|line| !before.lines().any(|other| other == *line)).map(|line| format!("+{line}"));
    let different: Vec<String> = gone.chain(new).collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
