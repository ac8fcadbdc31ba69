//! Vault files, both ways with the real `ansible-vault`, and what becomes of their values.
//!
//! `tests/peer/ansible` installs Ansible once. The program under test is the built one, since keys, editors and files are
//! its edge.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What is written where somebody could look for it.
const CANARY: &str = "canary-7f3ad1";

/// Contents that are easily changed on the way.
fn contents() -> Vec<(&'static str, Vec<u8>)> {
    let large: Vec<u8> = (0..1024 * 1024_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    vec![
        ("plain.yml", b"a: 1\n".to_vec()),
        ("no-end", b"a: 1".to_vec()),
        ("crlf", b"a: 1\r\nb: 2\r\n".to_vec()),
        ("empty", Vec::new()),
        ("block", b"0123456789abcdef".to_vec()),
        ("bom", "\u{feff}a: \u{e4}\u{1f600}\n".as_bytes().to_vec()),
        ("binary", (0..=255).collect()),
        ("looks-sealed", b" $ANSIBLE_VAULT;1.1;AES256\n6162\n".to_vec()),
        ("large", large),
    ]
}

/// The folder with Ansible's programs.
fn ansible() -> &'static Path {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    HOME.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let status = Command::new(root.join("tests/peer/ansible")).status().expect("tests/peer/ansible starts");
        assert!(status.success(), "tests/peer/ansible installs Ansible");
        root.join("target/peer/ansible/bin")
    })
}

/// A folder of one test, with a key.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("vault").join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("memory")).expect("a folder");
        let room = Self(folder);
        room.key("key", "correct horse\n").key("other", "battery staple");
        room
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, content).expect("a file");
        self
    }

    fn files(&self, contents: &[(&str, Vec<u8>)]) {
        for (name, content) in contents {
            self.file(name, content);
        }
    }

    #[track_caller]
    fn holds(&self, contents: &[(&str, Vec<u8>)]) {
        for (name, content) in contents {
            assert_eq!(&self.read(name), content, "{name}");
        }
    }

    fn key(&self, path: &str, content: &str) -> &Self {
        self.file(path, content).mode(path, 0o600)
    }

    fn mode(&self, path: &str, mode: u32) -> &Self {
        fs::set_permissions(self.0.join(path), fs::Permissions::from_mode(mode)).expect("a mode");
        self
    }

    fn read(&self, path: &str) -> Vec<u8> {
        fs::read(self.0.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn text(&self, path: &str) -> String {
        String::from_utf8(self.read(path)).expect("a text")
    }

    fn program(&self, program: &Path, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&self.0).env("NO_COLOR", "1").env("COLUMNS", "100");
        command.env("ARMILLA_STATE_DIR", self.0.join("state")).env("ARMILLA_HOST_DIR", self.0.join("host"));
        command.env("XDG_RUNTIME_DIR", self.0.join("memory")).env("EDITOR", self.0.join("editor")).env_remove("VISUAL");
        command.env("ANSIBLE_HOME", self.0.join("ansible")).env("ANSIBLE_LOCALHOST_WARNING", "0");
        command.env_remove("ANSIBLE_VAULT_PASSWORD_FILE").env_remove("ARMILLA_PROJECT");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        std::io::Write::write_all(&mut child.stdin.take().expect("its input"), input.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    /// What `armilla` prints, when it succeeds.
    #[track_caller]
    fn armilla(&self, arguments: &[&str], input: &str) -> Vec<u8> {
        let output = self.program(Path::new(env!("CARGO_BIN_EXE_armilla")), arguments, input);
        assert!(output.status.success(), "armilla {arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// What `armilla` complains about, when it fails as a command does that did nothing.
    #[track_caller]
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.program(Path::new(env!("CARGO_BIN_EXE_armilla")), arguments, "");
        assert_eq!(output.status.code(), Some(1), "armilla {arguments:?}");
        assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8(output.stderr).expect("a text")
    }

    /// What a program of Ansible prints, when it succeeds.
    #[track_caller]
    fn ansible(&self, program: &str, arguments: &[&str], input: &str) -> Vec<u8> {
        let output = self.program(&ansible().join(program), arguments, input);
        assert!(output.status.success(), "{program} {arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

#[test]
#[ignore = "needs Ansible: tests/peer/ansible installs it"]
fn what_ansible_vault_encrypts_is_read() {
    for (name, keys, header) in [
        ("theirs", ["--vault-password-file", "key"], "$ANSIBLE_VAULT;1.1;AES256\n"),
        ("theirs-with-id", ["--vault-id", "prod@key"], "$ANSIBLE_VAULT;1.2;AES256;prod\n"),
    ] {
        let room = Room::new(name);
        let contents = contents();
        let names: Vec<&str> = contents.iter().map(|(name, _)| *name).collect();
        room.files(&contents);
        room.ansible("ansible-vault", &[&["encrypt"], &keys[..], &names].concat(), "");
        for (name, content) in &contents {
            assert!(room.text(name).starts_with(header), "{name}");
            assert_eq!(&room.armilla(&["vault", "view", "--vault-id", "any@key", name], ""), content, "{name}");
        }
        room.armilla(&[&["vault", "decrypt"], &keys[..], &names].concat(), "");
        room.holds(&contents);
    }
}

#[test]
#[ignore = "needs Ansible: tests/peer/ansible installs it"]
fn what_armilla_encrypts_is_read_by_ansible_vault() {
    for (name, keys) in [("ours", ["--vault-password-file", "key"]), ("ours-with-id", ["--vault-id", "prod@key"])] {
        let room = Room::new(name);
        let contents = contents();
        let names: Vec<&str> = contents.iter().map(|(name, _)| *name).collect();
        room.files(&contents);
        room.armilla(&[&["vault", "encrypt"], &keys[..], &names].concat(), "");
        room.ansible("ansible-vault", &[&["decrypt"], &keys[..], &names].concat(), "");
        room.holds(&contents);
    }
}

#[test]
#[ignore = "needs Ansible: tests/peer/ansible installs it"]
fn one_encrypted_value_is_understood_both_ways() {
    let room = Room::new("values");
    let secret = "p\u{e4}ss: {{ w }} # '\"";
    let ours = room.armilla(&["vault", "encrypt-string", "-n", "ours", "--vault-id", "prod@key"], secret);
    room.file("ours.yml", ours);
    let shown = room.ansible(
        "ansible",
        &["localhost", "-m", "debug", "-a", "var=ours", "-e", "@ours.yml", "--vault-id", "prod@key"],
        "",
    );
    let shown = String::from_utf8(shown).expect("a text");
    let data: serde_json::Value =
        shown.split_once("=> ").and_then(|(_, json)| serde_json::from_str(json).ok()).expect("JSON");
    assert_eq!(data["ours"], secret);

    let theirs = room.ansible(
        "ansible-vault",
        &["encrypt_string", "--stdin-name", "token", "--vault-password-file", "key"],
        CANARY,
    );
    let project = Project::new("values-read", &String::from_utf8(theirs).expect("a text"));
    project.room.armilla(&["apply", "here", "-y"], "");
    assert_eq!(project.room.text("made"), format!("token {CANARY}\n"));
}

/// A project for this machine, whose role writes a plain text input and others into a file.
struct Project {
    room: Room,
}

impl Project {
    fn new(name: &str, vars: &str) -> Self {
        let room = Room::new(name);
        room.file("site.yml", "services:\n  only: { hosts: all }\n")
            .file("inventories/here/hosts.yml", "hosts:\n  laptop: { connection: local }\n")
            .file(
                "inventories/here/environment.yml",
                "vault:\n  - { id: dev, file: other }\n  - { id: prod, file: key }\n",
            )
            .file("inventories/here/group_vars/all/plain.yml", vars);
        let role = "summary: A file.\ninputs:\n  token: { type: string }\n  pin: { type: int, default: 7 }\n  list: { type: list, default: [] }\n\
                    resources:\n  - file:\n      path: FOLDER/made\n      mode: \"0600\"\n      content: \"token {{ token }}\\n\"\n\
                    \x20 - template: { path: FOLDER/rendered, mode: \"0600\", src: t.j2 }\n";
        room.file("roles/only/role.yml", role.replace("FOLDER", &room.0.display().to_string())).file(
            "roles/only/templates/t.j2",
            "{{ token[:7] }} {{ pin + 1 }}{% for x in list %} {{ x }}{% endfor %}\n",
        );
        Self { room }
    }
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn a_value_of_a_vault_file_is_secret_whatever_its_input_is() {
    let project = Project::new("secret", "pin: 5\n");
    let room = &project.room;
    let vault = format!("token: {CANARY}\npin: 665743\nlist: [canary-one, {{canary-key: canary-two}}]\n");
    room.file("inventories/here/group_vars/all/vault.yml", &vault);
    room.armilla(&["vault", "encrypt", "--encrypt-vault-id", "prod", "inventories/here/group_vars/all/vault.yml"], "");
    assert!(room.text("inventories/here/group_vars/all/vault.yml").starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"));
    let looks: &[&[&str]] = &[
        &["validate", "here"],
        &["plan", "here", "-D", "-vv"],
        &["plan", "here", "-D", "--json"],
        &["inventory", "here", "--list"],
        &["inventory", "here", "--host", "laptop"],
        &["graph", "here", "--resources"],
        &["apply", "here", "-y", "-D", "-vv"],
        &["plan", "here", "-D"],
        &["apply", "here", "-y", "--json"],
    ];
    for arguments in looks {
        let output = room.program(Path::new(env!("CARGO_BIN_EXE_armilla")), arguments, "");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{arguments:?}\n{said}");
        for secret in ["canary", "665743", "665744"] {
            assert!(!said.contains(secret), "{arguments:?} shows `{secret}`\n{said}");
        }
    }
    let listed = room.armilla(&["inventory", "here", "--host", "laptop"], "");
    let listed: serde_json::Value = serde_json::from_slice(&listed).expect("JSON");
    let masked = serde_json::json!({ "ansible_connection": "local", "token": "***", "pin": "***", "list": "***" });
    assert_eq!(listed, masked);
    assert_eq!(room.text("made"), format!("token {CANARY}\n"));
    assert_eq!(room.text("rendered"), "canary- 665744 canary-one {'canary-key': 'canary-two'}");

    // What does not fit is said without what it is, at its place, and without its line.
    room.file("inventories/here/group_vars/all/vault.yml", format!("token: [{CANARY}]\npin: {CANARY}\n"));
    room.armilla(&["vault", "encrypt", "--encrypt-vault-id", "prod", "inventories/here/group_vars/all/vault.yml"], "");
    let said = room.refused(&["plan", "here"]);
    assert!(
        said.contains("`pin` must be a whole number, not the value that is set") && said.contains("vault.yml:2:6"),
        "{said}"
    );
    assert!(!said.contains(CANARY) && !said.contains(" | "), "{said}");
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn hundreds_of_encrypted_values_are_opened_in_a_moment() {
    let project = Project::new("many", "token: x\n");
    let (room, key) = (&project.room, armilla::vault::Key::new(b"correct horse".to_vec()).expect("a key"));
    let begun = std::time::Instant::now();
    let mut rows = String::new();
    for n in 0..200_u8 {
        let text = armilla::vault::seal(&[b'a' + n % 26; 8], &key, Some("prod"), &[n; armilla::vault::SALT]);
        let _ = writeln!(rows, "  - !vault |\n    {}", text.trim_end().replace('\n', "\n    "));
    }
    let sealed = begun.elapsed();
    room.file("inventories/here/host_vars/laptop.yml", format!("list:\n{rows}"));
    let begun = std::time::Instant::now();
    let said = String::from_utf8(room.armilla(&["validate", "here"], "")).expect("a text");
    assert!(said.contains("no errors"), "{said}");
    let took = begun.elapsed();
    // A key is derived for each as for sealing it: this is no measure of the machine. Each is opened once: as often as a
    // template reads the list would be a multiple.
    assert!(took < sealed * 5, "sealed in {sealed:?}, opened in {took:?}");
    room.armilla(&["apply", "here", "-y"], "");
    assert!(room.text("rendered").contains(" aaaaaaaa bbbbbbbb cccccccc"), "{}", room.text("rendered"));
}

#[test]
fn a_value_nobody_reads_needs_no_key() {
    let unread = "token: x\nother: !vault |\n  $ANSIBLE_VAULT;1.1;AES256\n  6162\n";
    let project = Project::new("unread", unread);
    fs::remove_file(project.room.0.join("inventories/here/environment.yml")).expect("it was there");
    project.room.armilla(&["validate", "here"], "");
    project.room.file("inventories/here/group_vars/all/plain.yml", unread.replace("other", "pin"));
    let said = project.room.refused(&["validate", "here"]);
    assert!(said.contains("the vault file is damaged") && said.contains("plain.yml:2:"), "{said}");
}

#[test]
fn keys_come_from_where_they_may() {
    let room = Room::new("keys");
    room.file("f", "a: 1\n");
    room.armilla(&["vault", "encrypt", "--vault-id", "prod@key", "f"], "");
    let view = |more: &[&str]| room.refused(&[&["vault", "view", "f"], more].concat());
    assert!(view(&[]).contains("encrypted, and no key is given"));
    assert!(
        view(&["--vault-password-file", "other"])
            .contains("no matching key (its vault id is `prod`): tried the key in other")
    );
    assert!(view(&["-J"]).contains("there is no terminal"));
    assert!(view(&["--vault-password-file", "nowhere"]).contains("nowhere cannot be read"));
    room.key("empty", " \n");
    assert!(view(&["--vault-password-file", "empty"]).contains("is empty"));
    // All are tried, and one that cannot be had stops nothing if another fits.
    assert_eq!(
        room.armilla(
            &["vault", "view", "f", "--vault-id", "prod@nowhere", "--vault-id", "x@other", "--vault-id", "y@key"],
            ""
        ),
        b"a: 1\n"
    );
    room.mode("key", 0o644);
    assert!(view(&["--vault-password-file", "key"]).contains("chmod 600 key"));
    room.mode("key", 0o640).armilla(&["vault", "view", "f", "--vault-password-file", "key"], "");
}

#[test]
fn a_program_gives_a_key_only_where_the_project_allows_it() {
    let room = Room::new("programs");
    let script =
        "#!/bin/sh\n[ -z \"$1\" ] || [ \"$1 $2\" = '--vault-id prod' ] || exit 1\ntouch ran\necho correct horse\n";
    room.file("inventories/e/f", "a: 1\n")
        .file("site.yml", "")
        .file("k-client", script)
        .file("inventories/e/environment.yml", "");
    room.mode("k-client", 0o700);
    room.armilla(&["vault", "encrypt", "--vault-id", "prod@key", "inventories/e/f"], "");
    let view = ["vault", "view", "inventories/e/f"];
    let flag = [&view[..], &["--vault-id", "prod@./k-client"]].concat();
    let said = room.refused(&flag);
    assert!(
        said.contains("is executable, so it is a program") && said.contains("allow_commands: [[\"./k-client\","),
        "{said}"
    );
    room.file("inventories/e/environment.yml", "vault:\n  - { id: prod, command: [./k-client] }\n");
    assert!(room.refused(&view).contains("allow_commands: [[\"./k-client\"]]"));
    assert!(!room.0.join("ran").exists(), "it was not run");
    room.file(
        "armilla.yml",
        "allow_commands:\n  - [./k-client]\n  - [./k-client, --vault-id, prod]\n  - [yes]\n  - [\"false\"]\n",
    );
    assert_eq!(room.armilla(&view, ""), b"a: 1\n");
    assert_eq!(room.armilla(&flag, ""), b"a: 1\n");
    for (program, why) in [("yes", "it printed more than 16 MiB"), ("\"false\"", "it failed with exit code 1")] {
        room.file("inventories/e/environment.yml", format!("vault:\n  - {{ command: [{program}] }}\n"));
        let said = room.refused(&view);
        assert!(said.contains(why) && said.contains("environment.yml:2:"), "{said}");
    }
}

#[test]
#[ignore = "needs root: the files it makes belong to root"]
fn a_program_gives_the_key_that_seals_a_run_in_which_nothing_was_encrypted() {
    let project = Project::new("sealed-by-program", "token: x\n");
    let room = &project.room;
    let role = room.text("roles/only/role.yml").replace("token: { type: string }", "token: { type: secret }");
    room.file("roles/only/role.yml", role).file("key.sh", "#!/bin/sh\necho ran >>ran\necho correct horse\n");
    room.mode("key.sh", 0o700).file("armilla.yml", "allow_commands: [[./key.sh]]\n");
    room.file("inventories/here/environment.yml", "vault: [{ id: prod, command: [./key.sh] }]\n");
    room.armilla(&["apply", "here", "-y"], "");
    assert_eq!(room.text("made"), "token x\n");
    room.armilla(&["apply", "here", "-y", "-e", &format!("token={CANARY}")], "");
    assert_eq!(room.text("made"), format!("token {CANARY}\n"));
    assert_eq!(room.text("ran"), "ran\nran\n", "once a run");

    // The same key opens a plan that was saved.
    room.armilla(&["plan", "here", "-o", "friday.plan", "-e", "token=other"], "");
    assert!(room.text("friday.plan").contains("$ANSIBLE_VAULT;1.2;AES256;prod"));
    room.armilla(&["apply", "friday.plan", "-y"], "");
    assert_eq!(room.text("made"), "token other\n");
    let status = room.armilla(&["lock", "status", "here"], "");
    assert!(String::from_utf8_lossy(&status).contains("laptop is not locked"), "{}", String::from_utf8_lossy(&status));
}

#[test]
fn an_editor_sees_the_text_and_leaves_nothing_behind() {
    let room = Room::new("edit");
    let editor = |script: &str| {
        room.file("editor", format!("#!/bin/sh\n{script}\n")).mode("editor", 0o700);
    };
    room.file("f.yml", "a: 1\n").mode("f.yml", 0o640);
    room.armilla(&["vault", "encrypt", "--vault-id", "prod@key", "f.yml"], "");
    let (first, edit) = (room.read("f.yml"), ["vault", "edit", "f.yml", "--vault-id", "x@key"]);
    editor("stat -c '%a %n' \"$1\" \"$(dirname \"$1\")\" >seen; cat \"$1\" >>seen; touch \"$1~\"");
    room.armilla(&edit, "");
    assert_eq!(room.read("f.yml"), first, "what was not changed is not written");
    let seen = room.text("seen");
    assert!(seen.starts_with("600 ") && seen.contains("\n700 ") && seen.ends_with("a: 1\n"), "{seen}");
    assert!(seen.contains("/memory/armilla-") && seen.contains("/f.yml"), "{seen}");

    editor("echo b: 2 >>\"$1\"; exit 3");
    assert!(room.refused(&edit).contains("exited with exit status: 3; nothing was changed"));
    assert_eq!(room.read("f.yml"), first);
    editor("echo b: 2 >>\"$1\"; echo theirs >f.yml");
    assert!(room.refused(&edit).contains("changed by another program"));
    assert_eq!(room.text("f.yml"), "theirs\n");

    room.file("f.yml", &first);
    editor("echo b: 2 >>\"$1\"");
    room.armilla(&edit, "");
    assert!(room.text("f.yml").starts_with("$ANSIBLE_VAULT;1.2;AES256;prod\n"), "its id stays");
    assert_eq!(room.armilla(&["vault", "view", "f.yml", "--vault-password-file", "key"], ""), b"a: 1\nb: 2\n");
    room.armilla(&["vault", "create", "new.yml", "--vault-password-file", "key"], "");
    assert_eq!(room.armilla(&["vault", "view", "new.yml", "--vault-password-file", "key"], ""), b"b: 2\n");
    assert!(room.refused(&["vault", "create", "new.yml", "--vault-password-file", "key"]).contains("already exists"));
    let mode = |path: &str| fs::metadata(room.0.join(path)).expect("it is there").permissions().mode() & 0o777;
    assert_eq!((mode("f.yml"), mode("new.yml")), (0o640, 0o600));
    assert_eq!(fs::read_dir(room.0.join("memory")).expect("a folder").count(), 0, "nothing is left");
}

fn with<'a>(words: &[&'a str]) -> Vec<&'a str> {
    [words, &["--vault-password-file", "key"]].concat()
}

#[test]
fn files_are_converted_as_a_whole_or_not_at_all() {
    let room = Room::new("convert");
    room.file("a", "a: 1\n").file("b", "b: 1\n").mode("a", 0o640);
    room.armilla(&with(&["vault", "encrypt", "a"]), "");
    assert!(room.refused(&with(&["vault", "encrypt", "b", "a"])).contains("a is already encrypted"));
    assert_eq!(room.text("b"), "b: 1\n", "one mistake, nothing done");
    assert!(room.refused(&with(&["vault", "decrypt", "a", "b"])).contains("b is not encrypted"));
    assert!(room.text("a").starts_with("$ANSIBLE_VAULT;"));
    assert!(
        room.refused(&with(&["vault", "rekey", "a", "b", "--new-vault-id", "new@other"]))
            .contains("b is not encrypted")
    );

    std::os::unix::fs::symlink("a", room.0.join("link")).expect("a link");
    room.armilla(&with(&["vault", "rekey", "link", "--new-vault-id", "new@other"]), "");
    assert!(room.0.join("link").is_symlink(), "a link stays one");
    assert!(room.text("a").starts_with("$ANSIBLE_VAULT;1.2;AES256;new\n"));
    assert!(room.refused(&with(&["vault", "view", "a"])).contains("no matching key"));
    let opened = room.armilla(&["vault", "decrypt", "--output", "-", "a", "--vault-password-file", "other"], "");
    assert_eq!(opened, b"a: 1\n");
    let mode = fs::metadata(room.0.join("a")).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode, 0o640);

    let piped = String::from_utf8(room.armilla(&with(&["vault", "encrypt", "-"]), "x")).expect("a text");
    assert_eq!(room.armilla(&with(&["vault", "decrypt", "-"]), &piped), b"x");
    let said = room.refused(&with(&["vault", "encrypt-string", CANARY]));
    assert!(said.contains("is visible to everyone") && !said.contains(CANARY), "{said}");
}

/// What every host of the folder has for these names, one after the other.
const ASKED: &str = "[motto, strict, ports, password, tree, own]";

#[test]
#[ignore = "needs Ansible: tests/peer/ansible installs it"]
fn a_folder_of_ansibles_copied_as_it_is_has_the_same_values() {
    let room = Room::new("copied");
    room.file("site.yml", "services:\n  probe: { hosts: all }\n")
        .file("roles/probe/role.yml", PROBE)
        .file(
            "inventories/moved/hosts",
            "[web]\nweb[1:2]\n\n[db]\ndb1 ports='[5432, 5433]'\n\n[all:vars]\nansible_connection=local\n",
        )
        .file(
            "inventories/moved/group_vars/all/main.yml",
            "motto: Measure twice\nstrict: yes\nports: [0755, 1_000]\nown: none\n",
        )
        .file(
            "inventories/moved/group_vars/all/vault.yml",
            "password: \"of all: %{}\"\ntree: { a: [1, ~, 'x'], b: 12:30 }\n",
        )
        .file("inventories/moved/group_vars/db.yml", "password: of db \u{e4}\n");
    let vault = ansible().join("ansible-vault");
    let key = ["--vault-password-file", "key"];
    let encrypt = |more: &[&str]| room.program(&vault, &[&["encrypt"], more].concat(), "");
    encrypt(&[&key[..], &["inventories/moved/group_vars/db.yml"]].concat());
    encrypt(&["--vault-id", "prod@key", "--encrypt-vault-id", "prod", "inventories/moved/group_vars/all/vault.yml"]);
    let own =
        room.program(&vault, &["encrypt_string", "--vault-password-file", "key", "--name", "own", "sealed, too"], "");
    room.file("inventories/moved/host_vars/web2/own.yml", own.stdout);

    let message = format!("msg={{{{ {ASKED} }}}}");
    let debug = ["all", "-i", "inventories/moved", "-m", "ansible.builtin.debug", "-a", &message];
    let theirs = room.program(&ansible().join("ansible"), &[&debug[..], &key].concat(), "");
    let theirs = String::from_utf8(theirs.stdout).expect("a text");
    room.armilla(&[&["apply", "moved", "-y", "-e", &format!("out={}", room.0.display())], &key[..]].concat(), "");
    for host in ["web1", "web2", "db1"] {
        let said = theirs.split(&format!("{host} | SUCCESS => ")).nth(1).expect(&theirs);
        let said = serde_json::Deserializer::from_str(said).into_iter::<serde_json::Value>().next();
        let said = said.expect("JSON").expect("JSON");
        let ours: serde_json::Value = serde_json::from_str(&room.text(host)).expect("JSON");
        assert_eq!(ours, said["msg"], "{host}");
    }
}

const PROBE: &str = r#"
summary: Writes down what it is given.
inputs:
  out: { type: path, required: true }
  motto: { type: string }
  strict: { type: bool }
  ports: { type: list }
  password: { type: string }
  tree: { type: map }
  own: { type: string }
resources:
  - file: { path: "{{ out }}/{{ host.name }}", content: "{{ [motto, strict, ports, password, tree, own] | tojson }}", mode: "0600" }
"#;
