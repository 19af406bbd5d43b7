//! Fitment's ranking: the signals of a candidate become a score, a ranked list becomes a confidence, and labelled intents
//! become the weights of both.
//!
//! Reading order: [`Signal`] names what is known of a candidate; [`Labels`], [`Heads`] and [`Adapter`] turn labelled intents into signals;
//! [`Fusion`] makes one score of them; [`ConfidenceModel`] says how likely the first candidate is right and whether anything
//! fits; [`Ranker`] is all of it as one artefact; [`learn`] fits it by cross-fitting; [`Threshold`] bounds its errors.
//!
//! What is absent: components, indexes, files, clocks, randomness without a seed.

mod adapter;
mod calibration;
mod confidence;

mod error;
mod evidence;
mod fingerprints;
mod fusion;

mod heads;
mod labels;
mod learn;

mod optimize;
mod packed;
mod ranker;

mod signal;
mod terms;
mod text;

pub use adapter::Adapter;
pub use calibration::{
    Observation, Seen, Threshold, check_promisable, clopper_pearson_lower, clopper_pearson_upper, intents_needed,
    threshold,
};

pub use confidence::{Confidence, ConfidenceModel, RankedSignals};
pub use error::RankingError;
pub use evidence::{LabelEvidence, QueryView};
pub use fingerprints::Fingerprints;

pub use fusion::Fusion;
pub use heads::Heads;
pub use labels::{LabelText, Labels};

pub use learn::{Candidate, Choice, Example, LearnOptions, Learnt, Source, Stop, Trial, check_learnable, learn};
pub use ranker::Ranker;
pub use signal::{SIGNALS, Signal, Signals};
pub use text::{TextProfile, TextQuery, TextStatistics, term_ids};
