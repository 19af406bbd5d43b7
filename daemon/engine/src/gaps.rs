//! Gaps: what is asked for and nothing certified meets, grouped by meaning and ranked by demand.
//!
//! Reading order: [`GapPolicy`] says what is kept; `code` makes vectors small; `book` groups intents and counts them, in
//! memory; `log` takes them off the match path and writes them; `report` shows gaps, asks their intents again and links
//! them to what closes them; `draft` makes a manifest of one.
//!
//! What is absent: intents of evaluations, calibrations and explanations, which nobody asked.

mod book;
mod code;
mod draft;
mod log;
mod report;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub(crate) use self::book::{Day, GapRecord, IntentKey, StoredIntent, Tally};
pub use self::draft::Draft;
pub use self::log::GapFigures;
pub(crate) use self::log::Gaps;
pub use self::report::{Gap, GapCounts, GapIntent, GapLink, GapListing, GapPage, GapReport, NearComponent};

/// What is kept of intents that nothing certified meets.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GapPolicy {
    /// What is kept of an intent's text.
    pub text: GapText,
    /// Distinct intents that are kept, 0..=50,000; those that were last asked the longest ago go. 0: none, and no gaps.
    pub intents: u64,
    /// Days that an intent is kept after it was last asked, and that counts reach back, 1..=3,650.
    pub days: u64,
    /// Mean cosine from which on intents are of one gap, 0..=1. It goes with the model.
    pub similarity: f64,
}

/// What is kept of an intent's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GapText {
    /// The normalised text, its first 2,000 bytes.
    Keep,
    /// Its sha256.
    Hash,
    /// Nothing.
    Off,
}

impl GapText {
    /// The word that the configuration has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Hash => "hash",
            Self::Off => "off",
        }
    }
}

impl Default for GapPolicy {
    fn default() -> Self {
        Self { text: GapText::Keep, intents: 10_000, days: 90, similarity: 0.4 }
    }
}

impl GapPolicy {
    /// Says what is out of range, or `None`.
    pub fn fault(&self) -> Option<String> {
        if !(0.0..=1.0).contains(&self.similarity) {
            return Some(format!("gaps.similarity is {}; it must lie in 0..=1", self.similarity));
        }
        let ranges = [("intents", self.intents, 0..=50_000), ("days", self.days, 1..=3650)];
        ranges.into_iter().find(|(_, value, range)| !range.contains(value)).map(|(key, value, range)| {
            format!("gaps.{key} is {value}; it must lie in {}..={}", range.start(), range.end())
        })
    }
}
