//! Parts of files: what an edit leaves alone, and how several on one file build on each other.

use armilla::edit::{
    Edit, Entry, HostNames, Ini, Json, Limit, Line, MarkedBlock, Path, Position, Several, State, Yaml,
};
use armilla::plan::Plan;
use armilla::secret::Content;
use armilla::sim::{World, show_plan, show_run};
use armilla::step::{Mode, Step};
use proptest::prelude::*;

fn world(resources: &str) -> World {
    let mut world = World::default();
    world.host("h1").expect("a name");
    world.role("it", &format!("summary: It.\nresources:\n{resources}")).expect("a role");
    world.site("services:\n  it: { hosts: all }\n");
    world
}

fn put(world: &World, path: &str, content: &str) {
    world.fleet.on("h1", |host| {
        let ownership = armilla::step::Ownership { mode: Some(Mode(0o640)), ..Default::default() };
        host.write(path, content.as_bytes(), &ownership).expect("a file");
    });
}

fn content(world: &World, path: &str) -> String {
    let found = world.fleet.on("h1", |host| host.paths.file(path).map(<[u8]>::to_vec)).flatten();
    String::from_utf8(found.expect("a file")).expect("a text")
}

fn plan(world: &World) -> Plan {
    world.plan().unwrap_or_else(|problems| panic!("{problems}"))
}

fn applied(world: &World) -> Plan {
    let plan = plan(world);
    let run = world.apply(&plan);
    assert!(run.report.converged(), "{}{}", show_plan(&plan), show_run(&plan, &run));
    let again = self::plan(world);
    assert!(again.is_empty(), "still planned:\n{}", show_plan(&again));
    plan
}

const THREE: &str = "  - line: { path: /etc/app.conf, match: '^a=', line: a=1 }
  - line: { path: /etc/app.conf, line: c=3 }
  - block: { path: /etc/app.conf, content: \"x\\ny\\n\", before: BOF }
";

#[test]
fn parts_of_one_file_in_one_plan_build_on_each_other() {
    let world = world(THREE);
    put(&world, "/etc/app.conf", "a=0\nb=2\n");
    let plan = applied(&world);
    assert_eq!(plan.entries().count(), 3);
    let mark = "armilla managed block";
    assert_eq!(content(&world, "/etc/app.conf"), format!("# BEGIN {mark}\nx\ny\n# END {mark}\na=1\nb=2\nc=3\n"));
    let mode = world.fleet.on("h1", |host| host.paths.get("/etc/app.conf").map(|node| node.mode)).flatten();
    assert_eq!(mode, Some(Mode(0o640)));
}

#[test]
fn parts_of_one_file_in_two_services_build_on_each_other_in_the_order_of_the_plan() {
    let mut world = World::default();
    world.host("h1").expect("a name");
    world.role("one", "summary: One.\nresources:\n  - line: { path: /etc/app.conf, line: one }\n").expect("a role");
    world.role("two", "summary: Two.\nresources:\n  - line: { path: /etc/app.conf, line: two }\n").expect("a role");
    world.site("services:\n  two: { hosts: all }\n  one: { hosts: all }\n");
    put(&world, "/etc/app.conf", "zero\n");
    let plan = applied(&world);
    assert_eq!(content(&world, "/etc/app.conf").lines().count(), 3);
    let changes: Vec<usize> = (0..plan.stages.len()).filter(|id| plan.stages[*id].work.host().is_some()).collect();
    let [first, second] = changes.as_slice() else { panic!("{}", show_plan(&plan)) };
    assert!(plan.stages[*second].after.iter().any(|(id, _)| id == first), "{}", show_plan(&plan));
}

#[test]
fn a_file_that_changed_since_the_plan_is_not_written_over() {
    let world = world(THREE);
    put(&world, "/etc/app.conf", "a=0\n");
    let plan = plan(&world);
    put(&world, "/etc/app.conf", "a=0\nby=hand\n");
    let run = world.apply(&plan);
    let shown = show_run(&plan, &run);
    assert!(shown.contains("/etc/app.conf was changed since the plan was made: plan again"), "{shown}");
    assert_eq!(content(&world, "/etc/app.conf"), "a=0\nby=hand\n");
    applied(&world);
    assert!(content(&world, "/etc/app.conf").contains("by=hand"));
}

#[test]
fn a_part_of_what_a_package_brings_is_changed_in_the_same_run() {
    let world = world(
        "  - package: nginx
  - line: { path: /etc/nginx/nginx.conf, line: worker_processes auto; }
  - line: { path: /etc/nginx/nginx.conf, match: as it came, state: absent }
  - ini: { path: /etc/nginx/more.ini, section: a, key: b, value: c, create: true }
",
    );
    let plan = applied(&world);
    let edits =
        plan.entries().flat_map(armilla::plan::Entry::steps).filter(|step| matches!(step, Step::EditFile { .. }));
    assert_eq!(edits.count(), 3, "{}", show_plan(&plan));
    assert!(show_plan(&plan).contains("planned before it, may create it"), "{}", show_plan(&plan));
    assert_eq!(content(&world, "/etc/nginx/nginx.conf"), "worker_processes auto;\n");
    assert_eq!(content(&world, "/etc/nginx/more.ini"), "[a]\nb = c\n");
}

#[test]
fn a_part_of_what_nobody_brings_fails_when_its_turn_comes() {
    let world = world("  - package: nginx\n  - line: { path: /etc/nginx/none.conf, line: x }\n");
    let plan = plan(&world);
    let run = world.apply(&plan);
    let shown = show_run(&plan, &run);
    assert!(shown.contains("the file still does not exist"), "{shown}");
}

#[test]
fn a_key_for_a_user_of_the_same_plan_is_theirs() {
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIH9O7fFVOEwGtHvMdKYr1NOT4b8Pn1yOwiUEfKNl7wtt";
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIF//2jxUgUxBKfpt3mXMId1m5FHBlZ5ITDnsGB5jkMs4";
    let world = world(&format!(
        "  - user: {{ name: ada, home: /srv/ada }}
  - authorized_key: {{ user: ada, key: {key} laptop }}
  - authorized_key: {{ user: ada, key: {other}, options: restrict }}
"
    ));
    applied(&world);
    assert_eq!(content(&world, "/srv/ada/.ssh/authorized_keys"), format!("{key} laptop\nrestrict {other}\n"));
    let owned = |host: &mut armilla::sim::Host| {
        let ada = host.users["ada"].clone();
        ["/srv/ada/.ssh", "/srv/ada/.ssh/authorized_keys"].map(|path| {
            let node = host.paths.get(path).expect("it is there");
            assert_eq!((node.uid, node.gid), (ada.uid, ada.gid), "{path}");
            node.mode
        })
    };
    assert_eq!(world.fleet.on("h1", owned), Some([Mode(0o700), Mode(0o600)]));
}

#[test]
fn a_whole_file_and_a_part_of_it_are_a_mistake() {
    for whole in [
        "file: { path: /etc/systemd/system/a.service, content: x }",
        "unit: { name: a.service, content: x }",
        "link: { path: /etc/systemd/system/a.service, target: /x }",
    ] {
        let world = world(&format!("  - line: {{ path: /etc/systemd/system/a.service, line: x }}\n  - {whole}\n"));
        let problems = world.plan().expect_err("two claims").to_string();
        assert!(problems.contains("managed in part by line") && problems.contains("is declared twice"), "{problems}");
        assert!(problems.contains("role.yml:3") && problems.contains("role.yml:4"), "{problems}");
    }
}

#[test]
fn the_same_part_twice_is_a_mistake() {
    let world = world(
        "  - ini: { path: /etc/a, section: s, key: k, value: '1' }\n  - ini: { path: /etc/a, section: s, key: k, value: '2' }\n",
    );
    assert!(world.plan().expect_err("two claims").to_string().contains("ini /etc/a [s] k is declared twice"));
}

#[test]
fn a_plan_shows_only_the_lines_that_change() {
    let world = world("  - line: { path: /etc/app.conf, match: '^a=', line: a=1 }\n");
    put(&world, "/etc/app.conf", "password=hunter2\na=0\nb=2\n");
    let shown = show_plan(&plan(&world));
    assert!(!shown.contains("hunter2") && !shown.contains("b=2"), "{shown}");
}

// -- properties -------------------------------------------------------------------------------------------------------

fn text() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        Just(""),
        Just("[s]"),
        Just("[t]"),
        Just("k = 1"),
        Just("\tk=2"),
        Just("  goes on"),
        Just("# k = 3"),
        Just("a=0"),
        Just("192.0.2.7 zk1 # me"),
        Just("192.0.2.8 zk2"),
        Just("* soft nofile 1"),
        Just("# BEGIN armilla x"),
        Just("# END armilla x"),
        Just("ü"),
    ];
    (prop::collection::vec(line, 0..12), prop::sample::select(vec!["\n", "\r\n"]), any::<bool>()).prop_map(
        |(lines, end, last)| {
            let text = lines.join(end);
            if last && !text.is_empty() { text + end } else { text }
        },
    )
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        (-9i64..99).prop_map(Into::into),
        "[a-z: #'\"{}\\[\\]-]{0,6}".prop_map(Into::into),
    ];
    let inner = leaf.prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Into::into),
            prop::collection::btree_map("[abk]", inner, 0..3).prop_map(|map| map.into_iter().collect()),
        ]
    });
    prop::collection::btree_map("[abk]", inner, 0..4).prop_map(|map| map.into_iter().collect())
}

fn with_tabs(tree: &serde_json::Value) -> String {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    serde::Serialize::serialize(tree, &mut serde_json::Serializer::with_formatter(&mut bytes, formatter))
        .expect("JSON");
    String::from_utf8(bytes).expect("a text")
}

fn plain(text: &str) -> Content {
    Content::from(text)
}

fn edits() -> impl Strategy<Value = Edit> {
    let state = prop_oneof![Just(State::Present), Just(State::Absent)];
    let place = prop_oneof![
        Just(Position::Beginning),
        Just(Position::End),
        Just(Position::After("^\\[s".to_owned())),
        Just(Position::Before("a".to_owned())),
    ];
    let several = prop_oneof![Just(Several::Refuse), Just(Several::KeepFirst)];
    let line = (state.clone(), place.clone(), several, any::<bool>()).prop_map(|(state, place, several, matches)| {
        let matches = matches.then(|| "^a=".to_owned());
        Edit::Line(Line { line: Some(plain("a=1")), matches, place, state, several })
    });
    let block = (prop::option::of("[a-z\n]{0,5}"), place).prop_map(|(content, place)| {
        let mark = |word: &str| format!("# {word} armilla x");
        Edit::Block(MarkedBlock {
            begin: mark("BEGIN"),
            end: mark("END"),
            content: content.map(|text| plain(&text)),
            place,
        })
    });
    let values = prop::collection::vec(prop::sample::select(vec!["1", "", "x y"]), 0..3);
    let ini = (prop::option::of(prop::sample::select(vec!["s", "t", "new"])), values).prop_map(|(section, values)| {
        let values = values.into_iter().map(plain).collect();
        Edit::Ini(Ini { section: section.map(str::to_owned), key: "k".to_owned(), values, sign: " = ".to_owned() })
    });
    let entry = prop_oneof![
        Just(Entry::HostNames(HostNames {
            address: "192.0.2.7".parse().expect("an address"),
            names: vec!["zk1".into(), "z".into()]
        })),
        Just(Entry::Limit(Limit { domain: "*".into(), kind: "soft".into(), item: "nofile".into(), value: "9".into() })),
    ];
    prop_oneof![line, block, ini, (entry, state).prop_map(|(entry, state)| Edit::Entry(entry, state))]
}

fn tree_edits() -> impl Strategy<Value = (Path, Option<serde_json::Value>)> {
    let path = prop::sample::select(vec!["a", "k", "a.b", "a[0]", "b.k.a", "k[1].a", "new.one"]);
    (path, prop::option::of(tree().prop_map(|tree| tree.get("a").cloned().unwrap_or(7.into()))))
        .prop_map(|(path, value)| (Path::parse(path).expect("a way"), value.filter(|value| !value.is_null())))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn an_edit_done_twice_is_as_done_once(text in text(), edit in edits()) {
        if let Ok(Some(once)) = edit.apply(Some(text.as_bytes())) {
            prop_assert_eq!(edit.apply(Some(&once)), Ok(Some(once.clone())), "{:?}", String::from_utf8_lossy(&once));
        }
    }

    #[test]
    fn lines_that_an_edit_is_not_about_stay(text in text(), edit in edits()) {
        let Ok(Some(after)) = edit.apply(Some(text.as_bytes())) else { return Ok(()) };
        let after = String::from_utf8(after).expect("a text");
        for line in ["ü", "# k = 3", "192.0.2.8 zk2"] {
            let outside = !text.contains("BEGIN") || !matches!(edit, Edit::Block(_));
            let count = |text: &str| text.lines().filter(|row| *row == line).count();
            prop_assert!(!outside || count(&text) == count(&after), "{:?} became {:?}", text, after);
        }
        if text.contains("\r\n") {
            prop_assert_eq!(after.matches('\n').count(), after.matches("\r\n").count());
        }
    }

    #[test]
    fn parts_that_are_not_the_same_can_be_done_in_any_order(text in text(), edits in (edits(), edits())) {
        use std::mem::discriminant;
        let (one, two) = edits;
        // Where a new line goes, and how its `=` is written, may depend on the other's; what is said must not.
        if discriminant(&one) == discriminant(&two) { return Ok(()) }
        let both = |first: &Edit, second: &Edit| second.apply(first.apply(Some(text.as_bytes())).ok()?.as_deref()).ok()?;
        let sorted = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).expect("a text");
            let mut lines: Vec<String> = text.lines().map(|line| line.replace(' ', "")).filter(|line| !line.is_empty()).collect();
            lines.sort();
            lines
        };
        if let (Some(there), Some(back)) = (both(&one, &two), both(&two, &one)) {
            // A line can be put into the other's block, or into its section.
            if text.contains("BEGIN") || matches!(one, Edit::Block(_)) || matches!(two, Edit::Block(_)) { return Ok(()) }
            prop_assert_eq!(sorted(there), sorted(back));
        }
    }

    #[test]
    fn a_value_in_a_tree_is_set_and_nothing_else(tree in tree(), (path, value) in tree_edits(), style in 0..3) {
        let text = match style {
            0 => serde_json::to_string(&tree).expect("JSON"),
            1 => serde_json::to_string_pretty(&tree).expect("JSON"),
            _ => with_tabs(&tree),
        };
        let wanted = value.as_ref().map(|value| plain(&value.to_string()));
        let edits = [Edit::Json(Json { path: path.clone(), value: wanted.clone() }), Edit::Yaml(Yaml { path: path.clone(), value: wanted })];
        let mut ends = Vec::new();
        for edit in edits.iter().take(if style == 2 { 1 } else { 2 }) {
            let Ok(Some(once)) = edit.apply(Some(text.as_bytes())) else { continue };
            prop_assert_eq!(edit.apply(Some(&once)), Ok(Some(once.clone())), "{}", String::from_utf8_lossy(&once));
            let read: serde_json::Value = serde_json::from_slice(&once).map_err(|error| TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(&once))))?;
            let pointer: String = path.to_string().replace(['.', '['], "/").replace(']', "");
            prop_assert_eq!(read.pointer(&format!("/{pointer}")), value.as_ref());
            ends.push(read);
        }
        if let [json, yaml] = ends.as_slice() {
            prop_assert_eq!(json, yaml);
        }
    }
}

#[test]
fn yaml_in_its_own_form_is_changed_and_keeps_its_comments() {
    let text = "# top\nserver:\n  # the port\n  port: 80   # http\n  names:\n  - a\n  - b\n\n  # logs\n  log: {level: info}\nlast: |\n  text\n  more\n";
    let set = |path: &str, value: &str| {
        let value = Some(plain(value)).filter(|value| !value.bytes().is_empty());
        let edit = Edit::Yaml(Yaml { path: Path::parse(path).expect("a way"), value });
        edit.apply(Some(text.as_bytes())).map(|after| String::from_utf8(after.expect("a file")).expect("a text"))
    };
    let is = |path: &str, value: &str, old: &str, new: &str| {
        assert_eq!(set(path, value).as_deref(), Ok(text.replace(old, new).as_str()), "{path}");
    };
    is("server.port", "8080", "port: 80 ", "port: 8080 ");
    is("server.names[1]", "\"c d\"", "- b", "- \"c d\"");
    is("server.names[2]", "\"c\"", "  - b\n", "  - b\n  - c\n");
    is("server.names", "[\"x\",\"y\"]", "  names:\n  - a\n  - b\n", "  names:\n    - x\n    - \"y\"\n");
    is("server.names", "", "  names:\n  - a\n  - b\n", "");
    is("server.log.level", "\"yes\"", "level: info", "level: \"yes\"");
    is("server.log.file", "\"/var/log/x\"", "info}", "info, \"file\": \"/var/log/x\"}");
    is("server.tls.cert", "\"a\"", "  log: {level: info}\n", "  log: {level: info}\n  tls:\n    cert: a\n");
    is("last", "\"x\"", "last: |\n  text\n  more\n", "last: x\n");
    is("new", "{\"a\":{\"b\":[1]}}", "  more\n", "  more\nnew:\n  a:\n    b:\n      - 1\n");
    assert!(set("server", "{}").is_err_and(|why| why.to_string().contains("comments")));
    assert!(set("server.port.x", "1").is_err());
}

#[test]
fn yaml_that_others_may_mean_too_is_refused() {
    for (text, why) in [
        ("a: &x {b: 1}\nc: *x\n", "an anchor"),
        ("a: !t {b: 1}\n", "an anchor"),
        ("a: 1\n---\na: 2\n", "several documents"),
        ("a: 1\na: 2\n", "more than once"),
        ("a: [\n", "invalid YAML"),
    ] {
        let edit = Edit::Yaml(Yaml { path: Path::parse("a.b").expect("a way"), value: Some(plain("2")) });
        let found = edit.apply(Some(text.as_bytes())).expect_err(text).to_string();
        assert!(found.contains(why), "{text}: {found}");
    }
}

#[test]
fn json_keeps_its_indentation_its_order_and_its_numbers() {
    let text = "{\n    \"z\": 1.50,\n    \"a\": { \"list\": [1, 2] }\n}";
    let set = |path: &str, value: &str| {
        let value = Some(plain(value)).filter(|value| !value.bytes().is_empty());
        let edit = Edit::Json(Json { path: Path::parse(path).expect("a way"), value });
        String::from_utf8(edit.apply(Some(text.as_bytes())).expect("it can be done").expect("a file")).expect("a text")
    };
    assert_eq!(set("z", "1.5"), text);
    assert_eq!(set("a.list[2]", "3"), text.replace("[1, 2]", "[1, 2, 3]"));
    assert_eq!(set("a.list[0]", "\"x\""), text.replace("[1, 2]", "[\"x\", 2]"));
    assert_eq!(set("a", ""), "{\n    \"z\": 1.50\n}");
    assert_eq!(set("b.c", "true"), text.replace(" }\n}", " },\n    \"b\": {\n        \"c\": true\n    }\n}"));
}
