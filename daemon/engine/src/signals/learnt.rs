//! What labelled intents say: prototypes, neighbours and heads of the ranker in force.

use fitment_ranking::LabelEvidence;

use super::{Context, SignalSource};
use crate::error::EngineError;
use crate::rank::Scored;

pub(super) struct Learnt<'a> {
    pub(super) context: &'a Context<'a>,
    pub(super) evidence: Option<&'a LabelEvidence>,
}

impl SignalSource for Learnt<'_> {
    fn fill(&self, pool: &mut Vec<Scored>) -> Result<(), EngineError> {
        let (Some(evidence), Some(labels)) = (self.evidence, &self.context.ranker.labels) else { return Ok(()) };
        for one in pool {
            let Some(card) = self.context.index.view.card(one.doc) else { continue };
            evidence.fill(labels.place(&card.name.to_string()), &mut one.signals);
        }
        Ok(())
    }
}
