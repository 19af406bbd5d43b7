//! A disk that can fail and lose its power: it keeps what was synced apart from what was only written.

use std::io::{Error, ErrorKind};
use std::sync::Arc;

use parking_lot::Mutex;
use redb::StorageBackend;

/// What a power cut tears a write into.
const SECTOR: usize = 512;

/// Numbers that look random and are the same for the same seed (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number
/// Generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0..below
    pub(super) fn below(&mut self, below: u64) -> u64 {
        self.roll() % below
    }

    pub(super) fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failing {
    /// Writes and growth find no room.
    Full,
    /// A part of a write is done, then there is no room.
    Short,
    /// Whatever changes something is refused.
    ReadOnly,
    /// Writes and syncs fail, and what a sync should have kept may be dropped without another word, as Linux does.
    Broken,
    /// Only syncs fail, in that way.
    Unsynced,
    /// Reading fails too.
    Gone,
}

impl Failing {
    pub(super) const ALL: [Self; 6] =
        [Self::Full, Self::Short, Self::ReadOnly, Self::Broken, Self::Unsynced, Self::Gone];

    fn error(self) -> Error {
        match self {
            Self::Full | Self::Short => ErrorKind::StorageFull.into(),
            Self::ReadOnly => ErrorKind::ReadOnlyFilesystem.into(),
            Self::Broken | Self::Unsynced | Self::Gone => Error::other("input/output error"),
        }
    }
}

#[derive(Debug)]
enum Change {
    Bytes(u64, Vec<u8>),
    Length(u64),
}

#[derive(Debug)]
struct Inner {
    /// What is read.
    seen: Vec<u8>,
    /// What survives a power cut for sure.
    synced: Vec<u8>,
    /// What may survive it, in order.
    unsynced: Vec<Change>,
    dice: Dice,
    failing: Option<Failing>,
    /// Changes until the disk begins to fail, and how many it fails.
    plan: Option<(u64, u64, Failing)>,
    /// Changes until the power is cut.
    cut_after: Option<u64>,
    /// What was on the disk when the power was cut.
    image: Option<Vec<u8>>,
}

/// The disk.
#[derive(Clone, Debug)]
pub(super) struct Disk(Arc<Mutex<Inner>>);

impl Disk {
    pub(super) fn new(bytes: Vec<u8>, seed: u64) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            seen: bytes.clone(),
            synced: bytes,
            unsynced: Vec::new(),
            dice: Dice(seed),
            failing: None,
            plan: None,
            cut_after: None,
            image: None,
        })))
    }

    /// Cuts the power after so many more changes.
    pub(super) fn cut_after(&self, changes: u64) {
        self.0.lock().cut_after = Some(changes);
    }

    /// Fails after so many more changes, so many times.
    pub(super) fn fail_after(&self, changes: u64, times: u64, failing: Failing) {
        self.0.lock().plan = Some((changes, times, failing));
    }

    /// Fails, or works, from now on.
    pub(super) fn set_failing(&self, failing: Option<Failing>) {
        self.0.lock().failing = failing;
    }

    pub(super) fn is_off(&self) -> bool {
        self.0.lock().image.is_some()
    }

    /// Cuts the power, if it is not cut yet, and says what is left.
    pub(super) fn cut(&self) -> Vec<u8> {
        let mut inner = self.0.lock();
        inner.cut();
        inner.image.clone().expect("the power is cut")
    }
}

impl Inner {
    fn cut(&mut self) {
        if self.image.is_some() {
            return;
        }
        let mut image = self.synced.clone();
        // Often all or nothing of what was not synced, otherwise any part of it.
        let luck = self.dice.below(4);
        for change in &self.unsynced {
            let kept = match luck {
                0 => false,
                1 => true,
                _ => self.dice.coin(),
            };
            if !kept {
                continue;
            }
            match change {
                Change::Length(length) => image.resize(usize::try_from(*length).expect("small"), 0),
                Change::Bytes(offset, bytes) => {
                    let torn = self.dice.below(4) == 0;
                    let offset = usize::try_from(*offset).expect("small");
                    for start in (0..bytes.len()).step_by(SECTOR) {
                        let end = (start + SECTOR).min(bytes.len()).min(image.len().saturating_sub(offset));
                        if start < end && !(torn && self.dice.coin()) {
                            image[offset + start..offset + end].copy_from_slice(&bytes[start..end]);
                        }
                    }
                }
            }
        }
        self.image = Some(image);
    }

    /// Counts one change. Errors: the power is cut.
    fn count(&mut self) -> Result<Option<Failing>, Error> {
        if let Some(left) = &mut self.cut_after {
            if *left == 0 {
                self.cut();
            } else {
                *left -= 1;
            }
        }
        if self.image.is_some() {
            return Err(Error::other("the power is cut"));
        }
        if let Some((wait, times, failing)) = &mut self.plan {
            if *wait > 0 {
                *wait -= 1;
            } else if *times > 0 {
                *times -= 1;
                return Ok(Some(*failing));
            }
        }
        Ok(self.failing)
    }

    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let start = usize::try_from(offset).expect("small");
        let Some(place) = self.seen.get_mut(start..start + bytes.len()) else {
            return Err(ErrorKind::UnexpectedEof.into());
        };
        place.copy_from_slice(bytes);
        self.unsynced.push(Change::Bytes(offset, bytes.to_vec()));
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> Result<u64, Error> {
        Ok(self.0.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let inner = self.0.lock();
        if inner.image.is_some() || inner.failing == Some(Failing::Gone) {
            return Err(Error::other("nothing can be read"));
        }
        let start = usize::try_from(offset).expect("small");
        let found = inner.seen.get(start..start + out.len()).ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(found);
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), Error> {
        let mut inner = self.0.lock();
        match inner.count()? {
            Some(failing) if failing != Failing::Unsynced => return Err(failing.error()),
            _ => {}
        }
        inner.seen.resize(usize::try_from(length).expect("small"), 0);
        inner.unsynced.push(Change::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), Error> {
        let mut inner = self.0.lock();
        match inner.count()? {
            Some(failing @ (Failing::Broken | Failing::Unsynced | Failing::Gone)) => {
                let Inner { unsynced, dice, .. } = &mut *inner;
                unsynced.retain(|change| matches!(change, Change::Length(_)) || dice.coin());
                return Err(failing.error());
            }
            Some(Failing::ReadOnly) => return Err(Failing::ReadOnly.error()),
            _ => {}
        }
        let Inner { unsynced, synced, .. } = &mut *inner;
        for change in unsynced.drain(..) {
            match change {
                Change::Length(length) => synced.resize(usize::try_from(length).expect("small"), 0),
                Change::Bytes(offset, bytes) => {
                    let start = usize::try_from(offset).expect("small");
                    // What was written and then cut off again.
                    let end = (start + bytes.len()).min(synced.len());
                    if start < end {
                        synced[start..end].copy_from_slice(&bytes[..end - start]);
                    }
                }
            }
        }
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let mut inner = self.0.lock();
        match inner.count()? {
            Some(Failing::Short) => {
                let part = usize::try_from(inner.dice.below(data.len() as u64)).expect("small");
                inner.put(offset, &data[..part])?;
                return Err(Failing::Short.error());
            }
            Some(failing) if failing != Failing::Unsynced => return Err(failing.error()),
            _ => {}
        }
        inner.put(offset, data)
    }
}
