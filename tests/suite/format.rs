//! `armilla fmt`: another look, the same meaning.
//!
//! In: YAML as careless people write it, and every YAML file and block of this repository. Out: that formatting keeps
//! what it says and every comment, and that formatting again changes nothing.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use armilla::diag::Source;
use armilla::format::{Sort, format};
use armilla::yaml;
use proptest::prelude::*;

fn formatted(sort: Sort, text: &str) -> Result<String, String> {
    format(&Source::new("role.yml", text), sort).map_err(|problem| problem.to_string())
}

/// What a text says. Maps are compared without their order; the inner order is compared by `format` itself.
fn meaning(text: &str) -> serde_json::Value {
    yaml::parse(&Source::new("role.yml", text)).unwrap_or_else(|problem| panic!("{problem}\n{text}")).to_json()
}

/// Formats, and looks at what must hold of every result.
fn held(sort: Sort, text: &str) -> String {
    let once = formatted(sort, text).unwrap_or_else(|problem| panic!("{problem}\n{text}"));
    assert_eq!(meaning(text), meaning(&once), "{text}\n---\n{once}");
    assert_eq!(formatted(sort, &once).as_deref(), Ok(once.as_str()), "formatted twice:\n{text}");
    assert!(once.trim().is_empty() || once.ends_with('\n') && !once.ends_with("\n\n"), "{once:?}");
    once
}

#[test]
fn keys_have_one_order_and_take_their_comments_along() {
    let careless = "\
# The database of the application.

# what is there
resources:
    - package:   postgresql
      when: 'a'   # behind
# what must be there before
needs: [ app ]
# in one line
summary: A database.
strange: 1


inputs:
   port:  { type: port,   default: 5432 }
";
    let wanted = "\
# The database of the application.

# in one line
summary: A database.

inputs:
  port: { type: port, default: 5432 }
# what must be there before
needs: [app]
# what is there
resources:
  - package: postgresql
    when: 'a'   # behind
strange: 1
";
    assert_eq!(held(Sort::Role, careless), wanted);
}

#[test]
fn quotes_and_columns_of_comments_stay() {
    let text = "summary: 'one'   # here\ntags:  [\"two\",  'three']      # and here\nneeds: [a]\n";
    let wanted = "summary: 'one'   # here\ntags: [\"two\", 'three']      # and here\nneeds: [a]\n";
    assert_eq!(held(Sort::Role, text), wanted);
}

#[test]
fn texts_of_several_lines_keep_every_blank() {
    let text = "resources:\n  - file:\n        path: /etc/x\n        content: |\n            a  \n              b\n\n            c\n";
    let wanted = "resources:\n  - file:\n      path: /etc/x\n      content: |\n        a  \n          b\n\n        c\n";
    assert_eq!(held(Sort::Role, text), wanted);
}

#[test]
fn what_cannot_be_kept_is_refused() {
    // The anchor would stand behind what goes by it.
    let moved = formatted(Sort::Role, "resources: &r [a]\nsummary: *r\n").expect_err("an alias before its anchor");
    assert!(moved.contains("cannot be formatted: its meaning would change"), "{moved}");
    let broken = formatted(Sort::Role, "a: [\n").expect_err("not YAML");
    assert!(broken.contains("this is not YAML"), "{broken}");
}

#[test]
fn files_of_other_shapes_are_formatted_too() {
    assert_eq!(held(Sort::Role, "\n\n"), "");
    assert_eq!(held(Sort::Role, "# only a word  \n"), "# only a word\n");
    assert_eq!(held(Sort::Role, "{ tags: [b],  summary: a }"), "{ tags: [b], summary: a }\n");
    assert_eq!(held(Sort::Role, "---\r\ntags: [x]\r\nsummary: a\r\n"), "---\nsummary: a\ntags: [x]\n");
}

#[test]
fn files_are_known_by_their_place() {
    let known = |path: &str| Sort::of(Path::new(path));
    assert_eq!(known("/p/site.yml"), Some(Sort::Site));
    assert_eq!(known("/p/roles/web/role.yml"), Some(Sort::Role));
    assert_eq!(known("/p/inventories/dev/environment.yml"), Some(Sort::Environment));
    assert_eq!(known("/p/inventories/dev/hosts.yaml"), Some(Sort::Hosts));
    assert_eq!(known("/p/inventories/dev/group_vars/all/main.yml"), Some(Sort::Variables));
    for foreign in ["/p/environment.yml", "/p/hosts.yml", "/p/roles/web/tasks/main.yml", "/p/inventories/dev/web.yml"] {
        assert_eq!(known(foreign), None, "{foreign}");
    }
    let source = |text| Source::new("x", text);
    assert!(!Sort::Site.is_ours(&source("- hosts: all\n")));
    assert!(!Sort::Hosts.is_ours(&source("all:\n  hosts: { a: }\n")));
    assert!(Sort::Hosts.is_ours(&source("groups: { web: { hosts: a } }\n")));
}

// -- everything there is ----------------------------------------------------------------------------------------------

#[test]
fn every_yaml_of_this_repository_keeps_its_meaning() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for place in ["site.yml", "roles", "inventories", "examples", "docs", "README.md", "src/cli/init"] {
        for path in files(&root.join(place)) {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            let texts = match ending {
                "yml" | "yaml" => vec![text],
                "md" => blocks(&text),
                _ => Vec::new(),
            };
            let sort = Sort::of(&path).unwrap_or(Sort::Role);
            for text in texts.iter().filter(|text| !text.starts_with("$ANSIBLE_VAULT")) {
                held(sort, text);
                count += 1;
            }
        }
    }
    assert!(count > 40, "only {count} texts were found");
}

fn files(place: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(place) else { return vec![place.to_owned()] };
    entries.flatten().flat_map(|entry| files(&entry.path())).collect()
}

/// The blocks of a document that are YAML, and YAML of one document.
fn blocks(text: &str) -> Vec<String> {
    let blocks = text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.map(str::to_owned).filter(|block| yaml::parse(&Source::new("x", block.clone())).is_ok()).collect()
}

// -- what careless people write ---------------------------------------------------------------------------------------

#[derive(Debug, Clone)]
enum Tree {
    Plain(String),
    Single(String),
    Double(String),
    Lines(Vec<String>),
    Inline(Vec<String>),
    Map(Vec<(String, Tree)>),
    List(Vec<Tree>),
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "[a-z]{1,4} [a-z/.-]{1,9}", "[0-9]{1,4}", Just("true".to_owned()), Just("~".to_owned())]
}

fn tree() -> impl Strategy<Value = Tree> {
    let leaf = prop_oneof![
        3 => word().prop_map(Tree::Plain),
        1 => "[a-z \"{}#:]{0,12}".prop_map(Tree::Single),
        1 => "[a-z '{}#:]{0,12}".prop_map(Tree::Double),
        1 => prop::collection::vec("[a-z][a-z :#'\"]{0,20}", 1..4).prop_map(Tree::Lines),
        1 => prop::collection::vec("[a-z]{1,30}", 0..7).prop_map(Tree::Inline),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::btree_map("[a-z]{1,6}", inner.clone(), 1..4)
                .prop_map(|map| Tree::Map(map.into_iter().collect())),
            prop::collection::vec(inner, 1..4).prop_map(Tree::List),
        ]
    })
}

/// Writes a tree as nobody should: other indentations, comments and blanks everywhere.
struct Careless<'a> {
    chance: &'a [u8],
    next: usize,
    comments: usize,
    text: String,
}

impl Careless<'_> {
    fn any(&mut self, below: usize) -> usize {
        self.next += 1;
        usize::from(self.chance[self.next % self.chance.len()]) % below
    }

    fn end(&mut self) {
        if self.any(6) == 0 {
            let blanks = " ".repeat(1 + self.any(4));
            let _ = write!(self.text, "{blanks}# c{};", self.comments);
            self.comments += 1;
        }
        let blanks = " ".repeat(self.any(3));
        self.text += &blanks;
        self.text.push('\n');
        for _ in 0..self.any(8).saturating_sub(5) {
            self.text.push('\n');
        }
    }

    fn comment(&mut self, indent: usize) {
        if self.any(7) == 0 {
            let _ = writeln!(self.text, "{}# c{};", " ".repeat(indent), self.comments);
            self.comments += 1;
        }
    }

    fn value(&mut self, tree: &Tree, indent: usize) {
        let more = indent + 1 + self.any(5);
        match tree {
            Tree::Plain(text) => {
                let blanks = " ".repeat(1 + self.any(3));
                let _ = write!(self.text, "{blanks}{text}");
            }
            Tree::Single(text) => drop(write!(self.text, " '{text}'")),
            Tree::Double(text) => drop(write!(self.text, " \"{text}\"")),
            Tree::Inline(items) => drop(write!(self.text, " [ {}]", items.join(",  "))),
            Tree::Lines(lines) => {
                self.text += " |\n";
                for line in lines {
                    let _ = writeln!(self.text, "{}{line}", " ".repeat(more));
                }
                return;
            }
            Tree::Map(entries) => {
                self.end();
                return self.map(entries, more);
            }
            Tree::List(items) => {
                self.end();
                return self.list(items, more);
            }
        }
        self.end();
    }

    fn map(&mut self, entries: &[(String, Tree)], indent: usize) {
        for (key, tree) in entries {
            self.comment(indent);
            let _ = write!(self.text, "{}{key}:", " ".repeat(indent));
            self.value(tree, indent);
        }
    }

    fn list(&mut self, items: &[Tree], indent: usize) {
        for item in items {
            self.comment(indent);
            let _ = write!(self.text, "{}-", " ".repeat(indent));
            self.value(item, indent);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn careless_texts_keep_their_meaning_and_their_comments(
        trees in prop::collection::vec(tree(), 1..6),
        order in Just(armilla::role::Role::KEYS.to_vec()).prop_shuffle(),
        chance in prop::collection::vec(any::<u8>(), 60),
    ) {
        let mut careless = Careless { chance: &chance, next: 0, comments: 0, text: String::new() };
        let entries: Vec<_> = order.iter().map(|key| (*key).to_owned()).zip(trees).collect();
        careless.map(&entries, 0);
        let once = held(Sort::Role, &careless.text);
        for number in 0..careless.comments {
            let comment = format!("# c{number};");
            prop_assert_eq!(once.matches(&comment).count(), 1, "{}:\n{}\n---\n{}", comment, careless.text, once);
        }
        let place = |name: &str| armilla::role::Role::KEYS.iter().position(|key| *key == name);
        let root = yaml::parse(&Source::new("role.yml", once.clone())).expect("YAML");
        let keys: Vec<_> = root.map().unwrap_or_default().iter().map(|(key, _)| place(&key.name)).collect();
        prop_assert!(keys.is_sorted(), "{}", once);
    }
}
