//! Root works in the directory of a user who attacks from a process of her own, see `attacker.rs`, and after every try it is
//! looked what she got, see `guard.rs`.
//!
//! In: steps and questions, as plans have them, over one connection. Out: nothing for her. Never: a test without teeth: who
//! looks first and acts then loses to the same attacker.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use armilla::edit::{Edit, Line, Position, Several, State};
use armilla::inventory::Endpoint;
use armilla::name::{EnvName, HostName};
use armilla::secret::Content;
use armilla::step::{
    Digest, Fetch, Mode, Occupied, Outcome, Ownership, Packed, PathReading, Probe, Reading, Remote, Snapshot, Step,
    Touched, UnpackLimits, Unpacking,
};
use armilla::transport::{Connections, Order, SshOptions, Transport as _};

use crate::attacker::{FRESH, NAMES, SECRET, is_secret};
use crate::house::{House, until};

/// So often root tries each thing at least, and until she could not hinder some of it.
const TRIES: usize = 200;
const DONE: usize = 5;
const MOST: usize = 2000;

/// So often it is begun anew where the old way loses nothing.
const SCENES: usize = 5;

/// Her directory, the secrets of root, and this program on the host.
const WORK: &str = "/home/ada/work";
const SECRETS: &str = "/srv/secrets";
const PROGRAM: &str = "/opt/attack";

/// What is root's, what is hers, and one directory of root's beside hers.
const FURNISH: &str = r#"
id ada >/dev/null 2>&1 || useradd --create-home ada
rm -rf /home/ada /srv/secrets /srv/secrets-lent
mkdir -p /home/ada/work /srv/secrets/directory /srv/secrets-lent /home/ada/vault
cd /srv/secrets
for file in secret linked directory/inside /home/ada/vault/secret; do printf '%s' "$SECRET" >$file; chmod 600 $file; done
mknod -m 600 device c 1 3
chmod 700 /srv/secrets /srv/secrets-lent /home/ada/vault
chown ada:ada /home/ada /home/ada/work
chmod 755 /home/ada /home/ada/work
"#;

/// What changes files as it was once done: by looks at a path, and then its use. So often at a stretch.
const OLD_WAY: &str = r#"
path=/home/ada/work/target
write() {
  if [ ! -L "$path" ] && [ ! -e "$path.new" ] && [ ! -L "$path.new" ]; then
    timeout 1 sh -c 'printf %s "$FRESH" >"$1.new"' sh "$path" && chown ada "$path.new" && mv "$path.new" "$path"
  fi
}
attributes() {
  if [ -f "$path" ] && [ ! -L "$path" ]; then chown ada "$path" && chmod 644 "$path"; fi
}
content() {
  if [ -f "$path" ] && [ ! -L "$path" ]; then timeout 1 cat "$path"; fi
}
for try in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do "$1"; done 2>/dev/null
:
"#;

/// A process on the host that ends with its input.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Process {
    fn start(house: &House, argv: &[&str]) -> Self {
        let mut command = house.lab().exec_command("h1", argv).expect("the host is up");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("its output"));
        Self { child, input, output: BufReader::new(output) }
    }

    fn ask(&mut self) -> String {
        let mut answer = String::new();
        self.input.as_mut().expect("its input").write_all(b"\n").expect("it listens");
        self.output.read_line(&mut answer).expect("it answers");
        assert!(answer.ends_with('\n'), "it ended: {answer}");
        answer.trim_end().to_owned()
    }
}

impl Process {
    fn end(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

/// The attacker and who watches her, in directories that are as they begin.
struct Scene<'a> {
    house: &'a House,
    guard: Process,
    attacker: Process,
}

impl<'a> Scene<'a> {
    fn new(house: &'a House) -> Self {
        house.sh("h1", &format!("set -e\nSECRET='{SECRET}'\n{FURNISH}"));
        let mut guard = Process::start(house, &[PROGRAM, "--guard", WORK, SECRETS]);
        assert_eq!(guard.ask(), "", "before she begins");
        let argv =
            ["setpriv", "--reuid", "ada", "--regid", "ada", "--clear-groups", PROGRAM, "--attack", WORK, SECRETS];
        let scene = Self { house, guard, attacker: Process::start(house, &argv) };
        until("she attacks", || scene.house.holds("h1", "test -s /home/ada/strikes") && scene.strikes() > 100);
        scene
    }

    fn strikes(&self) -> usize {
        self.house.sh("h1", "cat /home/ada/strikes").parse().expect("a number")
    }

    /// Works until it was tried and done often enough, and says how often it was done and refused. Nothing is ever lost.
    fn withstands(&mut self, what: &str, work: &dyn Fn(usize) -> Result<bool, String>) -> (usize, usize) {
        let (mut done, mut refused, mut before) = (0, 0, self.strikes());
        while done + refused < TRIES || done < DONE && done + refused < SCENES * MOST {
            if done + refused > 0 && (done + refused).is_multiple_of(MOST) {
                self.begin_anew();
                before = 0;
            }
            let ended = work(done + refused).unwrap_or_else(|why| panic!("{what}, try {}: {why}", done + refused));
            *(if ended { &mut done } else { &mut refused }) += 1;
            assert_eq!(self.guard.ask(), "", "{what}, try {}, was done: {ended}", done + refused);
        }
        // What nobody writes any more, she reads in a moment.
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(self.guard.ask(), "", "{what}, at the end");
        assert!(done >= DONE, "{what}: she stops everything: {done} of {}", done + refused);
        assert!(refused > 0, "{what}: she hinders nothing");
        let strikes = self.strikes();
        assert!(strikes > before + TRIES, "{what}: she was not at work: {before} strikes, then {strikes}");
        (done, refused)
    }

    /// Root and she may fall into step, so that one always comes at the same moment of the other.
    fn begin_anew(&mut self) {
        self.guard.end();
        self.attacker.end();
        *self = Self::new(self.house);
    }

    /// How many tries of the old way it takes until something of root's is lost; none if it takes too many.
    fn bites(&mut self, what: &str) -> Option<usize> {
        const STRETCH: usize = 20;
        (1..=MOST / STRETCH).map(|stretch| stretch * STRETCH).find(|_| {
            let variables = format!("FRESH={FRESH}");
            let argv = ["env", variables.as_str(), "sh", "-c", OLD_WAY, "sh", what];
            let told = self.house.lab().exec("h1", &argv).expect("the host is entered");
            is_secret(&told.stdout) || !self.guard.ask().is_empty()
        })
    }
}

/// A controller with one connection that stays.
struct Controller {
    connections: Connections,
    runtime: tokio::runtime::Runtime,
    host: Endpoint,
}

impl Controller {
    fn new(house: &House) -> Self {
        let options = SshOptions {
            config: Some(house.ssh_config().into()),
            connect_timeout: Duration::from_secs(5),
            ..SshOptions::default()
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
        Self {
            connections: Connections::new(options),
            runtime,
            host: Endpoint::new(HostName::new("h1").expect("a name")),
        }
    }

    /// Whether it was done; a host that is not reached is no answer.
    fn perform(&self, step: Step) -> Result<bool, String> {
        let done = self.runtime.block_on(self.connections.perform(&self.host, Order::of(&[step]), &|_| {}));
        match done.map_err(|error| error.to_string())?.pop() {
            Some(Outcome::Failed { stderr, .. }) if is_secret(stderr.as_bytes()) => Err(stderr),
            Some(Outcome::Failed { .. }) => Ok(false),
            Some(_) => Ok(true),
            None => Err("no outcome".to_owned()),
        }
    }

    /// Whether a content was read; no secret is, whoever it is of.
    fn read(&self, path: String) -> Result<bool, String> {
        let probe = Probe::Path { path, content: Fetch::Always };
        let read = self.runtime.block_on(self.connections.read(&self.host, std::slice::from_ref(&probe)));
        let readings = read.map_err(|error| error.to_string())?;
        match readings.get(&probe) {
            Some(Reading::Path(PathReading::File { content: Some(content), .. })) if is_secret(content) => {
                Err(format!("the plan shows {}", content.escape_ascii()))
            }
            Some(Reading::Path(PathReading::File { content, .. })) => Ok(content.is_some()),
            Some(Reading::Failed(why)) if is_secret(why.as_bytes()) => Err(why.clone()),
            Some(_) => Ok(false),
            None => Err("no reading".to_owned()),
        }
    }
}

fn at(name: &str) -> String {
    format!("{WORK}/{name}")
}

fn owned(name: &str, mode: u32) -> Ownership {
    Ownership { mode: Some(Mode(mode)), owner: Some(name.to_owned()), group: Some(name.to_owned()) }
}

/// For root alone in turn with what is given to her.
fn turn(at: usize) -> (&'static str, Ownership) {
    if at.is_multiple_of(2) { (FRESH, owned("root", 0o600)) } else { ("for everybody\n", owned("ada", 0o666)) }
}

fn written(name: &str, turn: (&str, Ownership)) -> Step {
    Step::WriteFile { path: at(name), content: Content::from(turn.0), ownership: turn.1 }
}

fn edited(number: usize) -> Step {
    let line = Line {
        line: Some(Content::from(format!("10.0.0.{} host", number % 250).as_str())),
        matches: Some("^10[.]".to_owned()),
        place: Position::End,
        state: State::Present,
        several: Several::KeepFirst,
    };
    Step::EditFile { path: at("target"), edit: Edit::Line(line), create: Some(owned("ada", 0o644)) }
}

/// What was there is kept, the step changes it or not, and what was there comes back.
fn rolled_back(controller: &Controller, number: usize) -> Result<bool, String> {
    let owner = || EnvName::new("staging").expect("a name").into();
    let name = || "app".to_owned();
    let touched = vec![Touched::Path(at(NAMES[number % NAMES.len()].0))];
    if !controller.perform(Step::Snapshot(Snapshot { owner: owner(), name: name(), touched }))? {
        return Ok(false);
    }
    if number.is_multiple_of(4) {
        let _ = controller.perform(written("target", turn(number / 4)))?;
    }
    let done = controller.perform(Step::Undo { owner: owner(), name: name() })?;
    if !done {
        // The next one begins anew.
        controller.perform(Step::Commit { owner: owner(), name: name() })?;
    }
    Ok(done)
}

fn unpacked(archive: &[u8], number: usize) -> Step {
    let owner = if number.is_multiple_of(2) { "ada" } else { "root" };
    Step::Unpack(Box::new(Unpacking {
        path: at("tree"),
        source: Packed::Content(Content::Plain(archive.to_vec())),
        strip: 0,
        owner: owner.to_owned(),
        group: owner.to_owned(),
        limits: UnpackLimits { bytes: 1 << 20, entries: 100, ratio: 1000 },
        occupied: Occupied::Replace,
        marker: "armilla archive 1\n".to_owned(),
    }))
}

/// A small `.tar.gz`.
fn archive() -> Vec<u8> {
    let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default()));
    for name in ["bin/run", "deep/deeper/file", "read-me"] {
        let mut header = tar::Header::new_ustar();
        header.set_size(6);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, b"12345\n".as_slice()).expect("it has room");
    }
    tar.into_inner().and_then(flate2::write::GzEncoder::finish).expect("it has room")
}

fn downloaded(server: &str, number: usize) -> Step {
    let (content, ownership) = turn(number);
    let remote = Remote {
        url: format!("{server}/{}", number % 2),
        digest: Digest::of(content.as_bytes()),
        limit: 1 << 20,
        headers: std::collections::BTreeMap::new(),
        timeout: Duration::from_secs(20),
    };
    Step::Download { path: at("target"), remote, ownership }
}

/// Serves what is for root alone, and what is for her.
fn serve(house: &House) -> String {
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
            let (body, _) = turn(usize::from(!request.starts_with(b"GET /0 ")));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            let _ = stream.write_all(format!("{head}{body}").as_bytes());
        }
    });
    address
}

/// Puts this program into the host.
fn bring(house: &House) {
    let program = File::open(std::env::current_exe().expect("its path")).expect("it is there");
    let place = format!("cat >{PROGRAM} && chmod 755 {PROGRAM}");
    let mut command = house.lab().exec_command("h1", &["sh", "-c", &place]).expect("the host is up");
    assert!(command.stdin(program).status().expect("it starts").success(), "the attacker does not get into the host");
}

/// Something that root does for the time of some number. Gives whether it was done, or refused by the host.
type Work<'a> = dyn Fn(usize) -> Result<bool, String> + 'a;

/// Two hundred tries of everything: no file of root's is read, changed or given away. The old way loses at once.
#[expect(clippy::print_stdout, reason = "how often she hindered what is part of the answer")]
pub(crate) fn f34_attacker_owns_the_directory(house: &House) {
    house.up(&["h1"]);
    bring(house);
    let (controller, server, archive) = (Controller::new(house), serve(house), archive());
    let mut scene = Scene::new(house);
    let step = |step: Step| controller.perform(step);
    let removed = |name: &str| Step::Remove { path: at(name), what: armilla::step::Removable::File };
    let attributes = |number: usize| if number.is_multiple_of(2) { owned("ada", 0o666) } else { owned("root", 0o644) };
    let made = |number: usize| at(if number.is_multiple_of(2) { "made" } else { "made/below" });
    let work: [(&str, &Work<'_>); 9] = [
        ("new file", &|number| {
            step(removed("target"))?;
            step(written("target", turn(number)))
        }),
        ("changed file", &|number| {
            // Half of them leave open who may read it; then it is no secret.
            let (content, ownership) = turn(number);
            step(written("target", (content, if number % 4 == 3 { Ownership::default() } else { ownership })))
        }),
        ("attributes", &|number| {
            step(Step::SetOwnership { path: at(NAMES[number % NAMES.len()].0), ownership: attributes(number) })
        }),
        ("one-line edit", &|number| step(edited(number))),
        ("directory", &|number| step(Step::MakeDirectory { path: made(number), ownership: owned("ada", 0o755) })),
        ("rollback", &|number| rolled_back(&controller, number)),
        ("archive", &|number| step(unpacked(&archive, number))),
        ("download", &|number| step(downloaded(&server, number))),
        ("plan", &|_| controller.read(at("target"))),
    ];
    let counts = work.map(|(what, work)| {
        let begun = Instant::now();
        let (done, refused) = scene.withstands(what, work);
        format!("{what}: {done} done, {refused} refused, {:.0} s", begun.elapsed().as_secs_f64())
    });
    println!("an attacker owns the directory: {}; {} strikes", counts.join("; "), scene.strikes());
    drop(scene);
    let old = ["write", "attributes", "content"].map(|what| {
        // They may fall into step here as well.
        let tries = (0..SCENES).find_map(|_| Scene::new(house).bites(what));
        let tries =
            tries.unwrap_or_else(|| panic!("{what}: she does no damage to the old way in {SCENES} x {MOST} tries"));
        format!("{what} lost within {tries} tries")
    });
    println!("the old way: {}", old.join(", "));
    house.sh("h1", "rm -rf /home/ada /srv/secrets /srv/secrets-lent /opt/attack /var/lib/armilla/host/staging@h1");
}
