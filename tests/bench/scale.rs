//! What hosts cost with twenty resources each, and how it grows with their number: `cargo bench --bench scale [-- HOSTS...]`.
//!
//! In: nothing. Out: a table in Markdown: seconds for each part, and memory. Never: a network; the hosts are simulated, and
//! what they cost themselves is not counted.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a table is what it is for")]
#![expect(clippy::disallowed_methods, reason = "each size is measured by a process of its own, for its memory")]

use std::fmt::Write as _;
use std::fs;
use std::io::BufWriter;
use std::process::Command;
use std::time::Instant;

use armilla::plan::plan;
use armilla::report::human::{self, Diffs, Read, Subject, View};
use armilla::report::json;
use armilla::sim::World;

const SIZES: [usize; 4] = [100, 1_000, 10_000, 50_000];

/// Of each host.
const RESOURCES: usize = 20;

/// In the environment: this process measures one size, and says so in bare numbers.
const ALONE: &str = "ARMILLA_BENCH_HOSTS";

/// Batches and a health check, as any service has.
const ROLLOUT: &str = "rollout: { batch: 10% }\nhealth:\n  - tcp: { port: 80 }\n";

/// Twenty resources: sixteen of the service, four of a role it requires.
fn role(rollout: &str) -> String {
    let mut text = format!("summary: S.\nrequires: [base]\n{rollout}resources:\n");
    text.push_str("  - package: nginx\n  - user: { name: web, system: true }\n  - directory: /srv/web\n");
    for n in 0..10 {
        let _ = writeln!(
            text,
            "  - file: {{ path: /srv/web/f{n}, content: \"{{{{ host.name }}}} {n}\\n\" }}\n    notify: restart"
        );
    }
    text.push_str("  - template: { src: t.j2, path: /srv/web/t }\n    notify: restart\n");
    text.push_str("  - link: { path: /srv/web/l, target: /srv }\n  - service: { name: nginx, enabled: true }\n");
    text
}

fn world(hosts: usize) -> World {
    let mut world = World::with_forks(64);
    for n in 0..hosts {
        world.host(&format!("host{n:05}")).expect("a name");
    }
    world.template("t.j2", &"{{ host.name }} is one of many\n".repeat(20));
    let base = "summary: B.\nresources:\n  - package: curl\n  - package: tree\n  - directory: /srv/base\n  - file: { path: /srv/base/f, content: a }\n";
    world.role("base", base).expect("a role");
    world.role("web", &role(ROLLOUT)).expect("a role");
    world.site("services:\n  web: { hosts: all }\n");
    world
}

/// What was measured, in order.
#[derive(Default)]
struct Sheet(Vec<f64>);

impl Sheet {
    /// Does something and writes down how many seconds it took.
    fn timed<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        self.0.push(begun.elapsed().as_secs_f64());
        done
    }
}

/// The memory that this process has now, in bytes.
fn memory() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split(' ').nth(1)?.parse::<u32>().ok()).unwrap_or_default();
    f64::from(pages) * 4096.0
}

/// Compiling, planning from nothing, planning with nothing to do, both reports, all of these; then bytes for a resource: of
/// what was compiled, of the plan with nothing to do beside it, of the plan from nothing.
fn measure(hosts: usize) -> Vec<f64> {
    let mut world = world(hosts);
    let mut sheet = Sheet::default();
    let begin = memory();
    let catalog = sheet.timed(|| world.catalog()).unwrap_or_else(|problems| panic!("{problems}"));
    let compiled = memory() - begin;
    let answers = world.observe(&catalog);
    let before = memory();
    let first = sheet.timed(|| plan(&catalog, &answers));
    let large = memory() - before;
    assert_eq!(first.summary().in_sync, 0);
    // All hosts at once: how they are brought there is not what is measured.
    world.role("web", &role("")).expect("a role");
    let flat = world.catalog().unwrap_or_else(|problems| panic!("{problems}"));
    assert!(world.apply(&plan(&flat, &answers)).report.converged());
    drop((flat, answers));
    let answers = world.observe(&catalog);
    let before = memory();
    let second = sheet.timed(|| plan(&catalog, &answers));
    let small = memory() - before;
    assert!(second.is_empty() && second.in_sync == hosts * RESOURCES);
    let view = View {
        revision: None,
        read: Read::Saved(String::new()),
        diffs: Diffs::Short,
        verbose: 0,
        width: 100,
        command: None,
        limit: None,
        part: None,
        hosts_left_out: 0,
        subject: Subject::Services,
    };
    let text = sheet.timed(|| human::plan(&first, &view));
    let about = json::About { revision: None, limit: None, part: None };
    let nowhere = fs::File::options().write(true).open("/dev/null").expect("it is everywhere");
    let nowhere = BufWriter::with_capacity(1 << 16, nowhere);
    let structured = sheet.timed(|| json::write(nowhere, &json::plan(&first, &about)));
    assert!(!text.is_empty() && structured.is_ok());
    let all = sheet.0.iter().sum();
    #[expect(clippy::cast_precision_loss, reason = "a few millions at most")]
    let each = |bytes: f64| bytes / (hosts * RESOURCES) as f64;
    sheet.0.extend([all, each(compiled), each(small), each(large)]);
    sheet.0
}

fn main() {
    if let Some(hosts) = std::env::var(ALONE).ok().and_then(|hosts| hosts.parse().ok()) {
        let sheet: Vec<String> = measure(hosts).iter().map(f64::to_string).collect();
        println!("{}", sheet.join(" "));
        return;
    }
    let typed: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    let sizes = if typed.is_empty() { SIZES.to_vec() } else { typed };
    println!(
        "| hosts | compile | plan, all to do | plan, nothing to do | text | JSON | together | for a host | bytes for a resource: compiled | plan, nothing to do | plan, all to do |"
    );
    println!("{}", "|---:".repeat(11) + "|");
    for hosts in sizes {
        let program = std::env::current_exe().expect("this program");
        let done = Command::new(program).env(ALONE, hosts.to_string()).output().expect("it starts");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let told = String::from_utf8_lossy(&done.stdout);
        let sheet: Vec<f64> = told.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        let [parts @ .., all, compiled, small, large] = sheet.as_slice() else { panic!("{told}") };
        let parts: Vec<String> = parts.iter().map(|seconds| format!("{seconds:.3} s")).collect();
        #[expect(clippy::cast_precision_loss, reason = "a few millions at most")]
        let each = all / hosts as f64 * 1e6;
        println!(
            "| {hosts} | {} | {all:.3} s | {each:.0} µs | {compiled:.0} | {small:.0} | {large:.0} |",
            parts.join(" | ")
        );
    }
}
