//! Words that are covered, a name that is mentioned, pieces of words that are shared.

use fitment_ranking::{Signal, TextQuery, term_ids};

use super::{Considered, Context, SignalSource};
use crate::error::EngineError;

pub(super) struct Text<'a> {
    context: &'a Context<'a>,
    query: TextQuery,
}

impl<'a> Text<'a> {
    pub(super) fn new(context: &'a Context<'a>) -> Self {
        let terms = term_ids(&context.words.terms);
        Self { context, query: context.index.view.statistics().query(&terms, context.intent) }
    }
}

impl SignalSource for Text<'_> {
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError> {
        let statistics = self.context.index.view.statistics();
        for Considered { scored, known } in pool {
            let text = &known.clues.text;
            scored.signals[Signal::Coverage.index()] = self.query.coverage(text);
            scored.signals[Signal::Name.index()] = statistics.name(text, &self.query);
            scored.signals[Signal::Trigrams.index()] = self.query.trigrams(text);
        }
        Ok(())
    }
}
