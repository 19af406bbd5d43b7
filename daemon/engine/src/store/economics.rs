//! The table of what assembly saves. Its commits raise no revision and enter no change log.

use std::collections::BTreeMap;

use fitment_assembly::{Counters, Figures};
use jiff::civil::Date;
use redb::{ReadableTable, TableDefinition, WriteTransaction};

use super::records::{decode, encode};
use super::{Store, StoreReader};
use crate::error::EngineError;

/// day as `2026-01-31`, team -> [`Figures`] as JSON.
pub(super) const ECONOMICS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("economics");

/// Makes the table where it is not there yet: a store from before it has none.
pub(super) fn create_table(transaction: &WriteTransaction) -> Result<(), EngineError> {
    transaction.open_table(ECONOMICS)?;
    Ok(())
}

impl Store {
    /// Adds counts, and drops the days before `oldest`. Beyond `most` teams a day, `others` takes what comes.
    pub(crate) fn add_economics(
        &self,
        counts: &BTreeMap<(Date, String), Figures>,
        oldest: Date,
        most: usize,
        others: &str,
    ) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut table = transaction.open_table(ECONOMICS)?;
            for ((day, team), more) in counts {
                let day = day.to_string();
                let known = table.get((day.as_str(), team.as_str()))?.is_some();
                let full = || {
                    table.range((day.as_str(), "")..).map(|rows| {
                        rows.take(most + 1).filter_map(Result::ok).filter(|(key, _)| key.value().0 == day).count()
                            >= most
                    })
                };
                let team = if known || !full()? { team.as_str() } else { others };
                let stored =
                    table.get((day.as_str(), team))?.map(|value| decode::<Figures>(value.value())).transpose()?;
                let mut figures = stored.unwrap_or_default();
                figures.add(more);
                table.insert((day.as_str(), team), encode(&figures)?.as_slice())?;
            }
            let oldest = oldest.to_string();
            table.retain_in(..(oldest.as_str(), ""), |_, _| false)?;
        }
        transaction.commit()?;
        Ok(())
    }
}

impl StoreReader {
    /// Counts of the days from one to another, by day and team.
    pub(crate) fn economics(&self, from: Date, to: Date) -> Result<Vec<Counters>, EngineError> {
        let table = self.transaction.open_table(ECONOMICS)?;
        let (from, to) = (from.to_string(), to.to_string());
        let mut rows = Vec::new();
        for entry in table.range((from.as_str(), "")..)? {
            let (key, value) = entry?;
            let (day, team) = key.value();
            if day > to.as_str() {
                break;
            }
            let parsed =
                day.parse().map_err(|error| EngineError::Internal(format!("a day of the economics: {error}")))?;
            rows.push(Counters { team: team.to_owned(), day: parsed, figures: decode(value.value())? });
        }
        Ok(rows)
    }
}
