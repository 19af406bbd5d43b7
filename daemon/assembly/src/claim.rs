//! Standards and their requirements: what is claimed of a part, and what is asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use fitment_catalog::Manifest;
use serde_json::Value;

use crate::error::shorten;

/// Something that is asked for: a standard, written `pci-dss-4.0`, or one requirement of it, `pci-dss-4.0/3.2.1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    standard: String,
    requirement: Option<String>,
}

impl Claim {
    /// A standard, or one requirement of it.
    pub(crate) fn new(standard: &str, requirement: Option<&str>) -> Self {
        Self { standard: standard.to_owned(), requirement: requirement.map(str::to_owned) }
    }

    /// The standard.
    pub fn standard(&self) -> &str {
        &self.standard
    }

    /// The requirement; `None` asks for the standard by name.
    pub fn requirement(&self) -> Option<&str> {
        self.requirement.as_deref()
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.requirement {
            Some(requirement) => write!(f, "{}/{requirement}", self.standard),
            None => f.write_str(&self.standard),
        }
    }
}

impl FromStr for Claim {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (standard, requirement) = match text.split_once('/') {
            Some((standard, requirement)) => (standard, Some(requirement)),
            None => (text, None),
        };
        let lower = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let is_standard = (1..=63).contains(&standard.len())
            && standard.bytes().next().is_some_and(lower)
            && standard.bytes().all(|b| lower(b) || b"._-".contains(&b));
        let is_requirement = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if is_standard && requirement.is_none_or(is_requirement) {
            return Ok(Self::new(standard, requirement));
        }
        Err(format!("`{}`: write a standard or standard/requirement, such as pci-dss-4.0/3.2.1", shorten(text)))
    }
}

/// What is claimed of a part, and counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Claims(BTreeMap<String, Covered>);

/// How much of a standard.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Covered {
    Whole,
    Requirements(BTreeSet<String>),
}

impl Claims {
    /// What a manifest says in `compliance`.
    pub fn of_manifest(manifest: &Manifest) -> Self {
        let mut claims = Self::default();
        for (standard, requirements) in manifest.compliance() {
            claims.add_requirements(standard, requirements);
        }
        claims
    }

    /// Adds a standard as a whole, which covers each of its requirements.
    pub fn add_whole(&mut self, standard: &str) {
        self.0.insert(standard.to_owned(), Covered::Whole);
    }

    /// Adds requirements of a standard; with none, the standard is claimed by name only.
    pub fn add_requirements(&mut self, standard: &str, requirements: impl IntoIterator<Item = impl AsRef<str>>) {
        let covered = self.0.entry(standard.to_owned()).or_insert_with(|| Covered::Requirements(BTreeSet::new()));
        if let Covered::Requirements(ids) = covered {
            ids.extend(requirements.into_iter().map(|id| id.as_ref().to_owned()));
        }
    }

    /// Whether what is asked for is among them.
    pub fn meet(&self, asked: &Claim) -> bool {
        match (self.0.get(&asked.standard), &asked.requirement) {
            (None, _) => false,
            (Some(_), None) | (Some(Covered::Whole), Some(_)) => true,
            (Some(Covered::Requirements(ids)), Some(id)) => ids.contains(id),
        }
    }

    /// Whether nothing is claimed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each standard, and each `standard/requirement`, as texts.
    pub fn texts(&self) -> impl Iterator<Item = String> {
        self.0.iter().flat_map(|(standard, covered)| {
            let ids = match covered {
                Covered::Whole => None,
                Covered::Requirements(ids) => Some(ids),
            };
            std::iter::once(standard.clone()).chain(ids.into_iter().flatten().map(move |id| format!("{standard}/{id}")))
        })
    }

    /// Each standard with the ids of its requirements; `None` where it is claimed as a whole.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, Option<&BTreeSet<String>>)> {
        self.0.iter().map(|(standard, covered)| match covered {
            Covered::Whole => (standard.as_str(), None),
            Covered::Requirements(ids) => (standard.as_str(), Some(ids)),
        })
    }

    /// Standard to its requirements' ids, as a document has it.
    pub(crate) fn to_value(&self) -> Value {
        let ids = |covered: &Covered| match covered {
            Covered::Whole => Value::Array(Vec::new()),
            Covered::Requirements(ids) => ids.iter().cloned().map(Value::String).collect(),
        };
        Value::Object(self.0.iter().map(|(standard, covered)| (standard.clone(), ids(covered))).collect())
    }
}
