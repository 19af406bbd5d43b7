//! An assembly that passed, with what is known of its parts, to a [`Lock`].

use std::collections::BTreeMap;

use fitment_catalog::{Artifact, Digest, Format};
use jiff::Timestamp;

use super::{
    Lock, LockedArtifact, LockedComponent, LockedExternal, LockedPart, LockedRaw, LockedSource, MAX_LOCK_BYTES,
};
use crate::document::{Assembly, ComponentPart, Part, RawPart, Source};
use crate::error::AssemblyError;
use crate::facts::{Certification, Facts};
use crate::finding::{Finding, Place, Report, Rule, Severity, ordered};
use crate::tree::{Tree, TreeEntry};

/// What a lock is made from.
#[derive(Clone, Copy)]
pub struct Locking<'a> {
    /// The assembly.
    pub assembly: &'a Assembly,
    /// What its check said, with the same facts.
    pub report: &'a Report,
    /// What the check was made with.
    pub facts: &'a dyn Facts,
    /// Where raw code is measured; without one the document must state digests and lines.
    pub tree: Option<&'a Tree>,
    /// The catalogue's revision behind the facts, 0 to 2^53 - 1.
    pub revision: u64,
    /// When it is locked; fractions of a second are cut off.
    pub at: Timestamp,
}

/// Locks an assembly that passed its check.
///
/// # Errors
/// [`AssemblyError::NotLocked`] with every finding that is in the way: those of the report, a report of another assembly
/// or of other facts, raw code that is not there or not what the document states. [`AssemblyError::Document`] when the
/// lock would be larger than [`MAX_LOCK_BYTES`].
pub fn lock(locking: &Locking<'_>) -> Result<Lock, AssemblyError> {
    let Locking { assembly, report, revision, at, .. } = *locking;
    let mut findings: Vec<Finding> =
        report.findings.iter().filter(|finding| finding.severity == Severity::Error).cloned().collect();
    if report.assembly != assembly.digest() || report.at != locking.facts.now() {
        let reason = "the report is about another assembly, or was made with other facts".to_owned();
        let way_out = "check the assembly and lock it with the same facts";
        findings.push(Finding::new(Rule::ReportMismatch, Place::document(""), reason, way_out));
    }
    let mut parts = Vec::with_capacity(assembly.parts().len());
    for (i, part) in assembly.parts().iter().enumerate() {
        let source = match &part.source {
            Source::Component(component) => {
                self::component(locking, i, part, component, &mut findings).map(LockedSource::Component)
            }
            Source::Raw(raw) => self::raw(locking, i, part, raw, &mut findings).map(LockedSource::Raw),
            Source::External(external) => Some(LockedSource::External(LockedExternal {
                owner: external.owner.clone(),
                evidence: external.evidence,
                valid_until: external.valid_until,
            })),
        };
        parts.extend(source.map(|source| LockedPart { id: part.id.clone(), source }));
    }
    if !findings.is_empty() {
        return Err(AssemblyError::NotLocked { findings: ordered(findings) });
    }
    let lock = Lock {
        name: assembly.name().clone(),
        assembly: report.assembly,
        locked_at: Timestamp::from_second(at.as_second()).unwrap_or(at),
        revision,
        policies: report.policies,
        invariants: report.invariants,
        unmanaged: assembly.unmanaged().clone(),
        parts,
        connections: assembly.connections().to_vec(),
        exposures: assembly.exposures().to_vec(),
    };
    let text = lock.sorted().to_yaml();
    if text.len() > MAX_LOCK_BYTES {
        return Err(AssemblyError::LockTooLarge { bytes: text.len(), limit: MAX_LOCK_BYTES });
    }
    // What is made can be read: an instant or a revision out of range is refused here and not when it is needed.
    Lock::parse("lock", text.as_bytes(), Format::Yaml)
}

fn component(
    locking: &Locking<'_>,
    index: usize,
    part: &Part,
    component: &ComponentPart,
    findings: &mut Vec<Finding>,
) -> Option<LockedComponent> {
    let Some(known) = locking.facts.version(&component.reference) else {
        // The report has the same finding, unless it was made with other facts.
        let reason = format!("the catalogue has no {} that may be used here", component.reference);
        let way_out = "check the assembly and lock it with the same facts";
        findings.push(Finding::new(Rule::PartUnknown, Place::part(index, &part.id, ""), reason, way_out));
        return None;
    };
    let certified_until = match known.certification {
        Certification::Certified { until } => until,
        Certification::NotCertified { .. } | Certification::Unknown { .. } => {
            let reason = format!("{} is not certified", known.manifest);
            let way_out = "check the assembly and lock it with the same facts";
            findings.push(Finding::new(Rule::PartNotCertified, Place::part(index, &part.id, ""), reason, way_out));
            return None;
        }
    };
    Some(LockedComponent {
        name: known.manifest.name().clone(),
        version: known.manifest.version().clone(),
        manifest: known.digest,
        artifact: known.manifest.artifact().map(artifact),
        path: component.path.clone(),
        certified_until,
        certificates: known.certificates,
        configuration: known.manifest.open_configuration(&component.configuration).resolved,
    })
}

fn artifact(artifact: &Artifact) -> LockedArtifact {
    let mut other_digests: BTreeMap<String, String> = artifact.digests().clone();
    let sha256 = other_digests.remove("sha256");
    LockedArtifact {
        purl: artifact.purl().to_owned(),
        sha256: sha256.and_then(|digits| format!("sha256:{digits}").parse().ok()),
        other_digests,
        files: artifact.files().clone(),
    }
}

/// Raw code as it lies in the tree, which what the document states must agree with.
fn raw(
    locking: &Locking<'_>,
    index: usize,
    part: &Part,
    raw: &RawPart,
    findings: &mut Vec<Finding>,
) -> Option<LockedRaw> {
    let mut find = |rule, below: &str, reason: String, way_out: &str| {
        findings.push(Finding::new(rule, Place::part(index, &part.id, &format!("/raw{below}")), reason, way_out));
    };
    let stated: (Option<Digest>, Option<u32>) = (raw.digest, raw.lines);
    let (digest, lines) = match (locking.tree, stated) {
        (Some(tree), _) => {
            let is_file = |entry: &TreeEntry| matches!(entry, TreeEntry::File(_));
            let here = tree.get(&raw.path).map(|entry| (&raw.path, entry));
            if let Some((odd, _)) = here.into_iter().chain(tree.below(&raw.path)).find(|(_, entry)| !is_file(entry)) {
                let reason = format!("`{odd}` is a symbolic link, or no file that can be read, and has no digest");
                find(Rule::RawUnreadable, "/path", reason, "put the file itself there");
                return None;
            }
            let Some(measure) = tree.measure(&raw.path) else {
                let reason = format!("no file lies at `{}`", raw.path);
                find(Rule::RawMissing, "/path", reason, "correct the path, or take the part out");
                return None;
            };
            (measure.digest, measure.lines)
        }
        (None, (Some(digest), Some(lines))) => (digest, lines),
        (None, _) => {
            let reason =
                "the document does not state digest and lines, and there is no tree to take them from".to_owned();
            find(Rule::RawUnknown, "", reason, "lock with the tree, or state `digest` and `lines`");
            return None;
        }
    };
    if stated.0.is_some_and(|stated| stated != digest) {
        let reason = format!("the document states another digest than that of `{}`, {digest}", raw.path);
        find(Rule::RawMismatch, "/digest", reason, "have the change reviewed and correct the digest, or leave it out");
    }
    if stated.1.is_some_and(|stated| stated != lines) {
        let reason = format!("the document states another number of lines than `{}` has, {lines}", raw.path);
        find(Rule::RawMismatch, "/lines", reason, "correct the number, or leave it out");
    }
    let RawPart { path, owner, reviewer, license, .. } = raw.clone();
    Some(LockedRaw { path, digest, lines, owner, reviewer, license })
}
