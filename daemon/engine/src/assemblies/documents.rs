//! What is made of a checked assembly: its lock, its report, a proposal with newer versions, and what kept ones would need.

use std::collections::{BTreeMap, BTreeSet};

use fitment_assembly::{
    AssemblyError, CertificateRecord, Compliance, CoveredStandard, EvidenceRecord, Finding, Judge, Lock, Locking,
    PartRecord, Remedy, ReportFile, ReportInput, Scope, Source, Tree, Upgrade, bound_configurations, lock, remedy,
    upgrade,
};
use fitment_catalog::ComponentName;
use fitment_trust::{Predicate, TrustRoot, VerifiedCertificate};

use super::facts::{CatalogFacts, Known};
use super::kept::outside;
use super::{AssemblySource, CheckedAssembly, judged, judged_at, read};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;

/// Names of a report's files.
pub const REPORT_FILES: [&str; 3] = ["report.cdx.json", "report.oscal.json", "report.html"];
/// Parts whose remedies one call works out: each costs a few checks.
const MAX_REMEDIES: usize = 256;

/// A lock, or what is in its way.
#[derive(Debug)]
pub struct LockedAssembly {
    /// The check.
    pub checked: CheckedAssembly,
    /// The lock; otherwise findings that come with locking, those of the check among them.
    pub lock: Result<Lock, Vec<Finding>>,
}

/// A report in its three forms.
#[derive(Debug)]
pub struct AssemblyReport {
    /// The check.
    pub checked: CheckedAssembly,
    /// `CycloneDX`, OSCAL and HTML, in the order of [`REPORT_FILES`].
    pub files: [Vec<u8>; 3],
    /// The in-toto statement about them, to be signed.
    pub statement: Vec<u8>,
}

/// A proposal.
#[derive(Debug)]
pub struct ProposedUpgrade {
    /// The document as it was.
    pub before: CheckedAssembly,
    /// What is proposed.
    pub upgrade: Upgrade,
    /// Its lock; `None` where it does not pass or cannot be locked.
    pub lock: Option<Lock>,
}

/// What a part of a kept assembly would need.
#[derive(Debug)]
pub struct PartNeed {
    /// `namespace/name@version` or digest, as the document names it.
    pub component: String,
    /// What would do; `None` where it was not worked out.
    pub remedy: Option<Remedy>,
}

impl Engine {
    /// Locks an assembly. `tree`: where raw code is measured.
    ///
    /// Errors: a document that cannot be read, no such kept assembly, a lock that would be too large.
    pub async fn lock_assembly(
        &self,
        source: AssemblySource,
        tree: Option<Tree>,
    ) -> Result<LockedAssembly, EngineError> {
        self.compute(move |shared| {
            let assembly = read(shared, &source)?;
            let (checked, lock) = judged(shared, assembly, |assembly, report, facts| {
                let (tree, revision) = (tree.as_ref(), facts.revision()?);
                match lock(&Locking { assembly, report, facts, tree, revision, at: report.at }) {
                    Ok(lock) => Ok(Ok(lock)),
                    Err(AssemblyError::NotLocked { findings }) => Ok(Err(findings)),
                    Err(error) => Err(error.into()),
                }
            })?;
            Ok(LockedAssembly { checked, lock })
        })
        .await
    }

    /// Reports on an assembly, also on one that does not pass. `tree`: where raw code is measured. `at`: the instant to judge at; `None`: now. A report of the
    /// same assembly, revision and instant has the same bytes.
    ///
    /// Errors: a document that cannot be read, no such kept assembly, an instant that lies ahead or before the last change of the
    /// catalogue, its trust or the policies.
    pub async fn report_assembly(
        &self,
        source: AssemblySource,
        tree: Option<Tree>,
        at: Option<jiff::Timestamp>,
    ) -> Result<AssemblyReport, EngineError> {
        self.compute(move |shared| {
            shared.keep_time()?;
            let assembly = read(shared, &source)?;
            let at = at.unwrap_or_else(|| (shared.clock)());
            // Fractions of a second would be in no form that can be typed again.
            let at = jiff::Timestamp::from_second(at.as_second()).unwrap_or(at);
            can_be_judged(shared, at)?;
            let (checked, (files, statement)) = judged_at(shared, assembly, at, |assembly, check, facts| {
                let parts = records(assembly, facts)?;
                let (tree, revision) = (tree.as_ref(), facts.revision()?);
                let compliance = Compliance::new(ReportInput { assembly, check, parts: &parts, tree, revision })?;
                let files = [compliance.to_cyclonedx(), compliance.to_oscal(), compliance.to_html().into_bytes()];
                let named: Vec<ReportFile> =
                    REPORT_FILES.iter().zip(&files).map(|(name, bytes)| ReportFile::of(name, bytes)).collect();
                let statement = compliance.statement(&named)?;
                Ok((files, statement))
            })?;
            Ok(AssemblyReport { checked, files, statement })
        })
        .await
    }

    /// Proposes newer versions for parts. `parts`: only these, by id; empty: all.
    ///
    /// Errors: a document that cannot be read, no such kept assembly, no such part.
    pub async fn upgrade_assembly(
        &self,
        source: AssemblySource,
        parts: BTreeSet<String>,
        tree: Option<Tree>,
    ) -> Result<ProposedUpgrade, EngineError> {
        self.compute(move |shared| {
            let assembly = read(shared, &source)?;
            if let Some(unknown) = parts.iter().find(|id| !assembly.parts().iter().any(|part| part.id == **id)) {
                return Err(EngineError::field("parts", format!("name `{unknown}`, which the assembly does not have")));
            }
            let scope = if parts.is_empty() { Scope::All } else { Scope::Parts(parts) };
            let rules = shared.assembly_rules.in_force();
            let (before, (upgrade, lock)) = judged(shared, assembly, |assembly, _, facts| {
                let judge = Judge { organisation: &rules.policies, invariants: &rules.invariants, facts };
                let proposed = upgrade(assembly, &scope, &judge);
                let (tree, revision) = (tree.as_ref(), facts.revision()?);
                let (assembly, report) = (&proposed.assembly, &proposed.report);
                let locked = lock(&Locking { assembly, report, facts, tree, revision, at: report.at });
                Ok((proposed, locked.ok()))
            })?;
            Ok(ProposedUpgrade { before, upgrade, lock })
        })
        .await
    }

    /// What parts of kept assemblies would need, by assembly and part; at most 256 parts of each are worked out. Those that are
    /// not kept any more are left out.
    pub async fn part_needs(
        &self,
        asked: Vec<(ComponentName, BTreeSet<String>)>,
    ) -> Result<BTreeMap<ComponentName, BTreeMap<String, PartNeed>>, EngineError> {
        self.compute(move |shared| {
            shared.keep_time()?;
            // One view for all: most of the work is to read what assemblies have in common.
            let facts = CatalogFacts::new(shared, (shared.clock)())?;
            let mut needs = BTreeMap::new();
            for (name, parts) in asked {
                match self::needs(shared, &facts, name.clone(), &parts) {
                    Err(EngineError::AssemblyUnknown { .. }) => {}
                    found => drop(needs.insert(name, found?)),
                }
            }
            facts.finish()?;
            Ok(needs)
        })
        .await
    }
}

/// Only what is known now can be reported: how the catalogue was before is not kept, and how it will be is not known.
fn can_be_judged(shared: &Shared, at: jiff::Timestamp) -> Result<(), EngineError> {
    if at > (shared.clock)() {
        return Err(EngineError::field("time", format!("{at} lies ahead; name an instant that has been, or none")));
    }
    let reader = shared.store.read()?;
    let changed = reader.revision_time()?.max(reader.assembly_policies()?.time);
    match changed {
        Some(changed) if at.as_second() < changed.as_second() => Err(EngineError::field(
            "time",
            format!(
                "{at} lies before the last change of the catalogue or the policies, {changed}; name a later instant"
            ),
        )),
        _ => Ok(()),
    }
}

fn needs(
    shared: &Shared,
    facts: &CatalogFacts<'_>,
    name: ComponentName,
    parts: &BTreeSet<String>,
) -> Result<BTreeMap<String, PartNeed>, EngineError> {
    let assembly = read(shared, &AssemblySource::Kept(name))?;
    let rules = shared.assembly_rules.in_force();
    let judge = Judge { organisation: &rules.policies, invariants: &rules.invariants, facts };
    let mut needs = BTreeMap::new();
    for part in assembly.parts() {
        if !parts.contains(&part.id) {
            continue;
        }
        let need = match &part.source {
            Source::Component(component) => PartNeed {
                component: component.reference.to_string(),
                remedy: (needs.len() < MAX_REMEDIES).then(|| remedy(&assembly, &part.id, &judge)).flatten(),
            },
            // Nothing that a catalogue has takes its place.
            Source::External(external) => PartNeed { component: outside(&external.owner), remedy: None },
            Source::Raw(_) => continue,
        };
        needs.insert(part.id.clone(), need);
    }
    Ok(needs)
}

/// What is recorded about each component of an assembly.
fn records(
    assembly: &fitment_assembly::Assembly,
    facts: &CatalogFacts<'_>,
) -> Result<BTreeMap<String, PartRecord>, EngineError> {
    let mut bound = bound_configurations(assembly, facts);
    let mut records = BTreeMap::new();
    for part in assembly.parts() {
        let Source::Component(component) = &part.source else { continue };
        let Some(doc) = facts.find(&component.reference)? else { continue };
        let Some(known) = facts.known(doc)? else { continue };
        let certificates =
            known.certificates.iter().map(|certificate| certificate_record(certificate, &known, facts)).collect();
        let configuration = bound.remove(&part.id);
        records.insert(part.id.clone(), PartRecord { version: known.facts.clone(), certificates, configuration });
    }
    Ok(records)
}

fn certificate_record(certificate: &VerifiedCertificate, known: &Known, facts: &CatalogFacts<'_>) -> CertificateRecord {
    let digest = certificate.digest();
    let predicate = certificate.statement().predicate();
    let issuers = certificate.signers().iter().map(|key| {
        let listed = facts.root().into_iter().flat_map(TrustRoot::keys).find(|listed| listed.public == *key);
        listed.map_or_else(|| key.id(), |listed| listed.id.clone())
    });
    let counts = known.covered.iter().flat_map(|covered| &covered.support).any(|behind| behind.certificate == digest);
    let (mut standards, mut conditions, mut evidence, mut valid_until) = (Vec::new(), Vec::new(), Vec::new(), None);
    match predicate {
        Predicate::Certification(certification) => {
            valid_until = Some(certification.valid_until);
            conditions.clone_from(&certification.conditions);
            standards.extend(certification.standards.iter().map(|claim| CoveredStandard {
                standard: claim.standard.clone(),
                requirements: claim.requirements.iter().cloned().collect(),
                level: claim.level.clone(),
            }));
            evidence.extend(certification.evidence.iter().map(|evidence| EvidenceRecord {
                kind: evidence.kind.to_string(),
                digest: evidence.digest,
                media_type: evidence.media_type.clone(),
                uri: evidence.uri.clone(),
            }));
        }
        Predicate::VerificationResult(_) | Predicate::Revocation(_) | Predicate::Other(_) => {}
    }
    let issued = predicate.issued().unwrap_or(jiff::Timestamp::MIN);
    let in_its_time = issued <= facts.instant() && valid_until.is_none_or(|until| facts.instant() < until);
    let refused = (in_its_time && !counts).then(|| facts.refusal(&digest));
    CertificateRecord {
        digest,
        issuers: issuers.collect(),
        issued,
        valid_until,
        standards,
        conditions,
        evidence,
        refused,
    }
}
