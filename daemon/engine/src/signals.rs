//! From the two searches to candidates with every signal: who is proposed, and what is known of each.
//!
//! Each source of signals is a module of its own behind [`SignalSource`]; the ranker decides what they weigh.

mod adapted;
mod counter_examples;
mod learnt;
mod second_stage;
mod text;
mod vectors;
mod words;

use fitment_index::{DenseResult, DocId, DocSet, LexicalResult};
use fitment_models::UnitVector;
use fitment_ranking::{LabelEvidence, QueryView, Ranker, SIGNALS};

use crate::error::EngineError;
use crate::live::Searchable;
use crate::rank::Scored;
use crate::view::Known;

/// Components that labelled intents may nominate, by each of three ways.
const NOMINEES: usize = 20;

/// What an intent is compared with.
pub(crate) struct Context<'a> {
    pub(crate) index: &'a Searchable,
    /// The view's, or one without labels.
    pub(crate) ranker: &'a Ranker,
    pub(crate) intent: &'a str,
    /// Hashed stems of the intent, stop words included, in order.
    pub(crate) stems: &'a [u32],
    pub(crate) vector: &'a UnitVector,
    /// The intent by the second stage's model, where it is on and was in time.
    pub(crate) second: Option<&'a UnitVector>,
    pub(crate) allowed: &'a DocSet,
    pub(crate) dense: &'a DenseResult,
    pub(crate) words: &'a LexicalResult,
}

/// A candidate while its signals are gathered.
struct Considered<'a> {
    scored: Scored,
    known: &'a Known,
}

/// Fills some of the signals of every candidate.
trait SignalSource {
    /// Candidates come in the order of documents, with what earlier sources filled in.
    fn fill(&self, pool: &mut Vec<Considered<'_>>) -> Result<(), EngineError>;
}

/// Every candidate that a search or a labelled intent proposes, with its signals, in the order of documents.
pub(crate) fn candidates(context: &Context<'_>) -> Result<Vec<Scored>, EngineError> {
    let query = QueryView { vector: context.vector.as_slice(), words: context.stems, dot: fitment_index::dot };
    let evidence =
        context.ranker.labels.as_ref().map(|labels| LabelEvidence::new(labels, context.ranker.heads.as_ref(), query));
    with_signals(context, proposed(context, evidence.as_ref()), evidence.as_ref())
}

/// Documents, in order, with their signals; those of labels with `evidence`.
pub(crate) fn with_signals(
    context: &Context<'_>,
    docs: impl IntoIterator<Item = DocId>,
    evidence: Option<&LabelEvidence>,
) -> Result<Vec<Scored>, EngineError> {
    // What the view does not know any more was deleted after the searches.
    let view = &context.index.view;
    let mut pool: Vec<Considered<'_>> = docs
        .into_iter()
        .filter_map(|doc| Some(Considered { scored: unscored(doc), known: view.known(doc)? }))
        .collect();
    let sources: [&dyn SignalSource; 7] = [
        &vectors::Vectors::new(context)?,
        &second_stage::SecondStage { context },
        &words::Words::new(context.words),
        &text::Text::new(context),
        &counter_examples::CounterExamples { context },
        &learnt::Learnt { evidence },
        &adapted::Adapted::new(context)?,
    ];
    for source in sources {
        source.fill(&mut pool)?;
    }
    Ok(pool.into_iter().map(|one| one.scored).collect())
}

/// Documents that the searches and, with `evidence`, labelled intents propose, in order.
pub(crate) fn proposed(context: &Context<'_>, evidence: Option<&LabelEvidence>) -> Vec<DocId> {
    let mut docs: Vec<DocId> = context.dense.hits.iter().map(|hit| hit.doc).collect();
    docs.extend(context.words.hits.iter().map(|hit| hit.doc));
    for place in evidence.map(|evidence| evidence.nominees(NOMINEES)).unwrap_or_default() {
        let versions = context.index.view.labelled(place).iter().copied();
        docs.extend(versions.filter(|&doc| context.allowed.contains(doc)));
    }
    docs.sort_unstable();
    docs.dedup();
    docs
}

fn unscored(doc: DocId) -> Scored {
    Scored { doc, sum: 0.0, score: 0.0, signals: [0.0; SIGNALS], facets: Vec::new(), best_facet: 0 }
}
