//! Vectors of intents that were asked before.
//!
//! Exact: the key is the whole normalised text and its role, the model is the one of the encoder that owns the cache, and a
//! vector does not depend on its company. Bounded by bytes; what is asked often stays (S3-FIFO with a clock, by the
//! library).

use std::sync::atomic::{AtomicU64, Ordering};

use fitment_models::{TextRole, UnitVector};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};

/// What an entry takes besides its text and vector, about.
const OVERHEAD: usize = 96;

/// Vectors by text and role. Off when it may hold nothing.
pub(crate) struct VectorCache {
    entries: Option<Cache<Key, UnitVector, Bytes>>,
    capacity: u64,
    hits: AtomicU64,
    misses: AtomicU64,
}

/// How a cache has served since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheUse {
    /// Texts whose vector was there.
    pub hits: u64,
    /// Texts whose vector was not.
    pub misses: u64,
    /// Vectors held.
    pub entries: u64,
    /// Bytes held, about.
    pub bytes: u64,
    /// Bytes that may be held; 0 when the cache is off.
    pub capacity: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key(TextRole, Box<str>);

/// A key that is looked for: nothing is copied for it.
#[derive(Hash)]
struct Wanted<'a>(TextRole, &'a str);

impl Equivalent<Key> for Wanted<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.0 == key.0 && *self.1 == *key.1
    }
}

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, UnitVector> for Bytes {
    fn weight(&self, key: &Key, vector: &UnitVector) -> u64 {
        (key.1.len() + size_of_val(vector.as_slice()) + OVERHEAD) as u64
    }
}

impl VectorCache {
    /// A cache of at most `bytes`; 0 switches it off.
    pub(crate) fn new(bytes: usize) -> Self {
        // Entries are 2 kB or so; the number only sizes the table at the start.
        let entries = (bytes > 0).then(|| Cache::with_weighter((bytes / 2048).max(16), bytes as u64, Bytes));
        Self { entries, capacity: bytes as u64, hits: AtomicU64::new(0), misses: AtomicU64::new(0) }
    }

    pub(crate) fn get(&self, role: TextRole, text: &str) -> Option<UnitVector> {
        let found = self.entries.as_ref()?.get(&Wanted(role, text));
        let counter = if found.is_some() { &self.hits } else { &self.misses };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    pub(crate) fn put(&self, role: TextRole, text: &str, vector: &UnitVector) {
        if let Some(entries) = &self.entries {
            entries.insert(Key(role, text.into()), vector.clone());
        }
    }

    pub(crate) fn used(&self) -> CacheUse {
        CacheUse {
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            entries: self.entries.as_ref().map_or(0, |entries| entries.len() as u64),
            bytes: self.entries.as_ref().map_or(0, Cache::weight),
            capacity: self.capacity,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector(at: usize) -> UnitVector {
        let mut values = vec![0.0; 384];
        values[at % 384] = 1.0;
        UnitVector::new(values).expect("one value is not zero")
    }

    #[test]
    fn stays_within_its_bytes_and_gives_back_what_was_put() {
        let cache = VectorCache::new(256 << 10);
        for number in 0..10_000 {
            cache.put(TextRole::Query, &format!("intent {number}"), &vector(number));
            let used = cache.used();
            assert!(used.bytes <= used.capacity, "{used:?}");
        }
        let held = (0..10_000)
            .filter(|number| {
                let found = cache.get(TextRole::Query, &format!("intent {number}"));
                found.is_some_and(|found| {
                    assert_eq!(found, vector(*number));
                    true
                })
            })
            .count();
        assert!((50..200).contains(&held), "{held} of 1.6 kB each in 256 kB");
        assert_eq!(cache.get(TextRole::Document, "intent 9999"), None, "another role is another text");
    }

    #[test]
    fn may_be_off() {
        let cache = VectorCache::new(0);
        cache.put(TextRole::Query, "intent", &vector(0));
        assert_eq!(cache.get(TextRole::Query, "intent"), None);
        assert_eq!(cache.used(), CacheUse::default());
    }
}
