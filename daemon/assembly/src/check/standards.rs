//! That some part covers each requirement that the assembly declares to keep.

use super::subject::Subject;
use crate::claim::Claim;
use crate::finding::{Finding, Place, Rule};

pub(super) fn check(subject: &Subject<'_>, findings: &mut Vec<Finding>) {
    for (standard, requirements) in subject.assembly.standards() {
        let ids = requirements.iter().map(|id| Claim::new(standard, Some(id)));
        let named = requirements.is_empty().then(|| Claim::new(standard, None));
        for asked in ids.chain(named) {
            if subject.parts.iter().any(|part| part.claims.meet(&asked)) {
                continue;
            }
            let reason = format!("no part covers {asked}, which the assembly declares to keep");
            let way_out = "add a part that covers it, or take it out of `standards`";
            let place = Place::document(&format!("/standards/{standard}"));
            findings.push(Finding::new(Rule::RequirementNotCovered, place, reason, way_out));
        }
    }
}
