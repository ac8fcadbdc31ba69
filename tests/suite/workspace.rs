//! Opening a project without a command line: what daemons, simulations and other programs do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use armilla::catalog::Facts;
use armilla::diag::{Diagnostics, Source};
use armilla::inventory::Become;
use armilla::name::{EnvName, HostName, RoleName};
use armilla::project::{From, Project, RoleTexts};
use armilla::secret::Secret;
use armilla::settings::{KeySource, VaultKey};
use armilla::vars::parse_setting;
use armilla::vault::{self, Key};
use armilla::workspace::{
    Addresses, Environment, KeySources, NoMatch, Prompt, PromptError, Request, Selector, Variables, Workspace,
};

const ROLE: &str = "summary: A file.\ninputs:\n  word: { type: string, default: none }\n  list: { type: list, default: [] }\n\
                    resources:\n  - file: { path: /etc/word, mode: \"0600\", content: \"{{ word }} {{ list }}\\n\" }\n";

fn name(text: &str) -> EnvName {
    EnvName::new(text).expect("a name")
}

fn host(text: &str) -> HostName {
    HostName::new(text).expect("a name")
}

/// A project of one role on every host of `environment`, each a path and a text.
fn project(environment: &[(&str, &str)]) -> Project {
    let role = RoleTexts {
        role: Source::new("roles/word/role.yml", ROLE),
        templates: BTreeMap::new(),
        files: BTreeMap::new(),
        from: From::Project,
    };
    let file = |(path, text): &(&str, &str)| ((*path).to_owned(), Source::new(*path, *text));
    Project {
        site: Some(Source::new("site.yml", "services:\n  word: { hosts: all }\n")),
        roles: [(RoleName::new("word").expect("a name"), role)].into(),
        environment: environment.iter().map(file).collect(),
        ..Project::default()
    }
}

fn open(environment: &[(&str, &str)], request: &Request) -> Result<Environment, Diagnostics> {
    Environment::from_texts(project(environment), request)
}

/// What each host gets.
fn content(environment: &Environment) -> BTreeMap<String, String> {
    let catalog = environment.catalog(&Facts::new(), &BTreeSet::new()).unwrap_or_else(|problems| panic!("{problems}"));
    let file = |(host, catalog): (&HostName, &armilla::catalog::HostCatalog)| {
        (host.to_string(), catalog.blocks[0].items[0].keys.get("content").expect("a content").masked().to_string())
    };
    catalog.hosts.iter().map(file).collect()
}

#[test]
fn an_environment_is_shared_between_tasks() {
    fn is_shared<T: Send + Sync + 'static>() {}
    is_shared::<Environment>();
    is_shared::<Workspace>();
    is_shared::<Request>();
}

#[test]
fn an_environment_of_texts_is_read_as_one_of_files() {
    let hosts = ("hosts.yml", "groups:\n  web: { hosts: \"w[1:2]\", vars: { word: group } }\nhosts: { db: }\n");
    let request = Request::of(name("test"));
    let whole = open(&[hosts], &request).expect("fine");
    let words = ["db none []", "w1 group []", "w2 group []"];
    let shown = |environment: &Environment| -> Vec<String> {
        let all = content(environment);
        all.iter().map(|(host, text)| format!("{host} {}", text.trim_matches('"').trim_end_matches("\\n"))).collect()
    };
    assert_eq!(shown(&whole), words);

    let limited = Request { limit: Some("web:!w2".into()), ..request.clone() };
    let limited = open(&[hosts], &limited).expect("fine");
    assert_eq!((shown(&limited), limited.hosts_left_out()), (vec![words[1].to_owned()], 2));

    let set = Request { variables: vec![parse_setting("word='{{ x }}'").expect("a setting")], ..request.clone() };
    assert_eq!(shown(&open(&[hosts], &set).expect("fine"))[0], "db {{ x }} []", "it is data");

    // A wish of a program: files of the environment that replace its own, or come to them.
    let more = Source::new("group_vars/web.yml", "word: overlay\n");
    let overlay = request.clone().overlay([("group_vars/web.yml".to_owned(), more)]);
    assert_eq!(shown(&open(&[hosts], &overlay).expect("fine"))[1], "w1 overlay []");
    let fewer = Source::new("hosts.yml", "hosts: { db: }\n");
    let overlay = request.overlay([("hosts.yml".to_owned(), fewer)]);
    assert_eq!(shown(&open(&[hosts], &overlay).expect("fine")), ["db none []"]);
}

#[test]
fn a_rehearsal_never_leads_to_a_real_host() {
    let hosts = ("hosts.yml", "hosts: { a: { address: 192.0.2.1 }, b: { address: 192.0.2.2 } }\n");
    let lab = Addresses::Lab([("a".to_owned(), "10.0.0.1".to_owned())].into());
    let request = Request { addresses: lab, ..Request::of(name("test")) };
    let environment = open(&[hosts], &request).expect("fine");
    let ways: Vec<(HostName, String)> =
        environment.endpoints().into_iter().map(|way| (way.name, way.address)).collect();
    assert_eq!(ways, [(host("a"), "10.0.0.1".to_owned())]);
    assert!(!environment.is_production(), "it is a lab");
    let problem = environment.check_rehearsal().expect_err("b is missing").to_string();
    assert!(problem.contains("there is no lab host b"), "{problem}");
    let limited = Request { limit: Some("a".into()), ..request };
    assert_eq!(open(&[hosts], &limited).expect("fine").check_rehearsal(), Ok(()));
}

#[test]
fn a_request_says_as_whom_to_work() {
    let hosts = ("hosts.yml", "hosts: { a: , b: { become: true } }\n");
    let ways = |become_user| {
        let request = Request { become_user, ..Request::of(name("test")) };
        let environment = open(&[hosts], &request).unwrap_or_else(|problems| panic!("{problems}"));
        environment.endpoints().iter().map(|way| way.become_user).collect::<Vec<_>>()
    };
    assert_eq!(ways(Some(Become::Root)), [Become::Root, Become::Root]);
    assert_eq!(ways(Some(Become::No)), [Become::No, Become::No]);
    assert_eq!(ways(None).len(), 2);
}

#[test]
fn what_a_selector_does_not_find_is_an_error_or_a_warning() {
    let hosts = ("hosts.yml", "hosts: { a: }\n");
    let with = |no_match| Request {
        selector: Selector { tags: vec!["nobody".into()], no_match, ..Selector::default() },
        ..Request::of(name("test"))
    };
    let problems = open(&[hosts], &with(NoMatch::Error)).err().expect("an error").to_string();
    assert!(problems.contains("no tag or service `nobody`"), "{problems}");
    let environment = open(&[hosts], &with(NoMatch::Warning)).expect("a warning");
    assert!(environment.warnings.iter().any(|warning| warning.what.contains("nobody")));
    let catalog = environment.catalog(&Facts::new(), &BTreeSet::new()).expect("fine");
    let selected = environment.chosen(catalog).expect("a warning");
    assert!(selected.warnings.iter().any(|warning| warning.what.contains("the selection is empty")));
}

#[test]
fn a_template_in_an_inventory_of_ansible_is_an_error_only_if_a_role_reads_it() {
    let said = |files: &[(&str, &str)], set: &[&str]| {
        let variables = set.iter().map(|text| parse_setting(text).expect("a setting")).collect();
        let problems = open(files, &Request { variables, ..Request::of(name("test")) }).err();
        let all = problems.into_iter().flat_map(Diagnostics::sorted);
        all.map(|problem| format!("{} {}", problem.origin.expect("a place"), problem.what)).collect::<Vec<String>>()
    };
    let hosts = ("hosts", "[all]\nw1\nw2 word='{{ x }}'\n");
    let wrong = said(&[hosts, ("group_vars/all.yml", "list: [a, { b: \"{% x %}\" }]\n")], &[]);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(wrong[0].starts_with("group_vars/all.yml:1:16 the value of `list` is a template"), "{wrong:?}");
    assert!(wrong[1].starts_with("hosts:3:") && wrong[1].contains("the value of `word` is a template"), "{wrong:?}");

    let none: [String; 0] = [];
    assert_eq!(said(&[("hosts", "w1 other='{{ x }}'\n")], &[]), none, "nobody reads it");
    assert_eq!(said(&[hosts], &["word=x"]), none, "what is overridden is not read");
    assert_eq!(said(&[("hosts", "w1\n")], &["word='{{ x }}'"]), none, "that is not Ansible's");
    assert_eq!(said(&[("hosts", "w1\n"), ("group_vars/all.yml", "word: !unsafe '{{ x }}'\n")], &[]), none);
    assert_eq!(said(&[("hosts", "w1\n"), ("group_vars/all.yml", "list: !unsafe ['{{ x }}']\n")], &[]), none);
    assert_eq!(said(&[("hosts", "w1\n"), ("group_vars/all.yml", "word: '${#x} a{ {b} }'\n")], &[]), none);
    assert_eq!(
        said(&[("hosts.yml", "hosts: { w1: { vars: { word: '{{ x }}' } } }\n")], &[]),
        none,
        "our form has data"
    );
}

/// A project in a folder.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, environment: &[(&str, &str)]) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("workspace").join(name);
        drop(fs::remove_dir_all(&folder));
        let folder = Self(folder);
        folder.file("site.yml", "services:\n  word: { hosts: all }\n").file("roles/word/role.yml", ROLE);
        for (path, text) in environment {
            folder.file(&format!("inventories/test/{path}"), text);
        }
        folder
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("a file");
        self
    }

    fn open(&self) -> Workspace {
        let workspace = Workspace::open(&self.0.join("roles")).unwrap_or_else(|problem| panic!("{problem}"));
        workspace.with_variables(Variables::new(std::env::vars_os()))
    }
}

/// Somebody who types the same password whenever asked.
struct Person {
    types: &'static str,
    questions: Mutex<Vec<String>>,
}

impl Prompt for Person {
    fn password(&self, question: &str) -> Result<Secret<String>, PromptError> {
        self.questions.lock().expect("one thread").push(question.to_owned());
        Ok(Secret::new(self.types.to_owned()))
    }
}

fn sealed(text: &str) -> String {
    let key = Key::new(b"correct horse".to_vec()).expect("a key");
    let sealed = vault::seal(text.as_bytes(), &key, Some("prod"), &[7; vault::SALT]);
    format!("word: !vault |\n  {}\n", sealed.trim_end().replace('\n', "\n  "))
}

#[tokio::test]
async fn a_person_is_asked_once_and_only_if_a_role_reads_what_is_encrypted() {
    let settings = ("environment.yml", "vault: [{ id: prod, prompt: true }]\n");
    let hosts = ("hosts.yml", "hosts: { w1: , w2: }\n");
    let folder = Folder::new("person", &[settings, hosts]);
    let person = Arc::new(Person { types: "correct horse", questions: Mutex::default() });
    let workspace = folder.open().with_prompt(person.clone());
    let request = Request::of(name("test"));
    workspace.environment(&request).await.unwrap_or_else(|problems| panic!("{problems}"));
    assert!(person.questions.lock().expect("one thread").is_empty(), "nothing is encrypted");
    folder.file("inventories/test/host_vars/w1.yml", &sealed("one"));
    folder.file("inventories/test/host_vars/w2.yml", &sealed("two"));
    workspace.environment(&request).await.unwrap_or_else(|problems| panic!("{problems}"));
    assert_eq!(*person.questions.lock().expect("one thread"), ["Vault password (prod): "]);

    let nobody = folder.open().environment(&request).await.err().expect("nobody can be asked").to_string();
    assert!(nobody.contains("there is no terminal to ask for the key"), "{nobody}");
}

#[tokio::test]
async fn a_template_in_an_encrypted_value_is_found_and_not_shown() {
    let folder = Folder::new("sealed", &[("hosts", "w1\n"), ("group_vars/all.yml", &sealed("{{ hunter2 }}"))]);
    let key =
        VaultKey { id: None, from: KeySource::Prompt, origin: armilla::diag::Origin::start(&Source::new("test", "")) };
    let person = Arc::new(Person { types: "correct horse", questions: Mutex::default() });
    let keys = KeySources { first: vec![key], fallback: None };
    let request = Request { keys, ..Request::of(name("test")) };
    let said = folder.open().with_prompt(person).environment(&request).await.err().expect("wrong").to_string();
    assert!(said.contains("the value of `word` is a template") && said.contains("group_vars/all.yml:1:7"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_template_that_a_program_prints_is_found() {
    let script =
        "#!/bin/sh\necho '{ \"all\": [\"w1\"], \"_meta\": { \"hostvars\": { \"w1\": { \"word\": \"{{ x }}\" } } } }'\n";
    let folder = Folder::new("printed", &[("environment.yml", "inventory_command: [./hosts.sh]\n")]);
    folder.file("hosts.sh", script).file("armilla.yml", "allow_commands: [[./hosts.sh]]\n");
    fs::set_permissions(folder.0.join("hosts.sh"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let said = folder.open().environment(&Request::of(name("test"))).await.err().expect("wrong").to_string();
    assert!(
        said.contains("the value of `word` is a template") && said.contains("the output of `./hosts.sh`:1:"),
        "{said}"
    );
}
