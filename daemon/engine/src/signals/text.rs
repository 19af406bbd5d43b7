//! Words that are covered, a name that is mentioned, pieces of words that are shared.

use fitment_ranking::{Signal, TextQuery, term_ids};

use super::{Context, SignalSource};
use crate::error::EngineError;
use crate::rank::Scored;

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
    fn fill(&self, pool: &mut Vec<Scored>) -> Result<(), EngineError> {
        let view = &self.context.index.view;
        for one in pool {
            let Some(clues) = view.clues(one.doc) else { continue };
            one.signals[Signal::Coverage.index()] = self.query.coverage(&clues.text);
            one.signals[Signal::Name.index()] = view.statistics().name(&clues.text, &self.query);
            one.signals[Signal::Trigrams.index()] = self.query.trigrams(&clues.text);
        }
        Ok(())
    }
}
