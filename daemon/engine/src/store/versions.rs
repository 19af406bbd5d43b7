//! Writing versions: immutable, idempotent, each with its vectors, its words and its audit record in one commit.

use fitment_catalog::Manifest;
use fitment_index::DocId;
use fitment_models::{ModelInfo, UnitVector};
use redb::{ReadableTable, WriteTransaction};

use super::audit;
use super::carried::{CarriedStanding, Taken};
use super::changes::{CHANGES, OP_DELETE, OP_MOVE, OP_PUT, OP_RESTORE};
use super::records::{ImportMark, NameRecord, RequestRecord, StoredVersion, decode, encode};
use super::standing::act;
use super::{
    DIGESTS, MANIFESTS, META, NAMES, PROFILES, REQUEST_ORDER, REQUESTS, Revision, Store, VECTORS, VERSIONS, meta_u32,
    meta_u64, second_stage,
};
use crate::audit::{Act, Author};
use crate::clues::text_profile;
use crate::error::EngineError;

/// Idempotency keys that are remembered.
const MAX_REQUEST_IDS: u64 = 100_000;

/// A version that is about to be written, with one vector for each facet.
#[derive(Debug)]
pub struct NewVersion {
    /// The manifest.
    pub manifest: Manifest,
    /// One unit vector a facet, in the order of [`fitment_catalog::facets`], then one a counter-example.
    pub vectors: Vec<UnitVector>,
    /// Idempotency key; empty: none.
    pub request_id: String,
    /// Where it stood elsewhere.
    pub standing: Option<CarriedStanding>,
}

/// What became of a write.
#[derive(Debug)]
pub enum Written {
    /// Written in this commit.
    Created(DocId, Box<StoredVersion>),
    /// The same manifest was there.
    Unchanged(DocId, Box<StoredVersion>),
    /// The same manifest was there, and stands elsewhere from this commit on.
    Updated(Updated),
    /// The same manifest was there, and has come further than what came with it.
    Kept(DocId, Box<StoredVersion>),
    /// Refused.
    Refused(EngineError),
}

/// A version that was there and stands elsewhere now.
#[derive(Debug)]
pub struct Updated {
    /// Its document.
    pub doc: DocId,
    /// Its record after the change.
    pub record: Box<StoredVersion>,
    /// Whether it was deleted before.
    pub was_deleted: bool,
}

impl Store {
    /// Writes versions in one durable commit; each is written, found unchanged or refused by itself.
    ///
    /// Returns the revision after the commit and one result a version, in order. Nothing new: the revision stays.
    pub fn put(
        &self,
        model: &ModelInfo,
        versions: &[NewVersion],
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<(Revision, Vec<Written>), EngineError> {
        let transaction = self.database.begin_write()?;
        let Put { revision, results, acts } = put_in(&transaction, model, versions, author, now)?;
        audit::append(&transaction, author, revision, now, acts)?;
        transaction.commit()?;
        Ok((revision, results))
    }
}

/// What was written within a transaction.
pub(super) struct Put {
    /// The revision after it; as before when nothing is new.
    pub(super) revision: Revision,
    /// One result a version, in order.
    pub(super) results: Vec<Written>,
    /// To be appended to the audit chain.
    pub(super) acts: Vec<Act>,
}

/// Writes versions within a transaction; each is written, found unchanged or refused by itself.
pub(super) fn put_in(
    transaction: &WriteTransaction,
    model: &ModelInfo,
    versions: &[NewVersion],
    author: &Author,
    now: jiff::Timestamp,
) -> Result<Put, EngineError> {
    let mut results = Vec::with_capacity(versions.len());
    let mut acts = Vec::new();
    let mut revision;
    {
        let mut meta = transaction.open_table(META)?;
        let mut names = transaction.open_table(NAMES)?;
        let mut stored_versions = transaction.open_table(VERSIONS)?;
        let mut changes = transaction.open_table(CHANGES)?;
        let mut requests = transaction.open_table(REQUESTS)?;
        let mut request_order = transaction.open_table(REQUEST_ORDER)?;
        revision = meta_u64(&meta, "revision")?;
        let next_revision = revision + 1;
        let mut next_doc = meta_u32(&meta, "next_doc")?;
        let mut position = 0u32;
        let model_digest = model.digest.to_string();
        let mark = ImportMark { time: now, actor: author.actor.clone(), reason: author.reason.clone() };
        for version in versions {
            let digest = version.manifest.digest();
            let name = version.manifest.name().to_string();
            let semver = version.manifest.version().to_string();
            if let Some(request) = known_request(&requests, &version.request_id)? {
                if !request.fingerprint_is("put", digest.to_string().as_str()) {
                    let request_id = version.request_id.clone();
                    results.push(Written::Refused(EngineError::RequestIdReused { request_id }));
                    continue;
                }
                if let Some(record) = stored_versions.get(request.doc)? {
                    results.push(Written::Unchanged(DocId(request.doc), Box::new(decode(record.value())?)));
                    continue;
                }
            }
            let taken: Option<NameRecord> =
                names.get((name.as_str(), semver.as_str()))?.map(|record| decode(record.value())).transpose()?;
            if let Some(taken) = taken {
                if taken.digest != digest {
                    let existing = taken.digest.to_string();
                    results.push(Written::Refused(EngineError::VersionTaken { name, version: semver, existing }));
                    continue;
                }
                if let Some(doc) = taken.doc {
                    let stored = stored_versions.get(doc)?.map(|record| decode::<StoredVersion>(record.value()));
                    let mut record = stored
                        .transpose()?
                        .ok_or_else(|| EngineError::Internal(format!("{name}@{semver} has no record")))?;
                    if let Some(standing) = &version.standing {
                        let (written, logged) = take_standing(doc, record, standing, next_revision, &mark);
                        if let (Written::Updated(Updated { record, .. }), Some(logged)) = (&written, logged) {
                            stored_versions.insert(doc, encode(record)?.as_slice())?;
                            if logged == OP_DELETE {
                                second_stage::forget(transaction, doc)?;
                            }
                            changes.insert((next_revision, position), (logged, doc))?;
                            position += 1;
                            acts.push(standing.act(record));
                        }
                        results.push(written);
                        continue;
                    }
                    if record.deleted.take().is_none() {
                        // What it said was so: sent again after a deletion, it must not write.
                        remember_put(&mut meta, &mut requests, &mut request_order, version, doc, revision)?;
                        results.push(Written::Unchanged(DocId(doc), Box::new(record)));
                        continue;
                    }
                    // Writing what was deleted brings it back.
                    record.state_revision = next_revision;
                    stored_versions.insert(doc, encode(&record)?.as_slice())?;
                    changes.insert((next_revision, position), (OP_RESTORE, doc))?;
                    position += 1;
                    acts.push(act("component.undelete", &record, serde_json::json!({"written_again": true})));
                    remember_put(&mut meta, &mut requests, &mut request_order, version, doc, next_revision)?;
                    results.push(Written::Created(DocId(doc), Box::new(record)));
                    continue;
                }
            }
            let doc = next_doc;
            next_doc = next_doc
                .checked_add(1)
                .ok_or_else(|| EngineError::Internal("the store has handed out all of its document ids".into()))?;
            let record = new_record(version, next_revision, now, &mark);
            stored_versions.insert(doc, encode(&record)?.as_slice())?;
            names
                .insert((name.as_str(), semver.as_str()), encode(&NameRecord { digest, doc: Some(doc) })?.as_slice())?;
            insert_contents(transaction, doc, version, &model_digest)?;
            for &operation in logged_of_new(&record) {
                changes.insert((next_revision, position), (operation, doc))?;
                position += 1;
            }
            acts.extend(acts_of_new(version, &record));
            remember_put(&mut meta, &mut requests, &mut request_order, version, doc, next_revision)?;
            results.push(Written::Created(DocId(doc), Box::new(record)));
        }
        if position > 0 {
            revision = next_revision;
            meta.insert("revision", revision.to_le_bytes().as_slice())?;
            meta.insert("next_doc", next_doc.to_le_bytes().as_slice())?;
        }
    }
    Ok(Put { revision, results, acts })
}

/// What becomes of a version that is here when it is said where it stood elsewhere, and the change to be logged, if any.
fn take_standing(
    doc: u32,
    mut record: StoredVersion,
    standing: &CarriedStanding,
    revision: Revision,
    mark: &ImportMark,
) -> (Written, Option<u8>) {
    let was_deleted = record.deleted.is_some();
    let taken = standing.take_into(&mut record, revision, mark);
    let (is_deleted, record, id) = (record.deleted.is_some(), Box::new(record), DocId(doc));
    match taken {
        Taken::Same => (Written::Unchanged(id, record), None),
        Taken::Kept => (Written::Kept(id, record), None),
        Taken::Differs(error) => (Written::Refused(error), None),
        Taken::Changed => {
            let logged = match (was_deleted, is_deleted) {
                (false, true) => OP_DELETE,
                (true, false) => OP_RESTORE,
                _ => OP_MOVE,
            };
            (Written::Updated(Updated { doc: id, record, was_deleted }), Some(logged))
        }
    }
}

/// The record of a new version, with where it stood elsewhere.
fn new_record(version: &NewVersion, revision: Revision, now: jiff::Timestamp, mark: &ImportMark) -> StoredVersion {
    let mut record = StoredVersion::new(&version.manifest, &version.vectors, revision, now);
    if let Some(standing) = &version.standing {
        standing.take_into(&mut record, revision, mark);
    }
    record
}

/// What the change log says of a new version: one that comes deleted was written first.
fn logged_of_new(record: &StoredVersion) -> &'static [u8] {
    if record.deleted.is_some() { &[OP_PUT, OP_DELETE] } else { &[OP_PUT] }
}

/// What the audit trail says of a new version.
fn acts_of_new(version: &NewVersion, record: &StoredVersion) -> impl Iterator<Item = Act> {
    let written_as = serde_json::json!({"lifecycle": version.manifest.lifecycle().as_str()});
    let standing = version.standing.as_ref().map(|standing| standing.act(record));
    std::iter::once(act("component.create", record, written_as)).chain(standing)
}

/// Remembers the request that wrote a version; an empty id is none.
fn remember_put(
    meta: &mut redb::Table<'_, &'static str, &'static [u8]>,
    requests: &mut redb::Table<'_, &'static str, &'static [u8]>,
    order: &mut redb::Table<'_, u64, &'static str>,
    version: &NewVersion,
    doc: u32,
    revision: Revision,
) -> Result<(), EngineError> {
    if version.request_id.is_empty() {
        return Ok(());
    }
    let request = RequestRecord::new("put", &version.manifest.digest().to_string(), doc, revision);
    remember_request(meta, requests, order, &version.request_id, &request)
}

/// What a version is made of: manifest, address, vectors and words.
fn insert_contents(
    transaction: &WriteTransaction,
    doc: u32,
    version: &NewVersion,
    model_digest: &str,
) -> Result<(), EngineError> {
    let manifest = &version.manifest;
    transaction.open_table(MANIFESTS)?.insert(doc, manifest.canonical_json().as_slice())?;
    transaction.open_table(DIGESTS)?.insert(manifest.digest().to_string().as_bytes(), doc)?;
    let floats: Vec<f32> = version.vectors.iter().flat_map(UnitVector::as_slice).copied().collect();
    transaction.open_table(VECTORS)?.insert((model_digest, doc), bytemuck::cast_slice(&floats))?;
    transaction.open_table(PROFILES)?.insert(doc, text_profile(manifest).to_bytes().as_slice())?;
    Ok(())
}

pub(super) fn known_request(
    requests: &impl ReadableTable<&'static str, &'static [u8]>,
    request_id: &str,
) -> Result<Option<RequestRecord>, EngineError> {
    if request_id.is_empty() {
        return Ok(None);
    }
    requests.get(request_id)?.map(|record| decode(record.value())).transpose()
}

pub(super) fn remember_request(
    meta: &mut redb::Table<'_, &'static str, &'static [u8]>,
    requests: &mut redb::Table<'_, &'static str, &'static [u8]>,
    order: &mut redb::Table<'_, u64, &'static str>,
    request_id: &str,
    record: &RequestRecord,
) -> Result<(), EngineError> {
    let next = meta.get("next_request")?.and_then(|value| value.value().try_into().ok()).map_or(0, u64::from_le_bytes);
    meta.insert("next_request", (next + 1).to_le_bytes().as_slice())?;
    requests.insert(request_id, encode(record)?.as_slice())?;
    order.insert(next, request_id)?;
    if let Some(oldest) = next.checked_sub(MAX_REQUEST_IDS) {
        let forgotten = order.remove(oldest)?.map(|id| id.value().to_owned());
        if let Some(id) = forgotten {
            requests.remove(id.as_str())?;
        }
    }
    Ok(())
}
