//! What reaches beyond armilla, on a real host: scripts of a project, git, web APIs, Python environments.

use std::path::Path;

use crate::house::House;

/// A file as `docs/script-kind.md` shows it: what a reader copies is what is tried.
fn shown(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/script-kind.md");
    let text = std::fs::read_to_string(path).expect("the document");
    let block = text.split(&format!("\n# {name}\n")).nth(1).expect("the file is in the document");
    block.split("```").next().expect("it ends").to_owned()
}

const SCRIPTS: &str = r#"
summary: Things that only their own programs understand.
inputs:
  token: { type: secret }
  port: { type: int, default: 8888 }
resources:
  - package: python3
  - directory: /etc/notebook
  - script: { name: the pager, src: alternative, arguments: [pager], format: lines, wanted: { path: /bin/more } }
  - script:
      name: the settings
      src: settings
      arguments: [/etc/notebook/config.json]
      wanted: { port: "{{ port }}", limits: { memory: 2048 }, token: "{{ token }}" }
"#;

const NO_SCRIPTS: &str = r"
summary: Gone.
resources:
  - script: { name: the pager, src: alternative, arguments: [pager], format: lines, state: absent }
  - script:
      name: the settings
      src: settings
      arguments: [/etc/notebook/config.json]
      wanted: { port: 0, limits: 0, token: 0 }
      state: absent
  - directory: { path: /etc/notebook }
";

const SECRET: &str = "xyzzy-plugh-4711";

/// The scripts of the document, in a shell and in Python.
pub(crate) fn scripts(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("scripts");
    project.only(&["h1"], SCRIPTS);
    project.file("roles/only/files/alternative", shown("roles/pager/files/alternative"));
    project.file("roles/only/files/settings", shown("files/settings"));
    project.file("inventories/lab/group_vars/all_hosts.yml", format!("token: {SECRET}\n"));
    let is = |script: &str, wanted: &str| assert_eq!(house.sh("h1", script), wanted, "{script}");
    let setting = |key: &str| {
        format!("python3 -c 'import json; print(json.load(open(\"/etc/notebook/config.json\")).get(\"{key}\"))'")
    };

    // Python comes in the same run, so that its script cannot look yet.
    project.plan(&["--detailed-exitcode"]).ends(2).says("the pager").says("only when python3 exists").keeps(SECRET);
    assert!(!house.holds("h1", "ls -d /tmp/armilla.*"), "looking leaves something");
    project.converges().keeps(SECRET);
    is("update-alternatives --query pager | grep -e Status -e Value", "Status: manual\nValue: /bin/more");
    is(&setting("port"), "8888");
    is(&setting("token"), SECRET);

    // Changed by hand: what is not wanted stays, what is wanted comes back, and the other secret is not shown.
    let other = r#"{"port": 1, "limits": {"memory": 2048, "more": 1}, "token": "hand-made-secret", "theme": "dark"}"#;
    house.sh("h1", &format!("echo '{other}' >/etc/notebook/config.json; update-alternatives --auto pager 2>&1"));
    let plan = project.plan(&["-D", "--detailed-exitcode"]).ends(2);
    plan.says("- \"port\": 1").says("*** (another)").says("the pager").keeps(SECRET).keeps("hand-made-secret");
    project.converges();
    is(&setting("theme"), "dark");
    is(&setting("token"), SECRET);
    project.only(&["h1"], &SCRIPTS.replace("8888", "9999")).converges();
    is(&setting("port"), "9999");

    project.only(&["h1"], NO_SCRIPTS).converges();
    is("update-alternatives --query pager | grep Status", "Status: auto");
    is("tr -d ' \\n' </etc/notebook/config.json", r#"{"theme":"dark"}"#);
    assert!(!house.holds("h1", "ls -d /tmp/armilla.*"), "a script leaves something");
}

/// A program that cannot look, one that does not do what it says, and one that is too slow to stop.
pub(crate) fn broken_scripts(house: &House) {
    house.up(&["h1"]);
    let project = house.project("broken-scripts");
    let only = |program: &str| {
        project.only(&["h1"], "resources:\n  - script: { name: it, src: it, wanted: { size: 5 } }\n");
        project.file("roles/only/files/it", program);
    };
    house.sh("h1", "rm -f /root/done");
    only("#!/bin/sh\ntouch /root/done\necho installed\n");
    // It was run to look, and looking is its own promise; it is not run to do.
    project.apply(&[]).ends(1).says("must print a JSON map").says("nothing was changed");
    only("#!/bin/sh\ncase $1 in install) touch /root/done ;; *) echo usage: install >&2; exit 64 ;; esac\n");
    project.apply(&[]).ends(1).says("its script cannot run").says("usage: install");
    only("#!/bin/sh\n[ \"$1\" != read ] || echo '{\"colour\": 1}'\n");
    project.apply(&[]).ends(1).says("does not report `size`");
    only("#!/bin/sh\n[ \"$1\" != read ] || echo '{\"size\": 4}'\n");
    project.apply(&[]).ends(3).says("it");
    only("#!/bin/sh\n[ \"$1\" = read ] && echo '{\"size\": 4}' && exit\necho no room >&2\nexit 7\n");
    project.apply(&[]).ends(3).says("exit code 7").says("no room");
}

/// A work tree, from nothing to gone.
pub(crate) fn work_tree(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("git");
    let role = |keys: &str| {
        let git = format!("git: {{ path: /srv/app, repository: \"file:///srv/git/app.git\", owner: ada, {keys} }}");
        let role = format!("resources:\n  - package: git\n  - user: {{ name: ada, home: /home/ada }}\n  - {git}\n");
        project.only(&["h1"], &role);
    };
    role("revision: main");
    // Neither git nor the user is there, so nobody can be asked where the branch is.
    project.plan(&["--detailed-exitcode"]).ends(2).says("the repository can be read only when the user ada exists");
    project.only(&["h1"], "resources:\n  - package: git\n  - user: { name: ada, home: /home/ada }\n").converges();
    house.sh("h1", "install -d -o ada /srv/git /home/ada && cd /srv/git && runuser -u ada -- sh -ec '
        export HOME=/home/ada; git config --global user.email a@b; git config --global user.name Ada
        git init -q --bare -b main app.git; git init -q -b main work; cd work; git remote add origin /srv/git/app.git
        echo one >file; echo x >other; git add .; git commit -qm one; git tag -a -m first v1; git push -q origin main v1'");
    let git = |words: &str| house.sh("h1", &format!("cd /; runuser -u ada -- git -C /srv/app {words}"));
    let first = house.sh("h1", "runuser -u ada -- git -C /srv/git/work rev-parse HEAD");
    role("revision: main");
    project.plan(&["--detailed-exitcode"]).ends(2).says(&first[..12]);
    project.converges();
    assert_eq!(git("rev-parse HEAD"), first);
    assert_eq!(house.sh("h1", "stat -c '%U %a' /srv/app /srv/app/file; ls -A /srv"), "ada 755\nada 644\napp\ngit");

    // The branch moves on: from commit to commit.
    house.sh("h1", "cd /srv/git/work && runuser -u ada -- sh -ec 'export HOME=/home/ada; echo two >file; git commit -qam two; git push -q origin main'");
    let second = house.sh("h1", "runuser -u ada -- git -C /srv/git/work rev-parse HEAD");
    project.plan(&["--detailed-exitcode"]).ends(2).says(&format!("{} -> {} (main)", &first[..12], &second[..12]));
    project.converges();
    assert_eq!(git("rev-parse HEAD") + &house.sh("h1", "cat /srv/app/file"), second.clone() + "two");

    // Changes made on the host stop the plan; files that git does not know do not.
    house.sh("h1", "runuser -u ada -- sh -c 'cd /srv/app; echo mine >file; rm other; echo log >log'");
    project.apply(&[]).ends(1).says("2 files were changed on the host (file, other)");
    role("revision: main, clean: overwrite");
    project.converges();
    assert_eq!(house.sh("h1", "cd /srv/app; cat file other log"), "two\nx\nlog");
    role("revision: v1");
    project.converges();
    assert_eq!(git("rev-parse HEAD"), first);

    // A repository that is away: where the branch is nobody knows; a commit is known.
    house.sh("h1", "mv /srv/git/app.git /srv/git/away.git");
    role("revision: main");
    project.apply(&[]).ends(1).says("the repository could not be read");
    role(&format!("revision: {first}"));
    project.is_empty();
    house.sh("h1", "mv /srv/git/away.git /srv/git/app.git");

    let gone = "resources:\n  - git: { path: /srv/app, owner: ada, state: absent }\n";
    project.only(&["h1"], gone).apply(&[]).ends(1).says("1 file was changed on the host (log)");
    project.only(&["h1"], &gone.replace("state:", "clean: overwrite, state:")).converges();
    assert_eq!(house.sh("h1", "ls -A /srv"), "git");
}

const API: &str = r#"
import json, http.server
things, log = {"/fixed": {"a": 1}}, open("/root/requests", "a", buffering=1)
class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status, value=None, **headers):
        self.send_response(status)
        body = json.dumps(value).encode() if value is not None else b""
        for name, text in headers.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def handle_one(self):
        log.write(f"{self.command} {self.path}\n")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != "Bearer " + open("/root/token").read():
            return self.answer(401, {"sent": self.headers.get("Authorization")})
        if self.path == "/moved":
            return self.answer(302, None, Location="http://example.org/")
        if self.command in ("PUT", "PATCH"):
            value = json.loads(body)
            things[self.path] = {**(things.get(self.path, {}) if self.command == "PATCH" else {}), **value, "id": 7}
            return self.answer(201, things[self.path])
        if self.command == "POST":
            value = json.loads(body)
            if f"/users/{value['name']}" in things:
                return self.answer(409, {"error": "there is one"})
            things[f"/users/{value['name']}"] = value
            return self.answer(201, value)
        if self.path not in things:
            return self.answer(404, {"error": "none"})
        if self.command == "DELETE":
            del things[self.path]
            return self.answer(204)
        self.answer(200, things[self.path])
    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = handle_one
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", 8700), Handler).serve_forever()
"#;

/// What serves the API.
const SERVER: &str = r#"
inputs:
  token: { type: secret }
resources:
  - package: python3
  - file: { path: /root/api.py, src: api.py, mode: "0600" }
  - file: { path: /root/token, content: "{{ token }}", mode: "0600" }
  - unit: { name: api.service, content: "[Service]\nExecStart=/usr/bin/python3 /root/api.py\n" }
  - service: { name: api, state: running }
"#;

const OBJECTS: &str = r#"  - http:
      url: http://127.0.0.1:8700/limits
      body: { jobs: 20, note: "a \"quote\", a \\ and an ü", password: "{{ token }}" }
      headers: { Authorization: "Bearer {{ token }}" }
  - http:
      url: http://127.0.0.1:8700/users/ada
      create: { method: post, url: "http://127.0.0.1:8700/users" }
      method: patch
      body: { name: ada, shell: zsh }
      headers: { Authorization: "Bearer {{ token }}" }
"#;

/// Objects of a web API that starts in the same run.
pub(crate) fn web_api(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("http");
    project.only(&["h1"], &format!("{SERVER}{OBJECTS}")).file("roles/only/files/api.py", API);
    project.file("inventories/lab/group_vars/all_hosts.yml", format!("token: {SECRET}\n"));
    let requests = || house.sh("h1", "cat /root/requests; : >/root/requests");
    let get = |path: &str| {
        house.sh("h1", &format!("curl -s -H 'Authorization: Bearer {SECRET}' http://127.0.0.1:8700{path}"))
    };

    project.plan(&["-D", "--detailed-exitcode"]).ends(2).says("nothing answers at 127.0.0.1:8700").keeps(SECRET);
    project.converges().keeps(SECRET);
    let sent = requests();
    assert_eq!(sent.matches("PUT /limits").count(), 1, "{sent}");
    assert_eq!(sent.matches("POST /users").count(), 1, "{sent}");
    assert!(
        get("/limits").contains(
            r#""jobs": 20, "note": "a \"quote\", a \\ and an \u00fc", "password": "xyzzy-plugh-4711", "id": 7"#
        ),
        "{}",
        get("/limits")
    );

    // Looking sends nothing but GET.
    requests();
    project.is_empty();
    assert_eq!(requests(), "GET /limits\nGET /users/ada");

    // Changed elsewhere: shown without a secret, mended with one request each.
    house.sh("h1", &format!("for p in limits users/ada; do curl -sf -X PATCH -H 'Authorization: Bearer {SECRET}' -d '{{\"jobs\": 1, \"shell\": \"sh\", \"password\": \"hand-made-secret\"}}' http://127.0.0.1:8700/$p; done"));
    let plan = project.plan(&["-D", "--detailed-exitcode"]).ends(2).says("- \"jobs\": 1").says("+ \"shell\": \"zsh\"");
    plan.keeps(SECRET).keeps("hand-made-secret");
    requests();
    project.converges();
    let sent = requests();
    assert_eq!((sent.matches("PUT").count(), sent.matches("PATCH").count()), (1, 1), "{sent}");

    // What cannot be known stops the plan, and says why.
    let one = |keys: &str| format!("{SERVER}  - http: {{ {keys} }}\n");
    let moved =
        one("url: \"http://127.0.0.1:8700/moved\", body: { a: 1 }, headers: { Authorization: \"Bearer {{ token }}\" }");
    project.only(&["h1"], &moved).apply(&[]).ends(1).says("it redirects to http://example.org/");
    let wrong =
        one("url: \"http://127.0.0.1:8700/fixed\", body: { a: 1 }, headers: { Authorization: \"Basic {{ token }}\" }");
    project.only(&["h1"], &wrong).apply(&[]).ends(1).says("401").keeps(SECRET);

    let gone = r#"{ url: "http://127.0.0.1:8700/X", state: absent, headers: { Authorization: "Bearer {{ token }}" } }"#;
    let gone = ["limits", "users/ada"].map(|path| format!("  - http: {}\n", gone.replace('X', path))).concat();
    project.only(&["h1"], &format!("{SERVER}{gone}")).converges();
    assert!(get("/limits").contains("none") && get("/users/ada").contains("none"));
}

/// Makes wheels by hand: nothing but names and one line of Python. Prints `name-version digest` of each.
const WHEELS: &str = r#"
import hashlib, os, sys, zipfile
os.makedirs("/srv/wheels", exist_ok=True)
for name, version in [("tiny_ship", "1.0"), ("tiny_ship", "2.0"), ("Oar", "0.3"), ("stowaway", "1.0")]:
    path, info = f"/srv/wheels/{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{name.lower()}.py", f"V = '{version}'\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name.lower()}.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    print(f"{name}-{version}", hashlib.sha256(open(path, "rb").read()).hexdigest())
"#;

/// A Python environment with packages that were never on any index.
pub(crate) fn environment(house: &House) {
    house.fresh(&["h1"]);
    let project = house.project("venv");
    let role = |keys: &str| {
        let venv =
            format!("venv: {{ path: /opt/crew/env, owner: ada, find_links: /srv/wheels, src: crew.lock{keys} }}");
        let user = "  - package: python3-venv\n  - user: { name: ada, home: /home/ada }\n";
        project.only(&["h1"], &format!("resources:\n{user}  - {venv}\n"));
    };
    role("");
    project.file("roles/only/files/crew.lock", "tiny-ship==1.0\noar==0.3\n");
    project.plan(&["-D", "--detailed-exitcode"]).ends(2).says("tiny-ship==1.0");
    project.only(&["h1"], "resources:\n  - package: python3-venv\n").converges();
    project.file("wheels.py", WHEELS);
    let digests = house.sh("h1", &format!("python3 - <<'EOF'\n{WHEELS}\nEOF"));
    let digest = |name: &str| {
        let line = digests.lines().find(|line| line.starts_with(name)).expect("the wheel was made");
        line.split(' ').nth(1).expect("its digest").to_owned()
    };
    role("");
    project.converges();
    let python = |code: &str| house.sh("h1", &format!("/opt/crew/env/bin/python -c '{code}'"));
    assert_eq!(python("import tiny_ship, oar; print(tiny_ship.V, oar.V)"), "1.0 0.3");
    assert_eq!(house.sh("h1", "stat -c %U /opt/crew/env /opt/crew/env/lib/python3*/site-packages/oar.py"), "ada\nada");

    // One version changes, one package is too many, and every file has the digest that was locked.
    house.sh(
        "h1",
        "cd /; runuser -u ada -- /opt/crew/env/bin/pip install -q --no-index --find-links /srv/wheels stowaway 2>&1",
    );
    let (ship, oar) = (digest("tiny_ship-2.0"), digest("Oar"));
    let list = |ship: &str| format!("tiny-ship==2.0 --hash=sha256:{ship}\noar==0.3 \\\n    --hash=sha256:{oar}\n");
    project.file("roles/only/files/crew.lock", list(&ship));
    let plan = project.plan(&["-D", "--detailed-exitcode"]).ends(2);
    plan.says("- stowaway==1.0").says("- tiny-ship==1.0").says("+ tiny-ship==2.0");
    project.converges();
    assert_eq!(
        house.sh("h1", "/opt/crew/env/bin/pip list --format=freeze 2>/dev/null | grep -v -e pip= -e setuptools="),
        "Oar==0.3\ntiny-ship==2.0"
    );

    // Another file under the same name is not installed.
    house.sh("h1", "cd /; runuser -u ada -- /opt/crew/env/bin/pip uninstall -q -y tiny-ship 2>&1");
    project.file("roles/only/files/crew.lock", list(&"0".repeat(64)));
    project.apply(&[]).ends(3).says("DO NOT MATCH THE HASHES");
    project.file("roles/only/files/crew.lock", list(&ship));
    project.converges();

    // What somebody else could have put there is never run by us.
    house.sh("h1", "chown -h nobody /opt/crew/env/bin");
    project.apply(&[]).ends(1).says("/opt/crew/env/bin does not belong to ada");
    house.sh("h1", "chown -h ada /opt/crew/env/bin");
    project.only(&["h1"], "resources:\n  - venv: { path: /opt/crew/env, owner: ada, state: absent }\n").converges();
    assert_eq!(house.sh("h1", "ls -A /opt/crew"), "");
}
