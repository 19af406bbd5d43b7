//! The centroid's cosine to the intent as the ranker's query adapter moves it: no component is encoded or indexed anew.

use fitment_index::FacetScorer;
use fitment_ranking::Signal;

use super::vectors::centroid_cosine;
use super::{Considered, Context, SignalSource};
use crate::error::EngineError;

pub(super) struct Adapted<'a> {
    /// Of the moved intent; `None` without an adapter.
    scorer: Option<FacetScorer<'a>>,
}

impl<'a> Adapted<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Result<Self, EngineError> {
        let adapter = context.ranker.adapter.as_ref();
        let moved = adapter.and_then(|adapter| adapter.adapt(context.vector.as_slice(), fitment_index::dot));
        Ok(Self { scorer: moved.map(|moved| context.index.dense.scorer(&moved)).transpose()? })
    }
}

impl SignalSource for Adapted<'_> {
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError> {
        let Some(scorer) = &self.scorer else { return Ok(()) };
        for Considered { scored, known } in pool {
            let cosine =
                scorer.facet_scores(scored.doc).map(|facets| centroid_cosine(&facets, known.card.centroid_norm));
            scored.signals[Signal::Adapted.index()] = cosine.unwrap_or_default();
        }
        Ok(())
    }
}
