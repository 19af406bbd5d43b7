//! The generation surface of a plan: how much is left to generate, and how much a person must review.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Plan, PlannedOutcome};

/// What a caller reckons with, in lines. What is absent is not known, and nothing is made up for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Estimates {
    /// Lines of raw code for an intent that nothing meets, unless `raw_lines_of` has it.
    #[serde(default)]
    pub raw_lines: Option<u32>,
    /// The same by the intent's text.
    #[serde(default)]
    pub raw_lines_of: BTreeMap<String, u32>,
    /// Lines of configuration for each open property.
    #[serde(default)]
    pub configuration_lines: Option<u32>,
    /// Lines for an intent if everything were generated, unless `generated_lines_of` has it.
    #[serde(default)]
    pub generated_lines: Option<u32>,
    /// The same by the intent's text.
    #[serde(default)]
    pub generated_lines_of: BTreeMap<String, u32>,
}

/// How much of a plan is left to generate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Surface {
    /// Parts that a component meets as it is.
    pub zero: usize,
    /// Parts that a component meets once it is configured.
    pub minimal: usize,
    /// Parts that nothing certified meets.
    pub raw: usize,
    /// Properties to be decided; a component that is chosen for several intents is configured once.
    pub open_properties: usize,
    /// What that is in lines, as far as the estimates say so.
    pub lines: Lines,
}

/// Lines by a caller's estimates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Lines {
    /// Lines that a person must still review: raw code and configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub review: Option<u64>,
    /// Lines that a person would have to review if everything were generated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub all_generated: Option<u64>,
    /// `1 - review / all_generated`; below 0 when the estimates say that more must be reviewed than before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saved_share: Option<f64>,
}

impl Plan {
    /// Counts the parts of each tier and, as far as the estimates allow, lines.
    pub fn surface(&self, estimates: &Estimates) -> Surface {
        let mut surface = Surface { zero: 0, minimal: 0, raw: 0, open_properties: 0, lines: Lines::default() };
        let mut configured = BTreeSet::new();
        let (mut raw_lines, mut all_generated) = (Some(0_u64), Some(0_u64));
        for part in &self.parts {
            let text = &part.intent.text;
            match &part.outcome {
                PlannedOutcome::Zero { .. } => surface.zero += 1,
                PlannedOutcome::Minimal { chosen, open } => {
                    surface.minimal += 1;
                    for property in open {
                        configured.insert((&chosen.component, &chosen.version, &property.pointer));
                    }
                }
                PlannedOutcome::Raw { .. } => {
                    surface.raw += 1;
                    raw_lines = plus(raw_lines, estimates.raw_lines_of.get(text).copied().or(estimates.raw_lines));
                }
            }
            let generated = estimates.generated_lines_of.get(text).copied().or(estimates.generated_lines);
            all_generated = plus(all_generated, generated);
        }
        surface.open_properties = configured.len();
        let configuration = match (configured.len() as u64, estimates.configuration_lines) {
            (0, _) => Some(0),
            (open, Some(lines)) => Some(open * u64::from(lines)),
            (_, None) => None,
        };
        let review = raw_lines.zip(configuration).map(|(raw, configuration)| raw + configuration);
        // An empty plan saves nothing.
        let saved_share =
            review.zip(all_generated).filter(|(_, all)| *all > 0).map(|(review, all)| 1.0 - share(review, all));
        surface.lines = Lines { review, all_generated, saved_share };
        surface
    }
}

fn plus(sum: Option<u64>, lines: Option<u32>) -> Option<u64> {
    Some(sum? + u64::from(lines?))
}

#[expect(clippy::cast_precision_loss, reason = "at most 256 parts of 2^32 lines, which f64 holds exactly")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}
