//! Answered intents: outcomes, and where the time went.

use fitment_engine::{MatchAnswer, Outcome, SecondStageUse, Timings};
use metrics::{Counter, Histogram};

use super::names::{MATCH_SECONDS, MATCHES, PHASE_SECONDS};

/// Handles, looked up once: recording allocates nothing.
#[derive(Clone)]
pub(crate) struct MatchMeters {
    zero_generation: Counter,
    minimal_generation: Counter,
    raw_generation: Counter,
    candidates: Counter,
    total: Histogram,
    queue: Histogram,
    encode: Histogram,
    dense: Histogram,
    lexical: Histogram,
    rank: Histogram,
    second_stage: Histogram,
}

/// An outcome as labels have it.
pub(crate) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::ZeroGeneration => "zero_generation",
        Outcome::MinimalGeneration => "minimal_generation",
        Outcome::RawGeneration => "raw_generation",
        Outcome::Candidates => "candidates",
    }
}

impl MatchMeters {
    /// Looks the recorder up.
    pub(crate) fn new() -> Self {
        let outcome = |outcome: Outcome| metrics::counter!(MATCHES, "outcome" => outcome_name(outcome));
        let phase = |name: &'static str| metrics::histogram!(PHASE_SECONDS, "phase" => name);
        Self {
            zero_generation: outcome(Outcome::ZeroGeneration),
            minimal_generation: outcome(Outcome::MinimalGeneration),
            raw_generation: outcome(Outcome::RawGeneration),
            candidates: outcome(Outcome::Candidates),
            total: metrics::histogram!(MATCH_SECONDS),
            queue: phase("queue"),
            encode: phase("encode"),
            dense: phase("dense"),
            lexical: phase("lexical"),
            rank: phase("rank"),
            second_stage: phase("second_stage"),
        }
    }

    /// An intent was answered.
    pub(crate) fn answered(&self, answer: &MatchAnswer) {
        match answer.outcome {
            Outcome::ZeroGeneration => &self.zero_generation,
            Outcome::MinimalGeneration => &self.minimal_generation,
            Outcome::RawGeneration => &self.raw_generation,
            Outcome::Candidates => &self.candidates,
        }
        .increment(1);
        let Timings { queue, encode, dense, lexical, rank, second_stage, total } = answer.timings;
        self.queue.record(queue);
        self.encode.record(encode);
        self.dense.record(dense);
        self.lexical.record(lexical);
        self.rank.record(rank);
        if answer.second_stage != SecondStageUse::Off {
            self.second_stage.record(second_stage);
        }
        self.total.record(total);
    }
}
