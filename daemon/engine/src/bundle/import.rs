//! Taking a bundle into the catalogue: looked at whole, then made searchable, then written in one commit.
//!
//! The order: vectors of new versions are made and kept aside, so that an import that was ended goes on where it was; one commit
//! writes versions, standings, certificates, revocations, the trust root and rankers; calibrations come last, in a commit of
//! their own, once it is known what may answer. After a crash between the two the next import of the same bundle finishes.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Digest, Lifecycle, Manifest};
use fitment_models::{TextRole, UnitVector};
use fitment_ranking::Ranker;
use fitment_trust::{PublicKey, Revocation};

use super::content::{BundleContent, Reading};
use super::manifest::{BundleKind, BundleManifest};
use super::{BundleChange, BundleCounts, Plan, bundle_signers};
use crate::audit::Author;
use crate::calibration::{Calibration, ratio};
use crate::denials::Asked;
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::live::Entry;
use crate::normalize::normalize_text;
use crate::store::{AppliedBundle, BundleRecord, BundleWrite, NewVersion, Revision, StoreReader, Work};

/// Versions whose vectors are made and kept aside in one go.
const VERSIONS_AT_ONCE: usize = 16;
/// Texts of one forward pass: few, since an intent waits for it.
const TEXTS_AT_ONCE: usize = 8;

/// How a bundle is to be imported.
#[derive(Debug, Default)]
pub struct ImportOptions {
    /// Keys that are believed besides those of the installed trust root that may sign bundles.
    pub keys: Vec<PublicKey>,
    /// Take it whoever signed it, or nobody.
    pub unsigned: bool,
    /// Change nothing.
    pub dry_run: bool,
    /// Take a bundle that is older than the last one from its source.
    pub force: bool,
    /// What is left out.
    pub without: BTreeSet<BundleKind>,
    /// Who asks, and why.
    pub author: Author,
}

/// What became of an import.
#[derive(Debug)]
pub struct ImportedBundle {
    /// The bundle's id.
    pub id: String,
    /// Whether anything was changed, or would be.
    pub changed: bool,
    /// The revision from which on it holds.
    pub revision: Revision,
    /// Who signed it, of those who may.
    pub signers: Vec<String>,
    /// How many entries of each kind have which fate.
    pub counts: BTreeMap<BundleKind, BundleCounts>,
    /// The first of those that are not unchanged.
    pub changes: Vec<BundleChange>,
}

impl Engine {
    /// Takes a bundle in. `contents`: bytes of its carried entries, in order, checked against `manifest`. Blocks; intents are
    /// answered meanwhile, and writes but for a moment.
    ///
    /// Errors: [`EngineError::BundleRefused`], [`EngineError::BundleDamaged`], [`EngineError::Stopping`] before the commit;
    /// nothing was changed then.
    pub fn import_bundle(
        &self,
        manifest_bytes: &[u8],
        signature: &[u8],
        contents: Vec<Vec<u8>>,
        options: &ImportOptions,
        work: Work<'_>,
    ) -> Result<ImportedBundle, EngineError> {
        self.take_bundle(manifest_bytes, signature, contents, options, work).inspect_err(|error| {
            if !options.dry_run {
                let subject = format!("bundle {}", Digest::of(manifest_bytes));
                let asked = Asked { act: "bundle.import", subject, author: options.author.clone() };
                self.shared().record_denial(&asked, error);
            }
        })
    }

    fn take_bundle(
        &self,
        manifest_bytes: &[u8],
        signature: &[u8],
        contents: Vec<Vec<u8>>,
        options: &ImportOptions,
        work: Work<'_>,
    ) -> Result<ImportedBundle, EngineError> {
        let damaged = |detail: String| EngineError::BundleDamaged { path: "that was sent".into(), detail };
        let manifest = BundleManifest::parse(manifest_bytes).map_err(damaged)?;
        let shared = self.shared();
        let now = (shared.clock)();
        let root = shared.trust.root();
        let signers = if options.unsigned {
            Vec::new()
        } else {
            bundle_signers(&Digest::of(manifest_bytes), signature, root.as_deref(), &options.keys, now)?
        };
        let last = shared.store.read()?.bundle_record(&manifest.source)?;
        refuse_older(&manifest, last.as_ref(), options.force)?;
        (work.tell)("checking what the bundle says", 0, 1);
        let reading = Reading { root: root.as_deref(), vouched: !signers.is_empty(), now, without: &options.without };
        let content = BundleContent::read(&manifest, contents, reading)?;
        work.check()?;
        let plan = Plan::of(&content, &shared.store.read()?)?;
        if options.dry_run || plan.conflicts() > 0 {
            let (changed, conflicts) = (plan.changes_anything(), plan.conflicts());
            let (counts, changes) = plan.report();
            if conflicts > 0 && !options.dry_run {
                let first = changes.first().map(|first| format!("{}: {}", first.subject, first.detail));
                return Err(EngineError::BundleRefused {
                    detail: format!(
                        "{conflicts} of its entries cannot be taken, and so nothing was ({}); --dry-run lists them",
                        first.unwrap_or_default()
                    ),
                });
            }
            let revision = shared.index.revision();
            return Ok(ImportedBundle { id: manifest.id, changed, revision, signers, counts, changes });
        }
        stage(&shared, &content, &plan, work)?;
        work.check()?;
        let record = BundleRecord {
            id: manifest.id.clone(),
            sequence: manifest.sequence,
            exported: manifest.time,
            imported: now,
        };
        let written = write(&shared, &manifest, &content, record, last.as_ref(), &signers, options)?;
        let Written { revision, plan, changed } = written;
        let (counts, changes) = plan.report();
        Ok(ImportedBundle { id: manifest.id, changed, revision, signers, counts, changes })
    }
}

/// Whoever can replay an old bundle could bring back what was revoked since.
fn refuse_older(manifest: &BundleManifest, last: Option<&BundleRecord>, force: bool) -> Result<(), EngineError> {
    let Some(last) = last else { return Ok(()) };
    let older = manifest.sequence < last.sequence;
    let other = manifest.sequence == last.sequence && manifest.id != last.id;
    if force || !(older || other) {
        return Ok(());
    }
    let found = if older { "is older than" } else { "has the number of, and is not," };
    Err(EngineError::BundleRefused {
        detail: format!(
            "export {} of catalogue {} {found} export {} that was imported on {:.0}; import a newer one, or say --force",
            manifest.sequence, manifest.source, last.sequence, last.imported
        ),
    })
}

fn texts_of(manifest: &Manifest) -> Vec<String> {
    let facets = fitment_catalog::facets(manifest);
    let texts = facets.iter().map(|facet| normalize_text(&facet.text));
    texts.chain(manifest.counter_examples().iter().map(|text| normalize_text(text))).collect()
}

/// Makes the vectors of new versions that an earlier try has not made.
fn stage(shared: &Shared, content: &BundleContent, plan: &Plan, work: Work<'_>) -> Result<(), EngineError> {
    let model = shared.encoder.info().digest.to_string();
    let total = plan.create.len() as u64;
    let mut done = 0;
    for batch in plan.create.chunks(VERSIONS_AT_ONCE) {
        work.check()?;
        let reader = shared.store.read()?;
        let (mut texts, mut counts) = (Vec::new(), Vec::new());
        for &at in batch {
            let manifest = &content.versions[at].manifest;
            if reader.staged_vectors(&model, &manifest.digest())?.is_none() {
                let of_this = texts_of(manifest);
                counts.push((manifest.digest(), of_this.len()));
                texts.extend(of_this);
            }
        }
        drop(reader);
        if !texts.is_empty() {
            let mut vectors = shared.encoder.encode_behind(&texts, TextRole::Document, TEXTS_AT_ONCE)?.into_iter();
            let staged: Vec<(Digest, Vec<f32>)> = counts
                .into_iter()
                .map(|(digest, count)| {
                    let floats = vectors.by_ref().take(count).flat_map(|vector| vector.into_inner().into_vec());
                    (digest, floats.collect())
                })
                .collect();
            shared.store.stage_vectors(&model, &staged)?;
        }
        done += batch.len() as u64;
        (work.tell)("encoding components", done, total);
    }
    Ok(())
}

struct Written {
    revision: Revision,
    plan: Plan,
    changed: bool,
}

/// Plans again where nobody else writes, commits, and makes it searchable. What has begun here is finished.
fn write(
    shared: &Shared,
    manifest: &BundleManifest,
    content: &BundleContent,
    record: BundleRecord,
    last: Option<&BundleRecord>,
    signers: &[String],
    options: &ImportOptions,
) -> Result<Written, EngineError> {
    let _writing = shared.writing.lock();
    if shared.is_retired() {
        return Err(EngineError::BundleRefused {
            detail: "another model came into force meanwhile; import it again".into(),
        });
    }
    shared.catch_up()?;
    let reader = shared.store.read()?;
    let mut plan = Plan::of(content, &reader)?;
    if plan.conflicts() > 0 {
        return Err(EngineError::BundleRefused { detail: "the catalogue changed meanwhile; import it again".into() });
    }
    let mut revision = shared.index.revision();
    let newest = last.is_none_or(|last| last.id != record.id);
    if !plan.changes_anything() && !newest {
        return Ok(Written { revision, plan, changed: false });
    }
    let now = (shared.clock)();
    // A second import after a crash has nothing left but calibrations.
    let wants_commit = newest
        || plan.trust_root
        || !(plan.create.is_empty()
            && plan.moves.is_empty()
            && plan.certificates.is_empty()
            && plan.evidence.is_empty()
            && plan.revocations.is_empty()
            && plan.rankers.is_empty());
    if wants_commit {
        revision = commit(shared, manifest, content, &plan, &reader, record, signers, options, now)?;
    }
    promise(shared, content, &mut plan, options, now)?;
    shared.refresh_calibration()?;
    shared.announce();
    let changed = plan.changes_anything();
    Ok(Written { revision, plan, changed })
}

#[expect(clippy::too_many_arguments, reason = "all that one commit is made of, named at its one call")]
fn commit(
    shared: &Shared,
    manifest: &BundleManifest,
    content: &BundleContent,
    plan: &Plan,
    reader: &StoreReader,
    record: BundleRecord,
    signers: &[String],
    options: &ImportOptions,
    now: jiff::Timestamp,
) -> Result<Revision, EngineError> {
    let info = shared.encoder.info();
    let mut versions = Vec::with_capacity(plan.create.len());
    for &at in &plan.create {
        let manifest = &content.versions[at].manifest;
        let floats = reader.staged_vectors(&info.digest.to_string(), &manifest.digest())?;
        let floats = floats.ok_or_else(|| EngineError::BundleRefused {
            detail: "the catalogue changed meanwhile; import it again".into(),
        })?;
        let vectors = floats.chunks_exact(info.dimension).map(UnitVector::new).collect::<Result<_, _>>()?;
        versions.push(NewVersion { manifest: manifest.clone(), vectors, request_id: String::new(), standing: None });
    }
    let lifecycles: Vec<Lifecycle> = plan.create.iter().map(|&at| content.versions[at].lifecycle).collect();
    let certificates: Vec<(Digest, &str, Vec<Digest>)> = plan
        .certificates
        .iter()
        .map(|(at, about)| {
            let certificate = &content.certificates[*at];
            (certificate.verified.digest(), certificate.envelope.as_str(), about.clone())
        })
        .collect();
    let evidence: Vec<(Digest, &[u8])> =
        plan.evidence.iter().filter_map(|digest| Some((*digest, content.evidence.get(digest)?.as_slice()))).collect();
    let revocations: Vec<(&Revocation, &str)> =
        plan.revocations.iter().map(|&at| (&content.revocations[at].0, content.revocations[at].1.as_str())).collect();
    let rankers: Vec<&Ranker> = plan.rankers.iter().map(|&at| &content.rankers[at]).collect();
    let root = content.trust_root.as_ref().filter(|_| plan.trust_root);
    let write = BundleWrite {
        source: &manifest.source,
        record,
        signers,
        forced: options.force,
        trust_root: root,
        versions: &versions,
        lifecycles: &lifecycles,
        moves: &plan.moves,
        certificates: &certificates,
        evidence: &evidence,
        revocations: &revocations,
        touched: &plan.touched,
        rankers: &rankers,
        author: &options.author,
    };
    let AppliedBundle { revision, created } = shared.store.apply_bundle(info, &write, now)?;
    let entries: Vec<Entry<'_>> = created
        .into_iter()
        .zip(&versions)
        .map(|((doc, record), NewVersion { manifest, vectors, request_id: _, standing: _ })| Entry {
            doc,
            card: record.card,
            manifest,
            vectors: vectors.iter().map(UnitVector::as_slice).collect(),
        })
        .collect();
    for &(doc, lifecycle) in &plan.moves {
        shared.index.apply_move(revision, doc, lifecycle);
    }
    // Under the new root before anything new can be found.
    shared.bring_up_trust()?;
    if !entries.is_empty() {
        shared.index.apply(revision, &entries, &[])?;
        shared.bring_up_trust()?;
    }
    shared.index.reach(revision);
    shared.refresh_ranker()?;
    if let Some(second) = &shared.second {
        second.wake();
    }
    Ok(revision)
}

/// Puts calibrations into force that hold for what may answer here: as much as may change while a promise stands may differ.
fn promise(
    shared: &Shared,
    content: &BundleContent,
    plan: &mut Plan,
    options: &ImportOptions,
    now: jiff::Timestamp,
) -> Result<(), EngineError> {
    if plan.calibrations.is_empty() {
        return Ok(());
    }
    let answering: BTreeSet<Digest> = {
        let index = shared.index.searchable();
        index.view.matchable().iter().filter_map(|doc| Some(index.view.card(doc)?.digest)).collect()
    };
    let differ = answering.symmetric_difference(&content.answering).count() as u64;
    let fitted_revision = shared.store.read()?.revision()?;
    let mut held = Vec::new();
    for at in plan.calibrations.clone() {
        let carried = &content.calibrations[at];
        let calibration = &carried.calibration;
        let changed = carried.changed + differ;
        if ratio(changed, calibration.fitted_versions) > Calibration::MAX_CHANGED_SHARE {
            let detail = format!(
                "of the {} versions that it was fitted on, {changed} changed there or are not what may answer here",
                calibration.fitted_versions
            );
            plan.keep_calibration(&calibration.id, &detail);
            continue;
        }
        held.push(Calibration { fitted_revision, changed_before: changed, ..calibration.clone() });
    }
    if held.is_empty() {
        return Ok(());
    }
    shared.store.put_calibrations(&held, &options.author, now)
}
