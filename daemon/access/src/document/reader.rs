//! Values of a document with their paths, read into typed values. What is wrong is noted, and reading goes on, so that an
//! operator sees all faults at once.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use fitment_catalog::cut;
use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::error::{Fault, MAX_FAULTS, one_line, shorten};

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Place<'v> {
    path: String,
    value: &'v Value,
}

/// Collects faults. A method that gives `None` has noted why, unless it says that a value may be absent.
pub(super) struct Reader<'f> {
    file: &'f str,
    faults: &'f mut Vec<Fault>,
}

/// A form that a text must have, and how it is told to people.
pub(super) type Form = (fn(&str) -> bool, &'static str);

/// A tenant, and the id of an issuer: `[a-z0-9-]{1,63}`.
pub(super) const LABEL: Form = (
    |text| (1..=63).contains(&text.len()) && text.bytes().all(|b| is_plain(b) || b == b'-'),
    "use 1 to 63 characters of a-z, 0-9 and -",
);
/// A principal and a group, as manifests may name them under `access`.
pub(super) const NAME: Form = (
    |text| {
        (1..=63).contains(&text.len())
            && text.bytes().next().is_some_and(is_plain)
            && text.bytes().all(|b| is_plain(b) || b"._:-".contains(&b))
    },
    "use 1 to 63 characters of a-z, 0-9, ., _, : and -, starting with a letter or digit",
);
/// What is compared as it is: names in tokens and certificates.
pub(super) const EXACT: Form = (
    |text| !text.is_empty() && text.len() <= 512 && text.trim() == text && !text.chars().any(char::is_control),
    "use 1 to 512 bytes without control characters and without white space around it",
);

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit()
}

impl<'v> Place<'v> {
    pub(super) fn root(value: &'v Value) -> Self {
        Self { path: String::new(), value }
    }

    /// A value that may be absent.
    pub(super) fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.as_object()?.get(key)?;
        Some(Self { path: self.path_of(key), value })
    }

    /// Entries of an object; none where it is no object.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'v str, Self)> {
        let entries = self.value.as_object().into_iter().flatten();
        entries.map(|(key, value)| (key.as_str(), Self { path: format!("{}[\"{}\"]", self.path, shorten(key)), value }))
    }

    /// Whether it is an object rather than a text.
    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn describe(&self) -> String {
        match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => format!("the boolean `{value}`"),
            Value::Number(number) => format!("the number `{}`", cut(&number.to_string(), 40)),
            Value::String(text) => format!("the text `{}`", shorten(text)),
            Value::Array(items) => format!("a list of {}", items.len()),
            Value::Object(entries) => format!("an object of {}", entries.len()),
        }
    }
}

impl<'f> Reader<'f> {
    pub(super) fn new(file: &'f str, faults: &'f mut Vec<Fault>) -> Self {
        Self { file, faults }
    }

    /// The faults so far, for readers of other documents.
    pub(super) fn faults(&mut self) -> &mut Vec<Fault> {
        self.faults
    }

    pub(super) fn note(&mut self, place: &Place<'_>, description: impl Into<String>) {
        self.note_at(place.path.clone(), description);
    }

    fn note_at(&mut self, path: String, description: impl Into<String>) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(Fault { file: self.file.to_owned(), path, description: description.into() });
        }
    }

    /// An object whose keys are all known.
    pub(super) fn object<'v>(&mut self, place: &Place<'v>, known: &[&str]) -> Option<&'v Map<String, Value>> {
        let Some(entries) = place.value.as_object() else {
            self.note(place, format!("{} stands where an object is expected", place.describe()));
            return None;
        };
        for key in entries.keys().filter(|key| !known.contains(&key.as_str())) {
            self.note_at(place.path_of(&shorten(key)), format!("unknown key; known keys are {}", known.join(", ")));
        }
        Some(entries)
    }

    /// A value that must be there.
    pub(super) fn required<'v>(&mut self, place: &Place<'v>, key: &str) -> Option<Place<'v>> {
        let found = place.get(key);
        if found.is_none() && place.is_object() {
            self.note_at(place.path_of(key), "is missing; it is required");
        }
        found
    }

    /// The items of a list.
    pub(super) fn items<'v>(&mut self, place: &Place<'v>, count: RangeInclusive<usize>) -> Vec<Place<'v>> {
        let Some(items) = place.value.as_array() else {
            self.note(place, format!("{} stands where a list is expected", place.describe()));
            return Vec::new();
        };
        if !count.contains(&items.len()) {
            let (least, most) = count.into_inner();
            self.note(place, format!("has {} items; {least} to {most} are allowed", items.len()));
            return Vec::new();
        }
        let item = |(i, value)| Place { path: format!("{}[{i}]", place.path), value };
        items.iter().enumerate().map(item).collect()
    }

    /// The items of a list that may be absent.
    pub(super) fn list<'v>(&mut self, place: &Place<'v>, key: &str, most: usize) -> Vec<Place<'v>> {
        place.get(key).map(|list| self.items(&list, 0..=most)).unwrap_or_default()
    }

    pub(super) fn text<'v>(&mut self, place: &Place<'v>) -> Option<&'v str> {
        if let Value::String(text) = place.value {
            return Some(text);
        }
        let way_out = if place.value.is_number() { "; put it in quotation marks" } else { "" };
        self.note(place, format!("{} stands where text is expected{way_out}", place.describe()));
        None
    }

    /// Text that messages must not repeat, since people paste whole keys where a part is asked for.
    pub(super) fn secret_text<'v>(&mut self, place: &Place<'v>) -> Option<&'v str> {
        if let Value::String(text) = place.value {
            return Some(text);
        }
        self.note(place, "is no text; put it in quotation marks");
        None
    }

    pub(super) fn word(&mut self, place: &Place<'_>, (accepts, rule): Form) -> Option<String> {
        let text = self.text(place)?;
        if accepts(text) {
            return Some(text.to_owned());
        }
        self.note(place, format!("`{}`: {rule}", shorten(text)));
        None
    }

    /// A word that must be there.
    pub(super) fn required_word(&mut self, place: &Place<'_>, key: &str, form: Form) -> Option<String> {
        let place = self.required(place, key)?;
        self.word(&place, form)
    }

    /// A set of words that may be absent; each stands there once.
    pub(super) fn words(&mut self, place: &Place<'_>, key: &str, most: usize, form: Form) -> BTreeSet<String> {
        let mut words = BTreeSet::new();
        for item in self.list(place, key, most) {
            let Some(word) = self.word(&item, form) else { continue };
            if !words.insert(word) {
                self.note(&item, "stands there twice; keep one");
            }
        }
        words
    }

    /// Text that a strict parser turns into a value.
    pub(super) fn parsed<T: FromStr<Err: Display>>(&mut self, place: &Place<'_>) -> Option<T> {
        match self.text(place)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.note(place, one_line(&error));
                None
            }
        }
    }

    /// An instant in UTC.
    pub(super) fn time(&mut self, place: &Place<'_>) -> Option<Timestamp> {
        let text = self.text(place)?;
        match text.parse::<Timestamp>() {
            Ok(time) if text.ends_with('Z') => Some(time),
            _ => {
                self.note(
                    place,
                    format!("`{}` is no instant; write it in UTC, as 2026-01-31T12:00:00Z", shorten(text)),
                );
                None
            }
        }
    }

    /// A whole number that may be absent.
    pub(super) fn count(&mut self, place: &Place<'_>, key: &str, range: RangeInclusive<u32>) -> Option<u32> {
        let place = place.get(key)?;
        let found = place.value.as_u64().and_then(|number| u32::try_from(number).ok());
        if let Some(number) = found.filter(|number| range.contains(number)) {
            return Some(number);
        }
        let (least, most) = range.into_inner();
        self.note(&place, format!("{} is no whole number from {least} to {most}", place.describe()));
        None
    }

    /// A rate that may be absent: above 0 and at most a billion.
    pub(super) fn rate(&mut self, place: &Place<'_>, key: &str) -> Option<f64> {
        let place = place.get(key)?;
        let found = place.value.as_f64().filter(|rate| *rate > 0.0 && *rate <= 1e9);
        if found.is_none() {
            self.note(&place, format!("{} is no number above 0 and up to 1000000000", place.describe()));
        }
        found
    }
}
