//! The change log: which version was touched by which revision. It is never cut, so that a reader may resume anywhere.

use fitment_index::DocId;
use redb::TableDefinition;

use super::{Revision, StoreReader};
use crate::error::EngineError;

/// (revision, position) -> (operation, doc id).
pub(super) const CHANGES: TableDefinition<(u64, u32), (u8, u32)> = TableDefinition::new("changes");

pub(super) const OP_PUT: u8 = 1;
pub(super) const OP_DELETE: u8 = 2;
pub(super) const OP_MOVE: u8 = 3;
pub(super) const OP_RESTORE: u8 = 4;

/// One entry of the change log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A version was written.
    Put(DocId),
    /// A version was deleted.
    Delete(DocId),
    /// A version's place in its life changed, or what certifies it.
    Move(DocId),
    /// A deleted version is there again.
    Restore(DocId),
}

/// An entry and where it stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoggedChange {
    /// The revision that made it.
    pub revision: Revision,
    /// Its place among those of the same revision, from 0.
    pub position: u32,
    /// What changed.
    pub change: Change,
}

impl Change {
    /// The version that it is about.
    pub fn doc(self) -> DocId {
        match self {
            Self::Put(doc) | Self::Delete(doc) | Self::Move(doc) | Self::Restore(doc) => doc,
        }
    }
}

impl StoreReader {
    /// What was written after a revision, oldest first.
    pub fn changes_since(&self, revision: Revision) -> Result<Vec<Change>, EngineError> {
        let logged = self.logged_after((revision, u32::MAX), usize::MAX)?;
        Ok(logged.into_iter().map(|logged| logged.change).collect())
    }

    /// Entries after a revision and position, oldest first, at most `most`.
    pub fn logged_after(&self, after: (Revision, u32), most: usize) -> Result<Vec<LoggedChange>, EngineError> {
        let table = self.transaction.open_table(CHANGES)?;
        let first = after.1.checked_add(1).map_or((after.0.saturating_add(1), 0), |position| (after.0, position));
        table
            .range(first..)?
            .take(most)
            .map(|entry| {
                let (place, change) = entry?;
                let (revision, position) = place.value();
                let change = match change.value() {
                    (OP_PUT, doc) => Change::Put(DocId(doc)),
                    (OP_DELETE, doc) => Change::Delete(DocId(doc)),
                    (OP_MOVE, doc) => Change::Move(DocId(doc)),
                    (OP_RESTORE, doc) => Change::Restore(DocId(doc)),
                    (operation, _) => {
                        return Err(EngineError::Internal(format!("change log holds operation {operation}")));
                    }
                };
                Ok(LoggedChange { revision, position, change })
            })
            .collect()
    }
}
