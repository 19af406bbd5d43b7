//! Tables of bundles: what was exported and imported, vectors that wait for an import, and the one commit of it.

use std::collections::BTreeSet;

use fitment_catalog::{Digest, Lifecycle};
use fitment_index::DocId;
use fitment_models::ModelInfo;
use fitment_ranking::Ranker;
use fitment_trust::{Revocation, TrustRoot};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::changes::{CHANGES, OP_MOVE};
use super::reader::floats;
use super::records::{Move, StoredVersion, decode, encode};
use super::standing::act;
use super::versions::{NewVersion, Put, Updated, Written, put_in};
use super::{
    CALIBRATIONS, DIGESTS, META, NewCertificate, Revision, Store, StoreReader, VERSIONS, audit, certificates, meta_u64,
    rankers,
};
use crate::audit::{Act, Author};
use crate::calibration::Calibration;
use crate::error::EngineError;

/// id of a catalogue -> [`BundleRecord`] of the last bundle that was imported from it.
pub(super) const BUNDLES: TableDefinition<&str, &[u8]> = TableDefinition::new("bundles");
/// (model digest, version digest) -> vectors of a version that an import is about to write, as in `vectors`.
pub(super) const STAGED_VECTORS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("staged_vectors");

/// Makes the tables where they are not there yet.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(BUNDLES)?;
    transaction.open_table(STAGED_VECTORS)?;
    Ok(())
}

/// The last bundle that came from a catalogue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BundleRecord {
    pub(crate) id: String,
    pub(crate) sequence: u64,
    /// When it was exported, by that daemon's clock.
    pub(crate) exported: jiff::Timestamp,
    /// When it was imported.
    pub(crate) imported: jiff::Timestamp,
}

/// All that one import writes.
pub(crate) struct BundleWrite<'a> {
    pub(crate) source: &'a str,
    pub(crate) record: BundleRecord,
    pub(crate) signers: &'a [String],
    pub(crate) forced: bool,
    pub(crate) trust_root: Option<&'a TrustRoot>,
    /// New versions, and where each stands.
    pub(crate) versions: &'a [NewVersion],
    pub(crate) lifecycles: &'a [Lifecycle],
    /// Versions that are here and move on.
    pub(crate) moves: &'a [(DocId, Lifecycle)],
    /// Digest, envelope and the versions that it is to be recorded under.
    pub(crate) certificates: &'a [(Digest, &'a str, Vec<Digest>)],
    pub(crate) evidence: &'a [(Digest, &'a [u8])],
    pub(crate) revocations: &'a [(&'a Revocation, &'a str)],
    /// Stored versions whose standing the revocations may change.
    pub(crate) touched: &'a [DocId],
    pub(crate) rankers: &'a [&'a Ranker],
    pub(crate) author: &'a Author,
}

impl BundleWrite<'_> {
    /// Whether what may answer, or why, changes.
    fn is_felt(&self) -> bool {
        self.trust_root.is_some()
            || !(self.versions.is_empty()
                && self.moves.is_empty()
                && self.certificates.is_empty()
                && self.evidence.is_empty()
                && self.revocations.is_empty())
    }
}

/// What a commit did.
pub(crate) struct AppliedBundle {
    pub(crate) revision: Revision,
    /// The new versions, in order.
    pub(crate) created: Vec<(DocId, StoredVersion)>,
}

impl Store {
    /// Counts an export. Returns the catalogue's id, made on the first one, and the export's number.
    pub(crate) fn begin_bundle(&self, author: &Author, now: jiff::Timestamp) -> Result<(String, u64), EngineError> {
        let transaction = self.database.begin_write()?;
        let (source, sequence);
        {
            let mut meta = transaction.open_table(META)?;
            let known = meta.get("source_id")?.and_then(|id| String::from_utf8(id.value().to_vec()).ok());
            source = if let Some(known) = known {
                known
            } else {
                let new = uuid::Uuid::now_v7().to_string();
                meta.insert("source_id", new.as_bytes())?;
                new
            };
            let last = meta.get("bundle_sequence")?.and_then(|last| last.value().try_into().ok());
            sequence = last.map_or(0, u64::from_le_bytes) + 1;
            meta.insert("bundle_sequence", sequence.to_le_bytes().as_slice())?;
        }
        let act = Act { action: "bundle.export", subject: format!("{source} {sequence}"), detail: json!({}) };
        audit::append_now(&transaction, author, now, [act])?;
        transaction.commit()?;
        Ok((source, sequence))
    }

    /// Keeps vectors until the import that they were made for is committed. Raises no revision.
    pub(crate) fn stage_vectors(&self, model: &str, vectors: &[(Digest, Vec<f32>)]) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut staged = transaction.open_table(STAGED_VECTORS)?;
            for (version, floats) in vectors {
                staged.insert((model, version.to_string().as_str()), bytemuck::cast_slice(floats))?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes a bundle in one durable commit: all of it or nothing.
    pub(crate) fn apply_bundle(
        &self,
        model: &ModelInfo,
        write: &BundleWrite<'_>,
        now: jiff::Timestamp,
    ) -> Result<AppliedBundle, EngineError> {
        let transaction = self.database.begin_write()?;
        let before = meta_u64(&transaction.open_table(META)?, "revision")?;
        let Put { revision, results, mut acts } = put_in(&transaction, model, write.versions, write.author, now)?;
        let mut position = u32::try_from(results.len()).unwrap_or(u32::MAX);
        let revision = if write.is_felt() { before + 1 } else { revision };
        let mut created = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Written::Created(doc, version) => created.push((doc, *version)),
                Written::Unchanged(_, version)
                | Written::Kept(_, version)
                | Written::Updated(Updated { record: version, .. }) => {
                    let (name, version) = (version.card.name, version.card.version);
                    return Err(EngineError::Internal(format!("{name}@{version} was written meanwhile")));
                }
                Written::Refused(error) => return Err(error),
            }
        }
        let Author { actor, reason } = write.author.clone();
        {
            let mut versions = transaction.open_table(VERSIONS)?;
            let mut changes = transaction.open_table(CHANGES)?;
            let mut go_to = |record: &mut StoredVersion, to: Lifecycle| {
                let from = record.card.lifecycle;
                record.card.lifecycle = to;
                record.state_revision = revision;
                let (actor, reason) = (actor.clone(), reason.clone());
                record.history.push(Move { from, to, time: now, actor, reason, revision, imported: None });
                acts.push(act("component.move", record, json!({"from": from.as_str(), "to": to.as_str()})));
            };
            for ((doc, record), &lifecycle) in created.iter_mut().zip(write.lifecycles) {
                if record.card.lifecycle != lifecycle {
                    go_to(record, lifecycle);
                    versions.insert(doc.0, encode(record)?.as_slice())?;
                }
            }
            for &(doc, lifecycle) in write.moves {
                let stored = versions.get(doc.0)?.map(|record| decode::<StoredVersion>(record.value())).transpose()?;
                let mut record = stored.ok_or_else(|| EngineError::Internal("a version has no record".into()))?;
                go_to(&mut record, lifecycle);
                versions.insert(doc.0, encode(&record)?.as_slice())?;
                changes.insert((revision, position), (OP_MOVE, doc.0))?;
                position += 1;
            }
        }
        if let Some(root) = write.trust_root {
            certificates::put_root_in(&transaction, root)?;
            acts.push(Act {
                action: "trust.install",
                subject: format!("version {}", root.version()),
                detail: json!({"digest": root.digest().to_string()}),
            });
        }
        write_certificates(&transaction, write, revision, position, now, &mut acts)?;
        for ranker in write.rankers {
            acts.push(rankers::put_in(&transaction, ranker, now)?);
        }
        {
            let mut staged = transaction.open_table(STAGED_VECTORS)?;
            let model = model.digest.to_string();
            for version in write.versions {
                staged.remove((model.as_str(), version.manifest.digest().to_string().as_str()))?;
            }
            transaction.open_table(META)?.insert("revision", revision.to_le_bytes().as_slice())?;
            transaction.open_table(BUNDLES)?.insert(write.source, encode(&write.record)?.as_slice())?;
        }
        acts.push(Act {
            action: "bundle.import",
            subject: write.record.id.clone(),
            detail: json!({
                "source": write.source,
                "sequence": write.record.sequence,
                "signers": write.signers,
                "forced": write.forced,
                "components": write.versions.len(),
                "moved": write.moves.len(),
                "certificates": write.certificates.len(),
                "revocations": write.revocations.len(),
                "rankers": write.rankers.len(),
            }),
        });
        audit::append(&transaction, write.author, revision, now, acts)?;
        transaction.commit()?;
        Ok(AppliedBundle { revision, created })
    }

    /// Puts calibrations that came with a bundle into force, each for its model.
    pub(crate) fn put_calibrations(
        &self,
        calibrations: &[Calibration],
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(CALIBRATIONS)?;
            for calibration in calibrations {
                table.insert(calibration.model_digest.as_str(), encode(calibration)?.as_slice())?;
            }
        }
        let acts = calibrations.iter().map(|calibration| {
            let detail = json!({"promise": calibration.promise(), "ranker": calibration.ranker_id, "bundle": true});
            Act { action: "calibration.put", subject: calibration.id.clone(), detail }
        });
        audit::append_now(&transaction, author, now, acts)?;
        transaction.commit()?;
        Ok(())
    }
}

fn write_certificates(
    transaction: &WriteTransaction,
    write: &BundleWrite<'_>,
    revision: Revision,
    mut position: u32,
    now: jiff::Timestamp,
    acts: &mut Vec<Act>,
) -> Result<(), EngineError> {
    let mut touched: BTreeSet<u32> = write.touched.iter().map(|doc| doc.0).collect();
    for (digest, envelope, versions) in write.certificates {
        let mut about = Vec::with_capacity(versions.len());
        for version in versions {
            let doc = transaction.open_table(DIGESTS)?.get(version.to_string().as_bytes())?.map(|doc| doc.value());
            let doc = doc.ok_or_else(|| EngineError::Internal(format!("version {version} is not stored")))?;
            touched.insert(doc);
            about.push((DocId(doc), *version));
        }
        let new = NewCertificate { digest: *digest, envelope, versions: &about, evidence: &[] };
        certificates::put_certificate_in(transaction, &new, revision, now)?;
        let versions: Vec<String> = versions.iter().map(ToString::to_string).collect();
        acts.push(Act {
            action: "certificate.add",
            subject: digest.to_string(),
            detail: json!({"versions": versions, "bundle": write.record.id}),
        });
    }
    {
        let mut kept = transaction.open_table(certificates::EVIDENCE)?;
        for (digest, bytes) in write.evidence {
            kept.insert(digest.to_string().as_str(), *bytes)?;
        }
    }
    for (revocation, envelope) in write.revocations {
        certificates::put_revocation_in(transaction, revocation, envelope)?;
        acts.push(Act {
            action: "certificate.revoke",
            subject: revocation.digest().to_string(),
            detail: json!({"claim": revocation.claim().to_value(), "bundle": write.record.id}),
        });
    }
    let mut changes = transaction.open_table(CHANGES)?;
    for doc in touched {
        changes.insert((revision, position), (OP_MOVE, doc))?;
        position += 1;
    }
    Ok(())
}

impl StoreReader {
    /// The last bundle that was imported from a catalogue.
    pub(crate) fn bundle_record(&self, source: &str) -> Result<Option<BundleRecord>, EngineError> {
        self.transaction.open_table(BUNDLES)?.get(source)?.map(|record| decode(record.value())).transpose()
    }

    /// Vectors that an interrupted import made of a version.
    pub(crate) fn staged_vectors(&self, model: &str, version: &Digest) -> Result<Option<Vec<f32>>, EngineError> {
        let table = self.transaction.open_table(STAGED_VECTORS)?;
        table.get((model, version.to_string().as_str()))?.map(|bytes| floats(bytes.value())).transpose()
    }
}
