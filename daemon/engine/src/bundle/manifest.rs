//! What a bundle says of itself: its `manifest.json`, in one form to the byte.

use std::collections::BTreeSet;

use fitment_catalog::{Digest, Lifecycle, MAX_MANIFEST_BYTES};
use fitment_trust::{BUNDLE_TYPE, MAX_ENVELOPE_BYTES, Statement, Subject};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::certification::MAX_EVIDENCE_BYTES;
use crate::error::EngineError;
use crate::store::Revision;

/// The manifest's place in the archive: the first.
pub const MANIFEST_PATH: &str = "manifest.json";
/// The signature's place in the archive, the second, where there is one.
pub const SIGNATURE_PATH: &str = "signature.dsse.json";
/// Largest manifest, in bytes.
pub const MAX_MANIFEST_JSON_BYTES: u64 = 64 << 20;
/// Most entries.
pub const MAX_BUNDLE_ENTRIES: usize = 250_000;
/// Bytes of all entries that go into a catalogue: they are held in memory while they are checked.
pub const MAX_CARRIED_BYTES: u64 = 512 << 20;
const FORMAT: &str = "fitment-bundle/1";
const MAX_PATH_BYTES: usize = 250;
const MAX_LEFT_OUT: usize = 1000;

/// What an entry is. In the order in which an archive holds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BundleKind {
    /// The trust root in force.
    TrustRoot,
    /// One version's manifest.
    Component,
    /// A DSSE envelope that certifies versions.
    Certificate,
    /// Bytes that a certificate names by digest.
    Evidence,
    /// A revocation that was accepted.
    Revocation,
    /// A ranker in force.
    Ranker,
    /// A calibration.
    Calibration,
    /// A file of labelled intents.
    Labels,
    /// A file of an encoding model.
    Model,
}

impl BundleKind {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::TrustRoot,
        Self::Component,
        Self::Certificate,
        Self::Evidence,
        Self::Revocation,
        Self::Ranker,
        Self::Calibration,
        Self::Labels,
        Self::Model,
    ];

    /// Its name in manifests, messages and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TrustRoot => "trust-root",
            Self::Component => "component",
            Self::Certificate => "certificate",
            Self::Evidence => "evidence",
            Self::Revocation => "revocation",
            Self::Ranker => "ranker",
            Self::Calibration => "calibration",
            Self::Labels => "labels",
            Self::Model => "model",
        }
    }

    /// Whether it goes into a catalogue; the others are files beside one.
    pub fn is_carried(self) -> bool {
        !matches!(self, Self::Labels | Self::Model)
    }

    /// The kind that is left out together with it: what belongs to certificates goes with them.
    #[must_use]
    pub fn group(self) -> Self {
        match self {
            Self::Evidence | Self::Revocation => Self::Certificate,
            other => other,
        }
    }

    /// Where its entries lie.
    fn folder(self) -> &'static str {
        match self {
            Self::TrustRoot => "trust-root.json",
            Self::Component => "components/",
            Self::Certificate => "certificates/",
            Self::Evidence => "evidence/",
            Self::Revocation => "revocations/",
            Self::Ranker => "rankers/",
            Self::Calibration => "calibrations/",
            Self::Labels => "labels/",
            Self::Model => "models/",
        }
    }

    /// Bytes of one entry at most.
    pub fn most_bytes(self) -> u64 {
        match self {
            // Written with line feeds and indents.
            Self::Component => 4 * MAX_MANIFEST_BYTES as u64,
            Self::Certificate | Self::Calibration => MAX_ENVELOPE_BYTES as u64,
            Self::TrustRoot | Self::Revocation => 4 << 20,
            Self::Evidence => MAX_EVIDENCE_BYTES as u64,
            Self::Ranker => 128 << 20,
            Self::Labels => 256 << 20,
            Self::Model => 16 << 30,
        }
    }
}

impl std::fmt::Display for BundleKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for BundleKind {
    type Err = EngineError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            EngineError::field("without", format!("`{text}` is no kind of entry; there are {}", names.join(", ")))
        })
    }
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleEntry {
    /// Its path in the archive, with `/` between folders.
    pub path: String,
    /// What it is.
    pub kind: BundleKind,
    /// Its length.
    pub bytes: u64,
    /// Its digest.
    pub sha256: Digest,
    /// Where a component's version stands.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "optional_text")]
    pub lifecycle: Option<Lifecycle>,
    /// Whether a component's version may answer there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_answer: bool,
}

/// A model and what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleModel {
    /// The name that it is installed under.
    pub name: String,
    /// Its digest: equal digests give vectors that may be compared.
    pub digest: String,
}

/// What a bundle says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundleManifest {
    /// The form of all this.
    format: String,
    /// sha256 of this manifest in this form with an empty id.
    pub id: String,
    /// Id of the catalogue that it comes from.
    pub source: String,
    /// Counts the exports of that catalogue.
    pub sequence: u64,
    /// When, by that daemon's clock.
    pub time: jiff::Timestamp,
    /// That catalogue's revision.
    pub revision: Revision,
    /// The model that it was served with.
    pub model: BundleModel,
    /// sha256 over the digests of the versions that could answer there.
    pub catalog_digest: String,
    /// Models that are among the entries.
    pub models: Vec<BundleModel>,
    /// What was left out though the catalogue holds it, and why.
    pub left_out: Vec<String>,
    /// What the archive holds, in its order.
    pub entries: Vec<BundleEntry>,
}

impl BundleManifest {
    /// A manifest with its id, for entries in the order of the archive.
    ///
    /// Errors: entries that no reader would take.
    pub fn seal(
        head: super::ExportHead,
        models: Vec<BundleModel>,
        mut left_out: Vec<String>,
        entries: Vec<BundleEntry>,
    ) -> Result<Self, EngineError> {
        let super::ExportHead { source, sequence, revision, time, model, catalog_digest } = head;
        let more = left_out.len().saturating_sub(MAX_LEFT_OUT);
        if more > 0 {
            left_out.truncate(MAX_LEFT_OUT - 1);
            left_out.push(format!("and {} more", more + 1));
        }
        let mut manifest = Self {
            format: FORMAT.to_owned(),
            id: String::new(),
            source,
            sequence,
            time,
            revision,
            model,
            catalog_digest,
            models,
            left_out,
            entries,
        };
        manifest.check().map_err(|detail| EngineError::field("bundle", detail))?;
        manifest.id = manifest.reckoned_id()?;
        Ok(manifest)
    }

    /// Its bytes.
    pub fn to_bytes(&self) -> Result<Vec<u8>, EngineError> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| EngineError::Internal(format!("a bundle's manifest cannot be written: {error}")))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads and checks a manifest.
    ///
    /// Errors: what is wrong, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Form {
            format: String,
        }
        let wrong = |error: serde_json::Error| format!("{MANIFEST_PATH} cannot be read: {error}");
        if bytes.len() as u64 > MAX_MANIFEST_JSON_BYTES {
            let found = bytes.len();
            return Err(format!("{MANIFEST_PATH} has {found} bytes, at most {MAX_MANIFEST_JSON_BYTES} are read"));
        }
        let Form { format } = serde_json::from_slice(bytes).map_err(wrong)?;
        if format != FORMAT {
            let format: String = format.chars().take(80).collect();
            return Err(format!(
                "it has the form `{format}`, this build reads `{FORMAT}`; import it with the build that wrote it"
            ));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(wrong)?;
        manifest.check()?;
        let said = |error: EngineError| error.to_string();
        if manifest.to_bytes().map_err(said)? != bytes {
            return Err(format!("{MANIFEST_PATH} is not in the one form that it is written in"));
        }
        let reckoned = manifest.reckoned_id().map_err(said)?;
        if manifest.id != reckoned {
            return Err(format!("{MANIFEST_PATH} says id {} and has {reckoned}", manifest.id));
        }
        Ok(manifest)
    }

    /// Whether another one says the same but for its number and its time: then either may stand for the other.
    pub fn holds_the_same(&self, other: &Self) -> bool {
        let anonymous =
            |one: &Self| Self { id: String::new(), sequence: 0, time: jiff::Timestamp::UNIX_EPOCH, ..one.clone() };
        anonymous(self) == anonymous(other)
    }

    /// Entries that go into a catalogue, in order.
    pub fn carried(&self) -> impl Iterator<Item = &BundleEntry> {
        self.entries.iter().filter(|entry| entry.kind.is_carried())
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    fn reckoned_id(&self) -> Result<String, EngineError> {
        let anonymous = Self { id: String::new(), ..self.clone() };
        Ok(Digest::of(&anonymous.to_bytes()?).to_string())
    }

    /// Errors: what no bundle may say.
    fn check(&self) -> Result<(), String> {
        if uuid::Uuid::parse_str(&self.source).is_err() {
            return Err("its source is no UUID".into());
        }
        if self.entries.len() > MAX_BUNDLE_ENTRIES {
            return Err(format!("it has {} entries, at most {MAX_BUNDLE_ENTRIES} are read", self.entries.len()));
        }
        let mut carried = 0u64;
        let mut seen = BTreeSet::new();
        let mut kind = BundleKind::TrustRoot;
        for (at, entry) in self.entries.iter().enumerate() {
            let path: String = entry.path.chars().take(MAX_PATH_BYTES).collect();
            let wrong = |why: &str| Err(format!("entry {at}, `{}`, {why}", path.escape_debug()));
            if !is_safe(&entry.path) || super::archive::header(&entry.path, entry.bytes).is_none() {
                return wrong("has a path that is not read: it must be plain, short and lead nowhere else");
            }
            let own = entry.kind.folder();
            if !(entry.path == own || (own.ends_with('/') && entry.path.starts_with(own))) {
                return wrong(&format!("does not lie where a {} does ({own})", entry.kind));
            }
            // Where letter case is not told apart, two such files are one.
            if !seen.insert(entry.path.to_lowercase()) {
                return wrong("is there twice");
            }
            if entry.kind < kind {
                return wrong("is out of order");
            }
            kind = entry.kind;
            if entry.bytes > entry.kind.most_bytes() {
                return wrong(&format!("has {} bytes, at most {} are read", entry.bytes, entry.kind.most_bytes()));
            }
            if (entry.kind == BundleKind::Component) != entry.lifecycle.is_some() {
                return wrong("has no lifecycle and is a component, or has one and is none");
            }
            if entry.may_answer && entry.kind != BundleKind::Component {
                return wrong("cannot answer: it is no component");
            }
            if entry.kind.is_carried() {
                carried += entry.bytes;
            }
        }
        if carried > MAX_CARRIED_BYTES {
            return Err(format!(
                "its entries but models and labels have {carried} bytes, at most {MAX_CARRIED_BYTES} are read"
            ));
        }
        for model in &self.models {
            if !fitment_models::is_model_name(&model.name) {
                return Err(format!("`{}` is no name of a model", model.name.escape_debug()));
            }
        }
        let models: BTreeSet<&str> = self.models.iter().map(|model| model.name.as_str()).collect();
        for entry in self.entries.iter().filter(|entry| entry.kind == BundleKind::Model) {
            let mut parts = entry.path.split('/').skip(1);
            match (parts.next(), parts.next(), parts.next()) {
                (Some(name), Some(_), None) if models.contains(name) => {}
                _ => return Err(format!("`{}` belongs to no model that the manifest names", entry.path)),
            }
        }
        Ok(())
    }
}

/// What is signed of a bundle: an in-toto statement about its manifest.
pub(super) fn signature_payload(manifest: &BundleManifest, bytes: &[u8]) -> Result<Vec<u8>, EngineError> {
    let subject = Subject { name: Some(MANIFEST_PATH.to_owned()), digest: Some(Digest::of(bytes)) };
    let predicate = json!({
        "id": manifest.id,
        "source": manifest.source,
        "sequence": manifest.sequence,
        "time": manifest.time,
    });
    Ok(Statement::compose(&[subject], BUNDLE_TYPE, &predicate)?)
}

/// A path of plain names that leads nowhere else, on any system.
fn is_safe(path: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.ends_with('.')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.@+".contains(&byte))
    };
    path.len() <= MAX_PATH_BYTES && path.split('/').all(plain)
}

mod optional_text {
    use fitment_catalog::Lifecycle;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(
        clippy::ref_option,
        clippy::trivially_copy_pass_by_ref,
        reason = "serde hands in a reference to the field"
    )]
    pub(super) fn serialize<S: Serializer>(value: &Option<Lifecycle>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(lifecycle) => serializer.serialize_str(lifecycle.as_str()),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Lifecycle>, D::Error> {
        String::deserialize(deserializer)?.parse().map(Some).map_err(D::Error::custom)
    }
}
