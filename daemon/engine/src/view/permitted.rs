//! What a permit lets through: versions in classes of equal facts, so that a permit is asked once a class.

use std::collections::BTreeMap;
use std::sync::Arc;

use fitment_index::{DocId, DocSet};
use parking_lot::Mutex;

use super::Postings;
use crate::permit::{ComponentFacts, Permit};

/// Permits whose sets are remembered.
const REMEMBERED: usize = 64;

/// Versions by the facts that permits are asked about.
#[derive(Debug, Default)]
pub(super) struct Classes {
    by_facts: Postings<ComponentFacts>,
    /// Counts the changes, so that a remembered set is known to be old.
    changes: u64,
    remembered: Mutex<BTreeMap<String, Remembered>>,
}

#[derive(Debug)]
struct Remembered {
    changes: u64,
    docs: Arc<DocSet>,
}

impl Classes {
    pub(super) fn insert(&mut self, facts: ComponentFacts, doc: DocId) {
        self.changes += 1;
        self.by_facts.insert(facts, doc);
    }

    pub(super) fn remove(&mut self, facts: &ComponentFacts, doc: DocId) {
        self.changes += 1;
        self.by_facts.remove(facts, doc);
    }

    /// The versions that a permit lets through.
    pub(super) fn permitted(&self, permit: &dyn Permit) -> Arc<DocSet> {
        if let Some(known) = self.remembered.lock().get(permit.id()).filter(|known| known.changes == self.changes) {
            return Arc::clone(&known.docs);
        }
        let mut docs = DocSet::new();
        for (facts, class) in &self.by_facts.0 {
            if permit.permits(facts) {
                docs.union(class);
            }
        }
        let docs = Arc::new(docs);
        let mut remembered = self.remembered.lock();
        if remembered.len() >= REMEMBERED && !remembered.contains_key(permit.id()) {
            let current = self.changes;
            remembered.retain(|_, known| known.changes == current);
            if remembered.len() >= REMEMBERED {
                remembered.clear();
            }
        }
        remembered.insert(permit.id().to_owned(), Remembered { changes: self.changes, docs: Arc::clone(&docs) });
        docs
    }
}
