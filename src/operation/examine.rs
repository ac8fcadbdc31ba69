//! Whether hosts can be worked with: what `doctor` asks, of every host at once.

use std::collections::BTreeMap;

use super::{Notice, Reading, Session};
use crate::doctor::{self, Patient, Tool, Weight};
use crate::inventory::{Become, Endpoint};
use crate::name::HostName;
use crate::observe;
use crate::transport::{Login, Transport, TransportError};

/// How many key exchanges are measured at most: each takes a second.
const EXCHANGES: usize = 3;

fn faster(one: Login, other: Login) -> Login {
    if one.took() <= other.took() { one } else { other }
}

/// A host, and why it did not answer.
type Examined = (Patient, Option<TransportError>);

impl<T: Transport> Session<T> {
    /// Examines every host for these tools. One whose sudo refuses us is examined once more without sudo.
    pub async fn examine(
        &self,
        hosts: &[Endpoint],
        tools: &BTreeMap<HostName, Vec<Tool>>,
    ) -> BTreeMap<HostName, Patient> {
        let mut patients = self.examine_once(hosts.to_vec(), tools).await;
        let refused =
            |host: &&Endpoint| matches!(patients.get(&host.name), Some((_, Some(TransportError::Become { .. }))));
        let plain = |host: &Endpoint| Endpoint { become_user: Become::No, ..host.clone() };
        let again = self.examine_once(hosts.iter().filter(refused).map(plain).collect(), tools).await;
        for (host, (other, _)) in again {
            if let Some((patient, _)) = patients.get_mut(&host) {
                patient.vitals = other.vitals;
                // The first finding names the user already.
                patient.findings.extend(other.findings.into_iter().filter(|finding| finding.weight != Weight::Note));
            }
        }
        self.examine_key_exchanges(hosts, &mut patients).await;
        patients.into_iter().map(|(host, (patient, _))| (host, patient)).collect()
    }

    /// What the key exchange costs the hosts that answered: by measuring one of all that use the same.
    async fn examine_key_exchanges(&self, hosts: &[Endpoint], patients: &mut BTreeMap<HostName, Examined>) {
        let mut used: BTreeMap<String, Vec<&Endpoint>> = BTreeMap::new();
        for host in hosts {
            if patients.get(&host.name).is_some_and(|(_, error)| error.is_none())
                && let Some(exchange) = self.transport().key_exchange(host).await
                && !doctor::is_cheapest(&exchange)
            {
                used.entry(exchange).or_default().push(host);
            }
        }
        // One after the other: logins at the same time would make each other slow.
        for same in used.into_values().take(EXCHANGES) {
            if let Some((login, cheapest)) = self.measure(same[0]).await
                && let Some(finding) = doctor::key_exchange(&login, cheapest.as_ref(), same.len())
                && let Some((patient, _)) = patients.get_mut(&same[0].name)
            {
                patient.findings.push(finding);
            }
        }
    }

    /// A login as usual, and one by the cheapest key exchange where the host offers it: of each the faster of two, since
    /// anything may disturb one. Only the first, where that could say nothing.
    async fn measure(&self, host: &Endpoint) -> Option<(Login, Option<Login>)> {
        let time = async |exchange: Option<&'static str>| self.transport().time_login(host, exchange).await;
        let first = time(None).await.filter(doctor::is_largest)?;
        let mut cheapest = None;
        if first.offered.iter().any(|name| name == doctor::CHEAPEST) {
            cheapest = Some(faster(time(Some(doctor::CHEAPEST)).await?, time(Some(doctor::CHEAPEST)).await?));
        }
        Some((faster(first, time(None).await?), cheapest))
    }

    async fn examine_once(
        &self,
        hosts: Vec<Endpoint>,
        tools: &BTreeMap<HostName, Vec<Tool>>,
    ) -> BTreeMap<HostName, Examined> {
        if hosts.is_empty() {
            return BTreeMap::new();
        }
        self.notify(Notice::Reading { what: Reading::State, hosts: hosts.len() });
        let questions = hosts.iter().map(|host| (host.clone(), vec![doctor::probe(&tools[&host.name])])).collect();
        let mut arrived: BTreeMap<HostName, i64> = BTreeMap::new();
        let mut answers = observe::ask(self.transport(), questions, self.options().forks, |host, error| {
            arrived.insert(host.clone(), self.identity().seconds());
            self.notify(Notice::Answered { host, error });
        })
        .await;
        self.notify(Notice::Read);
        let patient = |host: &Endpoint| {
            let name = host.name.to_string();
            let (vitals, findings, error) = match answers.remove(&host.name)? {
                Ok(readings) => {
                    let at = arrived.get(&host.name).copied().unwrap_or_default();
                    let (vitals, findings) = doctor::examine(&tools[&host.name], &readings, at);
                    (Some(vitals), findings, None)
                }
                Err(error) => (None, vec![doctor::unreachable(host, &error)], Some(error)),
            };
            Some((host.name.clone(), (Patient { host: name, vitals, findings }, error)))
        };
        hosts.iter().filter_map(patient).collect()
    }
}
