//! Taking a snapshot: all of it from one read transaction, while writes go on.

use std::path::Path;

use fitment_catalog::Digest;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle};

use super::super::columns::{Column, RowKey};
use super::super::tables::{Visitor, visit_all};
use super::super::{META, StoreReader};
use super::document::{Chunk, Document, Model, Table};
use super::folder::Folder;
use super::{SnapshotSummary, Work};
use crate::engine::Engine;
use crate::error::EngineError;

/// A chunk that would grow over this is cut, whatever the keys.
const MAX_CHUNK_BYTES: usize = 16 << 20;
/// One key in so many begins a chunk, where keys have no order of their own.
const HASHED_CUT: u16 = 1024;

/// A snapshot that was taken.
#[derive(Clone, Debug)]
pub struct WrittenSnapshot {
    /// What it says of itself.
    pub summary: SnapshotSummary,
    /// Chunks that the folder did not hold before.
    pub new_chunks: u64,
    /// Their bytes.
    pub new_bytes: u64,
}

impl Engine {
    /// Takes a snapshot of the catalogue as it is now. Blocks; writes go on meanwhile.
    ///
    /// Errors: [`EngineError::JobRunning`], [`EngineError::Stopping`], IO.
    pub fn create_snapshot(&self, folder: &Path, work: Work<'_>) -> Result<WrittenSnapshot, EngineError> {
        self.shared().store.read()?.snapshot(folder, (self.shared().clock)(), work)
    }
}

impl StoreReader {
    /// Writes what this reader sees as a snapshot.
    pub(super) fn snapshot(
        &self,
        folder: &Path,
        now: jiff::Timestamp,
        work: Work<'_>,
    ) -> Result<WrittenSnapshot, EngineError> {
        let folder = Folder::new(folder);
        let lock = folder.lock()?;
        folder.sweep(&lock)?;
        let mut count = Count { transaction: &self.transaction, rows: 0 };
        visit_all(&mut count)?;
        let model = self.transaction.open_table(META)?.get("model")?.and_then(|model| Model::from_store(model.value()));
        let document = Document::begun(self.revision()?, model, now, self.audit_head()?);
        let mut writer = Writer {
            transaction: &self.transaction,
            folder: &folder,
            tables: Vec::new(),
            new_chunks: 0,
            new_bytes: 0,
            done: 0,
            total: count.rows,
            work,
        };
        visit_all(&mut writer)?;
        let Writer { tables, new_chunks, new_bytes, .. } = writer;
        folder.sync_chunks()?;
        let document = Document { tables, ..document }.sealed()?;
        let path = folder.publish(&document)?;
        Ok(WrittenSnapshot { summary: document.summary(&path), new_chunks, new_bytes })
    }
}

struct Count<'a> {
    transaction: &'a ReadTransaction,
    rows: u64,
}

impl Visitor for Count<'_> {
    fn visit<K: RowKey, V: Column>(&mut self, table: TableDefinition<'static, K, V>) -> Result<(), EngineError> {
        self.rows += self.transaction.open_table(table)?.len()?;
        Ok(())
    }
}

struct Writer<'a> {
    transaction: &'a ReadTransaction,
    folder: &'a Folder,
    tables: Vec<Table>,
    new_chunks: u64,
    new_bytes: u64,
    done: u64,
    total: u64,
    work: Work<'a>,
}

impl Visitor for Writer<'_> {
    fn visit<K: RowKey, V: Column>(&mut self, table: TableDefinition<'static, K, V>) -> Result<(), EngineError> {
        let mut written = Table { name: table.name().to_owned(), rows: 0, chunks: Vec::new() };
        let (mut chunk, mut rows) = (Vec::new(), 0);
        let (mut row, mut shared, mut shared_before) = (Vec::new(), Vec::new(), Vec::new());
        for entry in self.transaction.open_table(table)?.iter()? {
            let (key, value) = entry?;
            let key = key.value();
            row.clear();
            shared.clear();
            K::put(&key, &mut row);
            let begins = if K::range(&key, &mut shared) { shared != shared_before } else { begins_chunk(&row) };
            put_row::<K, V>(&key, &value.value(), &mut row);
            if rows > 0 && (begins || chunk.len() + row.len() > MAX_CHUNK_BYTES) {
                self.finish(&mut written, &mut chunk, &mut rows)?;
            }
            std::mem::swap(&mut shared, &mut shared_before);
            chunk.extend_from_slice(&row);
            rows += 1;
        }
        if rows > 0 {
            self.finish(&mut written, &mut chunk, &mut rows)?;
        }
        self.tables.push(written);
        Ok(())
    }
}

impl Writer<'_> {
    fn finish(&mut self, table: &mut Table, chunk: &mut Vec<u8>, rows: &mut u64) -> Result<(), EngineError> {
        self.work.check()?;
        let (digest, new) = self.folder.keep(chunk)?;
        let bytes = chunk.len() as u64;
        if new {
            self.new_chunks += 1;
            self.new_bytes += bytes;
        }
        table.chunks.push(Chunk { digest, rows: *rows, bytes });
        table.rows += *rows;
        self.done += *rows;
        chunk.clear();
        *rows = 0;
        (self.work.tell)("writing the snapshot", self.done, self.total);
        Ok(())
    }
}

/// Writes one row: its length as a u32, its key, its value.
pub(super) fn put_row<K: Column, V: Column>(key: &K::SelfType<'_>, value: &V::SelfType<'_>, row: &mut Vec<u8>) {
    row.clear();
    row.extend_from_slice(&[0; 4]);
    K::put(key, row);
    V::put(value, row);
    let length = u32::try_from(row.len() - 4).expect("redb holds no row of 4 GiB");
    row[..4].copy_from_slice(&length.to_le_bytes());
}

/// Whether a key begins a chunk by its hash, which is the same whatever its neighbours are.
fn begins_chunk(key: &[u8]) -> bool {
    let [first, second, ..] = *Digest::of(key).as_bytes();
    u16::from_le_bytes([first, second]).is_multiple_of(HASHED_CUT)
}
