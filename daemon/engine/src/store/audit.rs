//! The table of audit records. A record is written in the transaction of what it records: neither is there without the other.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::records::{decode, encode};
use super::{META, Store, StoreReader, meta_u64};
use crate::audit::{Act, AuditHead, AuditRecord, Author};
use crate::error::EngineError;

/// sequence -> [`AuditRecord`] as JSON.
pub(super) const AUDIT: TableDefinition<u64, &[u8]> = TableDefinition::new("audit");

/// Makes the table where it is not there yet: the chain begins with the first write after that.
pub(super) fn create_table(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(AUDIT)?;
    Ok(())
}

/// Appends acts that belong to the transaction's commit.
pub(super) fn append(
    transaction: &WriteTransaction,
    author: &Author,
    revision: u64,
    now: jiff::Timestamp,
    acts: impl IntoIterator<Item = Act>,
) -> Result<(), EngineError> {
    let mut table = transaction.open_table(AUDIT)?;
    let mut head = head_of(&table)?;
    for act in acts {
        let record = head.bind(act, author, revision, now)?;
        table.insert(record.sequence, encode(&record)?.as_slice())?;
        head = record.head();
    }
    Ok(())
}

fn head_of(table: &impl ReadableTable<u64, &'static [u8]>) -> Result<AuditHead, EngineError> {
    let Some((_, record)) = table.last()? else { return Ok(AuditHead::default()) };
    Ok(decode::<AuditRecord>(record.value())?.head())
}

/// Appends acts of a commit that raises no revision.
pub(super) fn append_now(
    transaction: &WriteTransaction,
    author: &Author,
    now: jiff::Timestamp,
    acts: impl IntoIterator<Item = Act>,
) -> Result<(), EngineError> {
    let revision = meta_u64(&transaction.open_table(META)?, "revision")?;
    append(transaction, author, revision, now, acts)
}

impl Store {
    /// Records an act that changes nothing else.
    pub(crate) fn record(&self, act: Act, author: &Author, now: jiff::Timestamp) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        append_now(&transaction, author, now, [act])?;
        transaction.commit()?;
        Ok(())
    }
}

impl StoreReader {
    /// Where the chain ends.
    pub fn audit_head(&self) -> Result<AuditHead, EngineError> {
        head_of(&self.transaction.open_table(AUDIT)?)
    }

    /// When the catalogue's revision was reached: the time of the first record of it, found by halves, since revisions only
    /// rise. `None`: nothing is recorded of it.
    pub(crate) fn revision_time(&self) -> Result<Option<jiff::Timestamp>, EngineError> {
        let revision = self.revision()?;
        let table = self.transaction.open_table(AUDIT)?;
        let Some(last) = table.last()?.map(|(sequence, _)| sequence.value()) else { return Ok(None) };
        let first = table.first()?.map_or(last, |(sequence, _)| sequence.value());
        let record = |sequence: u64| -> Result<Option<AuditRecord>, EngineError> {
            table.get(sequence)?.map(|record| decode(record.value())).transpose()
        };
        let (mut low, mut high) = (first, last);
        while low < high {
            let middle = low + (high - low) / 2;
            if record(middle)?.is_some_and(|record| record.revision >= revision) {
                high = middle;
            } else {
                low = middle + 1;
            }
        }
        Ok(record(low)?.filter(|record| record.revision == revision).map(|record| record.time))
    }

    /// Records after a sequence number, oldest first, at most `most`.
    pub fn audit_after(&self, sequence: u64, most: usize) -> Result<Vec<AuditRecord>, EngineError> {
        let table = self.transaction.open_table(AUDIT)?;
        let records = table.range(sequence.saturating_add(1)..)?.take(most);
        records.map(|entry| decode(entry?.1.value())).collect()
    }
}
