//! The health of everything that is desired, check by check.
//!
//! In: a catalog and what the hosts answered. Out: a finding for each check of each service on each host. Never: a host left
//! out, or one that did not answer called healthy.

use super::Plan;
use crate::catalog::{Catalog, RoleBlock};
use crate::name::HostName;
use crate::step::{Check, Health, Probe, Readings, health};

/// One check of one service on one host, and what was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The service, or the role where it is none.
    pub service: String,
    /// On which host.
    pub host: HostName,
    /// What was asked; none where a host was lost before its checks were known.
    pub check: Option<Check>,
    /// What was found.
    pub health: Health,
}

impl Finding {
    /// What is asked of the host.
    pub fn probe(&self) -> Option<&Probe> {
        self.check.as_ref().map(|check| &check.probe)
    }

    /// The same after the host answered, or did not and why.
    #[must_use]
    pub fn answered(self, answer: Option<&Result<Readings, String>>) -> Self {
        let health = match (answer, &self.check) {
            (Some(Err(why)), _) => Health::Unknown(why.clone()),
            (Some(Ok(readings)), Some(check)) => health(std::slice::from_ref(check), readings),
            (None, _) | (_, None) => self.health,
        };
        Self { health, ..self }
    }
}

impl Finding {
    /// Whether it is about a member of a service, and not about a role that others brought in.
    pub fn is_of_service(&self, catalog: &Catalog) -> bool {
        catalog
            .services
            .iter()
            .any(|service| service.name.as_str() == self.service && service.hosts.contains(&self.host))
    }

    /// What a plan found that read its host: what it does not call unhealthy is healthy, unless it did not read the host.
    #[must_use]
    pub fn found_in(self, plan: &Plan) -> Self {
        if let Some(why) = plan.unreachable.get(&self.host) {
            return Self { health: Health::Unknown(why.clone()), ..self };
        }
        let service = plan.services.iter().find(|service| service.name.as_str() == self.service);
        let mut failed = service.and_then(|service| service.unhealthy.get(&self.host)).into_iter().flatten();
        let health = failed.find(|failed| Some(&failed.check) == self.check.as_ref());
        Self { health: health.map_or(Health::Healthy, |failed| failed.health.clone()), ..self }
    }
}

/// All checks of the chosen part of a catalog. Nothing is known of them yet.
pub fn checks(catalog: &Catalog) -> Vec<Finding> {
    let blocks = catalog.hosts.iter().flat_map(|(host, all)| all.blocks.iter().map(move |block| (host, block)));
    let wanted = blocks.filter(|(_, block)| catalog.chooses(block));
    let one = |host: &HostName, block: &RoleBlock, check: &Check| Finding {
        service: block.service.as_ref().map_or_else(|| block.role.to_string(), ToString::to_string),
        host: host.clone(),
        check: Some(check.clone()),
        health: Health::Unknown("it was not checked".to_owned()),
    };
    let found = wanted.flat_map(|(host, block)| block.health.iter().map(move |check| one(host, block, check)));
    let mut found: Vec<Finding> = found.collect();
    found.sort_by(|a, b| a.service.cmp(&b.service));
    found
}
