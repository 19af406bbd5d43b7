//! BM25 over the weighted fields, saturated so that no two scores above the reference look alike.

use fitment_index::{DocId, LexicalResult};
use fitment_ranking::Signal;

use super::{Considered, SignalSource};
use crate::error::EngineError;

pub(super) struct Words {
    reference: f32,
    /// Scores of the documents found, by document.
    hits: Vec<(DocId, f32)>,
}

impl Words {
    pub(super) fn new(found: &LexicalResult) -> Self {
        let mut hits: Vec<_> = found.hits.iter().map(|hit| (hit.doc, hit.score)).collect();
        hits.sort_unstable_by_key(|(doc, _)| *doc);
        Self { reference: found.normalizer.max(f32::EPSILON), hits }
    }
}

impl SignalSource for Words {
    /// `b / (b + r)`, r the score of a document that has every word once in the heaviest field.
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError> {
        for Considered { scored, .. } in pool {
            let found = self.hits.binary_search_by_key(&scored.doc, |(doc, _)| *doc);
            let score = found.map_or(0.0, |at| self.hits[at].1).max(0.0);
            scored.signals[Signal::Words.index()] = score / (score + self.reference);
        }
        Ok(())
    }
}
