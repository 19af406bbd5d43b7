//! Tables of decisions, labelled intents and promises. Their commits raise no revision and enter no change log.

use std::ops::Bound;

use redb::{ReadableTable, ReadableTableMetadata, TableDefinition, WriteTransaction};
use uuid::Uuid;

use super::handle::Write;
use super::records::{RequestRecord, decode, encode};
use super::{
    CALIBRATIONS, META, NAMES, REQUEST_ORDER, REQUESTS, Store, StoreReader, audit, known_request, remember_request,
};
use crate::audit::{Act, Author};
use crate::calibration::Calibration;
use crate::decisions::Decision;
use crate::drift::PromiseRecord;
use crate::error::EngineError;
use crate::feedback::Label;

/// decision id -> [`Decision`] as JSON; ids are ordered by time.
pub(super) const DECISIONS: TableDefinition<u128, &[u8]> = TableDefinition::new("decisions");
/// label id -> [`Label`] as JSON; labels of one intent share the beginning of their id.
pub(super) const LABELS: TableDefinition<&str, &[u8]> = TableDefinition::new("labels");
/// calibration id -> [`PromiseRecord`] as JSON.
pub(super) const PROMISES: TableDefinition<&str, &[u8]> = TableDefinition::new("promises");

/// Decisions that one commit forgets at most beyond those it adds, so that a smaller retention holds nobody up for long.
const MAX_FORGOTTEN: u64 = 4096;

/// Makes the tables where they are not there yet: a store from before them has none.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(DECISIONS)?;
    transaction.open_table(LABELS)?;
    transaction.open_table(PROMISES)?;
    Ok(())
}

impl Store {
    /// Writes decisions that are not there yet in one commit and forgets the oldest over `keep`. audited: whether each is
    /// recorded in the audit trail, which forgets nothing.
    pub(crate) fn append_decisions<'a>(
        &self,
        decisions: impl Iterator<Item = (Uuid, &'a Decision)>,
        keep: u64,
        audited: bool,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(DECISIONS)?;
            let mut added = 0;
            for (id, decision) in decisions {
                if audited {
                    audit::append_now(&transaction, &Author::default(), decision.time, [decision.act(id)])?;
                }
                // An outcome may have been faster: it writes the decision together with the verdict.
                if table.get(id.as_u128())?.is_none() {
                    table.insert(id.as_u128(), encode(decision)?.as_slice())?;
                }
                added += 1;
            }
            let surplus = table.len()?.saturating_sub(keep).min(MAX_FORGOTTEN + added);
            for _ in 0..surplus {
                table.pop_first()?;
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Begins a durable change of what was learnt. Nothing of it is seen before [`FeedbackWrite::commit`].
    pub(crate) fn write_feedback(&self) -> Result<FeedbackWrite, EngineError> {
        Ok(FeedbackWrite { transaction: self.database.begin_write()? })
    }
}

/// A change of what was learnt.
pub(crate) struct FeedbackWrite {
    transaction: Write,
}

impl FeedbackWrite {
    pub(crate) fn decision(&self, id: Uuid) -> Result<Option<Decision>, EngineError> {
        self.transaction.open_table(DECISIONS)?.get(id.as_u128())?.map(|record| decode(record.value())).transpose()
    }

    pub(crate) fn put_decision(&self, id: Uuid, decision: &Decision) -> Result<(), EngineError> {
        self.transaction.open_table(DECISIONS)?.insert(id.as_u128(), encode(decision)?.as_slice())?;
        Ok(())
    }

    pub(crate) fn label(&self, id: &str) -> Result<Option<Label>, EngineError> {
        self.transaction.open_table(LABELS)?.get(id)?.map(|record| decode(record.value())).transpose()
    }

    /// Labels whose id begins with `prefix`, with their ids.
    pub(crate) fn labels_with(&self, prefix: &str) -> Result<Vec<(String, Label)>, EngineError> {
        let table = self.transaction.open_table(LABELS)?;
        let mut labels = Vec::new();
        for entry in table.range(prefix..)? {
            let (id, label) = entry?;
            if !id.value().starts_with(prefix) {
                break;
            }
            labels.push((id.value().to_owned(), decode(label.value())?));
        }
        Ok(labels)
    }

    /// How many labels there are.
    pub(crate) fn labels(&self) -> Result<u64, EngineError> {
        Ok(self.transaction.open_table(LABELS)?.len()?)
    }

    pub(crate) fn put_label(&self, id: &str, label: &Label) -> Result<(), EngineError> {
        self.transaction.open_table(LABELS)?.insert(id, encode(label)?.as_slice())?;
        Ok(())
    }

    pub(crate) fn remove_label(&self, id: &str) -> Result<(), EngineError> {
        self.transaction.open_table(LABELS)?.remove(id)?;
        Ok(())
    }

    pub(crate) fn promise(&self, calibration: &str) -> Result<PromiseRecord, EngineError> {
        let table = self.transaction.open_table(PROMISES)?;
        let record = table.get(calibration)?.map(|record| decode(record.value())).transpose()?;
        Ok(record.unwrap_or_default())
    }

    pub(crate) fn put_promise(&self, calibration: &str, record: &PromiseRecord) -> Result<(), EngineError> {
        self.transaction.open_table(PROMISES)?.insert(calibration, encode(record)?.as_slice())?;
        Ok(())
    }

    /// The calibration that was last put into force for a model.
    pub(crate) fn calibration(&self, model_digest: &str) -> Result<Option<Calibration>, EngineError> {
        self.transaction.open_table(CALIBRATIONS)?.get(model_digest)?.map(|record| decode(record.value())).transpose()
    }

    /// Whether this request was answered before. Errors: the id was used for something else.
    pub(crate) fn was_requested(&self, request_id: &str, subject: &str) -> Result<bool, EngineError> {
        match known_request(&self.transaction.open_table(REQUESTS)?, request_id)? {
            None => Ok(false),
            Some(request) if request.fingerprint_is("outcome", subject) => Ok(true),
            Some(_) => Err(EngineError::RequestIdReused { request_id: request_id.to_owned() }),
        }
    }

    /// Remembers a request; an empty id is none.
    pub(crate) fn remember(&self, request_id: &str, subject: &str) -> Result<(), EngineError> {
        if request_id.is_empty() {
            return Ok(());
        }
        let mut meta = self.transaction.open_table(META)?;
        let mut requests = self.transaction.open_table(REQUESTS)?;
        let mut order = self.transaction.open_table(REQUEST_ORDER)?;
        let record = RequestRecord::new("outcome", subject, 0, 0);
        remember_request(&mut meta, &mut requests, &mut order, request_id, &record)
    }

    /// Makes the change durable, and says so in the audit trail.
    pub(crate) fn commit(self, now: jiff::Timestamp, acts: Vec<Act>) -> Result<(), EngineError> {
        audit::append_now(&self.transaction, &Author::default(), now, acts)?;
        self.transaction.commit()
    }
}

impl StoreReader {
    /// How many decisions are written.
    pub(crate) fn decisions(&self) -> Result<u64, EngineError> {
        Ok(self.transaction.open_table(DECISIONS)?.len()?)
    }

    /// Whether a name and version are or ever were taken.
    pub(crate) fn is_taken(&self, name: &str, version: &str) -> Result<bool, EngineError> {
        Ok(self.transaction.open_table(NAMES)?.get((name, version))?.is_some())
    }

    /// A written decision.
    pub(crate) fn decision(&self, id: Uuid) -> Result<Option<Decision>, EngineError> {
        self.transaction.open_table(DECISIONS)?.get(id.as_u128())?.map(|record| decode(record.value())).transpose()
    }

    /// Calls `each` with every label after an id, in order, until it answers false.
    pub(crate) fn labels_after(
        &self,
        id: &str,
        mut each: impl FnMut(&str, Label) -> Result<bool, EngineError>,
    ) -> Result<(), EngineError> {
        let table = self.transaction.open_table(LABELS)?;
        for entry in table.range::<&str>((Bound::Excluded(id), Bound::Unbounded))? {
            let (id, label) = entry?;
            if !each(id.value(), decode(label.value())?)? {
                break;
            }
        }
        Ok(())
    }

    /// What verdicts have shown about a calibration.
    pub(crate) fn promise(&self, calibration: &str) -> Result<PromiseRecord, EngineError> {
        let table = self.transaction.open_table(PROMISES)?;
        let record = table.get(calibration)?.map(|record| decode(record.value())).transpose()?;
        Ok(record.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_from_before_these_tables_opens() -> Result<(), Box<dyn std::error::Error>> {
        let folder = std::env::temp_dir().join(format!("fitment-feedback-{}", Uuid::now_v7()));
        let path = folder.join("catalog.redb");
        let store = Store::open(&path)?;
        let transaction = store.database.begin_write()?;
        transaction.delete_table(DECISIONS)?;
        transaction.delete_table(LABELS)?;
        transaction.delete_table(PROMISES)?;
        transaction.commit()?;
        drop(store);
        let store = Store::open(&path)?;
        assert_eq!((store.read()?.decisions()?, store.read()?.promise("any")?), (0, PromiseRecord::default()));
        drop(store);
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }

    #[test]
    fn what_is_not_committed_never_was() -> Result<(), Box<dyn std::error::Error>> {
        let folder = std::env::temp_dir().join(format!("fitment-feedback-{}", Uuid::now_v7()));
        let store = Store::open(&folder.join("catalog.redb"))?;
        let record = PromiseRecord { verdicts: 3, ..PromiseRecord::default() };
        let write = store.write_feedback()?;
        write.put_promise("a", &record)?;
        drop(write);
        let write = store.write_feedback()?;
        write.put_promise("b", &record)?;
        write.remember("once", "1 accepted")?;
        write.commit(jiff::Timestamp::UNIX_EPOCH, Vec::new())?;
        assert_eq!(store.read()?.promise("a")?, PromiseRecord::default());
        assert_eq!(store.read()?.promise("b")?, record);
        let write = store.write_feedback()?;
        assert!(write.was_requested("once", "1 accepted")? && !write.was_requested("twice", "1 accepted")?);
        assert!(matches!(write.was_requested("once", "1 rejected"), Err(EngineError::RequestIdReused { .. })));
        drop(write);
        assert_eq!(store.read()?.revision()?, 0);
        drop(store);
        std::fs::remove_dir_all(folder)?;
        Ok(())
    }
}
