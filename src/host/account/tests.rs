//! Accounts of files and of a name service that is played.

use super::*;
use crate::step::MembershipReading;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nada:x:1000:1000:Ada, L:/home/ada:/bin/sh\n\
                      twin:x:1000:27::/:/bin/false\n# bob:x:7:7::/:/\n+nis:x:8:8::/:/\nbad:x:many:1::/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nada:x:1000:\nsudo:x:27:ada,root\nadm:x:4:root, ada\nada2:x:1000:ada\n";

/// A name service that knows `bob` (2000) and his groups, and notes what it was asked.
fn service(log: &Arc<Mutex<Vec<String>>>) -> Run {
    let log = Arc::clone(log);
    Arc::new(move |command: &Command| {
        log.lock().expect("a log").push(command.argv.join(" "));
        let words: Vec<&str> = command.argv.iter().map(String::as_str).collect();
        let (exit, stdout) = match words.as_slice() {
            ["getent", "passwd", "--", names @ ..] => (
                if names.iter().all(|name| ["bob", "2000"].contains(name)) { 0 } else { 2 },
                names
                    .iter()
                    .filter(|n| ["bob", "2000"].contains(n))
                    .map(|_| "bob:*:2000:2000:Bob:/home/bob:/bin/sh\n")
                    .collect(),
            ),
            ["getent", "group", "--", names @ ..] => {
                (2, names.iter().filter(|n| ["bob", "2000"].contains(n)).map(|_| "bob:*:2000:\n").collect())
            }
            ["id", "--", names @ ..] => (
                0,
                names
                    .iter()
                    .flat_map(|name| {
                        ["uid=1(", name, ") gid=1000(ada) groups=1000(ada),27(sudo),3(domain users, all),77\n"]
                    })
                    .collect(),
            ),
            _ => (127, String::new()),
        };
        Ok(CommandReading { exit, stdout: stdout.into_bytes(), stderr: Vec::new() })
    })
}

struct Etc {
    directory: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
    accounts: Accounts,
}

impl Etc {
    fn new(nsswitch: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(directory.path().join(name), text).expect("a file");
        write("passwd", PASSWD);
        write("group", GROUP);
        write("nsswitch.conf", nsswitch);
        let log = Arc::default();
        let accounts = Accounts::of(directory.path(), service(&log));
        Self { directory, log, accounts }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.log.lock().expect("a log"))
    }

    fn uid(&self, name: &str) -> Option<u32> {
        self.accounts.user(name).expect("an answer").map(|user| user.uid)
    }
}

#[test]
fn files_that_answer_cost_no_program() {
    for nsswitch in
        ["passwd: files\ngroup:\tfiles # ours\n", "passwd: files systemd\ngroup: files sss\n", "hosts: dns\n"]
    {
        let etc = Etc::new(nsswitch);
        assert_eq!([etc.uid("root"), etc.uid("ada"), etc.uid("twin")], [Some(0), Some(1000), Some(1000)]);
        let ada = etc.accounts.user_numbered(1000).expect("an answer").expect("she is there");
        assert_eq!((ada.name.as_str(), ada.comment.as_str(), ada.shell.as_str()), ("ada", "Ada, L", "/bin/sh"));
        assert_eq!(etc.accounts.group("sudo").expect("an answer").map(|group| group.gid), Some(27));
        assert_eq!(
            etc.accounts.group_numbered(1000).expect("an answer").map(|group| group.name).as_deref(),
            Some("ada")
        );
        assert_eq!(etc.asked(), Vec::<String>::new(), "{nsswitch:?}");
    }
}

#[test]
fn who_is_not_in_the_files_is_asked_for_once_and_together() {
    let etc = Etc::new("passwd: files sss\ngroup: files sss\n");
    etc.accounts.prepare_names(["bob", "none", "ada"], ["bob"]);
    assert_eq!(etc.asked(), ["getent passwd -- bob none", "getent group -- bob"]);
    assert_eq!([etc.uid("bob"), etc.uid("none"), etc.uid("ada")], [Some(2000), None, Some(1000)]);
    etc.accounts.prepare_numbers([0, 1000, 2000, 3000], [2000]);
    assert_eq!(etc.asked(), ["getent passwd -- 2000 3000", "getent group -- 2000"]);
    assert_eq!(etc.accounts.user_numbered(2000).expect("an answer").map(|user| user.name).as_deref(), Some("bob"));
    assert_eq!(etc.uid("2000"), None, "a number is no name");
    etc.accounts.forget();
    etc.asked();
    assert_eq!(etc.uid("none"), None);
    assert_eq!(etc.asked().len(), 1);
}

#[test]
fn a_name_service_before_the_files_is_asked_about_everybody() {
    for nsswitch in ["passwd: sss files\n", "passwd: files [SUCCESS=merge] sss\n", "passwd: compat\n"] {
        let etc = Etc::new(nsswitch);
        assert_eq!((etc.uid("bob"), etc.uid("ada")), (Some(2000), None), "{nsswitch:?}");
    }
    // Without a name service the files are all there is.
    let etc = Etc::new("passwd: sss files\n");
    let none =
        Accounts::of(etc.directory.path(), Arc::new(|_| Ok(CommandReading { exit: 127, ..CommandReading::default() })));
    assert_eq!(none.user("ada").expect("an answer").map(|user| user.uid), Some(1000));
}

#[test]
fn what_the_name_service_cannot_say_is_not_known() {
    let etc = Etc::new("passwd: files sss\n");
    let late = CommandReading { exit: 124, ..CommandReading::default() };
    let accounts = Accounts::of(etc.directory.path(), Arc::new(move |_| Ok(late.clone())));
    assert_eq!(accounts.user("ada").expect("an answer").map(|user| user.uid), Some(1000));
    assert_eq!(accounts.user("bob").expect_err("it is late").why, "getent passwd did not answer in time");
    let files = Etc::new("passwd: files\n");
    assert!(files.accounts.user("bad").expect_err("a number is wrong").why.contains("the entry of user bad"));
    assert_eq!(files.uid("bob"), None, "a comment");
    assert_eq!(files.uid("nis"), None);
}

#[test]
fn a_change_of_the_files_is_seen() {
    let etc = Etc::new("passwd: files\n");
    assert_eq!(etc.uid("eve"), None);
    fs::write(etc.directory.path().join("passwd"), format!("{PASSWD}eve:x:5:5::/home/eve:/bin/sh\n")).expect("a file");
    assert_eq!(etc.uid("eve"), Some(5));
}

#[test]
fn a_home_is_a_directory_of_the_users_own() {
    let etc = Etc::new("passwd: files\n");
    let homes = "a:x:1:1::/home/a:/\nb:x:2:2::/nonexistent:/\nc:x:3:3::/:/\nd:x:4:4:::/\n";
    fs::write(etc.directory.path().join("passwd"), homes).expect("a file");
    let home = |name| etc.accounts.home(name).expect("an answer");
    assert_eq!([home("a").as_deref(), home("b").as_deref(), home("c").as_deref()], [Some("/home/a"), None, None]);
    assert_eq!([home("d"), home("none")], [None, None]);
}

#[test]
fn the_groups_of_a_user_are_told_by_the_files_or_by_one_program() {
    let files = Etc::new("passwd: files\ngroup: files\n");
    let groups = files.accounts.groups("ada").expect("an answer").expect("she is there");
    assert_eq!(groups.numbers(), [1000, 27, 4]);
    assert_eq!(groups.names(), MembershipReading { group: "ada".into(), groups: vec!["adm".into(), "sudo".into()] });
    assert_eq!(files.accounts.groups("twin").expect("an answer").expect("there").numbers(), [27]);
    assert_eq!(files.accounts.groups("none"), Ok(None));
    assert_eq!(files.asked(), Vec::<String>::new());

    for nsswitch in ["passwd: files\ngroup: files systemd\n", "passwd: files\ngroup: files\ninitgroups: sss\n"] {
        let etc = Etc::new(nsswitch);
        etc.accounts.prepare_groups(["ada", "none", "root"]);
        let groups = etc.accounts.groups("ada").expect("an answer").expect("she is there");
        assert_eq!(groups.numbers(), [1000, 27, 3, 77]);
        assert_eq!(groups.names().groups, ["77", "domain users, all", "sudo"]);
        assert_eq!(etc.accounts.groups("none"), Ok(None));
        assert_eq!(etc.asked(), ["id -- ada root"], "{nsswitch:?}");
    }
}

#[test]
fn an_id_that_takes_one_name_is_asked_about_each() {
    let etc = Etc::new("passwd: files\ngroup: files systemd\n");
    let one = |command: &Command| {
        let [_, _, name] = command.argv.as_slice() else {
            return Ok(CommandReading { exit: 1, ..CommandReading::default() });
        };
        let stdout = format!("uid=9({name}) gid=1000 groups=1000,27(sudo)\n").into_bytes();
        Ok(CommandReading { exit: 0, stdout, stderr: Vec::new() })
    };
    let accounts = Accounts::of(etc.directory.path(), Arc::new(one));
    accounts.prepare_groups(["ada", "root"]);
    let groups = accounts.groups("ada").expect("an answer").expect("she is there");
    assert_eq!(groups.names(), MembershipReading { group: "1000".into(), groups: vec!["sudo".into()] });
}
