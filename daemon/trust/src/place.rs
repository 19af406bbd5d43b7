//! A value in a JSON document together with its path, read into typed values. Messages name the document, the path, the
//! value and the way out.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::TrustError;
use crate::error::shorten;

/// A value and where it stands.
#[derive(Clone)]
pub(crate) struct Place<'v> {
    what: &'static str,
    path: String,
    value: &'v Value,
}

/// A form that a text must have, and how it is told to people.
pub(crate) type Form = (fn(&str) -> bool, &'static str);

impl<'v> Place<'v> {
    /// The root of a document that messages call `what`.
    pub(crate) fn root(what: &'static str, value: &'v Value) -> Self {
        Self { what, path: String::new(), value }
    }

    pub(crate) fn error(&self, description: impl Into<String>) -> TrustError {
        TrustError::Invalid { what: self.what, path: self.path.clone(), description: description.into() }
    }

    /// The entries of an object.
    pub(crate) fn object(&self) -> Result<&'v Map<String, Value>, TrustError> {
        match self.value {
            Value::Object(entries) => Ok(entries),
            _ => Err(self.error(format!("{} stands where an object is expected", self.describe()))),
        }
    }

    /// The value of a key that may be absent.
    pub(crate) fn optional(&self, key: &str) -> Result<Option<Self>, TrustError> {
        Ok(self.object()?.get(key).map(|value| Self { what: self.what, path: self.path_of(key), value }))
    }

    /// The value of a key that must be present.
    pub(crate) fn required(&self, key: &str) -> Result<Self, TrustError> {
        self.optional(key)?.ok_or_else(|| TrustError::Invalid {
            what: self.what,
            path: self.path_of(key),
            description: "is missing; it is required".to_owned(),
        })
    }

    /// Refuses keys that do not exist.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), TrustError> {
        match self.object()?.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(TrustError::Invalid {
                what: self.what,
                path: self.path_of(&shorten(key)),
                description: format!("unknown key; known keys are {}", known.join(", ")),
            }),
        }
    }

    /// The items of a list whose length is in `range`.
    pub(crate) fn items(&self, range: RangeInclusive<usize>) -> Result<Vec<Self>, TrustError> {
        let Value::Array(items) = self.value else {
            return Err(self.error(format!("{} stands where a list is expected", self.describe())));
        };
        if !range.contains(&items.len()) {
            let (least, most) = range.into_inner();
            return Err(self.error(format!("has {} items; {least} to {most} are allowed", items.len())));
        }
        let item = |(i, value)| Self { what: self.what, path: format!("{}[{i}]", self.path), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    /// A list of at most `most` values each read by `read`; an absent key is an empty list.
    pub(crate) fn list<T>(
        &self,
        key: &str,
        most: usize,
        read: impl FnMut(&Self) -> Result<T, TrustError>,
    ) -> Result<Vec<T>, TrustError> {
        match self.optional(key)? {
            Some(place) => place.items(0..=most)?.iter().map(read).collect(),
            None => Ok(Vec::new()),
        }
    }

    /// Text of any content.
    pub(crate) fn text(&self) -> Result<&'v str, TrustError> {
        match self.value {
            Value::String(text) => Ok(text),
            _ => Err(self.error(format!("{} stands where text is expected", self.describe()))),
        }
    }

    /// Text for people: one line of 1 to `longest` characters, without control characters, not starting or ending with
    /// white space.
    pub(crate) fn prose(&self, longest: usize) -> Result<String, TrustError> {
        let text = self.text()?;
        let length = text.chars().count();
        if length > longest {
            return Err(self.error(format!("has {length} characters, at most {longest} are allowed; shorten it")));
        }
        if text.is_empty() || text.trim() != text {
            return Err(self.error("is blank or has white space around it; write something or leave the key out"));
        }
        match text.chars().find(|c| is_odd(*c)) {
            Some(odd) => Err(self.error(format!("holds the control character U+{:04X}; remove it", u32::from(odd)))),
            None => Ok(text.to_owned()),
        }
    }

    /// Text of a form.
    pub(crate) fn word(&self, (accepts, rule): Form) -> Result<String, TrustError> {
        let text = self.text()?;
        if accepts(text) { Ok(text.to_owned()) } else { Err(self.error(format!("`{}`: {rule}", shorten(text)))) }
    }

    /// Text that a strict parser turns into a value.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self) -> Result<T, TrustError> {
        self.text()?.parse().map_err(|error: T::Err| self.error(error.to_string()))
    }

    /// An instant; see [`parse_time`].
    pub(crate) fn time(&self) -> Result<Timestamp, TrustError> {
        parse_time(self.text()?).map_err(|description| self.error(description))
    }

    /// A whole number in a range.
    pub(crate) fn count(&self, range: RangeInclusive<u64>) -> Result<u64, TrustError> {
        match self.value.as_u64() {
            Some(number) if range.contains(&number) => Ok(number),
            _ => {
                let (least, most) = range.into_inner();
                Err(self.error(format!("{} is no whole number from {least} to {most}", self.describe())))
            }
        }
    }

    pub(crate) fn boolean(&self) -> Result<bool, TrustError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.error(format!("{} stands where true or false is expected", self.describe())))
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn describe(&self) -> String {
        match self.value {
            Value::Null => "null".to_owned(),
            Value::Bool(value) => format!("the boolean `{value}`"),
            Value::Number(number) => format!("the number `{number}`"),
            Value::String(text) => format!("the text `{}`", shorten(text)),
            Value::Array(items) => format!("a list of {}", items.len()),
            Value::Object(entries) => format!("an object of {}", entries.len()),
        }
    }
}

/// An instant in the one form that certificates and trust roots use: RFC 3339 in UTC with `Z`, years 1000 to 2999, up
/// to nine digits of a second's fraction, no leap second.
///
/// # Errors
/// What is wrong with the text, for a message.
pub fn parse_time(text: &str) -> Result<Timestamp, String> {
    let wrong = || format!("`{}` is no instant; write it in UTC, as 2026-01-31T12:00:00Z", shorten(text));
    let (seconds, fraction) = match text.strip_suffix('Z').map(|text| text.split_once('.')) {
        None => return Err(wrong()),
        Some(None) => (&text[..text.len() - 1], "0"),
        Some(Some((seconds, fraction))) => (seconds, fraction),
    };
    let form = "0000-00-00T00:00:00";
    let of_form = seconds.len() == form.len()
        && seconds.bytes().zip(form.bytes()).all(|(b, f)| if f == b'0' { b.is_ascii_digit() } else { b == f })
        && matches!(seconds.as_bytes()[0], b'1' | b'2')
        && !seconds.ends_with("60")
        && (1..=9).contains(&fraction.len())
        && fraction.bytes().all(|b| b.is_ascii_digit());
    if !of_form {
        return Err(wrong());
    }
    text.parse().map_err(|error: jiff::Error| format!("{} ({error})", wrong()))
}

/// Control characters, and those that turn the direction of writing, since a text must read as what it is.
fn is_odd(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `^[a-z0-9][a-z0-9._-]{0,62}$`: a standard, and the id of a key, a role or a policy.
pub(crate) const ID: Form = (is_id, "use 1 to 63 characters of a-z, 0-9, ., _ and -, starting with a letter or digit");
/// `^[!-~]{1,64}$`: a requirement within a standard.
pub(crate) const REQUIREMENT: Form =
    (|text| is_graphic(text, 64), "use 1 to 64 printable ASCII characters without spaces");
/// `^[!-~]{1,128}$`: a verified property.
pub(crate) const PROPERTY: Form =
    (|text| is_graphic(text, 128), "use 1 to 128 printable ASCII characters without spaces");
/// `^[!-~]{1,2048}$`: a URI. It is compared or shown, never fetched.
pub(crate) const URI: Form = (|text| is_graphic(text, 2048), "use 1 to 2048 printable ASCII characters without spaces");

pub(crate) fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&text.len())
        && text.bytes().next().is_some_and(plain)
        && text.bytes().all(|b| plain(b) || b"._-".contains(&b))
}

fn is_graphic(text: &str, longest: usize) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
