//! What a catalogue gives to a bundle: all of one revision, while writes go on.

use std::collections::{BTreeMap, BTreeSet};

use fitment_catalog::{Digest, Lifecycle, Manifest};
use fitment_trust::Predicate;
use serde::Serialize;

use super::content::{CarriedCalibration, CarriedRevocation};
use super::manifest::{BundleEntry, BundleKind, BundleModel};
use crate::audit::Author;
use crate::engine::Engine;
use crate::error::EngineError;
use crate::store::{Revision, StoredVersion, Work};

/// Where a bundle comes from.
#[derive(Clone, Debug)]
pub struct ExportHead {
    /// Id of the catalogue.
    pub source: String,
    /// Counts its exports.
    pub sequence: u64,
    /// Its revision.
    pub revision: Revision,
    /// When.
    pub time: jiff::Timestamp,
    /// The model that it is served with.
    pub model: BundleModel,
    /// sha256 over the digests of the versions that may answer.
    pub catalog_digest: String,
}

/// What an export gives, in this order.
#[derive(Debug)]
pub enum Exported {
    /// Comes first.
    Head(ExportHead),
    /// An entry and its bytes.
    Entry(BundleEntry, Vec<u8>),
    /// Comes last: what was left out, and why.
    End(Vec<String>),
}

type Take<'t> = &'t mut dyn FnMut(Exported) -> Result<(), EngineError>;

impl Engine {
    /// Hands out what the catalogue holds, of one revision, and counts the export. Blocks; writes go on meanwhile.
    ///
    /// Errors: the taker's, [`EngineError::Stopping`].
    pub fn export_bundle(
        &self,
        without: &BTreeSet<BundleKind>,
        author: &Author,
        work: Work<'_>,
        take: Take<'_>,
    ) -> Result<(), EngineError> {
        let shared = self.shared();
        let now = (shared.clock)();
        let (source, sequence) = shared.store.begin_bundle(author, now)?;
        // Held for a moment, so that what may answer and what is read are of one revision.
        let (reader, answering, catalog_digest) = {
            let _writing = shared.writing.lock();
            let index = shared.index.searchable();
            let answering = index.view.matchable().clone();
            drop(index);
            (shared.store.read()?, answering, self.catalog_digest())
        };
        let model = BundleModel { name: self.model().name.clone(), digest: self.model().digest.to_string() };
        let head = ExportHead { source, sequence, revision: reader.revision()?, time: now, model, catalog_digest };
        take(Exported::Head(head))?;
        let mut out = Out { take, paths: BTreeSet::new(), absent: Vec::new() };
        let wanted = |kind| !without.contains(&kind);
        let root = reader.trust_root()?;
        if let Some(root) = root.as_ref().filter(|_| wanted(BundleKind::TrustRoot)) {
            out.put(BundleKind::TrustRoot, "trust-root.json".into(), pretty(&root.to_value())?)?;
        }
        let mut digests = Vec::new();
        let mut docs = Vec::new();
        let mut deleted = 0;
        reader.every_version(|doc, record: StoredVersion| {
            if record.deleted.is_some() {
                deleted += 1;
            } else {
                digests.push(record.card.digest);
                docs.push((record.card.name.clone(), record.card.version.clone(), doc, record.card.lifecycle));
            }
            Ok(())
        })?;
        if wanted(BundleKind::Component) {
            docs.sort_unstable_by(|one, other| (&one.0, &one.1).cmp(&(&other.0, &other.1)));
            let total = docs.len() as u64;
            for (done, (name, version, doc, lifecycle)) in (0u64..).zip(docs) {
                work.check()?;
                let Some(canonical) = reader.manifest(doc)? else { continue };
                let manifest = Manifest::from_canonical_json("store", &canonical)?;
                let path = format!("components/{name}@{version}.json");
                let otherwise = format!("components/{}/{}.json", name.namespace(), manifest.digest().to_hex());
                out.version(path, otherwise, &manifest, lifecycle, answering.contains(doc))?;
                (work.tell)("exporting components", done + 1, total);
            }
            if deleted > 0 {
                out.absent.push(format!("{deleted} deleted versions"));
            }
        }
        if wanted(BundleKind::Certificate) {
            export_certificates(&reader, root.as_ref(), &digests, &mut out)?;
        }
        if wanted(BundleKind::Ranker) {
            for model in reader.models_with_rankers()? {
                match reader.ranker(&model) {
                    Ok(Some(ranker)) => {
                        let path = format!(
                            "rankers/{}.json",
                            Digest::of(format!("{model} {}", ranker.id).as_bytes()).to_hex()
                        );
                        out.put(BundleKind::Ranker, path, json(&ranker)?)?;
                    }
                    Ok(None) => {}
                    Err(error) => out.absent.push(format!("the ranker of model {model}: {error}")),
                }
            }
        }
        if wanted(BundleKind::Calibration) {
            for calibration in reader.calibrations()? {
                let changed =
                    reader.changes_since(calibration.fitted_revision)?.len() as u64 + calibration.changed_before;
                if let Some(broken) = reader.promise(&calibration.id)?.broken {
                    out.absent.push(broken.reason(&calibration.id));
                    continue;
                }
                let path = format!("calibrations/{}.json", Digest::of(calibration.id.as_bytes()).to_hex());
                out.put(BundleKind::Calibration, path, pretty(&CarriedCalibration { calibration, changed })?)?;
            }
        }
        let Out { take, absent, .. } = out;
        take(Exported::End(absent))
    }
}

/// Certificates under the root in force, what they name as evidence, and every accepted revocation.
fn export_certificates(
    reader: &crate::store::StoreReader,
    root: Option<&fitment_trust::TrustRoot>,
    versions: &[Digest],
    out: &mut Out<'_>,
) -> Result<(), EngineError> {
    let Some(root) = root else { return Ok(()) };
    let mut envelopes: BTreeMap<Digest, String> = BTreeMap::new();
    for version in versions {
        for stored in reader.certificates_of(version)? {
            envelopes.insert(Digest::of(stored.envelope.as_bytes()), stored.envelope);
        }
    }
    let mut evidence = BTreeSet::new();
    let mut unknown = 0;
    for (address, envelope) in envelopes {
        let Ok(verified) = root.verify(envelope.as_bytes()) else {
            unknown += 1;
            continue;
        };
        if let Predicate::Certification(certification) = verified.statement().predicate() {
            evidence.extend(certification.evidence.iter().map(|evidence| evidence.digest));
        }
        out.put(
            BundleKind::Certificate,
            format!("certificates/{}.dsse.json", address.to_hex()),
            envelope.into_bytes(),
        )?;
    }
    if unknown > 0 {
        out.absent.push(format!("{unknown} certificates that no key of the trust root signed"));
    }
    for digest in evidence {
        if let Some(bytes) = reader.evidence(&digest)? {
            out.put(BundleKind::Evidence, format!("evidence/{}", digest.to_hex()), bytes)?;
        }
    }
    for (revocation, envelope) in reader.revocations_with_envelopes()? {
        let carried = CarriedRevocation { accepted: revocation.to_value(), envelope };
        out.put(
            BundleKind::Revocation,
            format!("revocations/{}.json", revocation.digest().to_hex()),
            pretty(&carried)?,
        )?;
    }
    Ok(())
}

struct Out<'t> {
    take: Take<'t>,
    paths: BTreeSet<String>,
    absent: Vec<String>,
}

impl Out<'_> {
    fn put(&mut self, kind: BundleKind, path: String, bytes: Vec<u8>) -> Result<(), EngineError> {
        let entry = BundleEntry {
            path,
            kind,
            bytes: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            lifecycle: None,
            may_answer: false,
        };
        (self.take)(Exported::Entry(entry, bytes))
    }

    /// A version under its name, or under its digest where that is too long or differs from another's in letter case alone.
    fn version(
        &mut self,
        path: String,
        otherwise: String,
        manifest: &Manifest,
        lifecycle: Lifecycle,
        may_answer: bool,
    ) -> Result<(), EngineError> {
        let fits = super::archive::header(&path, 0).is_some() && self.paths.insert(path.to_lowercase());
        let bytes = pretty(&manifest.to_value())?;
        let entry = BundleEntry {
            path: if fits { path } else { otherwise },
            kind: BundleKind::Component,
            bytes: bytes.len() as u64,
            sha256: Digest::of(&bytes),
            lifecycle: Some(lifecycle),
            may_answer,
        };
        (self.take)(Exported::Entry(entry, bytes))
    }
}

fn unwritable(error: &serde_json::Error) -> EngineError {
    EngineError::Internal(format!("an entry of a bundle cannot be written: {error}"))
}

pub(crate) fn pretty(value: &impl Serialize) -> Result<Vec<u8>, EngineError> {
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| unwritable(&error))?;
    bytes.push(b'\n');
    Ok(bytes)
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(value).map_err(|error| unwritable(&error))
}
