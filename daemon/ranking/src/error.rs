//! What can go wrong.

/// Why nothing was learnt, or why an artefact cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RankingError {
    /// The labelled intents do not suffice.
    #[error("{0}")]
    TooFew(String),
    /// A number is out of its range.
    #[error("{name} is {value}; it must lie {range}")]
    Range {
        /// What is out of range.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it must be.
        range: &'static str,
    },
    /// No threshold keeps the bound.
    #[error("{0}")]
    NoPromise(String),
    /// An artefact does not hang together.
    #[error("the ranker is damaged: {0}")]
    Damaged(String),
    /// Nobody waits for the result.
    #[error("stopped, since nobody waits for the result")]
    Stopped,
    /// An optimiser or a distribution failed.
    #[error("{0}")]
    Numeric(String),
}
