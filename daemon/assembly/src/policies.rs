//! Policies as data: licences, data classes, circles, versions, how long certifications must last.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use fitment_catalog::{ComponentName, DataClass, Digest, Filter, Format, License, read_document};
use semver::{Version, VersionReq};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use spdx::{Expression, LicenseReq, Licensee};

use crate::claim::Claim;
use crate::error::{AssemblyError, Violation, one_line, shorten};
use crate::form::{self, Form};

/// What must hold beyond the built-in rules. Those of an assembly and those of its organisation must both hold: an
/// assembly can ask for more, never for less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policies {
    pub(crate) licenses: Option<LicensePolicy>,
    pub(crate) data_classes: BTreeMap<DataClass, BTreeSet<Claim>>,
    pub(crate) acyclic: BTreeSet<String>,
    pub(crate) versions: BTreeMap<ComponentName, VersionRange>,
    pub(crate) certified_for_days: Option<u32>,
    pub(crate) invariants: Option<Digest>,
}

/// Which licences may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LicensePolicy {
    allow: Option<BTreeSet<Licensee>>,
    deny: BTreeSet<Licensee>,
}

impl LicensePolicy {
    /// Whether an expression leaves a choice that may be made: of an `OR` one side suffices, of an `AND` both count.
    ///
    /// # Errors
    /// The licences in the expression that may not be used, in order of appearance.
    pub fn permits(&self, license: &License) -> Result<(), Vec<String>> {
        // An expression that was read once reads again.
        let Ok(expression) = Expression::parse(license.as_str()) else {
            return Err(vec![license.as_str().to_owned()]);
        };
        if expression.evaluate(|licence| self.permits_one(licence)) {
            return Ok(());
        }
        let refused = expression.requirements().filter(|requirement| !self.permits_one(&requirement.req));
        Err(refused.map(|requirement| requirement.req.to_string()).collect())
    }

    fn permits_one(&self, licence: &LicenseReq) -> bool {
        let among = |set: &BTreeSet<Licensee>| set.iter().any(|listed| listed.satisfies(licence));
        !among(&self.deny) && self.allow.as_ref().is_none_or(among)
    }
}

/// A version range as filters write it: `^1.2`, `~1.2.3`, `1.*`, `=1.2.3`, or bounds with commas between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange(VersionReq);

impl VersionRange {
    /// Whether a version lies in the range.
    pub fn contains(&self, version: &Version) -> bool {
        self.0.matches(version)
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for VersionRange {
    type Err = fitment_catalog::CatalogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match Filter::version_range(text)? {
            Filter::VersionRange(range) => Ok(Self(range)),
            _ => unreachable!("a version range is read as a version range"),
        }
    }
}

/// The policies as serde reads them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawPolicies {
    licenses: Option<RawLicenses>,
    data_classes: BTreeMap<String, Vec<String>>,
    acyclic: Vec<String>,
    versions: BTreeMap<String, String>,
    certified_for_days: Option<u32>,
    invariants: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLicenses {
    allow: Option<Vec<String>>,
    #[serde(default)]
    deny: Vec<String>,
}

impl Policies {
    /// Reads the policies of an organisation, from the same form that an assembly has under `policies`. `file` names the
    /// bytes in messages and, with [`Format::Auto`], its ending decides the format.
    ///
    /// # Errors
    /// [`AssemblyError::Document`], or [`AssemblyError::Invalid`] with every violation.
    pub fn parse(file: &str, bytes: &[u8], format: Format) -> Result<Self, AssemblyError> {
        let raw: RawPolicies = form::read(file, &read_document(file, bytes, format)?, Form::Policies)?;
        let mut violations = Vec::new();
        let policies = Self::read(raw, "", &mut violations);
        if violations.is_empty() {
            Ok(policies)
        } else {
            Err(AssemblyError::Invalid { file: file.to_owned(), violations })
        }
    }

    /// Typed values out of read ones; what is wrong is noted and left out.
    pub(crate) fn read(raw: RawPolicies, pointer: &str, violations: &mut Vec<Violation>) -> Self {
        let RawPolicies { licenses, data_classes, acyclic, versions, certified_for_days, invariants } = raw;
        let mut note = |pointer: String, description: String| violations.push(Violation { pointer, description });
        let licenses = licenses.map(|RawLicenses { allow, deny }| LicensePolicy {
            allow: allow.map(|allow| licensees(&allow, &format!("{pointer}/licenses/allow"), &mut note)),
            deny: licensees(&deny, &format!("{pointer}/licenses/deny"), &mut note),
        });
        let mut classes = BTreeMap::new();
        for (class, claims) in data_classes {
            let at = format!("{pointer}/data_classes/{class}");
            let mut asked = BTreeSet::new();
            for (i, claim) in claims.iter().enumerate() {
                match claim.parse() {
                    Ok(claim) => {
                        asked.insert(claim);
                    }
                    Err(description) => note(format!("{at}/{i}"), description),
                }
            }
            match class.parse::<DataClass>() {
                Ok(class) => {
                    classes.insert(class, asked);
                }
                Err(error) => note(at, error.to_string()),
            }
        }
        let mut ranges = BTreeMap::new();
        for (name, range) in versions {
            let at = format!("{pointer}/versions/{}", name.replace('/', "~1"));
            match (name.parse(), range.parse()) {
                (Ok(name), Ok(range)) => {
                    ranges.insert(name, range);
                }
                (Err(error), _) | (_, Err(error)) => note(at, one_line(&error)),
            }
        }
        let invariants = invariants.and_then(|digest| match digest.parse() {
            Ok(digest) => Some(digest),
            Err(error) => {
                note(format!("{pointer}/invariants"), one_line(&error));
                None
            }
        });
        Self {
            licenses,
            data_classes: classes,
            acyclic: acyclic.into_iter().collect(),
            versions: ranges,
            certified_for_days,
            invariants,
        }
    }

    /// The policies as a JSON value, what is absent or empty left out.
    pub fn to_value(&self) -> Value {
        let Self { licenses, data_classes, acyclic, versions, certified_for_days, invariants } = self;
        let texts = |items: &mut dyn Iterator<Item = String>| Value::Array(items.map(Value::String).collect());
        let mut fields = Map::new();
        if let Some(LicensePolicy { allow, deny }) = licenses {
            let mut lists = Map::new();
            if let Some(allow) = allow {
                lists.insert("allow".to_owned(), texts(&mut allow.iter().map(ToString::to_string)));
            }
            if !deny.is_empty() || allow.is_none() {
                lists.insert("deny".to_owned(), texts(&mut deny.iter().map(ToString::to_string)));
            }
            fields.insert("licenses".to_owned(), Value::Object(lists));
        }
        if !data_classes.is_empty() {
            let entries = data_classes
                .iter()
                .map(|(class, claims)| (class.to_string(), texts(&mut claims.iter().map(ToString::to_string))));
            fields.insert("data_classes".to_owned(), Value::Object(entries.collect()));
        }
        if !acyclic.is_empty() {
            fields.insert("acyclic".to_owned(), json!(acyclic));
        }
        if !versions.is_empty() {
            let entries = versions.iter().map(|(name, range)| (name.to_string(), Value::String(range.to_string())));
            fields.insert("versions".to_owned(), Value::Object(entries.collect()));
        }
        if let Some(days) = certified_for_days {
            fields.insert("certified_for_days".to_owned(), json!(days));
        }
        if let Some(digest) = invariants {
            fields.insert("invariants".to_owned(), json!(digest));
        }
        Value::Object(fields)
    }

    /// sha256 of the canonical JSON (RFC 8785) of [`Policies::to_value`].
    pub fn digest(&self) -> Digest {
        crate::document::canonical_digest(&self.to_value())
    }
}

fn licensees(texts: &[String], pointer: &str, note: &mut impl FnMut(String, String)) -> BTreeSet<Licensee> {
    let mut set = BTreeSet::new();
    for (i, text) in texts.iter().enumerate() {
        match Licensee::parse(text) {
            Ok(licensee) => {
                set.insert(licensee);
            }
            Err(error) => note(
                format!("{pointer}/{i}"),
                format!(
                    "`{}` is no single licence ({}); write an SPDX id, alone or WITH an exception, or LicenseRef-NAME",
                    shorten(text),
                    error.reason
                ),
            ),
        }
    }
    set
}
