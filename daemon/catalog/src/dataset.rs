//! Labelled intents: what accuracy is measured on and what thresholds are fitted on.
//!
//! Two forms are read: the three files of a BEIR folder, whose components come with it, and a CSV over a catalogue
//! that exists already. Callers hand in the files' bytes.

mod beir;
mod csv;
mod record;

use std::collections::BTreeMap;

use crate::token::tokens;
use crate::{CatalogError, ComponentName, Digest, Manifest};

pub use beir::BeirFolder;
pub use record::{component_name_for, manifest_from_record};

/// The bytes of a file and the name to use for it in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'b> {
    /// Name for messages, such as a path.
    pub name: &'b str,
    /// The content.
    pub bytes: &'b [u8],
}

/// Labelled intents and, where they came with them, the components that they choose from.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Components of a BEIR folder, in its order; empty for a CSV, whose intents speak of a catalogue elsewhere.
    pub components: Vec<Manifest>,
    /// The id that each component of a BEIR folder has there, for reports.
    pub ids: BTreeMap<ComponentName, String>,
    /// The intents, in the file's order.
    pub intents: Vec<LabelledIntent>,
}

/// An intent and what a right answer to it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledIntent {
    /// Id within the data set: of a BEIR folder its own, of a CSV the first 16 hexadecimal digits of the text's sha256.
    pub id: String,
    /// The intent, never blank.
    pub text: String,
    /// The split it belongs to, such as `dev` or `test`.
    pub split: String,
    /// How it is phrased, where the form says so.
    pub example_type: Option<String>,
    /// Components that meet it, with a relevance of 1 or more each. Empty: out of scope, the right answer is to abstain.
    pub judgements: BTreeMap<ComponentName, u32>,
    /// The only components to choose from, where the intent has a catalogue of its own.
    pub candidates: Option<Vec<ComponentName>>,
    /// The outcome that the right answer has, where the form says so.
    pub outcome: Option<ExpectedOutcome>,
    /// Why the label is what it is.
    pub rationale: Option<String>,
    /// Why nothing meets it, for an out-of-scope intent whose form says so.
    pub out_of_scope_kind: Option<String>,
    /// Whether the intent has the name of its component in it, where the form says so.
    pub names_component: Option<bool>,
    /// Whether no intent of a development split asks for its component, where the form says so.
    pub unseen_component: Option<bool>,
}

impl LabelledIntent {
    /// Whether nothing in the catalogue meets it.
    pub fn out_of_scope(&self) -> bool {
        self.judgements.is_empty()
    }
}

tokens! {
    /// The outcome that a labelled intent expects.
    ExpectedOutcome, "outcome" {
        /// A component meets it as it is.
        ZeroGeneration = "zero_generation",
        /// A component meets it once configured.
        MinimalGeneration = "minimal_generation",
        /// Nothing meets it.
        RawGeneration = "raw_generation",
    }
}

impl Dataset {
    /// Reads the CSV form: a header that names the columns `split`, `example_type`, `intent`, `expected`, `alternates`,
    /// `rationale` and, if wanted, `outcome`, in any order. `expected` is a component name or empty (must abstain);
    /// `alternates` are further names, joined by `|`. The expected component has relevance 2, alternates have 1.
    ///
    /// # Errors
    /// [`CatalogError::NotUtf8`] or [`CatalogError::InvalidRecord`] with the first faulty line.
    pub fn from_csv(file: File<'_>) -> Result<Self, CatalogError> {
        csv::read(file)
    }

    /// The intents in the CSV form that [`Dataset::from_csv`] reads. Of what that form knows, ids come back as the texts'
    /// own; catalogues of single intents are left out.
    pub fn to_csv(&self) -> Vec<u8> {
        csv::write(self)
    }

    /// Reads a BEIR folder; see [`BeirFolder`].
    ///
    /// # Errors
    /// [`CatalogError::NotUtf8`] or [`CatalogError::InvalidRecord`] with the first faulty line.
    pub fn from_beir(folder: &BeirFolder<'_>) -> Result<Self, CatalogError> {
        beir::read(folder)
    }

    /// The intents of one split, in order.
    pub fn split<'d>(&'d self, split: &'d str) -> impl Iterator<Item = &'d LabelledIntent> {
        self.intents.iter().filter(move |intent| intent.split == split)
    }

    /// A digest over the intents with their labels and over the components' digests, whatever their order in the files.
    pub fn digest(&self) -> Digest {
        self.digest_of(self.intents.iter())
    }

    /// The same over the intents of one split: what rankers and calibrations name to say what they were fitted on. What
    /// stands in other splits does not change it.
    pub fn split_digest(&self, split: &str) -> Digest {
        self.digest_of(self.split(split))
    }

    fn digest_of<'d>(&'d self, intents: impl Iterator<Item = &'d LabelledIntent>) -> Digest {
        let mut lines: Vec<String> =
            self.components.iter().map(|component| format!("component {}", component.digest())).collect();
        for intent in intents {
            let names = |names: &mut dyn Iterator<Item = String>| names.collect::<Vec<_>>();
            let judged = names(&mut intent.judgements.iter().map(|(name, relevance)| format!("{name}={relevance}")));
            let candidates = intent.candidates.as_ref().map(|some| names(&mut some.iter().map(ToString::to_string)));
            let outcome = intent.outcome.map(ExpectedOutcome::as_str);
            let line = serde_json::json!([intent.id, intent.text, intent.split, judged, candidates, outcome]);
            lines.push(format!("intent {line}"));
        }
        lines.sort_unstable();
        Digest::of(lines.join("\n").as_bytes())
    }
}

fn invalid(file: &str, line: usize, description: impl Into<String>) -> CatalogError {
    CatalogError::InvalidRecord { file: file.to_owned(), line, description: description.into() }
}
