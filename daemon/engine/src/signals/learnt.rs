//! What labelled intents say: prototypes, neighbours and heads of the ranker in force.

use fitment_ranking::LabelEvidence;

use super::{Considered, SignalSource};
use crate::error::EngineError;

pub(super) struct Learnt<'a> {
    pub(super) evidence: Option<&'a LabelEvidence>,
}

impl SignalSource for Learnt<'_> {
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError> {
        let Some(evidence) = self.evidence else { return Ok(()) };
        for Considered { scored, known } in pool {
            evidence.fill(known.place, &mut scored.signals);
        }
        Ok(())
    }
}
