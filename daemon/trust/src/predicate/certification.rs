//! `certification/v1`: somebody examined a version and found requirements of standards met, for a time, on evidence.

use std::fmt;
use std::str::FromStr;

use fitment_catalog::Digest;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::insert_some;
use crate::TrustError;
use crate::error::shorten;
use crate::place::{Form, ID, Place, REQUIREMENT, URI};

/// The predicate's type.
pub const CERTIFICATION_TYPE: &str = "https://fitment.dev/certification/v1";

/// The published JSON Schema (2020-12) of the predicate.
pub const CERTIFICATION_SCHEMA: &str = include_str!("../../schema/certification.schema.json");

/// Requirements that are met, and from when until when that may be relied on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certification {
    /// What is met, 1 to 64 claims.
    pub standards: Vec<StandardClaim>,
    /// First instant at which it counts; also when it was issued.
    pub valid_from: Timestamp,
    /// First instant at which it no longer counts; after `valid_from`.
    pub valid_until: Timestamp,
    /// What a user must see to for it to hold, at most 32 of at most 500 characters. They are handed on, not checked.
    pub conditions: Vec<String>,
    /// What was looked at, at most 128.
    pub evidence: Vec<Evidence>,
}

/// A standard, or some of its requirements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandardClaim {
    /// Such as `pci-dss-4.0`; the same words as under a manifest's `compliance`.
    pub standard: String,
    /// Ids within the standard, at most 512; empty means the standard as a whole.
    pub requirements: Vec<String>,
    /// The standard's own word for how far it is met, at most 64 characters.
    pub level: Option<String>,
}

/// A document that the certification rests on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What sort of document it is.
    pub kind: EvidenceKind,
    /// sha256 of its bytes.
    pub digest: Digest,
    /// Such as `application/sarif+json`.
    pub media_type: String,
    /// Where it may be found: a hint, never fetched.
    pub uri: Option<String>,
}

/// Sorts of evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// Findings of a static analysis, in SARIF.
    Sarif,
    /// A bill of materials, in `CycloneDX`.
    CycloneDx,
    /// A report of tests.
    TestResult,
    /// An auditor's report.
    Audit,
    /// Anything else.
    Other,
}

impl EvidenceKind {
    /// Every kind, in the order of the manual.
    pub const ALL: &'static [Self] = &[Self::Sarif, Self::CycloneDx, Self::TestResult, Self::Audit, Self::Other];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sarif => "sarif",
            Self::CycloneDx => "cyclonedx",
            Self::TestResult => "test-result",
            Self::Audit => "audit",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for EvidenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EvidenceKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or_else(|| {
            let words: Vec<&str> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            format!("`{}` is no kind of evidence; use one of {}", shorten(text), words.join(", "))
        })
    }
}

const MEDIA_TYPE: Form = (is_media_type, "write a media type without parameters, as application/json");

impl Certification {
    pub(super) fn read(place: &Place<'_>) -> Result<Self, TrustError> {
        let standards = place.required("standards")?.items(1..=64)?;
        let (valid_from, until) = (place.required("valid_from")?.time()?, place.required("valid_until")?);
        let valid_until = until.time()?;
        if valid_until <= valid_from {
            return Err(until.error(format!("{valid_until} is not after valid_from, {valid_from}; correct one")));
        }
        Ok(Self {
            standards: standards.iter().map(standard).collect::<Result<_, _>>()?,
            valid_from,
            valid_until,
            conditions: place.list("conditions", 32, |condition| condition.prose(500))?,
            evidence: place.list("evidence", 128, evidence)?,
        })
    }

    /// The predicate as JSON.
    pub fn to_value(&self) -> Value {
        let standard = |claim: &StandardClaim| {
            let mut fields = Map::new();
            fields.insert("standard".to_owned(), claim.standard.clone().into());
            if !claim.requirements.is_empty() {
                fields.insert("requirements".to_owned(), json!(claim.requirements));
            }
            insert_some(&mut fields, "level", claim.level.clone());
            Value::Object(fields)
        };
        let evidence = |evidence: &Evidence| {
            let mut fields = Map::new();
            fields.insert("kind".to_owned(), evidence.kind.as_str().into());
            fields.insert("digest".to_owned(), evidence.digest.to_string().into());
            fields.insert("media_type".to_owned(), evidence.media_type.clone().into());
            insert_some(&mut fields, "uri", evidence.uri.clone());
            Value::Object(fields)
        };
        json!({
            "standards": self.standards.iter().map(standard).collect::<Vec<_>>(),
            "valid_from": self.valid_from.to_string(),
            "valid_until": self.valid_until.to_string(),
            "conditions": self.conditions,
            "evidence": self.evidence.iter().map(evidence).collect::<Vec<_>>(),
        })
    }
}

fn standard(place: &Place<'_>) -> Result<StandardClaim, TrustError> {
    // An empty list could be read as nothing or as everything.
    let requirements = match place.optional("requirements")? {
        Some(list) => list.items(1..=512)?.iter().map(|id| id.word(REQUIREMENT)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let level = place.optional("level")?.map(|level| level.prose(64)).transpose()?;
    Ok(StandardClaim { standard: place.required("standard")?.word(ID)?, requirements, level })
}

fn evidence(place: &Place<'_>) -> Result<Evidence, TrustError> {
    Ok(Evidence {
        kind: place.required("kind")?.parsed()?,
        digest: place.required("digest")?.parsed()?,
        media_type: place.required("media_type")?.word(MEDIA_TYPE)?,
        uri: place.optional("uri")?.map(|uri| uri.word(URI)).transpose()?,
    })
}

/// A restricted name, a slash, a restricted name (RFC 6838, section 4.2), in lower case.
fn is_media_type(text: &str) -> bool {
    let part = |part: &str| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        (1..=127).contains(&part.len())
            && part.bytes().next().is_some_and(plain)
            && part.bytes().all(|b| plain(b) || b"!#$&-^_.+".contains(&b))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| part(kind) && part(subtype))
}
