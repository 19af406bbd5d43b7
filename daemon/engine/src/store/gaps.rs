//! Tables of unmet intents and their gaps. Their commits raise no revision and enter no change log; links are audited.

use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::records::{decode, encode};
use super::{Store, StoreReader, audit};
use crate::audit::{Act, Author};
use crate::error::EngineError;
use crate::gaps::{Day, GapRecord, IntentKey, StoredIntent, Tally};

/// intent key -> [`StoredIntent`] as JSON.
pub(super) const GAP_INTENTS: TableDefinition<u128, &[u8]> = TableDefinition::new("gap_intents");
/// intent key -> scale as f32 little-endian, then a signed byte a value.
pub(super) const GAP_VECTORS: TableDefinition<u128, &[u8]> = TableDefinition::new("gap_vectors");
/// gap id -> [`GapRecord`] as JSON.
pub(super) const GAPS: TableDefinition<&str, &[u8]> = TableDefinition::new("gaps");
/// day since 1970 -> answers by outcome as JSON.
pub(super) const GAP_TRAFFIC: TableDefinition<u32, &[u8]> = TableDefinition::new("gap_traffic");

/// Makes the tables where they are not there yet: a store from before them has none.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(GAP_INTENTS)?;
    transaction.open_table(GAP_VECTORS)?;
    transaction.open_table(GAPS)?;
    transaction.open_table(GAP_TRAFFIC)?;
    Ok(())
}

impl Store {
    /// Writes intents with their vectors, gaps and days of traffic in one commit; `None` takes one out.
    pub(crate) fn put_gaps<'a>(
        &self,
        intents: impl Iterator<Item = (IntentKey, Option<(&'a StoredIntent, Vec<u8>)>)>,
        gaps: impl Iterator<Item = (&'a str, Option<&'a GapRecord>)>,
        traffic: impl Iterator<Item = (Day, Option<Tally>)>,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut records = transaction.open_table(GAP_INTENTS)?;
            let mut vectors = transaction.open_table(GAP_VECTORS)?;
            for (key, kept) in intents {
                if let Some((record, vector)) = kept {
                    records.insert(key, encode(record)?.as_slice())?;
                    vectors.insert(key, vector.as_slice())?;
                } else {
                    records.remove(key)?;
                    vectors.remove(key)?;
                }
            }
            let mut table = transaction.open_table(GAPS)?;
            for (id, record) in gaps {
                match record {
                    Some(record) => table.insert(id, encode(record)?.as_slice())?,
                    None => table.remove(id)?,
                };
            }
            let mut days = transaction.open_table(GAP_TRAFFIC)?;
            for (day, tally) in traffic {
                match tally {
                    Some(tally) => days.insert(day, encode(&tally)?.as_slice())?,
                    None => days.remove(day)?,
                };
            }
        }
        transaction.commit()?;
        Ok(())
    }

    /// Writes one gap and says so in the audit trail, in one commit.
    pub(crate) fn link_gap(
        &self,
        id: &str,
        record: &GapRecord,
        act: Act,
        author: &Author,
        now: jiff::Timestamp,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(GAPS)?.insert(id, encode(record)?.as_slice())?;
        audit::append_now(&transaction, author, now, [act])?;
        transaction.commit()?;
        Ok(())
    }
}

impl StoreReader {
    /// Calls `each` with every gap.
    pub(crate) fn gap_records(&self, mut each: impl FnMut(&str, GapRecord)) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(GAPS)?.iter()? {
            let (id, record) = entry?;
            each(id.value(), decode(record.value())?);
        }
        Ok(())
    }

    /// Calls `each` with every unmet intent and the bytes of its vector; none where it has none.
    pub(crate) fn gap_intents(&self, mut each: impl FnMut(IntentKey, StoredIntent, &[u8])) -> Result<(), EngineError> {
        let vectors = self.transaction.open_table(GAP_VECTORS)?;
        for entry in self.transaction.open_table(GAP_INTENTS)?.iter()? {
            let (key, record) = entry?;
            let vector = vectors.get(key.value())?;
            each(key.value(), decode(record.value())?, vector.as_ref().map_or(&[], |vector| vector.value()));
        }
        Ok(())
    }

    /// Calls `each` with every day's answers.
    pub(crate) fn gap_traffic(&self, mut each: impl FnMut(Day, Tally)) -> Result<(), EngineError> {
        for entry in self.transaction.open_table(GAP_TRAFFIC)?.iter()? {
            let (day, tally) = entry?;
            each(day.value(), decode(tally.value())?);
        }
        Ok(())
    }
}
