//! An assembly with newer versions in its parts' places, checked again, and what changed on the way.

use std::collections::BTreeSet;
use std::fmt;

use crate::document::{Assembly, Source};
use crate::finding::{Report, Severity};
use crate::remedy::{Ground, Judge, REMOVED, Remedy, Step, best};

/// Which parts are to move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Parts of components that have an error: the least that must change.
    Broken,
    /// All parts of components.
    All,
    /// These, by id.
    Parts(BTreeSet<String>),
}

/// A proposal.
#[derive(Debug, Clone, PartialEq)]
pub struct Upgrade {
    /// The document proposed; the one given where nothing could change.
    pub assembly: Assembly,
    /// The parts in scope that are of components, in the order of the document.
    pub parts: Vec<PartUpgrade>,
    /// What the check says of the document proposed.
    pub report: Report,
}

/// What becomes of one part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartUpgrade {
    /// Its id.
    pub part: String,
    /// As the document names it.
    pub from: String,
    /// What takes its place.
    pub outcome: Outcome,
}

/// What becomes of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Another version is in its place.
    Moved(Step),
    /// It has no error, and no newer certified version takes its place as it is configured and connected.
    Kept,
    /// It has an error, and nothing certified is left.
    Nothing,
}

impl Upgrade {
    /// Whether the document proposed passes its check.
    pub fn passes(&self) -> bool {
        self.report.passes()
    }

    /// Whether the document proposed is another than the one given.
    pub fn changes(&self) -> bool {
        self.parts.iter().any(|part| matches!(part.outcome, Outcome::Moved(_)))
    }
}

/// Proposes newer versions for the parts in scope, one part after the other in the order of the document, each on top of
/// what was proposed before it.
///
/// A part without an error moves to the newest certified version that takes its place as it is ([`Remedy::Compatible`]), or
/// stays. A part with an error also moves where bindings or connections must change: what must is in the step, bindings
/// that the new version has no property for are taken out, and the report says what is still to do. Nothing is bound or
/// connected anew.
pub fn upgrade(assembly: &Assembly, scope: &Scope, judge: &Judge<'_>) -> Upgrade {
    let mut proposed = assembly.clone();
    let mut report = judge.check(&proposed);
    let broken = |report: &Report, id: &str, index: usize| {
        let at = format!("/parts/{index}");
        report.findings.iter().any(|finding| {
            finding.severity == Severity::Error
                && finding.place.part.as_deref() == Some(id)
                && (finding.place.pointer == at || finding.place.pointer.starts_with(&format!("{at}/")))
        })
    };
    let mut parts = Vec::new();
    for (index, part) in assembly.parts().iter().enumerate() {
        let Source::Component(component) = &part.source else { continue };
        let has_error = broken(&report, &part.id, index);
        let wanted = match scope {
            Scope::Broken => has_error,
            Scope::All => true,
            Scope::Parts(ids) => ids.contains(&part.id),
        };
        if !wanted {
            continue;
        }
        let found = best(&Ground { assembly: &proposed, before: &report, index, judge });
        let outcome = match found {
            Some(tried) if has_error || matches!(tried.remedy, Remedy::Compatible(_)) => match tried.remedy {
                Remedy::Compatible(step) | Remedy::Rebind(step) | Remedy::Supersede(step) => {
                    proposed = tried.assembly;
                    report = judge.check(&proposed);
                    Outcome::Moved(step)
                }
                Remedy::Nothing => Outcome::Nothing,
            },
            _ if has_error => Outcome::Nothing,
            _ => Outcome::Kept,
        };
        parts.push(PartUpgrade { part: part.id.clone(), from: component.reference.to_string(), outcome });
    }
    Upgrade { assembly: proposed, parts, report }
}

/// A line for each part, and below it what must be done by hand.
impl fmt::Display for Upgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for PartUpgrade { part, from, outcome } in &self.parts {
            match outcome {
                Outcome::Kept => writeln!(f, "  {part}: {from}, nothing newer fits")?,
                Outcome::Nothing => writeln!(f, "! {part}: {from}, nothing certified is left")?,
                Outcome::Moved(step) => {
                    let mark = if step.bindings.is_empty() && step.misfits.is_empty() { ' ' } else { '!' };
                    writeln!(f, "{mark} {part}: {from} -> {step}")?;
                    for binding in &step.bindings {
                        let verb = if binding.rule == REMOVED { REMOVED } else { "bind" };
                        writeln!(f, "    {verb} {}: {}", binding.pointer, binding.reason)?;
                    }
                    for misfit in &step.misfits {
                        writeln!(f, "    no longer fits: {misfit}")?;
                    }
                }
            }
        }
        let errors = self.report.findings.iter().filter(|finding| finding.severity == Severity::Error).count();
        match errors {
            0 => writeln!(f, "passes"),
            1 => writeln!(f, "does not pass: 1 error"),
            errors => writeln!(f, "does not pass: {errors} errors"),
        }
    }
}
