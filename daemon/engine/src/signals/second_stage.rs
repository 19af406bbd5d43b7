//! What the second model says. Without its word, be it about the intent or about a component, the first model's centroid
//! stands in: the candidates of one answer stay comparable.

use fitment_ranking::Signal;

use super::{Considered, Context, SignalSource};
use crate::error::EngineError;

pub(super) struct SecondStage<'a> {
    pub(super) context: &'a Context<'a>,
}

impl SignalSource for SecondStage<'_> {
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError> {
        let Context { ranker, second, .. } = self.context;
        if second.is_none() && ranker.fusion.weight(Signal::SecondStage) == 0.0 {
            return Ok(());
        }
        for Considered { scored, known } in pool {
            let centroid = known.clues.second_stage.as_deref();
            scored.signals[Signal::SecondStage.index()] = match (second, centroid) {
                (Some(intent), Some(centroid)) => fitment_index::dot(intent.as_slice(), centroid).clamp(-1.0, 1.0),
                _ => scored.signals[Signal::Centroid.index()],
            };
        }
        Ok(())
    }
}
