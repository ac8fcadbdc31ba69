//! What deciding costs while many hosts change: `cargo bench --bench rolling [-- HOSTS...]`.
//!
//! In: nothing. Out: a table in Markdown: seconds to change all hosts of a service, in batches of a tenth, without and with a
//! number of members that stay healthy. Never: a network; the hosts are simulated.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "a table is what it is for")]

use std::time::Instant;

use armilla::sim::World;

const SIZES: [usize; 4] = [500, 1_000, 2_000, 4_000];

fn role(rollout: &str, text: &str) -> String {
    format!(
        "summary: S.\nrollout: {{ {rollout} }}\nhealth:\n  - unit: {{ name: s.service }}\nresources:\n\
         \x20 - unit: {{ name: s.service, content: \"[Service]\\nExecStart=/bin/true\\n\" }}\n\
         \x20 - file: {{ path: /etc/s, content: {text} }}\n    notify: restart\n\
         \x20 - service: {{ name: s, state: running }}\n"
    )
}

/// How many seconds a change of all hosts takes.
fn changed(hosts: usize, rollout: &str) -> f64 {
    let mut world = World::with_forks(64);
    for n in 0..hosts {
        world.host(&format!("host{n:05}")).expect("a name");
    }
    world.site("services:\n  s: { hosts: all }\n");
    for text in ["one", "two"] {
        world.role("s", &role(rollout, text)).expect("a role");
        let plan = world.plan().unwrap_or_else(|problems| panic!("{problems}"));
        let begun = Instant::now();
        let run = world.apply(&plan);
        assert!(run.report.converged(), "it converges");
        if text == "two" {
            return begun.elapsed().as_secs_f64();
        }
    }
    0.0
}

fn main() {
    let typed: Vec<usize> = std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    println!("| hosts | batches of 10% | and 80% stay healthy |\n|---:|---:|---:|");
    for hosts in if typed.is_empty() { SIZES.to_vec() } else { typed } {
        let [batches, healthy] = ["batch: 10%", "batch: 10%, keep_healthy: 80%"].map(|rollout| changed(hosts, rollout));
        println!("| {hosts} | {batches:.2} s | {healthy:.2} s |");
    }
}
