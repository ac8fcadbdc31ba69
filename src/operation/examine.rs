//! Whether hosts can be worked with: what `doctor` asks, of every host at once.

use std::collections::BTreeMap;

use super::{Notice, Reading, Session};
use crate::doctor::{self, Patient, Tool, Weight};
use crate::inventory::{Become, Endpoint};
use crate::name::HostName;
use crate::observe;
use crate::transport::{Transport, TransportError};

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
        patients.into_iter().map(|(host, (patient, _))| (host, patient)).collect()
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
