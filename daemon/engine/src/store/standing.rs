//! Where a version stands: its way from draft to revoked, its deletion and its return.

use fitment_catalog::{ComponentName, Lifecycle};
use fitment_index::DocId;
use redb::ReadableTable;
use serde_json::{Value, json};

use super::audit;
use super::changes::{CHANGES, OP_DELETE, OP_MOVE, OP_RESTORE};
use super::records::{Deletion, Move, NameRecord, RequestRecord, StoredVersion, decode, encode};
use super::versions::{known_request, remember_request};
use super::{META, NAMES, REQUEST_ORDER, REQUESTS, Revision, Store, VERSIONS, meta_u64, second_stage};
use crate::audit::{Act, Author};
use crate::error::EngineError;

/// A change of where one version stands.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The component.
    pub name: ComponentName,
    /// Its version.
    pub version: semver::Version,
    /// The state that it must be in; empty: any.
    pub etag: String,
    /// Idempotency key; empty: none.
    pub request_id: String,
    /// Who asks, and why.
    pub author: Author,
}

/// What a change of standing did.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The revision from which on it holds.
    pub(crate) revision: Revision,
    /// The version; `None` when the same request did it before.
    pub(crate) changed: Option<(DocId, StoredVersion)>,
}

/// An act upon a version.
pub(super) fn act(action: &'static str, record: &StoredVersion, mut detail: Value) -> Act {
    detail["digest"] = record.card.digest.to_string().into();
    Act { action, subject: format!("{}@{}", record.card.name, record.card.version), detail }
}

impl Store {
    /// Takes one version out of every answer; it can be brought back.
    pub(crate) fn delete(&self, standing: &Standing, now: jiff::Timestamp) -> Result<Moved, EngineError> {
        self.change(standing, "delete", OP_DELETE, now, |record, _revision| {
            if record.deleted.is_some() {
                return Err(EngineError::NotFound { what: subject(standing) });
            }
            let Author { actor, reason } = standing.author.clone();
            record.deleted = Some(Deletion { time: now, actor, reason, imported: None });
            Ok(act("component.delete", record, json!({})))
        })
    }

    /// Brings a deleted version back as it was.
    pub(crate) fn undelete(&self, standing: &Standing, now: jiff::Timestamp) -> Result<Moved, EngineError> {
        self.change(standing, "undelete", OP_RESTORE, now, |record, _revision| {
            if record.deleted.take().is_none() {
                return Err(EngineError::NotDeleted { what: subject(standing) });
            }
            Ok(act("component.undelete", record, json!({})))
        })
    }

    /// Moves one version along its life.
    pub(crate) fn move_to(
        &self,
        standing: &Standing,
        to: Lifecycle,
        now: jiff::Timestamp,
    ) -> Result<Moved, EngineError> {
        self.change(standing, &format!("move {to}"), OP_MOVE, now, |record, revision| {
            if record.deleted.is_some() {
                return Err(EngineError::NotFound { what: subject(standing) });
            }
            let from = record.card.lifecycle;
            if !from.may_become(to) {
                return Err(EngineError::MoveForbidden { what: subject(standing), from, to });
            }
            record.card.lifecycle = to;
            let Author { actor, reason } = standing.author.clone();
            record.history.push(Move { from, to, time: now, actor, reason, revision, imported: None });
            Ok(act("component.move", record, json!({"from": from.as_str(), "to": to.as_str()})))
        })
    }

    /// One version's record changed in one durable commit, with its entry in the change log and in the audit chain.
    fn change(
        &self,
        standing: &Standing,
        operation: &str,
        logged: u8,
        now: jiff::Timestamp,
        edit: impl FnOnce(&mut StoredVersion, Revision) -> Result<Act, EngineError>,
    ) -> Result<Moved, EngineError> {
        let Standing { name, version, etag, request_id, author } = standing;
        let subject = subject(standing);
        let transaction = self.database.begin_write()?;
        let moved;
        {
            let mut meta = transaction.open_table(META)?;
            let mut versions = transaction.open_table(VERSIONS)?;
            let mut requests = transaction.open_table(REQUESTS)?;
            if let Some(request) = known_request(&requests, request_id)? {
                if !request.fingerprint_is(operation, &subject) {
                    return Err(EngineError::RequestIdReused { request_id: request_id.clone() });
                }
                return Ok(Moved { revision: request.revision, changed: None });
            }
            let not_found = || EngineError::NotFound { what: subject.clone() };
            let known = transaction
                .open_table(NAMES)?
                .get((name.to_string().as_str(), version.to_string().as_str()))?
                .map(|record| decode::<NameRecord>(record.value()))
                .transpose()?;
            let doc = known.and_then(|record| record.doc).ok_or_else(not_found)?;
            let mut stored: StoredVersion = versions
                .get(doc)?
                .map(|record| decode(record.value()))
                .transpose()?
                .ok_or_else(|| EngineError::Internal(format!("{subject} has no record")))?;
            if !etag.is_empty() && stored.etag() != *etag {
                return Err(EngineError::EtagMismatch {
                    what: format!("{name}@{version}"),
                    expected: etag.clone(),
                    actual: stored.etag(),
                });
            }
            let revision = meta_u64(&meta, "revision")? + 1;
            let act = edit(&mut stored, revision)?;
            stored.state_revision = revision;
            versions.insert(doc, encode(&stored)?.as_slice())?;
            if logged == OP_DELETE {
                // A cache: made again when the version comes back.
                second_stage::forget(&transaction, doc)?;
            }
            transaction.open_table(CHANGES)?.insert((revision, 0), (logged, doc))?;
            meta.insert("revision", revision.to_le_bytes().as_slice())?;
            if !request_id.is_empty() {
                let mut order = transaction.open_table(REQUEST_ORDER)?;
                let request = RequestRecord::new(operation, &subject, doc, revision);
                remember_request(&mut meta, &mut requests, &mut order, request_id, &request)?;
            }
            audit::append(&transaction, author, revision, now, [act])?;
            moved = Moved { revision, changed: Some((DocId(doc), stored)) };
        }
        transaction.commit()?;
        Ok(moved)
    }
}

fn subject(standing: &Standing) -> String {
    format!("{}@{}", standing.name, standing.version)
}
