//! Asking hosts: facts first, then everything there is to know about a host in one round trip.
//!
//! In: who to ask what. Out: what each answered, or why it did not. Never: a change on a host.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::inventory::Endpoint;
use crate::name::HostName;
use crate::step::{Probe, Readings};
use crate::transport::{Transport, TransportError};

/// What each host answered.
pub type Answers = BTreeMap<HostName, Result<Readings, TransportError>>;

/// Asks every host its questions, `forks` hosts at a time; tells each host that has answered (or not).
pub async fn ask<T: Transport>(
    transport: &Arc<T>,
    questions: Vec<(Endpoint, Vec<Probe>)>,
    forks: usize,
    mut answered: impl FnMut(&HostName, Option<&TransportError>),
) -> Answers {
    let slots = Arc::new(Semaphore::new(forks.max(1)));
    let mut tasks = JoinSet::new();
    for (host, probes) in questions {
        let (transport, slots) = (Arc::clone(transport), Arc::clone(&slots));
        tasks.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let readings =
                if probes.is_empty() { Ok(Readings::default()) } else { transport.read(&host, &probes).await };
            (host.name, readings)
        });
    }
    let mut answers = BTreeMap::new();
    while let Some(result) = tasks.join_next().await {
        match result {
            Ok((host, readings)) => {
                answered(&host, readings.as_ref().err());
                answers.insert(host, readings);
            }
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    answers
}
