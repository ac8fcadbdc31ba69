//! Archives, downloads and repositories on a real host, with the tools it has.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::house::{House, until};
use crate::project::Project;

/// Serves the files of a folder to the hosts for as long as the stories run; gives its address.
pub(crate) fn serve(house: &House, folder: PathBuf) -> String {
    let listener = TcpListener::bind((house.machine(), 0)).expect("a port on the bridge");
    let address = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let (mut request, mut chunk) = (Vec::new(), [0; 4096]);
            while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                match stream.read(&mut chunk) {
                    Ok(count) if count > 0 => request.extend(&chunk[..count]),
                    _ => break,
                }
            }
            let request = String::from_utf8_lossy(&request).into_owned();
            let path = request.split(' ').nth(1).unwrap_or("/").trim_start_matches('/').replace("..", "");
            let file = File::open(folder.join(path)).and_then(|file| Ok((file.metadata()?.len(), file)));
            let (status, length, file) = match file {
                Ok((length, file)) => ("200 OK", length, Some(file)),
                Err(_) => ("404 Not Found", 0, None),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
            // Several hosts may fetch at once what takes a while.
            std::thread::spawn(move || {
                let body = |mut stream| file.map_or(Ok(0), |mut file| std::io::copy(&mut file, &mut stream));
                let _ = stream.write_all(head.as_bytes()).and_then(|()| body(stream));
            });
        }
    });
    address
}

/// Runs a shell script on this machine in a folder of the project, and gives what it prints.
fn here(project: &Project<'_>, folder: &str, script: &str) -> String {
    let place = project.path(folder);
    std::fs::create_dir_all(&place).expect("its folder");
    #[expect(clippy::disallowed_methods, reason = "archives are made by the tools that people make them with")]
    let output = Command::new("sh").args(["-e", "-c", script]).current_dir(place).output().expect("sh starts");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// A tree with a version in it, packed in every way, in `files/` and in what is served.
fn pack(project: &Project<'_>, version: &str) {
    let script = format!(
        "mkdir -p app-{version}/bin ../web; cd app-{version}; echo {version} >VERSION
        printf '#!/bin/sh\\necho runs {version}\\n' >bin/app; chmod 755 bin/app; ln -sf ../VERSION bin/version; cd ..
        tar -cf app-{version}.tar app-{version}
        for with in gzip:gz xz:xz zstd:zst bzip2:bz2; do ${{with%:*}} -c <app-{version}.tar >app-{version}.tar.${{with#*:}}; done
        rm app-{version}/bin/version; zip -q -r app-{version}.zip app-{version}; cp app-{version}.* ../web"
    );
    here(project, "files", &script);
}

fn sha256(project: &Project<'_>, file: &str) -> String {
    here(project, "web", &format!("sha256sum {file} | cut -d' ' -f1"))
}

/// Files larger than plans and memory: sent once per host, in no plan, and never another one than was planned.
pub(crate) fn large_files(house: &House) {
    const HOSTS: [&str; 2] = ["h1", "h2"];
    house.fresh(&HOSTS);
    let project = house.project("large");
    let make = |name: &str, size: &str| here(&project, "files", &format!("head -c {size} /dev/urandom >{name}"));
    let digest = || here(&project, "files", "sha256sum <model.bin | cut -d' ' -f1");
    make("model.bin", "24M");
    make("app-1", "3M");
    here(&project, "files", "tar -cf app.tar app-1");
    project.only(
        &HOSTS,
        "summary: A model.\nresources:\n  - file: { path: /srv/model, src: model.bin, mode: \"0640\" }\n  - file: { path: /srv/copy, src: model.bin }\n  - archive: { src: app.tar, path: /opt/app }\n",
    );
    let file = project.path("saved.plan").display().to_string();
    let small = |path: &str| {
        let size = here(&project, ".", &format!("cat {path} | wc -c")).parse::<u64>().expect("a size");
        assert!(size < 200_000, "{path} has {size} bytes");
    };
    project.plan(&["-o", &file]).ends(0).says("content 25 MB, not text");
    small("saved.plan");
    project.run(&["apply", &file, "-y", "--lab"]).ends(0);
    small("state/runs/*/plan.json");
    let on_hosts = |script: &str, wanted: &str| {
        for host in HOSTS {
            assert_eq!(house.sh(host, script), wanted, "{host}: {script}");
        }
    };
    on_hosts(
        "sha256sum </srv/model | cut -d' ' -f1; stat -c %a /srv/model; cmp /srv/model /srv/copy",
        &format!("{}\n640", digest()),
    );
    on_hosts("stat -c %s /opt/app/app-1; ls -A /srv", "3145728\ncopy\nmodel");
    project.is_empty();
    // Planned, changed, and then applied: nothing happens anywhere.
    let first = digest();
    make("model.bin", "24M");
    project.plan(&["-o", &file]).ends(0).says("/srv/model");
    make("model.bin", "24M");
    project.run(&["apply", &file, "-y", "--lab"]).ends(1).says("files/model.bin was changed since the plan was made");
    on_hosts("sha256sum </srv/model | cut -d' ' -f1", &first);
    house.sh("h2", "echo edited >/srv/copy");
    project.converges();
    on_hosts("sha256sum </srv/copy | cut -d' ' -f1", &digest());
    // Other kinds keep their content in memory and in plans.
    project.only(&HOSTS, "summary: A script.\nresources:\n  - script: { name: large, src: model.bin }\n");
    project.run(&["validate", "lab"]).ends(1).says("files/model.bin is larger than 1 MiB");
}

/// Every packing from the project's files, one from a server; an upgrade under a reader's eyes; a roll back; the end.
pub(crate) fn archives(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("archives");
    pack(&project, "1");
    pack(&project, "2");
    let address = serve(house, project.path("web"));
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    let digest = |version: &str| sha256(&project, &format!("app-{version}.tar.gz"));
    let role = |version: &str, more: &str| {
        let url = format!("url: \"{address}/app-{version}.tar.gz\", sha256: {}", digest(version));
        let app = format!("{{ {url}, path: /opt/app-{version}, link: /opt/app, strip: 1, keep: 1, group: adm }}");
        format!("summary: An application.\nresources:\n  - archive: {app}\n{more}")
    };
    // What unpacks it comes with the same plan.
    let mut all = String::from("  - package: xz-utils\n  - package: zstd\n  - package: bzip2\n  - package: unzip\n");
    for (name, suffix) in
        [("tar", "tar"), ("gz", "tar.gz"), ("xz", "tar.xz"), ("zst", "tar.zst"), ("bz2", "tar.bz2"), ("zip", "zip")]
    {
        let _ = writeln!(
            all,
            "  - archive: {{ src: app-1.{suffix}, path: /srv/deep/{name}, strip: 1, owner: nobody, group: nogroup }}"
        );
    }
    let _ = writeln!(
        all,
        "  - download: {{ url: \"{address}/app-1.zip\", sha256: {}, path: /srv/app.zip, mode: \"0600\" }}",
        sha256(&project, "app-1.zip")
    );
    project.only(&["h1"], &role("1", &all));
    project.plan(&["--detailed-exitcode"]).ends(2).says("/opt/app-1");
    project.converges();
    is("for i in /srv/deep/*; do cat $i/VERSION; $i/bin/app; done | sort | uniq -c | tr -s ' '", "6 1\n 6 runs 1");
    is(
        "find /srv/deep ! -user nobody ! -name .armilla-archive ! -path /srv/deep; ls -A /srv/deep | grep '^[.]' || true",
        "",
    );
    is(
        "readlink /opt/app; /opt/app/bin/app; cat /opt/app/bin/version; stat -c '%a %U:%G' /opt/app/VERSION",
        "/opt/app-1\nruns 1\n1\n644 root:adm",
    );
    is("stat -c '%a %U' /srv/app.zip; unzip -p /srv/app.zip app-1/VERSION", "600 root\n1");
    // What programs write beside themselves is no difference, and stays; a download that was edited is fetched again.
    house.sh("h1", "touch /opt/app-1/log; echo x >>/srv/app.zip; chmod 644 /srv/app.zip");
    project.plan(&["--detailed-exitcode"]).ends(2).says("/srv/app.zip").keeps("/opt/app-1");
    project.converges();
    is("stat -c %a /srv/app.zip; unzip -p /srv/app.zip app-1/VERSION; ls /opt/app-1/log", "600\n1\n/opt/app-1/log");

    // Somebody reads all the time while the next version comes.
    let reader = "setsid sh -c 'while [ ! -e /tmp/enough ]; do cat /opt/app/VERSION || echo gap; done >/tmp/read 2>&1; touch /tmp/ended' >/dev/null 2>&1 &";
    house.sh("h1", reader);
    project.only(&["h1"], &role("2", ""));
    project.converges();
    house.sh("h1", "sleep 0.2; touch /tmp/enough");
    until("the reader ends", || house.holds("h1", "test -e /tmp/ended"));
    is("uniq /tmp/read", "1\n2");
    is("readlink /opt/app; ls -d /opt/app-*", "/opt/app-2\n/opt/app-1\n/opt/app-2");

    // Back, by the link alone; then without the other.
    project.only(&["h1"], &role("1", ""));
    project.converges();
    is("cat /opt/app/VERSION; ls /opt/app/log", "1\n/opt/app/log");
    project.only(&["h1"], &role("1", "").replace("keep: 1", "keep: 0"));
    project.plan(&[]).ends(0).says("/opt/app-2");
    project.converges();
    is("ls -d /opt/app-*; cat /opt/app/VERSION", "/opt/app-1\n1");

    project.only(&["h1"], "summary: Gone.\nresources:\n  - archive: { path: /opt/app-1, link: /opt/app, state: absent }\n  - download: { path: /srv/app.zip, state: absent }\n");
    project.converges();
    is("ls -A /opt; ls /srv", "deep");
}

/// A way out of the directory, a wrong digest and a missing tool stop that resource, and nothing else is touched.
pub(crate) fn f33_hostile(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -rf /opt/* /srv/*; mkdir /opt/there; touch /opt/there/precious");
    let project = house.project("hostile-archives");
    here(
        &project,
        "web",
        "echo x >evil; mkdir -p deep; tar -P -cf up.tar -C deep ../evil; ln -s /etc link; tar -cf link.tar link; mkfifo p; tar -cf pipe.tar p; tar -czf fine.tgz evil",
    );
    here(&project, "files", "cp ../web/*.tar ../web/*.tgz .");
    let address = serve(house, project.path("web"));
    let role = |archive: &str| {
        project.only(&["h1"], &format!("summary: Evil.\nresources:\n  - archive: {{ {archive} }}\n")).apply(&[])
    };
    role("src: up.tar, path: /opt/x/tree").ends(3).says("leads out of it");
    role("src: link.tar, path: /opt/x/tree").ends(3).says("leads out of it, to /etc");
    role("src: pipe.tar, path: /opt/x/tree").ends(3).says("a device, pipe");
    role("src: fine.tgz, path: /opt/there").ends(1).says("was not unpacked by armilla");
    role(&format!("url: \"{address}/fine.tgz\", sha256: {}, path: /opt/x/tree", "f".repeat(64)))
        .ends(3)
        .says("it was thrown away");
    role(&format!("url: \"{address}/none\", sha256: {}, path: /opt/x/tree", "f".repeat(64))).ends(3).says("404");
    assert_eq!(house.sh("h1", "find /opt -mindepth 1 | sort"), "/opt/there\n/opt/there/precious\n/opt/x");
}

/// A package with this version.
const DEB: &str = "mkdir -p tree/DEBIAN tree/usr/share/observatory; echo VERSION >tree/usr/share/observatory/version
printf 'Package: observatory-data\\nVersion: VERSION\\nArchitecture: all\\nMaintainer: Ada <ada@example.org>\\nDescription: Stars\\n' >tree/DEBIAN/control
dpkg-deb --root-owner-group --build tree web/observatory.deb
(cat tree/DEBIAN/control; printf 'Filename: ./observatory.deb\\nSize: %s\\nSHA256: %s\\n' $(stat -c %s web/observatory.deb) $(sha256sum web/observatory.deb | cut -d' ' -f1)) >web/Packages
printf 'Origin: observatory\\nSuite: stable\\nDate: %s\\nSHA256:\\n %s %s Packages\\n' \"$(date -Ru)\" $(sha256sum web/Packages | cut -d' ' -f1) $(stat -c %s web/Packages) >Release
export GNUPGHOME=$(mktemp -d); trap 'gpgconf --kill all; rm -rf $GNUPGHOME' EXIT
[ ! -e KEYFILE ] || gpg -q --batch --import KEYFILE
[ -e KEYFILE ] || { gpg -q --batch --passphrase '' --quick-gen-key 'Observatory KEYFILE <ada@example.org>' ed25519 sign never; gpg -q --armor --export-secret-keys >KEYFILE; }
mkdir -p files; gpg --armor --export >files/KEYFILE.asc; gpg --export >files/KEYFILE.gpg
rm -f web/InRelease; gpg -q --batch --clearsign -o web/InRelease Release";

fn publish(project: &Project<'_>, version: &str, key: &str) {
    here(project, "web", "true");
    here(project, ".", &DEB.replace("VERSION", version).replace("KEYFILE", key));
}

/// A signed repository made here, and a package from it in the same plan; another key; the end.
pub(crate) fn repository(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("repository");
    publish(&project, "1.0", "right");
    let address = serve(house, project.path("web"));
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    let role = |key: &str, version: &str| {
        let source = format!("{{ name: observatory, url: \"{address}\", suites: [./], {key} }}");
        project.only(&["h1"], &format!("summary: Stars.\nresources:\n  - repository: {source}\n  - package: {{ name: observatory-data, version: \"{version}\" }}\n"))
    };
    // The proxy of the lab is for archives of the world. Lists that are fresh do not know the package.
    let direct = format!("Acquire::http::Proxy::{} \"DIRECT\";", house.machine());
    house.sh("h1", &format!("echo '{direct}' >/etc/apt/apt.conf.d/99direct; apt-get update -q"));
    role("src: right.asc", "1.0").plan(&["--detailed-exitcode"]).ends(2).says("observatory");
    project.converges();
    is(
        "cat /usr/share/observatory/version; ls /etc/apt/keyrings /etc/apt/sources.list.d",
        "1.0\n/etc/apt/keyrings:\nobservatory.asc\n\n/etc/apt/sources.list.d:\nobservatory.sources",
    );
    is("apt-get update -q 2>&1 | grep -c '^[WE]:' || true", "0");

    // Signed by somebody else, and the key of that one is not known: what is there stays, and is tried again.
    publish(&project, "2.0", "wrong");
    project.file("files/none", "");
    role("src: right.gpg", "1.0").apply(&[]).ends(3).says("observatory");
    is("grep Signed-By /etc/apt/sources.list.d/observatory.sources", "Signed-By: /etc/apt/keyrings/observatory.asc");
    project.plan(&["--detailed-exitcode"]).ends(2);

    // The new key, binary, and the new version with it: the lists of before did not know it.
    role("src: wrong.gpg", "2.0");
    project.converges();
    is("cat /usr/share/observatory/version; ls /etc/apt/keyrings", "2.0\nobservatory.gpg");

    project.only(&["h1"], "summary: Gone.\nresources:\n  - package: { name: observatory-data, state: absent }\n  - repository: { name: observatory, state: absent }\n");
    project.converges();
    is(
        "ls -A /etc/apt/keyrings /usr/share/observatory 2>/dev/null; ls /etc/apt/sources.list.d; true",
        "/etc/apt/keyrings:",
    );
}
