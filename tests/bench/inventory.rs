//! How long it takes to read an inventory, in every form: `cargo bench --bench inventory [-- HOSTS...]`.
//!
//! In: nothing. Out: seconds, with variables of groups, connections and layers of every host. Never: a file.

#![expect(clippy::expect_used, reason = "a bench that cannot go on fails")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use armilla::diag::Source;
use armilla::inventory::{Inventory, Texts};
use armilla::name::EnvName;
use armilla::vars::Layers;

/// A hundred hosts are in a rack, and ten racks in a room.
const RACK: usize = 100;

fn racks(hosts: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    (0..hosts.div_ceil(RACK)).map(move |rack| (rack, rack * RACK..hosts.min((rack + 1) * RACK)))
}

fn native(hosts: usize) -> String {
    let mut text = String::from("groups:\n");
    for (rack, hosts) in racks(hosts) {
        let _ = writeln!(text, "  rack{rack}:\n    connection: {{ user: admin }}\n    hosts:");
        for host in hosts {
            let _ = writeln!(
                text,
                "      h{host}: {{ address: 10.0.0.{}, port: 22, vars: {{ cores: 8, disks: [a, b] }} }}",
                host % 250
            );
        }
    }
    for (room, _) in racks(hosts).step_by(10) {
        let _ = writeln!(text, "  room{room}: {{ children: rack{room}, vars: {{ room: {room} }} }}");
    }
    text
}

fn ini(hosts: usize) -> String {
    let mut text = String::new();
    for (rack, hosts) in racks(hosts) {
        let _ = writeln!(text, "[rack{rack}:vars]\nansible_user=admin\n[rack{rack}]");
        for host in hosts {
            let _ = writeln!(
                text,
                "h{host} ansible_host=10.0.0.{} ansible_port=22 cores=8 disks=\"['a', 'b']\"",
                host % 250
            );
        }
    }
    for (room, _) in racks(hosts).step_by(10) {
        let _ = writeln!(text, "[room{room}:children]\nrack{room}\n[room{room}:vars]\nroom={room}");
    }
    text
}

fn yaml(hosts: usize) -> String {
    let mut text = String::from("all:\n  children:\n");
    for (rack, hosts) in racks(hosts) {
        let _ = writeln!(
            text,
            "    room{rack}:\n      vars: {{ room: {rack} }}\n      children:\n        rack{rack}:\n          vars: {{ ansible_user: admin }}\n          hosts:"
        );
        for host in hosts {
            let _ = writeln!(
                text,
                "            h{host}: {{ ansible_host: 10.0.0.{}, ansible_port: 22, cores: 8, disks: [a, b] }}",
                host % 250
            );
        }
    }
    text
}

fn printed(hosts: usize) -> String {
    let mut groups = serde_json::Map::new();
    let mut variables = serde_json::Map::new();
    for (rack, hosts) in racks(hosts) {
        for host in hosts.clone() {
            let address = format!("10.0.0.{}", host % 250);
            let set =
                serde_json::json!({ "ansible_host": address, "ansible_port": 22, "cores": 8, "disks": ["a", "b"] });
            variables.insert(format!("h{host}"), set);
        }
        let names: Vec<String> = hosts.map(|host| format!("h{host}")).collect();
        groups
            .insert(format!("rack{rack}"), serde_json::json!({ "hosts": names, "vars": { "ansible_user": "admin" } }));
        groups.insert(
            format!("room{rack}"),
            serde_json::json!({ "children": [format!("rack{rack}")], "vars": { "room": rack } }),
        );
    }
    groups.insert("_meta".to_owned(), serde_json::json!({ "hostvars": variables }));
    serde_json::Value::Object(groups).to_string()
}

/// Variables of all, of every rack, and of every tenth host.
fn files(hosts: usize) -> Vec<(String, String)> {
    let mut files = vec![(
        "group_vars/all.yml".to_owned(),
        (0..50).fold(String::new(), |all, n| all + &format!("setting{n}: {n}\n")),
    )];
    for (rack, hosts) in racks(hosts) {
        files.push((
            format!("group_vars/rack{rack}/main.yml"),
            "cores: 16\nswitch: { name: s1, ports: [1, 2, 3] }\n".to_owned(),
        ));
        files.extend(
            hosts.step_by(10).map(|host| (format!("host_vars/h{host}.yml"), "serial: abc\ncores: 32\n".to_owned())),
        );
    }
    files
}

fn measure(form: &str, name: &str, text: String, hosts: usize) {
    let files = files(hosts).into_iter().map(|(path, text)| (path.as_str().into(), Source::new(path.as_str(), text)));
    let texts: Texts = files.collect();
    let source = Source::new(name, text);
    let texts = match name {
        "" => texts.printed(source),
        name => {
            texts.iter().map(|(path, text)| (path.to_owned(), text.clone())).chain([(name.into(), source)]).collect()
        }
    };
    let begun = Instant::now();
    let inventory =
        Inventory::read(EnvName::new("bench").expect("a name"), &texts).unwrap_or_else(|problems| panic!("{problems}"));
    let read = begun.elapsed();
    let set: usize = inventory.hosts().map(|host| Layers::of(&inventory, host).merged().len()).sum();
    let all = begun.elapsed();
    assert!(inventory.hosts().len() == hosts && set > hosts * 50, "{} hosts, {set} variables", inventory.hosts().len());
    assert!(inventory.hosts().all(|host| host.endpoint.user.is_some() && host.endpoint.address.starts_with("10.")));
    let mut out = std::io::stdout().lock();
    let (read, all) = (read.as_secs_f64(), all.as_secs_f64());
    let _ = writeln!(out, "{hosts:6} hosts, {form:14} read in {read:.3} s, with all variables of all hosts {all:.3} s");
}

fn main() {
    let given: Vec<usize> = std::env::args().skip(1).filter_map(|number| number.parse().ok()).collect();
    for hosts in if given.is_empty() { vec![5_000, 50_000] } else { given } {
        measure("ours", "hosts.yml", native(hosts), hosts);
        measure("Ansible's INI", "hosts", ini(hosts), hosts);
        measure("Ansible's YAML", "inventory.yml", yaml(hosts), hosts);
        measure("printed JSON", "", printed(hosts), hosts);
    }
}
