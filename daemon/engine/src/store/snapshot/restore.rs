//! Restoring: a new store beside the old one, read back, then put in its place by a rename.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use fitment_catalog::Digest;
use redb::{Database, ReadTransaction, ReadableTable, TableDefinition, TableHandle};

use super::super::Store;
use super::super::columns::{Column, RowKey};
use super::super::tables::{Visitor, visit_all};
use super::create::put_row;
use super::document::{Document, Table};
use super::folder::{Folder, failed, sync_folder};
use super::verify::{take_row, verified};
use super::{SnapshotSummary, Work};
use crate::error::EngineError;

/// A store that was put in place.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The snapshot.
    pub summary: SnapshotSummary,
    /// The store.
    pub store: PathBuf,
    /// The store that was there before.
    pub kept: Option<PathBuf>,
}

/// Verifies a snapshot and puts its store into a data folder. force: also where there is one, which is kept beside.
///
/// A crash leaves the old store or the new one, each whole. Errors: [`EngineError::StoreExists`], [`EngineError::StoreInUse`],
/// those of [`super::verify_snapshot`], IO; the old store is as it was after each.
pub fn restore_snapshot(file: &Path, data_dir: &Path, force: bool, work: Work<'_>) -> Result<Restored, EngineError> {
    let live = data_dir.join("catalog.redb");
    let old = hold(&live)?;
    if old.is_some() && !force {
        return Err(EngineError::StoreExists { path: live });
    }
    let document = verified(file, work)?;
    let summary = document.summary(file);
    std::fs::create_dir_all(data_dir).map_err(failed(data_dir))?;
    let new = data_dir.join("catalog.redb.restoring");
    // What an earlier restore left, unless that one still runs.
    drop(hold(&new)?);
    remove_file(&new)?;
    if let Err(error) = write(&new, file, &document, work) {
        // The first error tells more than one of tidying up.
        drop(std::fs::remove_file(&new));
        return Err(error);
    }
    let kept = data_dir.join("catalog.redb.before-restore");
    if old.is_some() {
        // A second name for the old store, so that the first never stands for nothing. It takes the place of an earlier one by
        // a rename, which does nothing where both are the same file already.
        let keeping = data_dir.join("catalog.redb.before-restore.new");
        remove_file(&keeping)?;
        std::fs::hard_link(&live, &keeping).map_err(failed(&keeping))?;
        std::fs::rename(&keeping, &kept).map_err(failed(&kept))?;
        remove_file(&keeping)?;
    } else if live.exists() {
        return Err(EngineError::StoreInUse { path: live });
    }
    // Caches of the old store, whose revisions may look like those of the new one.
    let caches = data_dir.join("index");
    match std::fs::remove_dir_all(&caches) {
        Err(source) if source.kind() != ErrorKind::NotFound => return Err(EngineError::Io { path: caches, source }),
        _ => {}
    }
    sync_folder(data_dir)?;
    std::fs::rename(&new, &live).map_err(failed(&live))?;
    sync_folder(data_dir)?;
    Ok(Restored { summary, store: live, kept: old.map(|_held| kept) })
}

/// Keeps every daemon from opening a store, for as long as the file is held; `None`: there is none.
///
/// It is the lock that redb takes. Errors: [`EngineError::StoreInUse`], IO.
fn hold(path: &Path) -> Result<Option<File>, EngineError> {
    let file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(failed(path))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(EngineError::StoreInUse { path: path.to_path_buf() }),
        Err(TryLockError::Error(source)) => Err(EngineError::Io { path: path.to_path_buf(), source }),
    }
}

/// Writes a store, makes it durable, and reads it back.
fn write(new: &Path, file: &Path, document: &Document, work: Work<'_>) -> Result<(), EngineError> {
    let folder = Folder::new(&Document::folder_of(file));
    {
        let database = Database::create(new).map_err(|error| EngineError::Store(Box::new(error.into())))?;
        let total = document.rows();
        visit_all(&mut Filler { database: &database, folder: &folder, document, done: 0, total, work })?;
    }
    File::open(new).and_then(|file| file.sync_all()).map_err(failed(new))?;
    // Opened as the daemon opens it: whatever it would refuse is refused here.
    let store = Store::open(new)?;
    let transaction = store.database.begin_read()?;
    visit_all(&mut Reread { path: new, transaction: &transaction, document, done: 0, total: document.rows(), work })
}

fn table_of<'a>(document: &'a Document, name: &str) -> Option<&'a Table> {
    document.tables.iter().find(|table| table.name == name)
}

struct Filler<'a> {
    database: &'a Database,
    folder: &'a Folder,
    document: &'a Document,
    done: u64,
    total: u64,
    work: Work<'a>,
}

impl Visitor for Filler<'_> {
    fn visit<K: RowKey, V: Column>(&mut self, table: TableDefinition<'static, K, V>) -> Result<(), EngineError> {
        let transaction = self.database.begin_write()?;
        {
            let mut opened = transaction.open_table(table)?;
            for chunk in table_of(self.document, table.name()).map(|table| table.chunks.as_slice()).unwrap_or_default()
            {
                self.work.check()?;
                let bytes = self.folder.read(chunk)?;
                let malformed = || EngineError::SnapshotDamaged {
                    path: self.folder.chunk_file(&chunk.digest),
                    detail: "a row is malformed".into(),
                };
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let mut row = take_row(&mut rest).ok_or_else(malformed)?;
                    let key = K::take(&mut row).ok_or_else(malformed)?;
                    let value = V::take(&mut row).ok_or_else(malformed)?;
                    opened.insert(&key, &value)?;
                    self.done += 1;
                }
                (self.work.tell)("writing the store", self.done, self.total);
            }
        }
        transaction.commit()?;
        Ok(())
    }
}

struct Reread<'a> {
    path: &'a Path,
    transaction: &'a ReadTransaction,
    document: &'a Document,
    done: u64,
    total: u64,
    work: Work<'a>,
}

impl Visitor for Reread<'_> {
    fn visit<K: RowKey, V: Column>(&mut self, table: TableDefinition<'static, K, V>) -> Result<(), EngineError> {
        let other = || EngineError::StoreDamaged {
            path: self.path.to_path_buf(),
            detail: format!("table {} reads otherwise than it was written", table.name()),
        };
        let opened = self.transaction.open_table(table)?;
        let mut rows = opened.iter()?;
        let (mut chunk_bytes, mut row) = (Vec::new(), Vec::new());
        for chunk in table_of(self.document, table.name()).map(|table| table.chunks.as_slice()).unwrap_or_default() {
            self.work.check()?;
            chunk_bytes.clear();
            for _ in 0..chunk.rows {
                let (key, value) = rows.next().ok_or_else(other)??;
                put_row::<K, V>(&key.value(), &value.value(), &mut row);
                chunk_bytes.extend_from_slice(&row);
            }
            if Digest::of(&chunk_bytes) != chunk.digest {
                return Err(other());
            }
            self.done += chunk.rows;
            (self.work.tell)("reading the store back", self.done, self.total);
        }
        if rows.next().is_some() { Err(other()) } else { Ok(()) }
    }
}

fn remove_file(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}
