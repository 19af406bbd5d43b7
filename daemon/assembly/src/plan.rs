//! A plan: what a requirement asks for, part by part, what meets each, and what is left to generate.
//!
//! Matching is not done here: a caller splits a text with [`split`], matches each intent, and puts the answers together
//! in a [`Plan`].

mod draft;
mod split;
mod surface;

use std::fmt::Display;
use std::str::FromStr;

use fitment_catalog::ComponentName;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

pub use split::{Intent, MAX_INTENTS, MAX_TEXT_BYTES, split};
pub use surface::{Estimates, Lines, Surface};

/// What keeps a text from being split, or a plan from being one.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The text is too large.
    #[error("the text has {bytes} bytes, at most {MAX_TEXT_BYTES} are split; plan its chapters one by one")]
    TextTooLong {
        /// Its bytes.
        bytes: usize,
    },
    /// The text asks for too much, or a plan has too many parts.
    #[error("{found} intents or more, at most {MAX_INTENTS} make a plan; plan the chapters one by one")]
    TooManyIntents {
        /// How many were found before the search ended.
        found: usize,
    },
    /// A confidence is no share.
    #[error("a confidence of `{component}` does not lie in 0..=1; leave it out where there is no calibration")]
    Confidence {
        /// The component and its version.
        component: String,
    },
    /// Nothing was chosen, so there is no part to begin an assembly with.
    #[error("no part has a component: an assembly begins with one; write the raw code first")]
    NothingChosen,
    /// The plan cannot be read.
    #[error("the plan cannot be read: {description}")]
    Syntax {
        /// What is wrong.
        description: String,
    },
}

/// The parts of a requirement, in its order. At most [`MAX_INTENTS`].
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Plan {
    parts: Vec<PlannedPart>,
}

/// One intent and what becomes of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedPart {
    /// What is asked for.
    pub intent: Intent,
    /// What meets it.
    pub outcome: PlannedOutcome,
    /// What else came into question, best first; of a raw outcome the nearest, none of which is a match.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alternatives: Vec<Choice>,
}

/// What meets an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "tier", rename_all = "lowercase", deny_unknown_fields)]
pub enum PlannedOutcome {
    /// A component as it is.
    Zero {
        /// The component.
        chosen: Choice,
    },
    /// A component once it is configured.
    Minimal {
        /// The component.
        chosen: Choice,
        /// What must be decided.
        open: Vec<OpenPointer>,
    },
    /// Nothing certified.
    Raw {
        /// Why nothing was chosen.
        reason: String,
    },
}

impl PlannedOutcome {
    /// The component, where one was chosen.
    pub fn chosen(&self) -> Option<&Choice> {
        match self {
            Self::Zero { chosen } | Self::Minimal { chosen, .. } => Some(chosen),
            Self::Raw { .. } => None,
        }
    }
}

/// A version of a component.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// The component.
    #[serde(serialize_with = "written", deserialize_with = "read")]
    pub component: ComponentName,
    /// Its version.
    #[serde(serialize_with = "written", deserialize_with = "read")]
    pub version: Version,
    /// How sure the match is, 0..=1; absent without a calibration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

/// A property that must be decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenPointer {
    /// JSON pointer into the configuration (RFC 6901).
    pub pointer: String,
    /// The schema's description of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Plan {
    /// Puts answers together.
    ///
    /// # Errors
    /// [`PlanError::TooManyIntents`] and [`PlanError::Confidence`].
    pub fn new(parts: Vec<PlannedPart>) -> Result<Self, PlanError> {
        if parts.len() > MAX_INTENTS {
            return Err(PlanError::TooManyIntents { found: parts.len() });
        }
        let choices = parts.iter().flat_map(|part| part.outcome.chosen().into_iter().chain(&part.alternatives));
        for Choice { component, version, confidence } in choices {
            if confidence.is_some_and(|confidence| !(0.0..=1.0).contains(&confidence)) {
                return Err(PlanError::Confidence { component: format!("{component}@{version}") });
            }
        }
        Ok(Self { parts })
    }

    /// Reads what [`Plan::to_json`] or [`Plan::to_yaml`] wrote.
    ///
    /// # Errors
    /// [`PlanError::Syntax`] and as [`Plan::new`].
    pub fn parse(file: &str, bytes: &[u8], format: fitment_catalog::Format) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Written {
            parts: Vec<PlannedPart>,
        }
        let syntax = |error: &dyn Display| PlanError::Syntax { description: crate::error::one_line(&error) };
        let value = fitment_catalog::read_document(file, bytes, format).map_err(|error| syntax(&error))?;
        let Written { parts } = serde_json::from_value(value).map_err(|error| syntax(&error))?;
        Self::new(parts)
    }

    /// The parts in the order of the requirement.
    pub fn parts(&self) -> &[PlannedPart] {
        &self.parts
    }

    /// The plan as JSON, indented.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a plan has text keys only")
    }

    /// The plan as YAML.
    pub fn to_yaml(&self) -> String {
        serde_saphyr::to_string(&serde_json::to_value(self).expect("a plan has text keys only"))
            .expect("a JSON value can be written as YAML")
    }
}

fn written<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

fn read<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}
