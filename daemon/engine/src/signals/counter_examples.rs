//! Counter-examples push away: an intent that is nearer to one than to any facet is not what the component is for.

use fitment_ranking::Signal;

use super::{Context, SignalSource};
use crate::error::EngineError;
use crate::rank::Scored;

pub(super) struct CounterExamples<'a> {
    pub(super) context: &'a Context<'a>,
}

impl SignalSource for CounterExamples<'_> {
    fn fill(&self, pool: &mut Vec<Scored>) -> Result<(), EngineError> {
        let intent = self.context.vector.as_slice();
        for one in pool {
            let Some(clues) = self.context.index.view.clues(one.doc) else { continue };
            let rows = clues.counter_examples.chunks_exact(intent.len());
            let nearest = rows.map(|row| fitment_index::dot(row, intent)).fold(f32::NEG_INFINITY, f32::max);
            let lead = nearest - one.signals[Signal::BestFacet.index()];
            one.signals[Signal::CounterExample.index()] = lead.max(0.0);
        }
        Ok(())
    }
}
