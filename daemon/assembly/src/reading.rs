//! Values of documents: text of the right form to a typed value, with every violation noted on the way.

use std::collections::{BTreeMap, HashSet};
use std::str::FromStr;

use fitment_catalog::{CatalogError, ComponentName, RelativePath};
use jiff::Timestamp;
use semver::Version;
use serde::Deserialize;
use serde_json::Value;

use crate::document::{Audience, Connection, Exposure, PortAddress};
use crate::error::{AssemblyError, Violation, one_line, shorten};
use crate::globs::PathGlobs;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenConnection {
    from: String,
    to: String,
    data_classes: Vec<String>,
    version: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenExposure {
    port: String,
    audience: String,
}

/// A value could not be read, and a violation says why.
pub(crate) struct Noted;

/// Collects violations. A reading method that returns `None` or [`Noted`] has noted why.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) violations: Vec<Violation>,
}

impl Reader {
    pub(crate) fn note(&mut self, pointer: impl Into<String>, description: impl Into<String>) {
        self.violations.push(Violation { pointer: pointer.into(), description: description.into() });
    }

    /// What was read, unless something was noted.
    pub(crate) fn finish<T>(self, file: &str, read: Option<T>) -> Result<T, AssemblyError> {
        match read {
            Some(read) if self.violations.is_empty() => Ok(read),
            _ => Err(AssemblyError::Invalid { file: file.to_owned(), violations: self.violations }),
        }
    }

    /// `namespace/name@version`.
    pub(crate) fn named_version(&mut self, at: &str, text: &str) -> Option<(ComponentName, Version)> {
        let Some((name, version)) = text.split_once('@') else {
            self.note(at, format!("`{}` has no version; write namespace/name@version", shorten(text)));
            return None;
        };
        Some((self.parsed(at, name)?, self.version(at, version)?))
    }

    pub(crate) fn instant(&mut self, at: &str, text: Option<&str>) -> Result<Option<Timestamp>, Noted> {
        match text.map(str::parse::<Timestamp>) {
            None => Ok(None),
            Some(Ok(instant)) => Ok(Some(instant)),
            Some(Err(error)) => {
                self.note(at, one_line(&error));
                Err(Noted)
            }
        }
    }

    /// Patterns of paths.
    pub(crate) fn globs(&mut self, at: &str, texts: Vec<String>) -> PathGlobs {
        PathGlobs::read(texts, |i, why| self.note(format!("{at}/{i}"), why))
    }

    /// That no path is another part's, or lies in it: each file belongs to one part at most.
    pub(crate) fn apart(&mut self, paths: &[(String, &RelativePath)]) {
        let mut known: BTreeMap<&str, usize> = BTreeMap::new();
        for (i, (at, path)) in paths.iter().enumerate() {
            if known.insert(path.as_str(), i).is_some() {
                self.note(at, format!("a second part lies at `{}`; state the path once", shorten(path.as_str())));
            }
        }
        for (at, path) in paths {
            if let Some(folder) = path.folders().find(|folder| known.contains_key(folder)) {
                let (inner, outer) = (shorten(path.as_str()), shorten(folder));
                self.note(
                    at,
                    format!("`{inner}` lies in another part, `{outer}`; name its files and folders one by one"),
                );
            }
        }
    }

    fn version(&mut self, at: &str, text: &str) -> Option<Version> {
        match Version::parse(text) {
            Ok(version) if text.len() <= 128 => Some(version),
            Ok(_) => {
                self.note(at, "the version has more than 128 characters; shorten it");
                None
            }
            Err(error) => {
                self.note(at, format!("`{}` is no version ({error}); write MAJOR.MINOR.PATCH", shorten(text)));
                None
            }
        }
    }

    pub(crate) fn connections(&mut self, written: Vec<WrittenConnection>) -> Vec<Connection> {
        let mut connections: Vec<Connection> = Vec::with_capacity(written.len());
        let mut pairs = HashSet::new();
        for (i, WrittenConnection { from, to, data_classes, version }) in written.into_iter().enumerate() {
            let at = format!("/connections/{i}");
            let classes = data_classes.iter().enumerate();
            let classes: Vec<_> =
                classes.map(|(j, class)| self.parsed(&format!("{at}/data_classes/{j}"), class)).collect();
            let version = self.optional(&format!("{at}/version"), version.as_deref());
            let (from, to) = (self.address(&format!("{at}/from"), &from), self.address(&format!("{at}/to"), &to));
            let (Some(from), Some(to), Ok(version)) = (from, to, version) else { continue };
            if !pairs.insert((from.clone(), to.clone())) {
                self.note(&at, format!("{from} and {to} are connected twice; keep one"));
            }
            connections.push(Connection { from, to, data_classes: classes.into_iter().flatten().collect(), version });
        }
        connections
    }

    pub(crate) fn exposures(&mut self, written: Vec<WrittenExposure>) -> Vec<Exposure> {
        let mut exposures = Vec::with_capacity(written.len());
        let mut ports = HashSet::new();
        for (i, WrittenExposure { port, audience }) in written.into_iter().enumerate() {
            let at = format!("/exposures/{i}");
            let audience = [Audience::Public, Audience::Partner, Audience::Internal]
                .into_iter()
                .find(|known| known.as_str() == audience);
            let (Some(port), Some(audience)) = (self.address(&format!("{at}/port"), &port), audience) else { continue };
            if !ports.insert(port.clone()) {
                self.note(&at, format!("{port} is exposed twice; keep the wider audience"));
            }
            exposures.push(Exposure { port, audience });
        }
        exposures
    }

    fn address(&mut self, at: &str, text: &str) -> Option<PortAddress> {
        match text.parse() {
            Ok(address) => Some(address),
            Err(error) => {
                self.note(at, error);
                None
            }
        }
    }

    /// Text that a strict parser of the catalogue turns into a value.
    pub(crate) fn parsed<T: FromStr<Err = CatalogError>>(&mut self, at: &str, text: &str) -> Option<T> {
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(at, one_line(&error));
                None
            }
        }
    }

    /// The same for a value that may be absent.
    pub(crate) fn optional<T: FromStr<Err = CatalogError>>(
        &mut self,
        at: &str,
        text: Option<&str>,
    ) -> Result<Option<T>, Noted> {
        match text {
            None => Ok(None),
            Some(text) => self.parsed(at, text).map(Some).ok_or(Noted),
        }
    }

    /// Numbers that the canonical form, whose numbers are IEEE 754 doubles, cannot carry exactly.
    pub(crate) fn exact_numbers(&mut self, at: &str, value: &Value) {
        const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
        match value {
            Value::Number(number) => {
                let exact =
                    number.is_f64() || number.as_i64().is_some_and(|number| number.unsigned_abs() <= MAX_SAFE_INTEGER);
                if !exact {
                    let rule = "loses digits as a JSON number; use text";
                    self.note(at, format!("the integer `{number}` is beyond ±{MAX_SAFE_INTEGER} and {rule}"));
                }
            }
            Value::Array(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.exact_numbers(&format!("{at}/{i}"), item);
                }
            }
            Value::Object(entries) => {
                for (key, item) in entries {
                    self.exact_numbers(&format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), item);
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "passed to Option::map")]
pub(crate) fn trimmed(text: String) -> String {
    text.trim().to_owned()
}
