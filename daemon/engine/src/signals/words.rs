//! BM25 over the weighted fields, saturated so that no two scores above the reference look alike.

use std::collections::HashMap;

use fitment_index::LexicalResult;
use fitment_ranking::Signal;

use super::SignalSource;
use crate::error::EngineError;
use crate::rank::Scored;

pub(super) struct Words<'a> {
    pub(super) found: &'a LexicalResult,
}

impl SignalSource for Words<'_> {
    /// `b / (b + r)`, r the score of a document that has every word once in the heaviest field.
    fn fill(&self, pool: &mut Vec<Scored>) -> Result<(), EngineError> {
        let reference = self.found.normalizer.max(f32::EPSILON);
        let hits: HashMap<_, _> = self.found.hits.iter().map(|hit| (hit.doc, hit.score)).collect();
        for one in pool {
            let score = hits.get(&one.doc).copied().unwrap_or_default().max(0.0);
            one.signals[Signal::Words.index()] = score / (score + reference);
        }
        Ok(())
    }
}
