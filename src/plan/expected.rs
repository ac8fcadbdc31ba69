//! How a resource will look once its change is done, so that it is recognized if the run ends before it reads the host
//! again.
//!
//! In: a resource, what was found, and the steps of its change. Out: the imprints it may have from its first step on.
//! Never: a guess about what a program does; where that matters, nothing is said.

use std::collections::BTreeMap;

use super::foresight;
use super::past::digest;
use crate::ledger::Expected;
use crate::resource::{Made, Resource};
use crate::step::{PathReading, Probe, Reading, Readings, Step};

/// What is known before these steps are done.
pub(super) fn expected(resource: &dyn Resource, readings: &Readings, steps: &[Step]) -> Expected {
    let known = match resource.made() {
        Made::Any => return Expected::Any,
        Made::As(imprint) => Some(digest(&imprint)),
        Made::BySteps => None,
    };
    let mut imprints = Vec::from_iter(known);
    for imprint in after_each(resource, readings, steps) {
        if !imprints.contains(&imprint) {
            imprints.push(imprint);
        }
    }
    if imprints.is_empty() { Expected::Unknown } else { Expected::Among(imprints) }
}

/// The imprint after each step, as far as paths tell.
fn after_each(resource: &dyn Resource, readings: &Readings, steps: &[Step]) -> Vec<crate::step::Digest> {
    let probes = resource.probes();
    let mut paths: BTreeMap<&str, PathReading> = BTreeMap::new();
    let mut rest = Readings::default();
    for probe in &probes {
        match (probe, readings.get(probe)) {
            (Probe::Path { path, .. }, Some(Reading::Path(found))) => drop(paths.insert(path, found.clone())),
            (_, Some(reading)) => rest.insert(probe.clone(), reading.clone()),
            (_, None) => return Vec::new(),
        }
    }
    let mut imprints = Vec::new();
    for step in steps {
        let Some(found) = foresight::path_of(step).and_then(|path| paths.get_mut(path)) else { continue };
        // What is edited then is not known now.
        if matches!(step, Step::EditFile { .. }) {
            return imprints;
        }
        foresight::after(found, step);
        let mut then = rest.clone();
        for probe in &probes {
            if let Probe::Path { path, .. } = probe
                && let Some(found) = paths.get(path.as_str())
            {
                then.insert(probe.clone(), Reading::Path(found.clone()));
            }
        }
        imprints.extend(resource.seen(&then).ok().map(|seen| digest(seen.imprint.expose())));
    }
    imprints
}
