//! How long it takes to plan ten thousand hosts with twenty resources each: `cargo bench --bench plan [-- HOSTS]`.
//!
//! In: nothing. Out: seconds for each part. Never: a network; the hosts are simulated.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use armilla::plan::plan;
use armilla::sim::World;

/// Twenty resources: sixteen of the service, four of a role it requires.
fn role() -> String {
    let mut text =
        "summary: S.\nrequires: [base]\nrollout: { batch: 10% }\nhealth:\n  - tcp: { port: 80 }\nresources:\n"
            .to_owned();
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
    world.role("web", &role()).expect("a role");
    world.site("services:\n  web: { hosts: all }\n");
    world
}

/// Does something and tells how long it took.
fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let done = work();
    let _ = writeln!(std::io::stdout(), "{what:<28} {:.2} s", begun.elapsed().as_secs_f64());
    done
}

fn main() {
    let hosts = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(10_000);
    let world = timed("making hosts", || world(hosts));
    let catalog = timed("compiling the catalog", || world.catalog()).unwrap_or_else(|problems| panic!("{problems}"));
    let answers = timed("answering, empty hosts", || world.observe(&catalog));
    let first = timed("planning the first install", || plan(&catalog, &answers));
    timed("counting", || assert_eq!(first.summary().in_sync, 0));
    let run = timed("applying it", || world.apply(&first));
    assert!(run.report.converged());
    let answers = timed("answering, installed hosts", || world.observe(&catalog));
    let second = timed("planning with nothing to do", || plan(&catalog, &answers));
    assert!(second.is_empty() && second.in_sync == hosts * 20);
}
