//! The check: an assembly, what is asked for and what is known, to all findings at once.
//!
//! A rule that lacks a fact finds that, instead of passing. What cannot be looked at because its part is unknown has
//! that part's finding.

mod connections;
mod cycles;
mod invariants;
mod parts;
mod standards;
mod subject;

use std::collections::BTreeMap;

use fitment_catalog::{Configuration, bind};
use serde_json::Value;

use crate::document::{Assembly, Source};
use crate::facts::Facts;
use crate::finding::{Finding, Place, Report, Rule, ordered};
use crate::invariant::InvariantSet;
use crate::policies::Policies;

pub(crate) use connections::PROTECTED;
use subject::Subject;

/// Checks an assembly under its own policies, its organisation's, and Cedar policies.
pub fn check(assembly: &Assembly, organisation: &Policies, invariants: &InvariantSet, facts: &dyn Facts) -> Report {
    let subject = Subject::new(assembly, organisation, facts);
    let mut findings = Vec::new();
    parts::check(&subject, &mut findings);
    connections::check(&subject, &mut findings);
    cycles::check(&subject, &mut findings);
    standards::check(&subject, &mut findings);
    pinned(&subject, invariants, &mut findings);
    invariants::check(&subject, invariants, &mut findings);
    Report {
        assembly: assembly.digest(),
        policies: organisation.digest(),
        invariants: invariants.digest(),
        at: subject.now,
        findings: ordered(findings),
    }
}

/// The configuration of each part of a component as it is used, by the part's id: defaults filled in, and `{"$from": …}` where a
/// port of another part gives the value. Parts whose configuration is refused, or that nobody knows, are left out.
pub fn bound_configurations(assembly: &Assembly, facts: &dyn Facts) -> BTreeMap<String, Value> {
    let nothing = Policies::default();
    let subject = Subject::new(assembly, &nothing, facts);
    let offered = subject.all_offered();
    let bound = subject.parts.iter().filter_map(|part| {
        let (Source::Component(component), Some(known)) = (&part.part.source, &part.facts) else { return None };
        let configuration = Configuration::from_value(&part.part.id, &component.configuration).ok()?;
        Some((part.part.id.clone(), bind(&known.manifest, &configuration, &offered).ok()?.configuration))
    });
    bound.collect()
}

/// That the Cedar policies are those that the policies name.
fn pinned(subject: &Subject<'_>, invariants: &InvariantSet, findings: &mut Vec<Finding>) {
    for (whose, policies) in subject.policies() {
        let Some(pinned) = policies.invariants else { continue };
        if pinned != invariants.digest() {
            let reason = format!("{whose} pins the Cedar policies {pinned}, and {} are at hand", invariants.digest());
            let way_out = "check with the pinned set, or agree on the new one and change the pin";
            let place = Place::document("/policies/invariants");
            findings.push(Finding::new(Rule::InvariantsMismatch, place, reason, way_out));
        }
    }
}
