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

use crate::document::Assembly;
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
