//! Cosines of the facets: the nearest one, and their centroid.

use fitment_index::FacetScorer;
use fitment_ranking::Signal;

use super::{Considered, Context, SignalSource};
use crate::error::EngineError;
use crate::rank::Scored;

pub(super) struct Vectors<'a> {
    scorer: FacetScorer<'a>,
}

impl<'a> Vectors<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Result<Self, EngineError> {
        Ok(Self { scorer: context.index.dense.scorer(context.vector.as_slice())? })
    }
}

impl SignalSource for Vectors<'_> {
    /// Leaves out what the index does not know any more.
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError> {
        pool.retain_mut(|Considered { scored, known }| {
            let Some(facets) = self.scorer.facet_scores(scored.doc) else { return false };
            set(scored, facets, known.card.centroid_norm);
            true
        });
        Ok(())
    }
}

/// Cosine of the facets' centroid from their own: `centroid_norm`, the length of the mean facet vector, turns their mean into it.
pub(super) fn centroid_cosine(facets: &[f32], centroid_norm: f32) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "a version has at most some 70 facets")]
    let mean = facets.iter().sum::<f32>() / facets.len().max(1) as f32;
    (mean / centroid_norm).clamp(-1.0, 1.0)
}

fn set(one: &mut Scored, facets: Vec<f32>, centroid_norm: f32) {
    let nearest = facets.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    let (best_facet, best) = nearest.map_or((0, 0.0), |(facet, &cosine)| (facet, cosine));
    one.signals[Signal::Centroid.index()] = centroid_cosine(&facets, centroid_norm);
    one.signals[Signal::BestFacet.index()] = best;
    one.best_facet = best_facet;
    one.facets = facets;
}

#[cfg(test)]
mod tests {
    use fitment_index::DocId;

    use super::*;

    #[test]
    fn the_centroid_of_two_orthogonal_facets() {
        let mut one = super::super::unscored(DocId(0));
        // The query on the first: mean 0.5, centroid 0.5 / sqrt(0.5).
        set(&mut one, vec![1.0, 0.0], 0.5f32.sqrt());
        assert_eq!(one.best_facet, 0);
        assert!((one.signal(Signal::Centroid) - 0.5f64.sqrt()).abs() < 1e-6);
        assert!((one.signal(Signal::BestFacet) - 1.0).abs() < 1e-6);
    }
}
