//! Counter-examples push away: an intent that is nearer to one than to any facet is not what the component is for.

use fitment_ranking::Signal;

use super::{Considered, Context, SignalSource};
use crate::error::EngineError;

pub(super) struct CounterExamples<'a> {
    pub(super) context: &'a Context<'a>,
}

impl SignalSource for CounterExamples<'_> {
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError> {
        let intent = self.context.vector.as_slice();
        for Considered { scored, known } in pool {
            let rows = known.clues.counter_examples.chunks_exact(intent.len());
            let nearest = rows.map(|row| fitment_index::dot(row, intent)).fold(f32::NEG_INFINITY, f32::max);
            let lead = nearest - scored.signals[Signal::BestFacet.index()];
            scored.signals[Signal::CounterExample.index()] = lead.max(0.0);
        }
        Ok(())
    }
}
