//! The open database. After a failed write or fsync redb answers nothing any more; here reading goes on from what was last
//! synced, writes are refused with what the disk said, and each of them tries whether the disk takes writes again.

use std::io::ErrorKind;
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use redb::{
    Builder, Database, DatabaseError, ReadTransaction, ReadableDatabase, StorageBackend, StorageError, WriteTransaction,
};

use super::medium::{Failure, Medium, Shared, View};
use super::{panic_message, refused};
use crate::error::{EngineError, Kept};

/// How many times as long as opening took a disk that failed is left alone, so that refused writes stay cheap.
const REST: u32 = 4;

/// The open database.
#[derive(Debug)]
pub(super) struct Handle {
    medium: Arc<Medium>,
    cache_bytes: usize,
    current: RwLock<Arc<Current>>,
    opening: Mutex<()>,
}

/// What reads and writes go to now.
#[derive(Debug)]
struct Current {
    /// `None`: not even reading works.
    database: Option<Database>,
    view: Arc<View>,
    /// Why nothing is written.
    fault: Option<Mutex<Fault>>,
}

#[derive(Debug)]
struct Fault {
    failure: Failure,
    /// Before this the disk is not asked again.
    again: Instant,
}

/// A change that is being written. Dropped without a commit it never was.
pub(super) struct Write {
    transaction: WriteTransaction,
    handle: Arc<Handle>,
    began_with: Arc<Current>,
}

impl Deref for Write {
    type Target = WriteTransaction;

    fn deref(&self) -> &WriteTransaction {
        &self.transaction
    }
}

impl Write {
    /// Makes the change durable. Errors: it is not, and nothing of it is seen.
    pub(super) fn commit(self) -> Result<(), EngineError> {
        let Self { transaction, handle, began_with } = self;
        transaction.commit().map_err(|error| handle.failed(&began_with, error.into(), began_with.view.kept()))
    }
}

impl Handle {
    /// Opens a database and checks every page of it.
    pub(super) fn open(path: &Path, file: Box<dyn StorageBackend>, cache_bytes: usize) -> Result<Self, DatabaseError> {
        let medium = Arc::new(Medium::new(path, file)?);
        medium.prefer_newer(|view| open(&view, cache_bytes).is_ok())?;
        let view = Arc::new(View::whole(&medium));
        let database = open(&view, cache_bytes)?;
        let current = Current { database: Some(database), view, fault: None };
        Ok(Self { medium, cache_bytes, current: RwLock::new(Arc::new(current)), opening: Mutex::default() })
    }

    /// A view of the last commit.
    pub(super) fn begin_read(&self) -> Result<ReadTransaction, EngineError> {
        loop {
            let current = Arc::clone(&self.current.read());
            let database = match &current.database {
                Some(database) if !current.view.has_failed() => database,
                Some(_) if current.fault.is_none() => {
                    self.set_aside(&current);
                    continue;
                }
                _ => {
                    self.bring_back(&current)?;
                    continue;
                }
            };
            match database.begin_read() {
                Ok(transaction) => return Ok(transaction),
                Err(_) if self.has_moved_on(&current) || current.view.has_failed() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins a change; waits until the one before it has ended.
    pub(super) fn begin_write(self: &Arc<Self>) -> Result<Write, EngineError> {
        loop {
            let current = Arc::clone(&self.current.read());
            if current.fault.is_some() {
                self.bring_back(&current)?;
                continue;
            }
            if current.view.has_failed() {
                self.set_aside(&current);
                continue;
            }
            let Some(database) = &current.database else { continue };
            match database.begin_write() {
                Ok(mut transaction) => {
                    // One phase is told from a torn write by checksums alone: a byte that rots in the last commit would look
                    // as if that had never been finished, and would silently undo what was acknowledged.
                    transaction.set_two_phase_commit(true);
                    return Ok(Write { transaction, handle: Arc::clone(self), began_with: current });
                }
                Err(_) if self.has_moved_on(&current) => {}
                Err(error) => return Err(self.failed(&current, error.into(), Kept::Nothing)),
            }
        }
    }

    fn has_moved_on(&self, current: &Arc<Current>) -> bool {
        !Arc::ptr_eq(&self.current.read(), current)
    }

    /// What a caller is told of an error, after which reading goes on from what was last synced.
    fn failed(&self, current: &Arc<Current>, error: redb::Error, kept: Kept) -> EngineError {
        if matches!(error, redb::Error::TransactionPoisoned) && !current.view.has_failed() {
            return EngineError::Store(Box::new(error));
        }
        self.set_aside(current);
        // Not held while the fault is waited for: who holds that may be about to replace it.
        let now = Arc::clone(&self.current.read());
        match &now.fault {
            Some(fault) => self.refusal(&fault.lock().failure, kept),
            // It works again already, somebody else saw to that.
            None if kept == Kept::Perhaps => {
                EngineError::StoreUnwritable { path: self.medium.path().to_path_buf(), detail: error.to_string(), kept }
            }
            None => error.into(),
        }
    }

    fn refusal(&self, failure: &Failure, kept: Kept) -> EngineError {
        let (path, detail) = (self.medium.path().to_path_buf(), failure.detail.clone());
        match failure.kind {
            ErrorKind::PermissionDenied => EngineError::StoreReadOnly { path, detail, kept },
            kind => refused(kind, &path, &detail, kept).unwrap_or(EngineError::StoreUnwritable { path, detail, kept }),
        }
    }

    /// Goes on reading from what was last synced.
    fn set_aside(&self, failed: &Arc<Current>) {
        let _one = self.opening.lock();
        if self.has_moved_on(failed) {
            return;
        }
        failed.view.end();
        let failure = self.medium.take_failure().unwrap_or_else(|| Failure {
            kind: ErrorKind::Other,
            detail: format!("a commit to {} failed", self.medium.path().display()),
        });
        tracing::error!(path = %self.medium.path().display(), detail = failure.detail, "the store takes no writes; reading goes on");
        let began = Instant::now();
        let opened = View::aside(&self.medium).map_err(DatabaseError::from).and_then(|view| {
            let view = Arc::new(view);
            Ok((open(&view, self.cache_bytes)?, view))
        });
        let again = Instant::now() + began.elapsed() * REST;
        let fault = Some(Mutex::new(Fault { failure, again }));
        let current = match opened {
            Ok((database, view)) => Current { database: Some(database), view, fault },
            Err(error) => {
                tracing::error!(path = %self.medium.path().display(), %error, "the store cannot be read any more");
                self.medium.take_failure();
                Current { database: None, view: Arc::clone(&failed.view), fault }
            }
        };
        *self.current.write() = Arc::new(current);
    }

    /// Tries whether the disk takes writes again. Errors: it does not.
    fn bring_back(&self, aside: &Arc<Current>) -> Result<(), EngineError> {
        let _one = self.opening.lock();
        let Some(fault) = &aside.fault else { return Ok(()) };
        if self.has_moved_on(aside) {
            return Ok(());
        }
        let mut fault = fault.lock();
        let began = Instant::now();
        if began < fault.again {
            return Err(self.refusal(&fault.failure, Kept::Nothing));
        }
        let opened = self.medium.restore_header().map_err(DatabaseError::from).and_then(|()| {
            let view = Arc::new(View::whole(&self.medium));
            Ok((open(&view, self.cache_bytes)?, view))
        });
        match opened {
            Ok((database, view)) => {
                tracing::info!(path = %self.medium.path().display(), "the store takes writes again");
                aside.view.end();
                *self.current.write() = Arc::new(Current { database: Some(database), view, fault: None });
                Ok(())
            }
            Err(error) => {
                fault.failure = self.medium.take_failure().unwrap_or_else(|| Failure {
                    kind: ErrorKind::Other,
                    detail: format!("opening {} again: {error}", self.medium.path().display()),
                });
                fault.again = Instant::now() + began.elapsed() * REST;
                Err(self.refusal(&fault.failure, Kept::Nothing))
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        let view = Arc::clone(&self.current.get_mut().view);
        *self.current.get_mut() = Arc::new(Current { database: None, view, fault: None });
        if let Err(error) = self.medium.close() {
            tracing::warn!(path = %self.medium.path().display(), %error, "the lock on the store could not be given up");
        }
    }
}

/// Opens a database over a view and checks every page of it. Of pages it keeps `cache_bytes` in memory; the system's page cache
/// holds the rest, where there is room.
///
/// redb answers most damage with an error, some with a panic; neither may take the daemon down unexplained.
fn open(view: &Arc<View>, cache_bytes: usize) -> Result<Database, DatabaseError> {
    let view = Shared(Arc::clone(view));
    let open =
        || Builder::new().set_cache_size(cache_bytes).set_check_integrity_on_open(true).create_with_backend(view);
    catch_unwind(AssertUnwindSafe(open))
        .unwrap_or_else(|panic| Err(StorageError::Corrupted(panic_message(panic.as_ref())).into()))
}
