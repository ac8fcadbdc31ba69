//! Random projects: roles over all kinds, services that need each other, fleets of one to five hosts.
//!
//! In: chance. Out: texts as a user writes them, and a world with empty hosts. Never: a project that contradicts itself.

use std::fmt::Write as _;

use armilla::sim::World;
use proptest::prelude::*;

/// A random project.
#[derive(Debug, Clone)]
pub(crate) struct Project {
    pub(crate) hosts: usize,
    pub(crate) services: Vec<Service>,
    /// Roles that others require: how many files each has.
    pub(crate) bases: Vec<usize>,
    pub(crate) forks: usize,
    pub(crate) slow: Vec<usize>,
    /// Goes into the content of files, for each service and (from 4) each base role: later versions have other numbers.
    pub(crate) versions: [u32; 6],
    /// Whether services are written before those they need.
    pub(crate) backwards: bool,
}

/// A service with a role of its own.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is thrown by itself")]
pub(crate) struct Service {
    /// One bit for each host; none means all.
    pub(crate) hosts: u8,
    /// One bit for each service before it.
    pub(crate) needs: u8,
    /// One bit for each base role.
    pub(crate) requires: u8,
    /// One bit for each service before it whose role its own requires.
    pub(crate) stacks: u8,
    pub(crate) batch: usize,
    pub(crate) packaged: bool,
    pub(crate) quorum: bool,
    pub(crate) health: bool,
    pub(crate) running: bool,
    pub(crate) enabled: Option<bool>,
    pub(crate) items: Vec<Item>,
    /// Where the `service` is among the items.
    pub(crate) place: usize,
}

/// A resource beside the service and what brings it.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    File { owned: bool, restart: Restart, only_first: bool },
    Template { restart: Restart },
    Loop { restart: Restart },
    DropIn { restart: Restart },
    Link { restart: Restart },
    Directory { owned: bool },
    Creates,
    Unless,
    AbsentFile,
    AbsentLink,
    Hold,
}

/// What a change of it asks of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Restart {
    No,
    Yes,
}

impl Restart {
    fn text(self) -> &'static str {
        if self == Self::Yes { "    notify: restart\n" } else { "" }
    }
}

fn restart() -> impl Strategy<Value = Restart> {
    prop_oneof![2 => Just(Restart::Yes), 1 => Just(Restart::No)]
}

fn item() -> impl Strategy<Value = Item> {
    prop_oneof![
        4 => (any::<bool>(), restart(), prop::bool::weighted(0.2))
            .prop_map(|(owned, restart, only_first)| Item::File { owned, restart, only_first }),
        2 => restart().prop_map(|restart| Item::Template { restart }),
        1 => restart().prop_map(|restart| Item::Loop { restart }),
        1 => restart().prop_map(|restart| Item::DropIn { restart }),
        1 => restart().prop_map(|restart| Item::Link { restart }),
        1 => any::<bool>().prop_map(|owned| Item::Directory { owned }),
        1 => Just(Item::Creates),
        1 => Just(Item::Unless),
        1 => Just(Item::AbsentFile),
        1 => Just(Item::AbsentLink),
        1 => Just(Item::Hold),
    ]
}

fn service() -> impl Strategy<Value = Service> {
    let place = (any::<u8>(), any::<u8>(), any::<u8>(), prop_oneof![2 => Just(0), 1 => any::<u8>()], 0..3_usize);
    let nature = (any::<bool>(), any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.9));
    let enabled = prop_oneof![Just(None), Just(Some(true)), Just(Some(false))];
    (place, nature, enabled, prop::collection::vec(item(), 0..6), 0..7_usize).prop_map(
        |((hosts, needs, requires, stacks, batch), (packaged, quorum, health, running), enabled, items, place)| {
            Service {
                hosts,
                needs,
                requires,
                stacks,
                batch,
                packaged,
                quorum,
                health: health && running,
                running,
                enabled,
                items,
                place,
            }
        },
    )
}

pub(crate) fn project() -> impl Strategy<Value = Project> {
    let services = prop::collection::vec(service(), 1..=4);
    let bases = prop::collection::vec(1..3_usize, 0..=2);
    let slow = prop::collection::vec(0..4_usize, 5);
    (1..=5_usize, services, bases, 1..=6_usize, slow, any::<bool>()).prop_map(
        |(hosts, services, bases, forks, slow, backwards)| Project {
            hosts,
            services,
            bases,
            forks,
            slow,
            versions: [1; 6],
            backwards,
        },
    )
}

/// What brings the service of a role: its package, unit, configuration folder and port.
struct Provider {
    package: Option<&'static str>,
    unit: String,
    folder: String,
    port: u16,
}

const PACKAGED: &[(&str, &str, &str, u16)] = &[
    ("zookeeperd", "zookeeper", "/etc/zookeeper/conf", 2181),
    ("nginx", "nginx", "/etc/nginx", 80),
    ("spark", "spark", "/etc/spark", 7077),
];

impl Project {
    /// The same project, later.
    pub(crate) fn next(&self) -> Self {
        self.partly(u8::MAX)
    }

    /// The same project after those roles have changed whose bits are set.
    pub(crate) fn partly(&self, roles: u8) -> Self {
        let mut later = self.clone();
        for (index, version) in later.versions.iter_mut().enumerate() {
            *version += u32::from(roles >> index & 1);
        }
        later
    }

    /// The same project with roles that forget no `notify`.
    pub(crate) fn thorough(mut self) -> Self {
        for item in self.services.iter_mut().flat_map(|service| &mut service.items) {
            if let Item::File { restart, .. }
            | Item::Template { restart }
            | Item::Loop { restart }
            | Item::DropIn { restart }
            | Item::Link { restart } = item
            {
                *restart = Restart::Yes;
            }
        }
        self
    }

    pub(crate) fn names(&self) -> Vec<String> {
        (1..=self.hosts).map(|n| format!("h{n}")).collect()
    }

    /// The hosts of a service.
    pub(crate) fn members(&self, index: usize) -> Vec<String> {
        let chosen = |n: &usize| self.services[index].hosts & (1 << n) != 0;
        let some: Vec<String> = (0..self.hosts).filter(chosen).map(|n| format!("h{}", n + 1)).collect();
        if some.is_empty() { self.names() } else { some }
    }

    /// The services that a service needs, by their numbers.
    pub(crate) fn needs(&self, index: usize) -> Vec<usize> {
        (0..index).filter(|other| self.services[index].needs & (1 << other) != 0).collect()
    }

    /// The base roles that a service requires, by their numbers.
    pub(crate) fn requires(&self, index: usize) -> Vec<usize> {
        (0..self.bases.len()).filter(|other| self.services[index].requires & (1 << other) != 0).collect()
    }

    /// The services on all of its hosts whose roles the role of a service requires.
    pub(crate) fn stacks(&self, index: usize) -> Vec<usize> {
        let within = |other: &usize| self.members(index).iter().all(|host| self.members(*other).contains(host));
        (0..index).filter(|other| self.services[index].stacks & (1 << other) != 0).filter(within).collect()
    }

    fn provider(&self, index: usize) -> Provider {
        match PACKAGED.get(index).filter(|_| self.services[index].packaged) {
            Some((package, unit, folder, port)) => {
                Provider { package: Some(package), unit: (*unit).to_owned(), folder: (*folder).to_owned(), port: *port }
            }
            None => Provider {
                package: None,
                unit: format!("s{index}"),
                folder: format!("/srv/s{index}"),
                port: 9000 + u16::try_from(index).unwrap_or_default(),
            },
        }
    }

    pub(crate) fn site(&self) -> String {
        let line = |index: usize| format!("  s{index}: {{ hosts: {} }}\n", self.members(index).join(":"));
        let mut lines: Vec<String> = (0..self.services.len()).map(line).collect();
        if self.backwards {
            lines.reverse();
        }
        format!("services:\n{}", lines.concat())
    }

    pub(crate) fn base(&self, index: usize) -> String {
        let file = |n: usize| {
            let content = format!("base {index} {n} version {}\\n", self.versions[4 + index]);
            format!("  - file: {{ path: /srv/b{index}-{n}, content: \"{content}\" }}\n")
        };
        format!("summary: B.\nresources:\n{}", (0..self.bases[index]).map(file).collect::<String>())
    }

    pub(crate) fn role(&self, index: usize) -> String {
        let (service, provider) = (&self.services[index], self.provider(index));
        let mut text = "summary: S.\n".to_owned();
        let list = |names: Vec<usize>, letter: char| {
            names.iter().map(|n| format!("{letter}{n}")).collect::<Vec<_>>().join(", ")
        };
        let both = [list(self.requires(index), 'b'), list(self.stacks(index), 's')];
        let both: Vec<&str> = both.iter().map(String::as_str).filter(|names| !names.is_empty()).collect();
        let _ = writeln!(text, "requires: [{}]", both.join(", "));
        let _ = writeln!(text, "needs: [{}]", list(self.needs(index), 's'));
        if service.batch > 0 {
            let _ = writeln!(text, "rollout: {{ batch: {} }}", service.batch);
        }
        if service.health {
            let _ = writeln!(text, "health:\n  - tcp: {{ port: {}, stable_for: 2s, within: 600s }}", provider.port);
        }
        text.push_str("resources:\n");
        self.prelude(index, &provider, &mut text);
        for (n, item) in service.items.iter().enumerate() {
            if n == service.place {
                self.service(index, &provider, &mut text);
            }
            text.push_str(&self.item(index, n, item, &provider));
        }
        if service.place >= service.items.len() {
            self.service(index, &provider, &mut text);
        }
        text
    }

    /// What everything else needs: user, package or unit, folder.
    fn prelude(&self, index: usize, provider: &Provider, text: &mut String) {
        let _ = writeln!(text, "  - group: {{ name: u{index}, system: true }}");
        let _ = writeln!(
            text,
            "  - user: {{ name: u{index}, group: u{index}, system: true, home: /srv, comment: c{} }}",
            self.versions[index]
        );
        if let Some(package) = provider.package {
            let _ = writeln!(text, "  - package: {{ name: {package}, purge: true }}");
            return;
        }
        let quorum = if self.services[index].quorum { " --quorum" } else { "" };
        let (port, folder) = (provider.port, &provider.folder);
        let content = format!(
            "[Service]\\nUser=u{index}\\nExecStart=/bin/s --port {port} --config {folder}{quorum}\\n[Install]\\n"
        );
        let _ = writeln!(text, "  - directory: {folder}");
        let _ = writeln!(
            text,
            "  - unit: {{ name: {}.service, content: \"{content}\" }}\n    notify: restart",
            provider.unit
        );
    }

    fn service(&self, index: usize, provider: &Provider, text: &mut String) {
        let service = &self.services[index];
        let state = if service.running { "running" } else { "stopped" };
        let enabled = service.enabled.map(|enabled| format!(", enabled: {enabled}")).unwrap_or_default();
        let _ = writeln!(text, "  - service: {{ name: {}, state: {state}{enabled} }}", provider.unit);
    }

    fn item(&self, index: usize, n: usize, item: &Item, provider: &Provider) -> String {
        let (folder, version) = (&provider.folder, self.versions[index]);
        let owner = |owned: &bool| if *owned { format!("u{index}") } else { "root".to_owned() };
        match item {
            Item::File { owned, restart, only_first } => {
                let when = if *only_first { "    when: service.position == 1\n" } else { "" };
                let owner = owner(owned);
                format!(
                    "  - file: {{ path: {folder}/f{n}, content: \"v{version} n{n}\\n\", owner: {owner}, mode: \"0640\" }}\n{when}{}",
                    restart.text()
                )
            }
            Item::Template { restart } => {
                format!("  - template: {{ src: t{index}.j2, path: {folder}/t{n} }}\n{}", restart.text())
            }
            Item::Loop { restart } => format!(
                "  - file: {{ path: \"{folder}/l{n}{{{{ item }}}}\", content: \"v{version}\" }}\n    loop: {}\n{}",
                if n.is_multiple_of(2) { "[a, b]" } else { "\"['a', 'b']\"" },
                restart.text()
            ),
            Item::DropIn { restart } => format!(
                "  - unit: {{ name: {}.service.d/d{n}.conf, content: \"[Service]\\nLimit={version}\\n\" }}\n{}",
                provider.unit,
                restart.text()
            ),
            Item::Link { restart } => {
                format!("  - link: {{ path: {folder}/k{n}, target: /srv/v{version} }}\n{}", restart.text())
            }
            Item::Directory { owned } => {
                format!("  - directory: {{ path: /srv/d{index}/x{n}, owner: {}, mode: \"0750\" }}\n", owner(owned))
            }
            Item::Creates => {
                format!("  - command: {{ run: [touch, --, /srv/c{index}{n}], creates: /srv/c{index}{n} }}\n")
            }
            Item::Unless => {
                format!("  - command: {{ run: [mkfs.ext4, /dev/{index}{n}], unless: [blkid, /dev/{index}{n}] }}\n")
            }
            Item::AbsentFile => format!("  - file: {{ path: {folder}/gone{n}, state: absent }}\n"),
            Item::AbsentLink => format!("  - link: {{ path: {folder}/lost{n}, state: absent }}\n"),
            Item::Hold => {
                if self.services[index].items[..n].iter().any(|other| matches!(other, Item::Hold)) {
                    String::new()
                } else {
                    format!("  - package: {{ name: p{index}, version: \"1.{}*\", hold: true }}\n", (version - 1) % 2)
                }
            }
        }
    }

    /// A world with empty hosts.
    pub(crate) fn world(&self) -> World {
        let mut world = World::with_forks(self.forks);
        for (name, slow) in self.names().iter().zip(&self.slow) {
            world.host(name).expect("a name");
            world.fleet.slow(name, *slow);
        }
        self.write(&mut world);
        world
    }

    /// Writes the texts of this version into a world.
    pub(crate) fn write(&self, world: &mut World) {
        for (index, version) in self.versions.iter().enumerate() {
            world.template(&format!("t{index}.j2"), &format!("{{{{ host.name }}}} version {version}\n"));
        }
        for index in 0..self.bases.len() {
            world.role(&format!("b{index}"), &self.base(index)).expect("a role");
        }
        for index in 0..self.services.len() {
            world.role(&format!("s{index}"), &self.role(index)).expect("a role");
        }
        world.site(&self.site());
    }
}
