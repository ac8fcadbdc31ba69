//! Large files on their way to this machine, with SSH and without it, and what goes wrong with them.
//!
//! In: files of a project folder. Out: what arrived, and what a host says otherwise. Never: a host other than this one.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use armilla::inventory::{Endpoint, Method};
use armilla::name::HostName;
use armilla::secret::LargeFile;
use armilla::step::{Command, Digest, Mode, Occupied, Outcome, Ownership, Packed, Step, UnpackLimits, Unpacking};
use armilla::transport::{Connections, Order, SshOptions, StepEvent, Transport as _};

use crate::ssh::{Server, run};

/// Bytes that no compression makes small and no offset leaves alike.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    });
    next.take(size).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A file of the project, and what it is known by.
    fn file(&self, name: &str, bytes: &[u8]) -> LargeFile {
        fs::write(self.0.path().join(name), bytes).expect("a write");
        LargeFile { path: name.to_owned(), size: bytes.len() as u64, sha256: Digest::of(bytes).0 }
    }

    fn send(&self, file: &LargeFile, to: &str) -> Step {
        let ownership = Ownership { mode: Some(Mode(0o640)), ..Ownership::default() };
        Step::SendFile { path: self.path(to), file: file.clone(), ownership }
    }
}

fn unpack(file: &LargeFile, path: String) -> Step {
    let limits = UnpackLimits { bytes: 64 << 20, entries: 10, ratio: 100 };
    let (source, marker) = (Packed::Large(file.clone()), "armilla archive 1\n".to_owned());
    let (owner, group) = (nix::unistd::geteuid().to_string(), nix::unistd::getegid().to_string());
    Step::Unpack(Box::new(Unpacking {
        path,
        source,
        strip: 0,
        owner,
        group,
        limits,
        occupied: Occupied::Refuse,
        marker,
    }))
}

fn this_machine() -> Endpoint {
    let mut host = Endpoint::new(HostName::new("here").expect("a name"));
    host.method = Method::Local;
    host
}

fn outcome(done: &[Outcome], index: usize) -> &str {
    match done.get(index) {
        Some(Outcome::Failed { stderr, .. }) => stderr,
        Some(Outcome::Done) => "done",
        _ => "missing",
    }
}

async fn files_arrive(connections: &Connections, host: &Endpoint) {
    let folder = Folder::new();
    let bytes = noise((5 << 20) + 17);
    let big = folder.file("big", &bytes);
    let mut tar = std::process::Command::new("tar");
    let packed = tar.arg("cf").arg(folder.path("big.tar")).arg("-C").arg(folder.0.path()).arg("big").status();
    assert!(packed.is_ok_and(|ended| ended.success()), "tar");
    let archive = folder.file("big.tar", &fs::read(folder.path("big.tar")).expect("an archive"));
    let steps =
        [folder.send(&big, "one"), folder.send(&big, "two"), unpack(&archive, folder.path("tree")), run("echo done")];
    let order = Order { project: Some(folder.0.path()), ..Order::of(&steps) };
    let done = connections.perform(host, order, &|_| ()).await.expect("an answer");
    assert_eq!(done, vec![Outcome::Done; 4]);
    for name in ["one", "two", "tree/big"] {
        assert!(fs::read(folder.path(name)).expect(name) == bytes, "{name}");
    }
    // Nothing is left of what was on its way.
    let mut names: Vec<_> = fs::read_dir(folder.0.path()).expect("names").flatten().map(|e| e.file_name()).collect();
    names.sort();
    assert_eq!(names, ["big", "big.tar", "one", "tree", "two"]);
}

/// What is said of a file that is not what it was when the plan was made; nothing of it arrives, and the host goes on.
async fn others_are_refused(connections: &Connections, host: &Endpoint) {
    let folder = Folder::new();
    let bytes = noise(3 << 20);
    let big = folder.file("big", &bytes);
    fs::write(folder.path("target"), "before").expect("a write");
    let steps = [folder.send(&big, "target")];
    let tell = async |project: Option<&Path>| {
        let done = connections.perform(host, Order { project, ..Order::of(&steps) }, &|_| ()).await;
        let done = done.expect("an answer");
        assert_eq!(fs::read(folder.path("target")).expect("the target"), b"before");
        outcome(&done, 0).to_owned()
    };
    let root = Some(folder.0.path());
    let mut other = bytes.clone();
    other[1 << 20] ^= 1;
    for (bytes, why) in [
        (&other[..], "big: what came is not what the plan was made with"),
        (&bytes[..1 << 20], "(1048576 of 3145728 bytes)"),
        (&[&bytes[..], b"more"].concat()[..], "file too large"),
    ] {
        fs::write(folder.path("big"), bytes).expect("a write");
        let told = tell(root).await;
        assert!(told.contains(why), "{told}");
    }
    fs::remove_file(folder.path("big")).expect("removed");
    assert!(tell(root).await.starts_with("big cannot be read: No such file"));
    assert!(tell(None).await.contains("change to its folder"));
    folder.file("big", &bytes);
    let done = connections.perform(host, Order { project: root, ..Order::of(&steps) }, &|_| ()).await;
    assert_eq!(done, Ok(vec![Outcome::Done]));
}

#[tokio::test(flavor = "multi_thread")]
async fn large_files_arrive_as_they_are_and_others_are_refused() {
    let connections = Connections::new(SshOptions::default());
    files_arrive(&connections, &this_machine()).await;
    others_are_refused(&connections, &this_machine()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: starts an sshd"]
async fn large_files_arrive_over_ssh_as_they_are_and_others_are_refused() {
    let server = Server::start("");
    let (host, connections) = (server.host(), Connections::new(server.options()));
    files_arrive(&connections, &host).await;
    others_are_refused(&connections, &host).await;
    assert_eq!(connections.connects(&host), 1, "all of it over one connection");
    connections.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs root: mounts a file system that is full"]
async fn a_full_disk_is_told_and_the_host_goes_on() {
    let folder = Folder::new();
    let full: PathBuf = folder.path("full").into();
    fs::create_dir(&full).expect("a folder");
    let flags = nix::mount::MsFlags::empty();
    nix::mount::mount(Some("none"), &full, Some("tmpfs"), flags, Some("size=2m")).expect("a file system");
    let big = folder.file("big", &noise(8 << 20));
    let steps = [folder.send(&big, "full/big")];
    let connections = Connections::new(SshOptions::default());
    let order = Order { project: Some(folder.0.path()), ..Order::of(&steps) };
    let done = connections.perform(&this_machine(), order, &|_| ()).await.expect("an answer");
    let left = fs::read_dir(&full).expect("names").count();
    nix::mount::umount(&full).expect("unmounted");
    let told = outcome(&done, 0);
    assert!(told.contains("could be written") && told.ends_with("is the disk full?"), "{told}");
    assert_eq!(left, 0, "nothing stays there");
}

/// At whatever moment that is: the old file is there or the new one, and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn who_gives_up_while_a_file_is_sent_leaves_the_old_one_or_the_new_one() {
    let folder = Folder::new();
    let bytes = noise(64 << 20);
    let big = folder.file("big", &bytes);
    let steps = [folder.send(&big, "target"), Step::Run(Command::new(["sleep", "60"]))];
    let host = this_machine();
    for moment in [0, 5, 20, 60] {
        fs::write(folder.path("target"), "before").expect("a write");
        let connections = Connections::new(SshOptions::default());
        let begun = tokio::sync::Notify::new();
        let watch = |event: StepEvent| {
            if matches!(event, StepEvent::Started { index: 0 }) {
                begun.notify_one();
            }
        };
        let order = Order { project: Some(folder.0.path()), ..Order::of(&steps) };
        let given_up = async {
            begun.notified().await;
            tokio::time::sleep(Duration::from_millis(moment)).await;
        };
        // Whoever gives up drops the work, and with it the pipes to the host.
        tokio::select! {
            done = connections.perform(&host, order, &watch) => panic!("it cannot end: {done:?}"),
            () = given_up => {}
        }
        drop(connections);
        let names = || fs::read_dir(folder.0.path()).expect("names").count();
        for _ in 0..100 {
            if names() == 2 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(names(), 2, "nothing of it is left beside the two files");
        let target = fs::read(folder.path("target")).expect("the target");
        assert!(target == b"before" || target == bytes, "{} bytes", target.len());
    }
}
