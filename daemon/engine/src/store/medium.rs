//! What lies between redb and the file: it keeps the lock, names the file in every error, remembers what was last synced, and
//! can show the file as it was synced while the disk takes nothing any more.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io::{Error, ErrorKind};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use redb::{BackendError, StorageBackend};

use crate::error::Kept;

/// Size of redb's pages. The first one holds the header, which says which commit is in force.
const PAGE: usize = 4096;
/// Where redb's header keeps its flags, and two of them: which commit slot is in force, and whether it was put there in two
/// phases (redb's docs/design.md, "Super-header").
const FLAGS: usize = 9;
const PRIMARY: u8 = 1;
const TWO_PHASES: u8 = 4;
/// Where its two commit slots begin, how long each is, and where in it the number of the transaction stands, u64 little-endian.
const SLOTS: usize = 64;
const SLOT_LENGTH: usize = 128;
const TRANSACTION_NUMBER: usize = 104;

type Range = (Bound<u64>, Bound<u64>);

/// One store file, for as long as the store is open.
#[derive(Debug)]
pub(super) struct Medium {
    path: PathBuf,
    file: Box<dyn StorageBackend>,
    /// Locks that were taken. They outlast a database that is opened again, so that nobody else comes in between.
    held: Mutex<Vec<Range>>,
    header: Mutex<Header>,
    failure: Mutex<Option<Failure>>,
}

/// The first page.
#[derive(Debug, Default)]
struct Header {
    written: Vec<u8>,
    synced: Vec<u8>,
}

impl Header {
    /// What it would be with the other commit that it names in force, where that is the newer one: the daemon was killed before
    /// it made that one the one in force, or the bit that says which it is has flipped.
    fn newer_first(&self) -> Option<Vec<u8>> {
        let first = &self.synced;
        let number = |slot: usize| -> Option<u64> {
            let start = SLOTS + slot * SLOT_LENGTH + TRANSACTION_NUMBER;
            first.get(start..start + 8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
        };
        let flags = *first.get(FLAGS)?;
        let primary = usize::from(flags & PRIMARY);
        if flags & TWO_PHASES == 0 || number(primary ^ 1)? <= number(primary)? {
            return None;
        }
        let mut newer = first.clone();
        newer[FLAGS] ^= PRIMARY;
        Some(newer)
    }
}

/// What the disk said when it failed first.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: ErrorKind,
    pub(super) detail: String,
}

/// How a database uses the file.
#[derive(Debug)]
enum Use {
    /// Everything goes to the file.
    Whole,
    /// Nothing goes to the file: what is written is kept in memory.
    Aside(Mutex<Aside>),
}

#[derive(Debug)]
struct Aside {
    pages: BTreeMap<u64, Vec<u8>>,
    length: u64,
}

/// One database's view of the file.
#[derive(Debug)]
pub(super) struct View {
    medium: Arc<Medium>,
    use_of: Use,
    failed: AtomicBool,
    ended: AtomicBool,
    /// The header was written since the last sync.
    names_more: AtomicBool,
}

impl Medium {
    pub(super) fn new(path: &Path, file: Box<dyn StorageBackend>) -> Result<Self, Error> {
        let mut first = Vec::new();
        if file.len()? >= PAGE as u64 {
            first = vec![0; PAGE];
            file.read(0, &mut first)?;
        }
        let header = Header { written: first.clone(), synced: first };
        Ok(Self {
            path: path.to_path_buf(),
            file,
            held: Mutex::default(),
            header: Mutex::new(header),
            failure: Mutex::default(),
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What failed first since it was last asked.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.failure.lock().take()
    }

    /// Undoes a commit that was never synced: what follows begins where the last acknowledged one ended.
    pub(super) fn restore_header(&self) -> Result<(), Error> {
        let mut header = self.header.lock();
        if header.written != header.synced {
            self.file.write(0, &header.synced).map_err(|error| self.note("writing", &error))?;
            let Header { written, synced } = &mut *header;
            written.clone_from(synced);
        }
        Ok(())
    }

    /// Gives up the locks.
    pub(super) fn close(&self) -> Result<(), Error> {
        self.held.lock().clear();
        self.file.close()
    }

    fn lock(&self, range: Range) -> Result<bool, BackendError> {
        let mut held = self.held.lock();
        if held.contains(&range) {
            return Ok(true);
        }
        let taken = self.file.try_lock_range(range.0, range.1)?;
        if taken {
            held.push(range);
        }
        Ok(taken)
    }

    fn unlock(&self, range: Range) -> Result<(), BackendError> {
        self.held.lock().retain(|held| *held != range);
        self.file.unlock_range(range.0, range.1)
    }

    /// Names the file in an error and remembers it.
    fn note(&self, doing: &str, error: &Error) -> Error {
        let error = Error::new(error.kind(), format!("{doing} {}: {error}", self.path.display()));
        let failure = Failure { kind: error.kind(), detail: error.to_string() };
        self.failure.lock().get_or_insert(failure);
        error
    }

    /// Has the newer of two commits be the one in force where it is whole. `whole`: whether what a view shows is.
    ///
    /// It was never acknowledged when the daemon was killed within its commit, and it was when the bit has flipped. Nobody can
    /// tell, and to keep it is right in both cases. Where the older one is not whole, its number may be what has flipped.
    pub(super) fn prefer_newer(self: &Arc<Self>, whole: impl Fn(Arc<View>) -> bool) -> Result<(), Error> {
        let Some(newer) = self.header.lock().newer_first() else { return Ok(()) };
        if whole(Arc::new(View::aside(self)?)) && whole(Arc::new(View::aside_with(self, newer.clone())?)) {
            self.file.write(0, &newer).map_err(|error| self.note("writing", &error))?;
            let mut header = self.header.lock();
            (header.written, header.synced) = (newer.clone(), newer);
        }
        self.take_failure();
        Ok(())
    }
}

impl View {
    /// Reads and writes the file.
    pub(super) fn whole(medium: &Arc<Medium>) -> Self {
        Self::new(medium, Use::Whole)
    }

    /// Shows the file as it was last synced, and keeps what is written to itself.
    pub(super) fn aside(medium: &Arc<Medium>) -> Result<Self, Error> {
        let synced = medium.header.lock().synced.clone();
        Self::aside_with(medium, synced)
    }

    /// The same with another first page.
    fn aside_with(medium: &Arc<Medium>, first: Vec<u8>) -> Result<Self, Error> {
        let length = medium.file.len().map_err(|error| medium.note("reading", &error))?;
        let aside = Aside { pages: [(0, first)].into(), length };
        Ok(Self::new(medium, Use::Aside(Mutex::new(aside))))
    }

    fn new(medium: &Arc<Medium>, use_of: Use) -> Self {
        let medium = Arc::clone(medium);
        Self {
            medium,
            use_of,
            failed: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            names_more: AtomicBool::new(false),
        }
    }

    /// Whether redb was told of a failure, after which it answers nothing any more.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Acquire)
    }

    /// What of a commit that failed the next start may find. Whether a header that was written and not synced is on the disk
    /// nobody can tell, whoever has put it back since; and one that names a newer commit than that in force has it taken.
    pub(super) fn kept(&self) -> Kept {
        let is_named = self.names_more.load(Ordering::Acquire) || self.medium.header.lock().newer_first().is_some();
        if is_named { Kept::Perhaps } else { Kept::Nothing }
    }

    /// Another view is in use: this one's pages may be written over.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    fn done<T>(&self, doing: &str, result: Result<T, Error>) -> Result<T, Error> {
        if self.ended.load(Ordering::Acquire) {
            return Err(Error::other(format!("{} was opened again meanwhile; ask again", self.medium.path.display())));
        }
        result.map_err(|error| {
            self.failed.store(true, Ordering::Release);
            self.medium.note(doing, &error)
        })
    }
}

impl Aside {
    fn read(&self, file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > self.length) {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        read_zeroed(file, offset, out)?;
        let first = offset / PAGE as u64;
        let last = (offset + out.len() as u64).div_ceil(PAGE as u64);
        for (page, bytes) in self.pages.range(first..last) {
            let (from, to) = overlap(*page, offset, out.len());
            let start = page * PAGE as u64;
            out[from..to]
                .copy_from_slice(&bytes[within(offset + from as u64, start)..within(offset + to as u64, start)]);
        }
        Ok(())
    }

    fn write(&mut self, file: &dyn StorageBackend, offset: u64, data: &[u8]) -> Result<(), Error> {
        let first = offset / PAGE as u64;
        for page in first..(offset + data.len() as u64).div_ceil(PAGE as u64) {
            let start = page * PAGE as u64;
            let bytes = match self.pages.entry(page) {
                Entry::Occupied(there) => there.into_mut(),
                Entry::Vacant(place) => {
                    let mut bytes = vec![0; PAGE];
                    read_zeroed(file, start, &mut bytes)?;
                    place.insert(bytes)
                }
            };
            let (from, to) = overlap(page, offset, data.len());
            bytes[within(offset + from as u64, start)..within(offset + to as u64, start)]
                .copy_from_slice(&data[from..to]);
        }
        Ok(())
    }
}

/// The part of `length` bytes from `offset` that lies in a page, as places in those bytes.
fn overlap(page: u64, offset: u64, length: usize) -> (usize, usize) {
    let start = page * PAGE as u64;
    (within(start.max(offset), offset), within((start + PAGE as u64).min(offset + length as u64), offset))
}

/// How far a place lies behind another one, within one read or write.
fn within(place: u64, start: u64) -> usize {
    usize::try_from(place - start).expect("reads and writes fit into memory")
}

/// Reads what the file has; zeros behind its end.
fn read_zeroed(file: &dyn StorageBackend, offset: u64, out: &mut [u8]) -> Result<(), Error> {
    let there = usize::try_from(file.len()?.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
    out[there..].fill(0);
    if there == 0 { Ok(()) } else { file.read(offset, &mut out[..there]) }
}

impl StorageBackend for View {
    fn len(&self) -> Result<u64, Error> {
        let length = match &self.use_of {
            Use::Whole => self.medium.file.len(),
            Use::Aside(aside) => Ok(aside.lock().length),
        };
        self.done("reading", length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let file = self.medium.file.as_ref();
        let read = match &self.use_of {
            Use::Whole => file.read(offset, out),
            Use::Aside(aside) => aside.lock().read(file, offset, out),
        };
        self.done("reading", read)
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        let set = match &self.use_of {
            Use::Whole => self.medium.file.set_len(length),
            Use::Aside(aside) => {
                aside.lock().length = length;
                Ok(())
            }
        };
        self.done("resizing", set)
    }

    fn sync_data(&self) -> Result<(), Error> {
        let synced = match &self.use_of {
            Use::Whole => {
                // Nothing is written to the first page between the two: commits are one after the other.
                let header = self.medium.header.lock().written.clone();
                self.medium.file.sync_data().inspect(|()| {
                    self.medium.header.lock().synced = header;
                    self.names_more.store(false, Ordering::Release);
                })
            }
            Use::Aside(_) => Ok(()),
        };
        self.done("syncing", synced)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let file = self.medium.file.as_ref();
        let written = match &self.use_of {
            Use::Whole => {
                if offset < PAGE as u64 {
                    self.names_more.store(true, Ordering::Release);
                    let mut header = self.medium.header.lock();
                    header.written.resize(PAGE, 0);
                    let (from, to) = overlap(0, offset, data.len());
                    header.written[within(offset, 0)..within(offset, 0) + to - from].copy_from_slice(&data[from..to]);
                }
                file.write(offset, data)
            }
            Use::Aside(aside) => aside.lock().write(file, offset, data),
        };
        self.done("writing", written)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.medium.lock((start, end))
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.medium.unlock((start, end))
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.medium.file.query_lock_range(start, end)
    }
}

/// A view that redb owns and its handle can still ask.
#[derive(Clone, Debug)]
pub(super) struct Shared(pub(super) Arc<View>);

impl StorageBackend for Shared {
    fn len(&self) -> Result<u64, Error> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        self.0.set_len(length)
    }

    fn sync_data(&self) -> Result<(), Error> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.0.write(offset, data)
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}
