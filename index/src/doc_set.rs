//! Documents and sets of documents.

use std::ops::{BitAnd, BitOr, Sub};

use roaring::RoaringBitmap;

/// The number of a document, given by the caller. Any `u32`; small dense numbers make sets small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocId(pub u32);

/// Something for each document. Its order is nobody's: sort what comes out of it.
pub type DocMap<V> = rustc_hash::FxHashMap<DocId, V>;

/// A set of documents, as a compressed bitmap: what a search may answer with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DocSet(RoaringBitmap);

impl DocSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a document; true when it was not there.
    pub fn insert(&mut self, doc: DocId) -> bool {
        self.0.insert(doc.0)
    }

    /// Takes a document out; true when it was there.
    pub fn remove(&mut self, doc: DocId) -> bool {
        self.0.remove(doc.0)
    }

    /// Whether the document is in the set.
    pub fn contains(&self, doc: DocId) -> bool {
        self.0.contains(doc.0)
    }

    /// How many documents the set holds.
    pub fn len(&self) -> usize {
        usize::try_from(self.0.len()).expect("a set of u32 has at most 2^32 members, which fits usize")
    }

    /// Whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The documents, ascending.
    pub fn iter(&self) -> impl Iterator<Item = DocId> + '_ {
        self.0.iter().map(DocId)
    }

    /// The documents that are in both sets.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self((&self.0).bitand(&other.0))
    }

    /// The documents that are in either set.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self((&self.0).bitor(&other.0))
    }

    /// The documents of this set that are not in `other`. The complement of `x` is `everything.and_not(x)`: there is no
    /// set of all documents without the caller's list of them.
    #[must_use]
    pub fn and_not(&self, other: &Self) -> Self {
        Self((&self.0).sub(&other.0))
    }

    /// Narrows this set to what `other` also holds.
    pub fn intersect(&mut self, other: &Self) {
        self.0 &= &other.0;
    }

    /// Widens this set by `other`.
    pub fn union(&mut self, other: &Self) {
        self.0 |= &other.0;
    }

    /// Takes everything that `other` holds out of this set.
    pub fn subtract(&mut self, other: &Self) {
        self.0 -= &other.0;
    }
}

impl FromIterator<DocId> for DocSet {
    fn from_iter<I: IntoIterator<Item = DocId>>(docs: I) -> Self {
        Self(docs.into_iter().map(|doc| doc.0).collect())
    }
}

impl Extend<DocId> for DocSet {
    fn extend<I: IntoIterator<Item = DocId>>(&mut self, docs: I) {
        self.0.extend(docs.into_iter().map(|doc| doc.0));
    }
}

impl From<RoaringBitmap> for DocSet {
    fn from(bitmap: RoaringBitmap) -> Self {
        Self(bitmap)
    }
}

impl From<DocSet> for RoaringBitmap {
    fn from(set: DocSet) -> Self {
        set.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(docs: &[u32]) -> DocSet {
        docs.iter().copied().map(DocId).collect()
    }

    #[test]
    fn algebra_matches_its_definition() {
        let (a, b) = (set(&[1, 2, 3, 70_000]), set(&[2, 3, 4]));
        assert_eq!(a.and(&b), set(&[2, 3]));
        assert_eq!(a.or(&b), set(&[1, 2, 3, 4, 70_000]));
        assert_eq!(a.and_not(&b), set(&[1, 70_000]));
        let mut c = a.clone();
        c.intersect(&b);
        assert_eq!(c, a.and(&b));
        c.union(&a);
        assert_eq!(c, a);
        c.subtract(&b);
        assert_eq!(c, a.and_not(&b));
        assert_eq!(a.len(), 4);
        assert_eq!(a.iter().last(), Some(DocId(70_000)));
    }
}
