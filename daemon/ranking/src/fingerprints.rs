//! Which intents something was fitted on, without their words: so that figures on the same intents can be told for what they are.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::packed;

/// Hashes of intents, whatever their case and white space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprints(
    /// Sorted, each once.
    #[serde(with = "packed::longs")]
    Vec<u64>,
);

impl Fingerprints {
    /// Of these intents.
    pub fn of<'t>(intents: impl IntoIterator<Item = &'t str>) -> Self {
        let mut hashes: Vec<u64> = intents.into_iter().map(fingerprint).collect();
        hashes.sort_unstable();
        hashes.dedup();
        Self(hashes)
    }

    /// These and others.
    #[must_use]
    pub fn with(mut self, others: &Self) -> Self {
        self.0.extend(&others.0);
        self.0.sort_unstable();
        self.0.dedup();
        self
    }

    /// Whether an intent is among them. Two intents in 2^64 are taken for each other.
    pub fn contains(&self, intent: &str) -> bool {
        // Sorted by whoever made them; what was read may not be, and is then found less often.
        self.0.binary_search(&fingerprint(intent)).is_ok()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn fingerprint(intent: &str) -> u64 {
    let words: Vec<&str> = intent.split_whitespace().collect();
    xxh3_64(words.join(" ").to_lowercase().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_intent_is_known_again() {
        let seen = Fingerprints::of(["Sort a table", "draw  a chart"]).with(&Fingerprints::of(["bake bread"]));
        assert!(["sort a TABLE ", "draw a chart", "bake bread"].iter().all(|intent| seen.contains(intent)));
        assert!(!seen.contains("sort a list") && !Fingerprints::default().contains(""));
        let text = serde_json::to_string(&seen).expect("JSON");
        assert_eq!(serde_json::from_str::<Fingerprints>(&text).expect("our own"), seen);
        // Written for ever.
        assert_eq!(serde_json::to_string(&Fingerprints::of(["a"])).expect("JSON"), "\"H06WHrYyxuY=\"");
    }
}
