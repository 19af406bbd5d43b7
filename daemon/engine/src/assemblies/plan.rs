//! A plan: a requirement split into intents, each answered as a match is, and what that leaves to generate.

use std::collections::BTreeMap;

use fitment_assembly::{
    Choice, Estimates, Intent, MAX_INTENTS, OpenPointer, Plan, PlannedOutcome, PlannedPart, Surface, split,
};
use fitment_catalog::{ComponentName, Filter};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::admission::{CallContext, WorkClass};
use crate::economics::{checked_lines, checked_team};
use crate::engine::Engine;
use crate::error::EngineError;
use crate::pipeline::{Candidate, MatchAnswer, MatchQuery, Outcome};
use crate::store::Revision;

/// Intents of one plan that are answered at once.
const AT_ONCE: usize = 4;
/// Alternatives to a choice.
const DEFAULT_ALTERNATIVES: usize = 3;
const MAX_ALTERNATIVES: usize = 20;
/// Name of a draft that nobody named.
const DRAFT: &str = "draft/assembly";

/// What is to be planned.
#[derive(Clone, Debug, Default)]
pub struct PlanQuery {
    /// A requirement, to be split; or `intents`.
    pub requirement: String,
    /// Intents that the caller split itself.
    pub intents: Vec<String>,
    /// Which versions may answer.
    pub filter: Option<Filter>,
    /// Alternatives to each choice, up to 20; 0: 3.
    pub alternatives: usize,
    /// What the caller reckons with.
    pub estimates: Estimates,
    /// The team that asks, for the economics; empty: none.
    pub team: String,
    /// Name of the assembly that is drafted; `None`: `draft/assembly`.
    pub name: Option<ComponentName>,
}

/// A plan.
#[derive(Debug)]
pub struct AssemblyPlan {
    /// In the order of the requirement.
    pub parts: Vec<PlannedIntent>,
    /// What is left to generate.
    pub surface: Surface,
    /// The draft of a document, YAML; empty where no part has a component.
    pub draft: String,
    /// The newest revision that was searched.
    pub revision: Revision,
}

/// An intent and its answer.
#[derive(Debug)]
pub struct PlannedIntent {
    /// The intent, and where it stands in the requirement.
    pub intent: Intent,
    /// Its answer: the choice first, then alternatives.
    pub answer: MatchAnswer,
    /// Id of its part in the draft; empty where nothing was chosen.
    pub part: String,
}

impl Engine {
    /// Plans a requirement.
    ///
    /// Errors: no intents, or too many; estimates out of range; what a match refuses.
    pub async fn plan_assembly(&self, query: PlanQuery) -> Result<AssemblyPlan, EngineError> {
        let PlanQuery { requirement, intents, filter, alternatives, estimates, team, name } = query;
        let intents = intents_of(&requirement, intents)?;
        let team = checked_team(&team)?;
        let estimates = checked(estimates)?;
        let top_k = 1 + match alternatives {
            0 => DEFAULT_ALTERNATIVES,
            1..=MAX_ALTERNATIVES => alternatives,
            more => {
                let fault = format!("is {more}; ask for up to {MAX_ALTERNATIVES}");
                return Err(EngineError::field("alternatives", fault));
            }
        };
        // One model and one catalogue from the first intent to the last.
        let engine = self.pinned();
        let queries = intents.iter().map(|intent| MatchQuery {
            intent: intent.text.clone(),
            top_k,
            filter: filter.clone(),
            remember: true,
            team: team.clone(),
            context: CallContext::own(WorkClass::Several),
            ..MatchQuery::default()
        });
        let queries: Vec<MatchQuery> = queries.collect();
        let answers: Vec<MatchAnswer> = stream::iter(queries)
            .map(|query| {
                let engine = engine.clone();
                async move { engine.match_intent(query).await }
            })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let planned = intents.iter().zip(&answers).map(|(intent, answer)| PlannedPart {
            intent: intent.clone(),
            outcome: outcome(answer),
            alternatives: answer.candidates.iter().filter(|found| !found.is_match).map(choice).collect(),
        });
        let plan = Plan::new(planned.collect())?;
        let name = name.map_or_else(|| DRAFT.parse(), Ok)?;
        let (draft, ids) = match plan.draft(&name) {
            Ok(draft) => (draft, plan.part_ids()),
            Err(fitment_assembly::PlanError::NothingChosen) => (String::new(), BTreeMap::new()),
            Err(error) => return Err(error.into()),
        };
        let surface = plan.surface(&estimates);
        if let (Some(review), Some(all)) = (surface.lines.review, surface.lines.all_generated) {
            let shared = engine.shared();
            shared.economics.planned((shared.clock)(), &team, all.saturating_sub(review));
        }
        let revision = answers.iter().map(|answer| answer.revision).max().unwrap_or_default();
        let parts = intents.into_iter().zip(answers).enumerate().map(|(at, (intent, answer))| PlannedIntent {
            intent,
            answer,
            part: ids.get(&at).cloned().unwrap_or_default(),
        });
        Ok(AssemblyPlan { parts: parts.collect(), surface, draft, revision })
    }
}

fn intents_of(requirement: &str, intents: Vec<String>) -> Result<Vec<Intent>, EngineError> {
    match (requirement.trim().is_empty(), intents.is_empty()) {
        (true, true) => Err(EngineError::field("requirement", "is empty; send a requirement, or intents")),
        (false, false) => Err(EngineError::field("intents", "come with a requirement; send one or the other")),
        (true, false) if intents.len() > MAX_INTENTS => {
            Err(EngineError::field("intents", format!("are {}; at most {MAX_INTENTS} make a plan", intents.len())))
        }
        (true, false) => Ok(intents.into_iter().map(|text| Intent { text, start: 0, end: 0, line: 0 }).collect()),
        (false, true) => {
            let intents = split(requirement)?;
            if intents.is_empty() {
                let fault = "holds nothing that asks for something; write sentences or a list, or send intents";
                return Err(EngineError::field("requirement", fault));
            }
            Ok(intents)
        }
    }
}

fn checked(estimates: Estimates) -> Result<Estimates, EngineError> {
    let Estimates { raw_lines, raw_lines_of, configuration_lines, generated_lines, generated_lines_of } = &estimates;
    for (field, lines) in [
        ("estimates.raw_lines", raw_lines),
        ("estimates.configuration_lines", configuration_lines),
        ("estimates.generated_lines", generated_lines),
    ] {
        checked_lines(field, lines.unwrap_or_default())?;
    }
    for (field, lines_of) in
        [("estimates.raw_lines_of", raw_lines_of), ("estimates.generated_lines_of", generated_lines_of)]
    {
        for lines in lines_of.values() {
            checked_lines(field, *lines)?;
        }
    }
    Ok(estimates)
}

fn outcome(answer: &MatchAnswer) -> PlannedOutcome {
    match answer.candidates.first().filter(|first| first.is_match) {
        Some(first) if answer.outcome == Outcome::MinimalGeneration => PlannedOutcome::Minimal {
            chosen: choice(first),
            open: first
                .open_properties
                .iter()
                .map(|pointer| OpenPointer { pointer: pointer.clone(), description: String::new() })
                .collect(),
        },
        Some(first) => PlannedOutcome::Zero { chosen: choice(first) },
        None => PlannedOutcome::Raw { reason: answer.reason.clone() },
    }
}

fn choice(candidate: &Candidate) -> Choice {
    Choice {
        component: candidate.version.card.name.clone(),
        version: candidate.version.card.version.clone(),
        confidence: None,
    }
}
