//! Names that are valid by construction.

use std::fmt;
use std::str::FromStr;

use crate::CatalogError;

/// A component's name, `namespace/name`. Each part has 1 to 63 characters of `a-z`, `0-9` and `-`, and neither starts
/// nor ends with `-`. Ordered by namespace, then name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ComponentName {
    namespace: String,
    name: String,
}

impl ComponentName {
    /// Puts a name together from its parts.
    ///
    /// # Errors
    /// [`CatalogError::InvalidValue`] when a part has another form.
    pub fn new(namespace: &str, name: &str) -> Result<Self, CatalogError> {
        if is_label(namespace) && is_label(name) {
            return Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() });
        }
        Err(CatalogError::value("component name", &format!("{namespace}/{name}"), COMPONENT_NAME_RULE))
    }

    /// The part before the slash.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The part after the slash.
    pub fn name(&self) -> &str {
        &self.name
    }
}

const COMPONENT_NAME_RULE: &str =
    "write namespace/name, each part 1 to 63 characters of a-z, 0-9 and -, neither starting nor ending with -";

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl FromStr for ComponentName {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if is_label(namespace) && is_label(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err(CatalogError::value("component name", text, COMPONENT_NAME_RULE)),
        }
    }
}

/// A word that groups components: 1 to 63 characters of `a-z`, `0-9`, `.`, `_` and `-`, starting with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

impl Tag {
    /// The tag's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if is_tag(text) { Ok(Self(text.to_owned())) } else { Err(CatalogError::value("tag", text, TAG_RULE)) }
    }
}

pub(crate) const LABEL_RULE: &str = "use 1 to 63 characters of a-z, 0-9 and -, neither starting nor ending with -";
pub(crate) const TAG_RULE: &str = "use 1 to 63 characters of a-z, 0-9, ., _ and -, starting with a letter or digit";

/// `^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`: the form of a namespace, a name and a port's name.
pub(crate) fn is_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=63).contains(&bytes.len())
        && bytes.iter().all(|b| alphanumeric(b) || *b == b'-')
        && bytes.first().is_some_and(alphanumeric)
        && bytes.last().is_some_and(alphanumeric)
}

/// `^[a-z0-9][a-z0-9._-]{0,62}$`: the form of a tag, a compliance standard and a digest's algorithm.
pub(crate) fn is_tag(text: &str) -> bool {
    is_word(text, 63, b"._-")
}

/// `^[a-z0-9][a-z0-9._:-]{0,62}$`: the form of a role.
pub(crate) fn is_role(text: &str) -> bool {
    is_word(text, 63, b"._:-")
}

/// A lower-case word of at most `longest` bytes that starts with a letter or digit and goes on with those or `extra`.
fn is_word(text: &str, longest: usize, extra: &[u8]) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= longest
        && bytes.first().is_some_and(alphanumeric)
        && bytes.iter().all(|b| alphanumeric(b) || extra.contains(b))
}

/// `^[a-z][a-z0-9.+-]{0,31}$`: the form of a port's protocol.
pub(crate) fn is_protocol(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && is_word(text, 32, b".+-")
}

/// `^[!-~]{1,64}$`: the form of a requirement's id within a standard.
pub(crate) fn is_requirement(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

/// An `OAuth` 2.0 scope token (RFC 6749, section 3.3), at most 128 bytes.
pub(crate) fn is_scope(text: &str) -> bool {
    (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_two_labels() {
        for good in ["a/b", "identity/sign-in-form", "0/9", &format!("{}/x", "a".repeat(63))] {
            assert_eq!(good.parse::<ComponentName>().expect(good).to_string(), good);
        }
        for bad in
            ["", "a", "a/", "/a", "a/b/c", "A/b", "a/-b", "a/b-", "a b/c", "ä/b", &format!("{}/x", "a".repeat(64))]
        {
            assert!(bad.parse::<ComponentName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words_have_their_forms() {
        assert!(is_tag("pci-dss-4.0") && is_tag("9") && !is_tag("-a") && !is_tag("") && !is_tag("A"));
        assert!(is_protocol("ui-slot") && !is_protocol("9p") && !is_protocol(&"a".repeat(33)));
        assert!(is_requirement("164.312(a)(1)") && !is_requirement("a b") && !is_requirement(""));
        assert!(is_scope("read:all") && !is_scope("a\"b") && !is_scope(""));
        assert!(is_role("team:payments") && !is_role("Team"));
    }
}
