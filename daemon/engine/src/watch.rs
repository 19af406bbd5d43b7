//! Following the catalogue: its changes from a place in the log on, in order, each at least once.

use fitment_catalog::{ComponentName, Digest, Lifecycle};

use crate::audit::{AuditHead, AuditRecord};
use crate::decisions::{Decision, RecordedDecision};
use crate::engine::{Engine, Shared};
use crate::error::EngineError;
use crate::store::{Change, Revision};

/// Changes and audit records that are read at once.
const PAGE: usize = 256;

/// A place in the change log: everything up to and including it has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPlace {
    /// Revision.
    pub revision: Revision,
    /// Place among the changes of that revision, from 0.
    pub position: u32,
}

impl LogPlace {
    /// After all changes of a revision.
    pub fn after(revision: Revision) -> Self {
        Self { revision, position: u32::MAX }
    }
}

/// What happened to a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was written.
    Written,
    /// It was deleted.
    Deleted,
    /// It was brought back.
    Restored,
    /// It moved along its life, or what certifies it changed.
    Moved,
}

/// One change, with what is known of its version now.
#[derive(Clone, Debug)]
pub struct CatalogChange {
    /// Where it stands in the log.
    pub place: LogPlace,
    /// What happened.
    pub kind: ChangeKind,
    /// To which version; `None` for one that an older build deleted and kept nothing of.
    pub version: Option<ChangedVersion>,
    /// Whether it is about something that the one who asks may not see: only its place is to be kept.
    pub is_hidden: bool,
}

/// A version that a change is about, as it stands now: later changes of it are still to come.
#[derive(Clone, Debug)]
pub struct ChangedVersion {
    /// `namespace/name`.
    pub name: ComponentName,
    /// Semantic version.
    pub version: semver::Version,
    /// Digest.
    pub digest: Digest,
    /// Where it stands.
    pub lifecycle: Lifecycle,
    /// Whether it is deleted.
    pub deleted: bool,
}

impl Engine {
    /// The revision that searches see, and every later one.
    pub fn revisions(&self) -> tokio::sync::watch::Receiver<Revision> {
        self.shared().announced.subscribe()
    }

    /// Changes after a place, oldest first; a bounded number, empty at the end of the log. What is committed and not searchable
    /// yet comes later, so that whoever follows the log finds what it is told of.
    ///
    /// Errors: a place ahead of the catalogue.
    pub async fn changes_after(&self, place: LogPlace) -> Result<Vec<CatalogChange>, EngineError> {
        self.reached(place.revision)?;
        let viewer = self.viewer().clone();
        self.compute(move |shared| {
            let searchable = shared.index.revision();
            let reader = shared.store.read()?;
            let logged = reader.logged_after((place.revision, place.position), PAGE)?;
            logged
                .into_iter()
                .take_while(|logged| logged.revision <= searchable)
                .map(|logged| {
                    let version = reader.version_or_deleted(logged.change.doc())?;
                    let is_seen = version.as_ref().is_some_and(|version| viewer.sees(&version.card));
                    Ok(CatalogChange {
                        is_hidden: viewer.permit.is_some() && !is_seen,
                        place: LogPlace { revision: logged.revision, position: logged.position },
                        kind: match logged.change {
                            Change::Put(_) => ChangeKind::Written,
                            Change::Delete(_) => ChangeKind::Deleted,
                            Change::Restore(_) => ChangeKind::Restored,
                            Change::Move(_) => ChangeKind::Moved,
                        },
                        version: version.map(|version| ChangedVersion {
                            name: version.card.name,
                            version: version.card.version,
                            digest: version.card.digest,
                            lifecycle: version.card.lifecycle,
                            deleted: version.deleted.is_some(),
                        }),
                    })
                })
                .collect()
        })
        .await
    }

    /// Audit records after a sequence number, oldest first; a bounded number, empty at the end of the chain.
    pub async fn audit_after(&self, sequence: u64) -> Result<Vec<AuditRecord>, EngineError> {
        self.compute(move |shared| shared.store.read()?.audit_after(sequence, PAGE)).await
    }

    /// Walks the whole chain. known: a record that it must go through, by sequence and digest.
    ///
    /// Errors: [`EngineError::AuditBroken`] at the first record that does not follow, or is not the known one.
    pub async fn verify_audit(&self, known: Option<(u64, &str)>) -> Result<AuditHead, EngineError> {
        let known = known.map(|(sequence, digest)| AuditHead { sequence, digest: digest.to_owned() });
        self.compute(move |shared| {
            let reader = shared.store.read()?;
            let mut head = AuditHead::default();
            loop {
                let records = reader.audit_after(head.sequence, PAGE)?;
                if records.is_empty() {
                    break;
                }
                for record in records {
                    head = record.follow(&head)?;
                    if let Some(known) = known.as_ref().filter(|known| known.sequence == head.sequence) {
                        known.agrees(&head)?;
                    }
                }
            }
            match known {
                Some(known) if known.sequence > head.sequence => Err(EngineError::AuditBroken {
                    sequence: head.sequence + 1,
                    detail: format!("it ends here, and record {} was there before", known.sequence),
                }),
                _ => Ok(head),
            }
        })
        .await
    }
}

impl Engine {
    /// A remembered answer.
    ///
    /// Errors: [`EngineError::DecisionUnknown`].
    pub async fn decision(&self, id: uuid::Uuid) -> Result<RecordedDecision, EngineError> {
        self.compute(move |shared| {
            let written = shared.store.read()?.decision(id)?;
            let found =
                written.or_else(|| shared.feedback.log.unwritten(id).map(|decision| Decision::clone(&decision)));
            found.map(RecordedDecision::from).ok_or_else(|| shared.unknown(id))
        })
        .await
    }
}

impl Shared {
    /// Tells those who follow that the catalogue has moved on.
    pub(crate) fn announce(&self) {
        self.follow_assemblies();
        self.announced.send_replace(self.index.revision());
    }
}
