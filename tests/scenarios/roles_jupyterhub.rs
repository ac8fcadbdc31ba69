//! Notebooks on a real host: users compute while hub and proxy restart, break and change around them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::artifacts::serve;
use crate::house::{House, until};
use crate::project::Project;

/// `JupyterHub` behind nginx, one user with a kernel, what all hosts have.
pub(crate) fn jupyterhub(house: &House) {
    house.fresh(&[HOST]);
    house.sh(HOST, "useradd --create-home ada");
    let project = house.project("jupyterhub");
    project.hosts(&[HOST]);
    let (folder, wheels) = downloads();
    let address = serve(house, folder);
    let wheels = format!("path: /opt/wheels, url: \"{address}/wheels.tar\", sha256: {wheels}, strip: 1");
    project.file("roles/wheels/role.yml", format!("resources:\n  - archive: {{ {wheels} }}\n"));
    let site = |more: &str| {
        let vars = format!("npm_registry: \"{address}\", {more}");
        project.file("site.yml", SITE.replace("VARS", &vars).replace("CLIENT", API_CLIENT))
    };

    // What lets anybody in is refused, and so is what lets nobody in.
    site("authenticator: dummy, users: [ada]");
    project.plan(&[]).ends(1).says("`dummy` lets anybody in, as anybody");
    site("test: true");
    project.plan(&[]).ends(1).says("nobody may log in");

    site("users: [ada]");
    project.apply(&[]).ends(0).says("Converged");
    project.is_empty();
    assert_eq!(
        house.sh(HOST, "stat -c %a /var/lib/jupyterhub/proxy.env /etc/jupyterhub/jupyterhub_config.py"),
        "600\n600"
    );
    assert!(house.holds(HOST, "getent hosts h1.lab.example && grep -q somaxconn /etc/sysctl.d/* && common-state"));

    // She works by way of nginx. Her kernel is the same all the time.
    ada(house, "start");
    let kernel = ada(house, "work");
    house.sh(HOST, "systemctl restart jupyterhub");
    assert_eq!(ada(house, "work"), kernel, "while the hub starts");
    until("the hub is there", || house.holds(HOST, "jupyterhub-state"));
    house.sh(HOST, "systemctl restart jupyterhub-proxy");
    until("the new proxy has the route to her", || house.holds(HOST, &client("work")));
    assert_eq!(ada(house, "work"), kernel, "with a new proxy");
    // A proxy that is alone, and a hub that hangs, are no JupyterHub.
    house.sh(HOST, "systemctl kill -s KILL jupyterhub");
    project.plan(&["--detailed-exitcode"]).ends(2).says("unhealthy now: h1").says("! start jupyterhub");
    project.converges();
    house.sh(HOST, "systemctl kill -s STOP jupyterhub");
    project.run(&["verify", "lab", "--lab"]).ends(3).says("the hub does not answer");
    house.sh(HOST, "systemctl kill -s CONT jupyterhub");

    // One input of the hub: neither the proxy nor her server restarts.
    let lives = |units: &str| house.sh(HOST, &format!("systemctl show -p MainPID --value {units}"));
    let (hub, others) = (lives("jupyterhub"), lives("jupyterhub-proxy jupyter-ada-singleuser"));
    site("users: [ada], user_memory: 1G");
    project.converges();
    assert_ne!(lives("jupyterhub"), hub);
    assert_eq!(lives("jupyterhub-proxy jupyter-ada-singleuser"), others);
    // One of the proxy: its plan says that it restarts.
    site("users: [ada], user_memory: 1G, proxy_api_port: 8011");
    project.plan(&["--detailed-exitcode"]).ends(2).says("restart the proxy");
    project.converges();
    assert_eq!(ada(house, "work"), kernel, "with a proxy of another port");

    removed(house, &project);
}

/// Nothing is left but what users have made.
fn removed(house: &House, project: &Project<'_>) {
    project.run(&["destroy", "lab", "--lab", "--confirm", "lab"]).ends(0);
    let left = "ls -d /opt/* /etc/jupyterhub /etc/systemd/system/jupyter* /usr/local/bin/j* /etc/nginx/armilla \
        /etc/systemd/journald.conf.d/zz-armilla.conf 2>/dev/null; ps -eo comm= | grep -E 'node|python|jupyter'; true";
    assert_eq!(house.sh(HOST, left), "");
    assert_eq!(
        house.sh(HOST, "ls /var/lib/jupyterhub /home/ada"),
        "/home/ada:\nbook.ipynb\n\n/var/lib/jupyterhub:\ncookie_secret\njupyterhub.sqlite\nproxy.env"
    );
}

const HOST: &str = "h1";

const SITE: &str = "
services:
  common:
    hosts: all_hosts
    vars:
      hosts_entries: true
      domain: lab.example
      time: none
      sysctl: { net.core.somaxconn: 4096, net.ipv4.tcp_fin_timeout: 10 }
  wheels: { hosts: all_hosts }
  jupyterhub:
    hosts: all_hosts
    needs: { wheels: wheels }
    vars: { VARS, index_url: \"\", find_links: /opt/wheels, api_clients: { scheduler: CLIENT } }
  nginx:
    hosts: all_hosts
    needs: { jupyterhub: jupyterhub }
    vars: { routes: [{ service: jupyterhub }] }
";

const API_CLIENT: &str =
    "{ token: 0123456789abcdef0123456789abcdef, scopes: [\"admin:servers\", \"access:servers\", \"admin:users\"] }";

/// The folder with what the role's two lists name, and the digest of the archive of wheels. Lab hosts reach no registry, so all is
/// fetched here, once per checkout.
fn downloads() -> (PathBuf, String) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("archives/jupyterhub");
    std::fs::create_dir_all(&folder).expect("a folder for archives");
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/roles/jupyterhub/files");
    #[expect(clippy::disallowed_methods, reason = "pip and curl know this machine's proxy and certificates")]
    let output =
        Command::new("python3").args(["-c", FETCH, files]).current_dir(&folder).output().expect("python3 starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (folder, String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Makes `wheels.tar` and a registry with the packages of the lists, if they are not there, and prints the digest of the former.
const FETCH: &str = r#"
import hashlib, os, shutil, subprocess, sys, tarfile, venv

def digest(name):
    return hashlib.sha256(open(name, "rb").read()).hexdigest()

def unless(name, lock, make):
    # Made from this list, and whole.
    known = name + ".from"
    if not (os.path.exists(name) and os.path.exists(known) and open(known).read() == digest(lock)):
        make(name, lock)
        with open(known, "w") as file:
            file.write(digest(lock))

def wheels(name, lock):
    shutil.rmtree("wheels", ignore_errors=True)
    # As the list says: for Debian's Python, not this machine's.
    venv.create("fetcher", with_pip=True)
    subprocess.run(["fetcher/bin/python", "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--require-hashes", "--only-binary", ":all:", "--python-version", "3.11.2",
        "--dest", "wheels", "--requirement", lock], check=True)
    with tarfile.open(name, "w") as archive:
        archive.add("wheels")

def proxy(lock):
    for line in open(lock):
        if line[0] == '#':
            continue
        _, package, wanted = line.split()
        name, _, version = package.rpartition("@")
        path = f"{name}/-/{name.rpartition('/')[2]}-{version}.tgz"
        if not os.path.exists(path) or "sha256:" + digest(path) != wanted:
            url = "https://registry.npmjs.org/" + path
            subprocess.run(["curl", "-fsSL", "--retry", "3", "--create-dirs", "-o", path, url], check=True)

files = sys.argv[1]
unless("wheels.tar", files + "/jupyterhub-6.1.1.lock", wheels)
proxy(files + "/configurable-http-proxy-5.1.0.lock")
print(digest("wheels.tar"))
"#;

/// A shell command that does this as the user `ada`.
fn client(verb: &str) -> String {
    format!("/opt/jupyterhub/bin/python - {verb} <<'EOF'\n{CLIENT}\nEOF")
}

/// What it says: her kernel and its result for `work`.
fn ada(house: &House, verb: &str) -> String {
    let said = house.sh(HOST, &client(verb));
    assert!(said == "ready" || said.ends_with(" 5050"), "{said}");
    said
}

/// A program that uses the hub's API, and the server of a user like her browser does.
const CLIENT: &str = r#"
import json, sys, time, uuid
import requests, websocket

TOKEN, URL, SERVER = "token 0123456789abcdef0123456789abcdef", "http://127.0.0.1:80", "/user/ada/"
session = requests.Session()
session.trust_env = False
session.headers["Authorization"] = TOKEN

def ask(method, path, **more):
    answer = session.request(method, URL + path, timeout=30, **more)
    assert answer.ok or answer.status_code == 409, (method, path, answer.status_code, answer.text[:300])
    return answer.json() if answer.text else None

def compute(kernel, code):
    socket = websocket.create_connection(f"ws://127.0.0.1:80{SERVER}api/kernels/{kernel}/channels",
        header=["Authorization: " + TOKEN], timeout=60)
    number = uuid.uuid4().hex
    header = {"msg_id": number, "username": "ada", "session": number, "msg_type": "execute_request", "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    socket.send(json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content,
        "channel": "shell", "buffers": []}))
    said, open_ends = "", {"reply", "idle"}
    while open_ends:
        message = json.loads(socket.recv())
        if message["parent_header"].get("msg_id") != number:
            continue
        if message["msg_type"] == "stream":
            said += message["content"]["text"]
        elif message["msg_type"] == "execute_reply":
            open_ends.discard("reply")
        elif message["msg_type"] == "status":
            open_ends.discard(message["content"]["execution_state"])
    return said.strip()

if sys.argv[1] == "start":
    ask("POST", "/hub/api/users/ada")
    ask("POST", "/hub/api/users/ada/server")
    end = time.time() + 150
    while not ask("GET", "/hub/api/users/ada")["servers"].get("", {}).get("ready"):
        assert time.time() < end, "the server does not start"
        time.sleep(0.2)
    print("ready")
else:
    book = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    ask("PUT", SERVER + "api/contents/book.ipynb", json={"type": "notebook", "content": book})
    kernels = ask("GET", SERVER + "api/kernels") or [ask("POST", SERVER + "api/kernels", json={"name": "python3"})]
    print(kernels[0]["id"], compute(kernels[0]["id"], "print(sum(range(101)))"))
"#;
