//! Names and contents that mean something to shells, terminals and programs.

use std::fmt::Write as _;

use sha2::Digest as _;

use crate::house::House;

/// Names of files; none of them may be taken for more than a name.
const NAMES: &[&str] = &[
    "with space",
    "'single'",
    "\"double\"",
    "a;touch hurt",
    "$(touch hurt)",
    "`touch hurt`",
    "-rf",
    "--",
    "a\\b\\n",
    "*",
    "?[a-z]",
    "~root",
    "#no comment",
    "a|b&c>d<e",
    "a=b",
    "{{ braces }}",
    "%s%n",
    "grüße-☃",
    "!x",
    "$HOME",
    "{a,b}",
];

/// Contents, and files of a role with bytes of every value.
pub(crate) fn f14_hostile(house: &House) {
    house.up(&["h1"]);
    house.sh("h1", "rm -rf /srv/h; mkdir /srv/h; printf '\\033]0;old\\a\\n' >/srv/h/escapes");
    let project = house.project("hostile");
    let mut role = String::from("summary: Hostile.\nresources:\n");
    let mut wanted: Vec<(String, String)> = Vec::new();
    for name in NAMES {
        let (path, content) = (format!("/srv/h/{name}"), format!("this is {name}\n"));
        line(&mut role, &path, &content);
        wanted.push((path, digest(content.as_bytes())));
    }
    for (name, content) in &texts() {
        let path = format!("/srv/h/{name}");
        line(&mut role, &path, content);
        wanted.push((path, digest(content.as_bytes())));
    }
    for (name, bytes) in &binaries() {
        let path = format!("/srv/h/{name}");
        let _ = writeln!(role, "  - file: {{ path: {path}, src: {name} }}");
        project.file(&format!("roles/only/files/{name}"), bytes);
        wanted.push((path, digest(bytes)));
    }
    let argument = "a'b\"c;$(touch /srv/hurt)\n*\u{1b}[31m -x";
    let run = json(["sh", "-c", "printf %s \"$1\" >/srv/h/argument", "sh", argument]);
    let _ = writeln!(role, "  - command: {{ run: {run}, creates: /srv/h/argument }}");
    wanted.push(("/srv/h/argument".to_owned(), digest(argument.as_bytes())));
    project.only(&["h1"], &role);

    for run in [project.plan(&["-D", "-vv"]), project.plan(&["--json"]), project.apply(&["-vv"])] {
        let said = run.ends(0).said();
        for sign in ["\u{1b}", "\u{7}", "\u{9b}", "\u{202e}", "\r"] {
            let shown = (sign.escape_debug(), said.escape_debug());
            assert!(!said.contains(sign), "{} reaches the terminal\n{}", shown.0, shown.1);
        }
    }
    project.is_empty();
    for (path, digest) in &wanted {
        let found = house.lab().exec("h1", &["sha256sum", "--zero", "--", path]).expect("the host is entered");
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert_eq!(found.split(' ').next(), Some(digest.as_str()), "{path}");
    }
    let files = house.sh("h1", "find /srv/h -type f -printf x | wc -c");
    assert_eq!(files, wanted.len().to_string(), "{}", house.sh("h1", "ls -la /srv/h"));
    assert!(!house.holds("h1", "find / -xdev -name 'hurt*' | grep ."), "something was taken for a command");

    // What cannot be meant is refused before any host is asked.
    for path in ["/srv/h/line\\nbreak", "/srv/h/\\e[31m", "/srv/../etc/x", "relative"] {
        let role = format!("summary: x\nresources:\n  - file: {{ path: \"{path}\", content: x }}\n");
        project.only(&["h1"], &role).plan(&[]).ends(1).says("invalid path").keeps("\u{1b}");
    }
}

/// Texts that a shell, a terminal or a template would take for something else.
fn texts() -> [(&'static str, String); 7] {
    [
        ("escapes", "\u{1b}]0;evil\u{7}\u{1b}[2J\u{9b}31m red \u{202e}backwards\r\n".to_owned()),
        ("shell", "'; touch /srv/hurt; echo '$(touch /srv/hurt)`touch /srv/hurt`\\\n\n\t%s%d%%\n\\0123\n".to_owned()),
        ("no-newline", "the end".to_owned()),
        ("newlines", "\n\n\n".to_owned()),
        ("empty", String::new()),
        ("long-line", "x".repeat(100_000)),
        ("here", "EOF\nEOT\n.\n\narmilla-ready\n".to_owned()),
    ]
}

/// Files with bytes of every value.
fn binaries() -> [(&'static str, Vec<u8>); 3] {
    let every: Vec<u8> = (0..=255).collect();
    let mut noise = 1_u32;
    let mut random = || {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise.to_be_bytes()[0]
    };
    let large: Vec<u8> = (0..1_048_576).map(|_| random()).collect();
    [("every-byte", every.repeat(3)), ("one-megabyte", large), ("zeros", vec![0; 5000])]
}

/// One file of the role. JSON texts are YAML texts; braces of a template come out as themselves.
fn line(role: &mut String, path: &str, content: &str) {
    let literal = |text: &str| json(text.replace("{{", "{{ '{{' }}"));
    let _ = writeln!(role, "  - file: {{ path: {}, content: {} }}", literal(path), literal(content));
}

fn json(value: impl serde::Serialize) -> String {
    serde_json::to_string(&value).expect("a text")
}

fn digest(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
