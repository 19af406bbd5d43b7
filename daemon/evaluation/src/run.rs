//! What one system answered to every intent of a split, judged.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{EvaluationError, quoted};

/// A system's answers to a split.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// The data set's name.
    pub dataset: String,
    /// Digest of the labelled intents.
    pub dataset_digest: String,
    /// The split that was answered.
    pub split: String,
    /// The system: `default`, `bm25`, the name of somebody else's.
    pub system: String,
    /// Name of the encoding model; empty for a system without one.
    pub model: String,
    /// Digest of the encoding model.
    pub model_digest: String,
    /// Components that could be answered.
    pub n_components: usize,
    /// Data (`data set split`) that anything in the system was fitted on; empty for a baseline.
    #[serde(default)]
    pub fitted_on: Vec<String>,
    /// How many of these very intents the system had seen before.
    #[serde(default)]
    pub in_sample: InSample,
    /// The id that a component has in its data set's own files, by its name here; those without one are called by their name
    /// there too.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub component_ids: BTreeMap<String, String>,
    /// The promise in force, if one was.
    #[serde(default)]
    pub promise: Option<Promise>,
    /// One answer an intent.
    pub answers: Vec<Answer>,
}

/// Intents of a run that something in the system was fitted on: figures on these flatter it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InSample {
    /// Intents that the ranking was fitted on.
    pub ranking: u64,
    /// Intents that the promise was fitted on.
    pub promise: u64,
}

impl InSample {
    /// Whether there is any.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

/// A bound on the error among answered intents, as it was fitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Promise {
    /// Error rate among answered intents that is promised not to be exceeded, 0..=1.
    pub max_error: f64,
    /// Confidence of the bound, 0..=1.
    pub confidence_level: f64,
    /// Confidence at which an intent is answered.
    pub threshold: f64,
    /// Upper bound on the error rate on the data that the promise was fitted on, 0..=1.
    pub error_bound: f64,
    /// In-scope intents that it was fitted on.
    pub n_in_scope: u64,
    /// Out-of-scope intents that it was fitted on.
    pub n_out_of_scope: u64,
    /// Coverage on the data that it was fitted on, 0..=1.
    pub coverage: f64,
    /// The promise in a sentence.
    #[serde(default)]
    pub text: String,
}

/// The answer to one intent, with its labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Names the intent in its data set; unique in a run.
    pub id: String,
    /// The intent in plain words.
    pub intent: String,
    /// Candidates, best first.
    pub ranked: Vec<Ranked>,
    /// Grade of each labelled component; 0 is judged not relevant. Without a grade above 0 the intent is out of scope.
    pub relevant: BTreeMap<String, u32>,
    /// How sure the system was, higher is surer; best a probability that the first candidate is right.
    pub confidence: f64,
    /// Probability that anything meets the intent, 0..=1, where the system tells it apart from `confidence`: AUROC and FPR95
    /// are then of this.
    #[serde(default)]
    pub in_scope_confidence: Option<f64>,
    /// What was answered; `None` where candidates were listed and nothing promised.
    #[serde(default)]
    pub outcome: Option<Tier>,
    /// What should have been answered.
    #[serde(default)]
    pub expected: Option<Tier>,
    /// Sort of out-of-scope intent, or source of an in-scope one.
    #[serde(default)]
    pub kind: Option<String>,
    /// Tags of the expected component.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Whether the intent contains the expected component's name.
    #[serde(default)]
    pub names_component: Option<bool>,
    /// Whether nothing was fitted on intents for the expected component.
    #[serde(default)]
    pub unseen_component: Option<bool>,
    /// Language of the intent, as a BCP 47 tag.
    #[serde(default)]
    pub language: Option<String>,
    /// Time from intent to answer, microseconds; 0 is not measured.
    #[serde(default)]
    pub latency_us: u64,
    /// Part of it spent encoding, microseconds; 0 is not measured.
    #[serde(default)]
    pub encode_us: u64,
}

/// One candidate.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ranked {
    /// The component's name, as labels use it.
    pub component: String,
    /// Its title for people.
    #[serde(default)]
    pub title: String,
    /// What it was ranked by, higher is better.
    pub score: f64,
    /// What the score was made of.
    #[serde(default)]
    pub signals: Vec<Signal>,
    /// The text of the component that matched best.
    #[serde(default)]
    pub matched_text: String,
    /// Words of the intent that were found.
    #[serde(default)]
    pub terms: Vec<String>,
}

/// One part of a score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Its name: `dense`, `lexical`, ...
    pub name: String,
    /// Its own value.
    pub value: f64,
    /// What it adds to the candidate's score.
    pub share: f64,
}

/// How much has to be generated once a component is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// A component fits as it is.
    ZeroGeneration,
    /// A component fits after configuration or glue.
    MinimalGeneration,
    /// No component fits.
    RawGeneration,
}

impl Tier {
    /// Every tier, least generation first.
    pub const ALL: [Self; 3] = [Self::ZeroGeneration, Self::MinimalGeneration, Self::RawGeneration];

    /// As it is written in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroGeneration => "zero_generation",
            Self::MinimalGeneration => "minimal_generation",
            Self::RawGeneration => "raw_generation",
        }
    }

    /// Whether a component was promised.
    pub fn answers(self) -> bool {
        self != Self::RawGeneration
    }
}

impl Answer {
    /// Whether a right component exists.
    pub fn in_scope(&self) -> bool {
        self.relevant.values().any(|&grade| grade > 0)
    }

    /// Grade of a component, 0 if it is not labelled.
    pub fn grade(&self, component: &str) -> u32 {
        self.relevant.get(component).copied().unwrap_or(0)
    }

    /// Whether the first candidate is right.
    pub fn first_is_right(&self) -> bool {
        self.ranked.first().is_some_and(|first| self.grade(&first.component) > 0)
    }

    /// Whether a component was promised.
    pub fn answered(&self) -> bool {
        self.outcome.is_some_and(Tier::answers)
    }

    /// The labelled component of the highest grade, the first by name among equals.
    pub fn best_component(&self) -> Option<&str> {
        let graded = self.relevant.iter().filter(|&(_, &grade)| grade > 0);
        graded.min_by_key(|&(name, &grade)| (std::cmp::Reverse(grade), name)).map(|(name, _)| name.as_str())
    }
}

impl Run {
    /// Checks what the figures rely on: distinct ids, finite numbers, no component ranked twice.
    ///
    /// Errors: the first answer that breaks one of these.
    pub fn check(&self) -> Result<(), EvaluationError> {
        let mut ids = BTreeSet::new();
        for answer in &self.answers {
            let fault = |fault: String| EvaluationError::Answer { id: quoted(&answer.id), fault };
            if !ids.insert(answer.id.as_str()) {
                return Err(fault("the id occurs twice; ids name the intents of a run".into()));
            }
            check_answer(answer).map_err(fault)?;
        }
        Ok(())
    }
}

fn check_answer(answer: &Answer) -> Result<(), String> {
    let confidences = [Some(answer.confidence), answer.in_scope_confidence];
    if let Some(number) = confidences.into_iter().flatten().find(|number| !number.is_finite()) {
        return Err(format!("confidence is {number}; it must be a finite number"));
    }
    let mut seen = BTreeSet::new();
    for candidate in &answer.ranked {
        let name = quoted(&candidate.component);
        if !seen.insert(candidate.component.as_str()) {
            return Err(format!("component `{name}` is ranked twice; keep its best rank"));
        }
        let numbers = candidate.signals.iter().flat_map(|signal| [signal.value, signal.share]);
        if let Some(number) = numbers.chain([candidate.score]).find(|number| !number.is_finite()) {
            return Err(format!("component `{name}` has a score or signal of {number}; they must be finite numbers"));
        }
    }
    Ok(())
}
