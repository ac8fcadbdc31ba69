//! What a real host was before a change, it is again: files, links, units, packages and archives, also when it dies in the
//! middle of putting them back.
//!
//! In: steps, given to a host as a plan would. Out: what it looks like. Never: a package from anywhere but the host itself.

use std::time::Duration;

use armilla::inventory::Endpoint;
use armilla::name::{EnvName, HostName};
use armilla::step::{Outcome, Snapshot, Step, Touched};
use armilla::transport::{Connections, Order, SshOptions, Transport as _, TransportError};

use crate::house::{House, until};

const KEPT: &str = "/var/lib/armilla/host/staging@h1/undo/app";

/// An archive of the host's own, with versions of a package that has a service, and of one that comes with it.
const ARCHIVE: &str = r#"
set -e
make() {
  folder=/srv/repo/$1-$2
  mkdir -p "$folder/DEBIAN" "$folder/usr/share/$1" "$folder/etc/$1"
  echo "$2" >"$folder/usr/share/$1/version"
  echo "setting of $2" >"$folder/etc/$1/main.conf"
  echo "/etc/$1/main.conf" >"$folder/DEBIAN/conffiles"
  printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: x\n%s' "$1" "$2" "$3" >"$folder/DEBIAN/control"
  if [ "$1" = app ]; then
    mkdir -p "$folder/usr/lib/systemd/system"
    printf '[Service]\nExecStart=/bin/sh -c "cat /etc/app/own.conf >/run/app.read; exec sleep infinity"\n[Install]\nWantedBy=multi-user.target\n' >"$folder/usr/lib/systemd/system/app.service"
    printf '#!/bin/sh\nsystemctl daemon-reload\nsystemctl enable -q app.service\nsystemctl restart app.service\n' >"$folder/DEBIAN/postinst"
    chmod 755 "$folder/DEBIAN/postinst"
  fi
  dpkg-deb --root-owner-group -b "$folder" "/srv/repo/$1_$2_all.deb" >/dev/null
}
list() {
  cd /srv/repo
  for deb in *.deb; do
    dpkg-deb -f "$deb"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$deb" "$(stat -c %s "$deb")" "$(sha256sum <"$deb" | cut -d' ' -f1)"
  done >Packages
  apt-get update -qq -o Dir::Etc::SourceParts=- -o Dir::Etc::SourceList=/etc/apt/sources.list.d/own.list -o APT::Get::List-Cleanup=0
}
"#;

/// A host with a service that was rolled out well, and everything that will change.
const FURNISH: &str = r"
mkdir -p /srv/repo /etc/app
echo 'deb [trusted=yes] file:/srv/repo ./' >/etc/apt/sources.list.d/own.list
make app 1.0 ''
make app 2.0 'Depends: app-data
'
make app-data 1.0 ''
make beside 1.0 ''
make gone 1.0 ''
list
echo 'own 1' >/etc/app/own.conf
chmod 640 /etc/app/own.conf
chown nobody:nogroup /etc/app/own.conf
apt-get install -y -qq app=1.0 gone=1.0 >/dev/null 2>&1
apt-mark hold gone >/dev/null
echo 'edited by hand' >/etc/app/main.conf
printf '[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/idle.service
systemctl daemon-reload
ln -sfn /opt/app-1 /opt/app
mkdir -p /opt/app-1/bin
echo 1 >/opt/app-1/.armilla-archive
echo 'program 1' >/opt/app-1/bin/run
chmod 755 /opt/app-1/bin/run
chown -R nobody:nogroup /opt/app-1/bin
";

/// What the change makes of it, as the steps of a plan would.
const CHANGE: &str = r#"
export DEBIAN_FRONTEND=noninteractive
echo 'own 2' >/etc/app/own.new
chmod 600 /etc/app/own.new
mv /etc/app/own.new /etc/app/own.conf
apt-get install -y -qq -o Dpkg::Options::=--force-confold app=2.0 beside >/dev/null 2>&1
apt-mark unhold gone >/dev/null
apt-get purge -y -qq gone >/dev/null 2>&1
mkdir -p /etc/systemd/system/app.service.d
printf '[Service]\nEnvironment=A=2\n' >/etc/systemd/system/app.service.d/a.conf
printf '[Service]\nExecStart=/bin/sleep infinity\nExecStop=/bin/sh -c "[ ! -e /run/slow ] || sleep 60"\nTimeoutStopSec=120\n[Install]\nWantedBy=multi-user.target\n' >/etc/systemd/system/fresh.service
systemctl daemon-reload
systemctl enable -q --now fresh.service idle.service
systemctl restart app.service
systemctl disable -q app.service
rm -rf /opt/app-1
mkdir -p /opt/app-1 /opt/app-2/bin
echo 2 | tee /opt/app-1/.armilla-archive >/opt/app-2/.armilla-archive
ln -sfn /opt/app-2 /opt/app
"#;

/// Everything that a person could tell the two states apart by, but times and what dpkg lays beside a file that was edited.
const LOOK: &str = r"
cd /
find etc/app* etc/beside etc/gone opt etc/systemd/system usr/share/app* usr/share/gone -printf '%p %y %m %U:%G %l\n' 2>/dev/null | grep -v dpkg-dist | sort
find etc/app* etc/beside etc/gone opt etc/systemd/system usr/share/app* -type f -exec sha256sum {} + 2>/dev/null | grep -v dpkg-dist | sort -k2
dpkg-query -W -f '${Package} ${Version} ${db:Status-Abbrev}\n' 2>/dev/null | grep -E '^(app|app-data|beside|gone) ' | grep -v 'un $'
apt-mark showauto app app-data beside gone; apt-mark showhold
for unit in app fresh idle; do echo $unit $(systemctl is-active $unit) $(systemctl is-enabled $unit 2>/dev/null); done
cat /run/app.read
";

fn touched() -> Vec<Touched> {
    let path = |path: &str| Touched::Path(path.to_owned());
    let unit = |unit: &str| Touched::Unit(unit.to_owned());
    let package = |package: &str| Touched::Package(package.to_owned());
    vec![
        path("/etc/app/own.conf"),
        package("app"),
        package("beside"),
        package("gone"),
        path("/etc/systemd/system/app.service.d"),
        path("/etc/systemd/system/app.service.d/a.conf"),
        path("/etc/systemd/system/fresh.service"),
        unit("fresh.service"),
        unit("idle.service"),
        unit("app.service"),
        path("/opt/app-1"),
        path("/opt/app-2"),
        path("/opt/app"),
    ]
}

/// A controller with a connection of its own.
struct Controller(Connections);

impl Controller {
    fn new(house: &House) -> Self {
        let config = Some(house.ssh_config().into());
        Self(Connections::new(SshOptions { config, connect_timeout: Duration::from_secs(5), ..SshOptions::default() }))
    }

    fn perform(&self, step: Step) -> Result<Outcome, TransportError> {
        let host = Endpoint::new(HostName::new("h1").expect("a name"));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        let done = runtime.block_on(self.0.perform(&host, Order::of(&[step]), &|_| {}));
        done.map(|mut outcomes| outcomes.pop().expect("an outcome"))
    }

    fn done(&self, step: Step) {
        assert_eq!(self.perform(step), Ok(Outcome::Done));
    }

    fn fails(&self, step: Step) -> String {
        match self.perform(step) {
            Ok(Outcome::Failed { stderr, .. }) => stderr,
            other => panic!("{other:?}"),
        }
    }
}

fn environment() -> EnvName {
    EnvName::new("staging").expect("a name")
}

fn snapshot() -> Step {
    Step::Snapshot(Snapshot { owner: environment().into(), name: "app".to_owned(), touched: touched() })
}

fn undo() -> Step {
    Step::Undo { owner: environment().into(), name: "app".to_owned() }
}

/// A furnished host, and what it looks like.
fn furnished(house: &House) -> String {
    house.fresh(&["h1"]);
    house.sh("h1", &format!("{ARCHIVE}{FURNISH}"));
    until("the service has read its file", || house.holds("h1", "grep -q 'own 1' /run/app.read"));
    house.sh("h1", LOOK)
}

fn changed(house: &House, before: &str) {
    house.sh("h1", &format!("set -e\n{CHANGE}"));
    until("the service has read its file", || house.holds("h1", "grep -q 'own 2' /run/app.read"));
    let now = house.sh("h1", LOOK);
    for part in
        ["app 2.0", "app-data 1.0", "beside 1.0", "fresh active enabled", "idle active enabled", "app active disabled"]
    {
        assert!(now.contains(part) && !before.contains(part), "{part}: {now}");
    }
}

/// Holds what is there against what was, once the service has read its file.
fn same(house: &House, before: &str, when: &str) {
    until("the service has read its file again", || house.holds("h1", "grep -q 'own 1' /run/app.read"));
    let now = house.sh("h1", LOOK);
    let (now, before): (Vec<&str>, Vec<&str>) = (now.lines().collect(), before.lines().collect());
    let lost: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
    let more: Vec<_> = now.iter().filter(|line| !before.contains(line)).collect();
    assert!(now == before, "{when}: lost {lost:#?}, more {more:#?}");
}

/// Everything comes back byte for byte, whenever the program that does it is killed, and when the power goes.
pub(crate) fn put_back(house: &House) {
    let before = furnished(house);
    let controller = Controller::new(house);
    controller.done(snapshot());
    changed(house, &before);
    controller.done(undo());
    same(house, &before, "at once");
    assert_eq!(controller.perform(undo()), Ok(Outcome::NotNeeded));
    assert_eq!(house.sh("h1", "cat /var/lib/armilla/host/staging@h1/journal"), "undone app");
    assert_eq!(house.sh("h1", &format!("stat -c %a {KEPT} {KEPT}/restore")), "700\n700");

    // The program itself, without us; killed at its crash point of some number, and done again.
    let restore = |at: usize| {
        format!(
            "rm -f /tmp/armilla-crash-points; ARMILLA_CRASH_HOST_AT={at} {KEPT}/restore; ended=$?; cat /tmp/armilla-crash-points; exit $ended"
        )
    };
    controller.done(snapshot());
    changed(house, &before);
    let points: usize = house.sh("h1", &restore(0)).parse().expect("a number");
    assert!(points > 8, "it has only {points} crash points");
    for part in 0..7 {
        let number = 1 + part * (points - 1) / 6;
        controller.done(snapshot());
        changed(house, &before);
        assert!(!house.holds("h1", &restore(number)), "it was not killed");
        house.sh("h1", &format!("{KEPT}/restore"));
        same(house, &before, &format!("killed at crash point {number} of {points}"));
    }

    // The power goes while a unit is being stopped.
    controller.done(snapshot());
    changed(house, &before);
    house.sh("h1", "touch /run/slow");
    let cut = std::thread::spawn(move || controller.perform(undo()));
    until("it is putting back", || house.holds("h1", "systemctl is-active fresh | grep -q deactivating"));
    house.lab().kill(&["h1"], &mut |_| {}).expect("the power goes");
    house.lab().boot(&["h1"], &mut |_| {}).expect("the power comes");
    house.lab().wait(&["h1"]).expect("the host answers");
    assert!(matches!(cut.join().expect("it ends"), Err(TransportError::Lost { .. })));
    Controller::new(house).done(undo());
    same(house, &before, "after a loss of power");
}

/// The version that was there is nowhere any more: it is said which, the rest comes back, and with it all does. Half of what
/// was to be kept is never put back.
pub(crate) fn f28_nothing_to_go_back_to(house: &House) {
    let before = furnished(house);
    let controller = Controller::new(house);
    assert!(controller.fails(undo()).contains("nothing was kept of app on this host"));
    controller.done(snapshot());
    changed(house, &before);
    house.sh(
        "h1",
        &format!("{ARCHIVE}mv /srv/repo/app_1.0_all.deb /srv/gone.deb; list; rm -f /var/cache/apt/archives/app_*"),
    );
    let why = controller.fails(undo());
    assert!(why.contains("package app: it cannot be restored to the version 1.0: "), "{why}");
    assert!(why.contains("Version '1.0' for 'app' was not found"), "{why}");
    assert_eq!(
        house.sh("h1", "cat /etc/app/own.conf /opt/app-1/bin/run; systemctl is-active fresh || :"),
        "own 1\nprogram 1\ninactive"
    );
    assert!(!house.holds("h1", "test -e /var/lib/armilla/host/staging@h1/journal"), "it is not over");
    house.sh("h1", &format!("{ARCHIVE}mv /srv/gone.deb /srv/repo/app_1.0_all.deb; list"));
    controller.done(undo());
    same(house, &before, "with the version again");

    // As a loss of power leaves it in the middle of keeping.
    controller.done(snapshot());
    house.sh("h1", &format!("mv {KEPT} {KEPT}/../.new-app; echo changed >/etc/app/own.conf"));
    assert!(controller.fails(undo()).contains("nothing was kept of app on this host"));
    assert_eq!(house.sh("h1", "cat /etc/app/own.conf"), "changed");
}
