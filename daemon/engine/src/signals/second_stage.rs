//! What the second model says. Without its word, be it about the intent or about a component, the first model's centroid
//! stands in: the candidates of one answer stay comparable.

use fitment_ranking::Signal;

use super::{Context, SignalSource};
use crate::error::EngineError;
use crate::rank::Scored;

pub(super) struct SecondStage<'a> {
    pub(super) context: &'a Context<'a>,
}

impl SignalSource for SecondStage<'_> {
    fn fill(&self, pool: &mut Vec<Scored>) -> Result<(), EngineError> {
        let Context { index, ranker, second, .. } = self.context;
        if second.is_none() && ranker.fusion.weight(Signal::SecondStage) == 0.0 {
            return Ok(());
        }
        for one in pool {
            let centroid = index.view.clues(one.doc).and_then(|clues| clues.second_stage.as_deref());
            one.signals[Signal::SecondStage.index()] = match (second, centroid) {
                (Some(intent), Some(centroid)) => fitment_index::dot(intent.as_slice(), centroid).clamp(-1.0, 1.0),
                _ => one.signals[Signal::Centroid.index()],
            };
        }
        Ok(())
    }
}
