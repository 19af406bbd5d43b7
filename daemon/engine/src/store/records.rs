//! What the store's tables hold, as JSON.
//!
//! Fields are added with a default, never renamed or removed, so that an old file stays readable.

use std::collections::BTreeMap;

use fitment_catalog::{ComponentName, Digest, Kind, Lifecycle, Manifest};
use fitment_models::UnitVector;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Revision;
use crate::error::EngineError;

/// One stored version: what an answer shows and what a filter asks about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StoredVersion {
    /// What is kept in memory of it.
    pub card: Card,
    /// What it does.
    pub summary: String,
    /// The team that answers for it.
    pub owner: String,
    /// Its searchable texts, in the order of its vectors.
    pub facets: Vec<Facet>,
    /// Its configuration schema as canonical JSON.
    pub config_schema: Option<String>,
    /// JSON pointers of required properties that defaults leave open.
    pub open_properties: Vec<String>,
    /// When it was written.
    pub create_time: jiff::Timestamp,
    /// Where it has been since, oldest first.
    #[serde(default)]
    pub history: Vec<Move>,
    /// The deletion that it can be brought back from.
    #[serde(default)]
    pub deleted: Option<Deletion>,
    /// The revision of the last change of its standing; 0: none since it was written.
    #[serde(default)]
    pub state_revision: Revision,
}

/// One step of a version's life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where it was.
    #[serde(with = "text")]
    pub from: Lifecycle,
    /// Where it went.
    #[serde(with = "text")]
    pub to: Lifecycle,
    /// When, by the daemon's clock.
    pub time: jiff::Timestamp,
    /// Who moved it, as far as it is known.
    pub actor: String,
    /// Why, as they say.
    pub reason: String,
    /// The revision from which on it holds.
    pub revision: Revision,
    /// Who brought the record of it in from elsewhere; `None`: it was done here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportMark>,
}

/// Who vouched for a record that was made elsewhere, and when it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportMark {
    /// When, by the daemon's clock.
    pub time: jiff::Timestamp,
    /// Who imported it, as far as it is known.
    pub actor: String,
    /// Why, as they say.
    pub reason: String,
}

/// A deletion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deletion {
    /// When, by the daemon's clock.
    pub time: jiff::Timestamp,
    /// Who deleted it, as far as it is known.
    pub actor: String,
    /// Why, as they say.
    pub reason: String,
    /// Who brought the record of it in from elsewhere; `None`: it was done here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imported: Option<ImportMark>,
}

/// What is kept in memory of every version.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Card {
    /// `namespace/name`.
    #[serde(with = "text")]
    pub name: ComponentName,
    /// Semantic version.
    pub version: semver::Version,
    /// Digest of the canonical manifest.
    #[serde(with = "text")]
    pub digest: Digest,
    /// One line for people.
    pub title: String,
    /// What sort of thing it is.
    #[serde(with = "text")]
    pub kind: Kind,
    /// Where it stands.
    #[serde(with = "text")]
    pub lifecycle: Lifecycle,
    /// Search tags.
    pub tags: Vec<String>,
    /// SPDX expression.
    pub license: String,
    /// Standard to requirement ids.
    pub compliance: BTreeMap<String, Vec<String>>,
    /// Length of the mean of its facet vectors, 0..=1: turns mean cosines into the centroid's cosine.
    pub centroid_norm: f32,
    /// The revision that it was written at.
    pub revision: Revision,
    /// Vectors after the facets': of its counter-examples.
    #[serde(default)]
    pub counter_examples: usize,
    /// What it supersedes, as its manifest says; empty: nothing; `None`: written by a build that did not keep it.
    #[serde(default)]
    pub supersedes: Option<String>,
    /// Who answers for it; `None`: written by a build that did not keep it here.
    #[serde(default)]
    pub owner: Option<Box<str>>,
    /// Roles that may use it, as its manifest says, empty: all; `None`: written by a build that did not keep it here.
    #[serde(default)]
    pub access: Option<Box<[String]>>,
}

/// A [`StoredVersion`] of which the rest is skipped unread.
#[derive(Deserialize)]
pub(super) struct CardOfVersion {
    pub(super) card: Card,
    #[serde(default)]
    pub(super) deleted: Option<serde::de::IgnoredAny>,
}

/// One searchable text.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facet {
    /// `profile`, `when-to-use` or `example-intent:N`.
    pub kind: String,
    /// The text.
    pub text: String,
}

impl StoredVersion {
    pub(super) fn new(
        manifest: &Manifest,
        vectors: &[UnitVector],
        revision: Revision,
        create_time: jiff::Timestamp,
    ) -> Self {
        Self {
            card: Card::of(manifest, vectors, revision),
            summary: manifest.summary().to_owned(),
            owner: manifest.owner().to_owned(),
            facets: fitment_catalog::facets(manifest)
                .into_iter()
                .map(|facet| Facet { kind: facet.kind.to_string(), text: facet.text })
                .collect(),
            config_schema: manifest.config_schema().map(|schema| schema.as_value().to_string()),
            open_properties: manifest
                .open_configuration(&serde_json::Value::Object(serde_json::Map::new()))
                .open
                .into_iter()
                .map(|open| open.pointer)
                .collect(),
            create_time,
            history: Vec::new(),
            deleted: None,
            state_revision: 0,
        }
    }

    /// Names this state of the record.
    pub fn etag(&self) -> String {
        let digest = self.card.digest.to_string();
        let hex = digest.rsplit(':').next().unwrap_or_default();
        format!("{}-{}", self.card.revision.max(self.state_revision), &hex[..hex.len().min(16)])
    }
}

impl Card {
    /// The card of a manifest, its facets' vectors and the revision that it is written at.
    ///
    /// vectors: facets, then counter-examples.
    pub(crate) fn of(manifest: &Manifest, vectors: &[UnitVector], revision: Revision) -> Self {
        let counter_examples = manifest.counter_examples().len().min(vectors.len());
        Self {
            name: manifest.name().clone(),
            version: manifest.version().clone(),
            digest: manifest.digest(),
            title: manifest.title().to_owned(),
            kind: manifest.kind(),
            lifecycle: manifest.lifecycle(),
            tags: manifest.tags().iter().map(ToString::to_string).collect(),
            license: manifest.license().as_str().to_owned(),
            compliance: manifest.compliance().clone(),
            centroid_norm: centroid_norm(&vectors[..vectors.len() - counter_examples]),
            revision,
            counter_examples,
            supersedes: Some(manifest.supersedes().map(ToString::to_string).unwrap_or_default()),
            owner: Some(manifest.owner().into()),
            access: Some(manifest.access().into()),
        }
    }
}

/// Length of the mean of unit vectors.
pub(crate) fn centroid_norm(vectors: &[UnitVector]) -> f32 {
    let Some(first) = vectors.first() else { return 1.0 };
    let mut sum = vec![0.0f32; first.as_slice().len()];
    for vector in vectors {
        for (total, value) in sum.iter_mut().zip(vector.as_slice()) {
            *total += value;
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "a version has at most some 70 facets")]
    let count = vectors.len() as f32;
    (sum.iter().map(|value| value * value).sum::<f32>().sqrt() / count).max(f32::EPSILON)
}

/// What a name and version stand for, for ever.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct NameRecord {
    /// The one manifest that may be there.
    #[serde(with = "text")]
    pub(super) digest: Digest,
    /// Where it is; `None` after a delete.
    pub(super) doc: Option<u32>,
}

/// What a request id did.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RequestRecord {
    operation: String,
    subject: String,
    pub(super) doc: u32,
    pub(super) revision: Revision,
}

impl RequestRecord {
    pub(super) fn new(operation: &str, subject: &str, doc: u32, revision: Revision) -> Self {
        Self { operation: operation.to_owned(), subject: subject.to_owned(), doc, revision }
    }

    /// Whether a request with this id asked for the same.
    pub(super) fn fingerprint_is(&self, operation: &str, subject: &str) -> bool {
        self.operation == operation && self.subject == subject
    }
}

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, EngineError> {
    serde_json::to_vec(record).map_err(|error| EngineError::Internal(format!("a record cannot be written: {error}")))
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EngineError> {
    serde_json::from_slice(bytes).map_err(|error| EngineError::Internal(format!("a record cannot be read: {error}")))
}

/// Types that are written as the text that they display as.
pub(crate) mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(deserializer: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
