//! `firewall`: which ports of a host others may reach.
//!
//! In: what is allowed. Out: one nftables table of our own, loaded whole or not at all, now and at every boot. Never:
//! the tables of others, or rules that shut out the connection they came by: the port of our own ssh is always open, and
//! the rules are taken back by themselves if that connection does not answer under them.
//!
//! What is proved is the connection there is: the peer acknowledges bytes after the rules were loaded. That a new one
//! works follows from the first rule, which lets anyone begin one; it is not tried.

use core::net::IpAddr;
use std::fmt::Write as _;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::fields::{self, Presence};
use super::generated::{Generated, Parts, folder, shell};
use super::systemd::{self, Units};
use super::{Action, Change, Kind, Verdict, trace};
use crate::secret::Content;
use crate::step::{Command, PathReading, Probe, Readings, Step, Unreadable};

const FOLDER: &str = "/etc/nftables.d";
const RULES: &str = "/etc/nftables.d/armilla.nft";
const UNIT: &str = "armilla-firewall.service";
/// What is loaded now, and what was before: gone with a boot, as the rules are.
const RUN: &str = "/run/armilla-firewall";
/// Where ssh listens if nobody came by it.
const SSH: u16 = 22;

/// Says by which ssh connection we came: client, its port, host, its port. `sudo` takes the variable away, so the
/// processes above are asked.
const WAY: &str = r#"c=$SSH_CONNECTION p=$$; while [ -z "$c" ] && [ "$p" -gt 1 ]; do c=$(tr '\0' '\n' 2>/dev/null </proc/$p/environ | sed -n 's/^SSH_CONNECTION=//p'); s=$(cat /proc/$p/stat) || break; set -- ${s##*) }; p=$2; done; echo "$c""#;

/// Whether what is loaded is what `$1/source` says and that is what the file `$2` says.
const LIVE: &str = r#"nft -s list table inet armilla | cmp -s - "$1/listed" && cmp -s "$2" "$1/source""#;

/// Keeps the rules there are, and sees to it that they come back in a minute unless somebody says no. One who said
/// nothing in an earlier run is answered first.
const ARM: &str = r#"umask 077; mkdir -p "$1" || exit
if systemctl is-active --quiet armilla-firewall-undo.timer; then nft -f "$1/previous" || exit; fi
systemctl stop armilla-firewall-undo.timer armilla-firewall-undo.service 2>/dev/null
systemctl reset-failed armilla-firewall-undo.service 2>/dev/null
{ printf 'table inet armilla\ndelete table inet armilla\n'; nft -s list table inet armilla 2>/dev/null; } >"$1/previous"
exec systemd-run --quiet --unit=armilla-firewall-undo --on-active=60s --timer-property=AccuracySec=1s nft -f "$1/previous""#;

/// Loads what it reads, and notes how nft shows it and how much our peer has acknowledged by now.
const LOAD: &str = r#"umask 077; cat >"$1/source" && nft -f "$1/source" && nft -s list table inet armilla >"$1/listed" || exit
set -- "$1" $(sh -c "$2" firewall-way); [ $# = 5 ] || exit 0
ss -Htin "sport = :$5 and dport = :$3" | sed -n 's/.*bytes_acked:\([0-9]*\).*/\1/p' >"$1/acked""#;

/// Waits until our peer acknowledges more. Then the rules stay; otherwise those of before come back at once.
const CONFIRM: &str = r#"run=$1; set -- $(sh -c "$2" firewall-way)
if [ $# = 4 ]; then
  read -r before <"$run/acked" || before=
  n=0
  until now=$(ss -Htin "sport = :$4 and dport = :$2" | sed -n 's/.*bytes_acked:\([0-9]*\).*/\1/p') && [ -n "$before" ] && [ "${now:-0}" -gt "$before" ]; do
    n=$((n + 1))
    if [ "$n" -gt 20 ]; then
      nft -f "$run/previous" || exit
      systemctl stop armilla-firewall-undo.timer
      echo 'our own connection did not answer under the new rules for 20 s: the rules of before are back' >&2
      exit 1
    fi
    sleep 1
  done
fi
exec systemctl stop armilla-firewall-undo.timer"#;

/// Which ports of a host others may reach. What is not allowed is dropped; what the host itself began, ICMP, DHCP for
/// IPv6, its own loopback and the port of armilla's ssh connection are always allowed. It needs the package `nftables`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Firewall {
    /// What happens to the rest: `drop` is silence, `reject` an answer.
    #[serde(default)]
    policy: Policy,
    /// What is allowed.
    #[serde(default)]
    allow: Vec<Rule>,
    /// Whether the rules are there. Without them, all is allowed that no other table forbids.
    #[serde(default)]
    state: Presence,
}

/// What happens to what is not allowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Policy {
    /// It is thrown away.
    #[default]
    Drop,
    /// Who asked is told.
    Reject,
}

/// Something that is allowed.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Rule {
    /// A port, or a range of them: `8000-8010`.
    #[serde(default)]
    port: Option<Ports>,
    /// Several.
    #[serde(default)]
    ports: Vec<Ports>,
    /// By which protocol.
    #[serde(default)]
    protocol: Protocol,
    /// From where: addresses and networks, `10.0.0.0/8`. From anywhere by default.
    #[serde(default)]
    from: Option<Vec<Network>>,
}

/// By which protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// The first and the last of some ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ports(u16, u16);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer)?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit());
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) if 0 < first && first <= last && digits(&text.replacen('-', "", 1)) => {
                Ok(Self(first, last))
            }
            _ => Err(serde::de::Error::custom("a port is a number from 1 to 65535, or a range like \"8000-8010\"")),
        }
    }
}

impl JsonSchema for Ports {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ports".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["integer", "string"], "pattern": "^[0-9]+(-[0-9]+)?$" })
    }
}

/// An address, or all that begin like it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    /// How many bits of it count.
    bits: u8,
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let (address, bits) =
            text.split_once('/').map_or((text.as_str(), None), |(address, bits)| (address, Some(bits)));
        let wrong = || {
            serde::de::Error::custom(format!(
                "invalid address or network `{}`: write it like 10.0.0.0/8",
                text.escape_debug()
            ))
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits =
            bits.map_or(Ok(all), |bits| bits.parse::<u8>().ok().filter(|bits| *bits <= all).ok_or_else(wrong))?;
        Ok(Self { address, bits })
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "network".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl Network {
    /// Whether all of the other is in it.
    fn holds(&self, other: &Self) -> bool {
        let (shift, own, its) = match (self.address, other.address) {
            (IpAddr::V4(own), IpAddr::V4(its)) => {
                (32 - self.bits, u128::from(own.to_bits()), u128::from(its.to_bits()))
            }
            (IpAddr::V6(own), IpAddr::V6(its)) => (128 - self.bits, own.to_bits(), its.to_bits()),
            _ => return false,
        };
        let head = |bits: u128| bits.checked_shr(u32::from(shift)).unwrap_or(0);
        self.bits <= other.bits && head(own) == head(its)
    }
}

/// What was found.
#[derive(Debug, PartialEq)]
pub(super) struct State {
    rules: PathReading,
    units: systemd::State,
    /// The port of our own ssh connection.
    ssh: u16,
    /// Whether what is loaded is what the file says.
    live: bool,
}

impl Kind for Firewall {
    const NAME: &'static str = "firewall";
    const SUMMARY: &'static str = "The ports of a host that others may reach";
    const EXAMPLE: &'static str =
        "firewall: { policy: drop, allow: [{ port: 2181, from: [10.0.0.0/8] }, { ports: [80, 443] }] }";
    const SHORT: &'static str = "policy";
    type State = State;

    /// A host has one: what one of two allows, the other would drop.
    fn target(&self) -> String {
        "armilla".to_owned()
    }

    fn check(&self) -> Result<(), String> {
        if self.state == Presence::Absent && !self.allow.is_empty() {
            return Err("a firewall with `state: absent` takes no rules".to_owned());
        }
        self.allow.iter().try_for_each(Rule::check)
    }

    fn probes(&self) -> Vec<Probe> {
        // What the file should be depends on the port; whether it is that, its whole content tells.
        let rules = Probe::Path { path: RULES.to_owned(), content: crate::step::Fetch::Always };
        units().probes().into_iter().chain([rules, way(), live()]).collect()
    }

    fn observe(&self, readings: &Readings) -> Result<State, Unreadable> {
        let rules = Probe::Path { path: RULES.to_owned(), content: crate::step::Fetch::Always };
        let came = String::from_utf8_lossy(&readings.command(&way())?.stdout).trim().to_owned();
        let ssh = match came.split_whitespace().nth(3).map(str::parse) {
            None => SSH,
            Some(Ok(port)) => port,
            Some(Err(_)) => {
                return Err(Unreadable(format!(
                    "unexpected connection of armilla on the host: `{}`",
                    came.escape_debug()
                )));
            }
        };
        let live = readings.command(&live())?.exit == 0;
        Ok(State { rules: readings.path(&rules)?.clone(), units: units().observe(readings)?, ssh, live })
    }

    fn change(&self, state: &State) -> Verdict {
        let parts = if self.state == Presence::Absent { gone(state) } else { self.parted(state) };
        parts.map_or_else(Verdict::Refuse, Parts::verdict)
    }

    fn absent(&self) -> Option<serde_json::Value> {
        trace::away(self.state, serde_json::json!({}))
    }

    fn exists(&self, state: &State) -> bool {
        state.rules != PathReading::Absent || state.units.exists()
    }

    fn fingerprint(&self, state: &State) -> String {
        let State { rules, units, ssh, live } = state;
        format!("{}\n{}\n{ssh} {live}", trace::path(rules), units.fingerprint())
    }

    fn imprint(&self, state: &State) -> String {
        format!("{}\n{}", trace::path(&state.rules), state.units.imprint())
    }
}

impl Firewall {
    fn parted(&self, state: &State) -> Result<Parts, String> {
        let text = self.text(state.ssh);
        let rules = Generated::new("rules", RULES.to_owned(), &text).written(&state.rules);
        let mut parts = Parts::default();
        if rules != Verdict::InSync || !state.live {
            parts.steps.extend(loading(&text));
            parts.fields.extend((rules == Verdict::InSync).then(|| fields::text("loaded", "other rules", "these")));
            parts.fields.push(fields::new("kept open", &format!("port {}, which armilla uses", state.ssh)));
        }
        if state.rules == PathReading::Absent {
            parts.steps.push(folder(FOLDER));
        }
        parts.take(rules)?;
        let units = units();
        parts.append(units.files(&state.units)?);
        units.running(&mut parts, &state.units, None);
        Ok(parts)
    }

    /// All of the table, in the words of nft(8), which takes it whole or not at all.
    fn text(&self, ssh: u16) -> String {
        let mut text =
            String::from("table inet armilla\ndelete table inet armilla\ntable inet armilla {\n\tchain input {\n");
        text.push_str("\t\ttype filter hook input priority filter; policy drop;\n");
        let _ = writeln!(text, "\t\ttcp dport {ssh} accept comment \"armilla comes in here\"");
        text.push_str("\t\tct state vmap { established : accept, related : accept, invalid : drop }\n");
        text.push_str("\t\tiifname \"lo\" accept\n");
        text.push_str("\t\tmeta l4proto { icmp, ipv6-icmp } accept\n");
        // The answer to a question that was asked of all is not an answer to the tracker.
        text.push_str("\t\tip6 saddr fe80::/10 udp sport 547 udp dport 546 accept\n");
        for rule in self.allow.iter().flat_map(Rule::lines) {
            let _ = writeln!(text, "\t\t{rule} accept");
        }
        if self.policy == Policy::Reject {
            text.push_str("\t\tmeta l4proto tcp reject with tcp reset\n\t\treject with icmpx admin-prohibited\n");
        }
        text + "\t}\n}\n"
    }
}

impl Rule {
    fn check(&self) -> Result<(), String> {
        match (&self.port, self.ports.is_empty(), &self.from) {
            (None, true, _) => Err("an entry of `allow` needs `port` or `ports`".to_owned()),
            (Some(_), false, _) => Err("`port` and `ports` are mutually exclusive".to_owned()),
            (_, _, Some(from)) if from.is_empty() => {
                Err("`from` is empty, so nobody is allowed: omit it to allow all".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// One line, or one for each family of addresses.
    fn lines(&self) -> Vec<String> {
        let protocol = if self.protocol == Protocol::Tcp { "tcp" } else { "udp" };
        let ports = format!("{protocol} dport {}", one_or_more(&merged(self.port.iter().chain(&self.ports))));
        let Some(from) = &self.from else { return vec![ports] };
        let family = |word: &str, four: bool| {
            let own: Vec<&Network> = from.iter().filter(|network| network.address.is_ipv4() == four).collect();
            let list = widest(&own);
            (!list.is_empty()).then(|| format!("{word} saddr {} {ports}", one_or_more(&list)))
        };
        [family("ip", true), family("ip6", false)].into_iter().flatten().collect()
    }
}

fn one_or_more(list: &[String]) -> String {
    if list.len() == 1 { list.concat() } else { format!("{{ {} }}", list.join(", ")) }
}

/// Without those that others hold: nft refuses a set whose parts overlap.
fn widest(all: &[&Network]) -> Vec<String> {
    let held = |place: usize| {
        let one = all[place];
        let by = |(other, network): (usize, &&Network)| {
            other != place && network.holds(one) && (!one.holds(network) || other < place)
        };
        all.iter().enumerate().any(by)
    };
    let shown = |network: &Network| format!("{}/{}", network.address, network.bits);
    (0..all.len()).filter(|place| !held(*place)).map(|place| shown(all[place])).collect()
}

/// In order, with those that overlap as one.
fn merged<'a>(all: impl IntoIterator<Item = &'a Ports>) -> Vec<String> {
    let mut sorted: Vec<Ports> = all.into_iter().copied().collect();
    sorted.sort_unstable();
    let mut whole: Vec<Ports> = Vec::new();
    for next in sorted {
        match whole.last_mut() {
            Some(last) if next.0 <= last.1 => last.1 = last.1.max(next.1),
            _ => whole.push(next),
        }
    }
    whole
        .iter()
        .map(|ports| if ports.0 == ports.1 { ports.0.to_string() } else { format!("{}-{}", ports.0, ports.1) })
        .collect()
}

/// Judged, loaded under guard, and kept only if we are still there. The file is written after that: rules that shut us
/// out do not come back with a boot.
fn loading(text: &str) -> [Step; 4] {
    let reading = |command: Command| Command {
        stdin: Content::from(format!("{}{text}", super::generated::HEAD).as_str()),
        ..command
    };
    let seconds = |command: Command, seconds: u64| Step::Run(command.within(Duration::from_secs(seconds)));
    [
        seconds(reading(Command::new(["nft", "-c", "-f", "-"])), 60),
        seconds(shell("firewall-arm", ARM, &[RUN]), 30),
        seconds(reading(shell("firewall-load", LOAD, &[RUN, WAY])), 20),
        seconds(shell("firewall-confirm", CONFIRM, &[RUN, WAY]), 40),
    ]
}

/// The unit goes first: it takes the table with it.
fn gone(state: &State) -> Result<Parts, String> {
    let mut parts = Parts::default();
    parts.take(units().absent(&state.units))?;
    let rules = Generated::new("rules", RULES.to_owned(), "").removed(&state.rules);
    let listed = shell("firewall-gone", "! nft list table inet armilla >/dev/null 2>&1", &[]);
    if rules != Verdict::InSync {
        let delete = Command::new(["nft", "delete", "table", "inet", "armilla"]);
        let steps = vec![Step::RunUnless(delete, Box::new(listed.within(Duration::from_secs(30))))];
        parts.take(Verdict::Change(Change { action: Action::Remove, fields: Vec::new(), steps }))?;
    }
    parts.take(rules)?;
    Ok(parts)
}

/// At boot, before there is a network; after Debian's own, which flushes all tables and is followed when it does so again.
fn units() -> Units {
    let note =
        format!("/bin/sh -c 'umask 077; cp {RULES} {RUN}/source && nft -s list table inet armilla >{RUN}/listed'");
    let text = format!(
        "[Unit]\nDescription=Firewall of armilla\nDefaultDependencies=no\nWants=network-pre.target\n\
         Before=network-pre.target shutdown.target\nConflicts=shutdown.target\nAfter=nftables.service\n\
         PartOf=nftables.service\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n\
         RuntimeDirectory=armilla-firewall\nRuntimeDirectoryMode=0700\nRuntimeDirectoryPreserve=yes\n\
         ExecStart=nft -f {RULES}\nExecStartPost={note}\nExecStop=nft delete table inet armilla\n\n\
         [Install]\nWantedBy=sysinit.target\n"
    );
    Units::new(UNIT.to_owned(), vec![("unit", UNIT.to_owned(), text)])
}

fn way() -> Probe {
    Probe::Command(shell("firewall-way", WAY, &[]).within(Duration::from_secs(10)))
}

fn live() -> Probe {
    Probe::Command(shell("firewall-live", LIVE, &[RUN, RULES]).within(Duration::from_secs(20)))
}
