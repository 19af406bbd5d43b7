//! All that ranks and judges, as one artefact.

use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::adapter::Adapter;
use crate::calibration::Seen;
use crate::confidence::ConfidenceModel;
use crate::error::RankingError;
use crate::fingerprints::Fingerprints;
use crate::fusion::Fusion;
use crate::heads::Heads;
use crate::labels::Labels;
use crate::learn::Trial;

/// Weights, labelled intents and confidence, and what they were fitted on.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ranker {
    /// Form of this artefact; 2.
    pub format: u32,
    /// Names it: the first 16 digits of its digest, or `default`.
    pub id: String,
    /// Digest of the model whose vectors it was fitted on.
    pub model_digest: String,
    /// Digest of the catalogue that its labelled intents speak of; empty for one that suits any.
    pub catalog_digest: String,
    /// Data sets and splits that it was fitted on, as `name split`.
    pub fitted_on: Vec<String>,
    /// sha256 over the labelled intents of each, in the same order.
    pub dataset_digests: Vec<String>,
    /// Seed of every random choice of the fit.
    pub seed: u64,
    /// What was tried, and what became of it.
    pub trials: Vec<Trial>,
    /// The weights.
    pub fusion: Fusion,
    /// How likely an answer is right.
    pub confidence: ConfidenceModel,
    /// Labelled intents, where they help.
    pub labels: Option<Labels>,
    /// Heads over the labels' components.
    pub heads: Option<Heads>,
    /// The query adapter, where it helps besides.
    pub adapter: Option<Adapter>,
    /// Cross-fitted confidences of the labelled intents, for a calibration that is not fooled by the fit.
    pub observations: Vec<Seen>,
    /// All intents that it was fitted on; none in one from before they were kept.
    #[serde(default, skip_serializing_if = "Fingerprints::is_empty")]
    pub intents: Fingerprints,
}

impl Ranker {
    /// The form that is written.
    pub const FORMAT: u32 = 2;

    /// The ranker that ships: fitted on the union of public development splits, without any of their labels at hand.
    pub fn shipped() -> &'static Arc<Self> {
        static READ: LazyLock<Arc<Ranker>> = LazyLock::new(|| {
            Arc::new(Ranker::from_json(include_str!("../default.json")).expect("the shipped ranker can be read"))
        });
        &READ
    }

    /// Reads an artefact and makes it ready. Errors: what is damaged.
    pub fn from_json(text: &str) -> Result<Self, RankingError> {
        let mut ranker: Self = serde_json::from_str(text).map_err(|error| RankingError::Damaged(error.to_string()))?;
        if ranker.format != Self::FORMAT {
            return Err(RankingError::Damaged(format!(
                "it is of form {}, this build reads {}; fit it again",
                ranker.format,
                Self::FORMAT
            )));
        }
        ranker.confidence.check()?;
        if let Some(labels) = &mut ranker.labels {
            labels.prepare()?;
        }
        let mut observations = ranker.observations.iter().map(|seen| &seen.observation);
        if !observations.all(|seen| (0.0..=1.0).contains(&seen.confidence) && (seen.in_scope || !seen.correct)) {
            return Err(RankingError::Damaged(
                "a labelled intent has a confidence beyond 0 and 1, or is right and out of scope".into(),
            ));
        }
        match (&ranker.labels, &ranker.heads) {
            (Some(labels), Some(heads)) => heads.check(labels)?,
            (None, Some(_)) => return Err(RankingError::Damaged("it has heads and no labels".into())),
            (_, None) => {}
        }
        if let Some(adapter) = &ranker.adapter {
            let Some(labels) = &ranker.labels else {
                return Err(RankingError::Damaged("it has a query adapter and no labels".into()));
            };
            adapter.check(labels.dimension())?;
        }
        Ok(ranker)
    }
}
