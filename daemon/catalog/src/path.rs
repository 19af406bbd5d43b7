//! Paths inside a folder that somebody else chooses: the same text on every machine, and never out of the folder.

use std::fmt;
use std::str::FromStr;

use crate::CatalogError;

/// A relative path in the one form that it can have: 1 to 512 characters, steps divided by `/`, none of them empty, `.` or
/// `..`, no backslash, no control characters and none that turn the direction of writing. Compared and ordered by its
/// bytes: upper and lower case, and composed and decomposed letters, are different.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelativePath(String);

/// Longest path, in characters.
const MAX_CHARACTERS: usize = 512;

pub(crate) const PATH_RULE: &str =
    "write a relative path of at most 512 characters with / between its steps, none of them empty, . or .., and no \\";

impl RelativePath {
    /// The path's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The last step.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&*self.0, |(_, name)| name)
    }

    /// The folders that it lies in, the outermost first.
    pub fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').map(|(end, _)| &self.0[..end])
    }

    /// The rest of the path below a folder; `None` when it does not lie in it.
    pub fn below(&self, folder: &Self) -> Option<&str> {
        self.0.strip_prefix(&folder.0)?.strip_prefix('/')
    }

    /// A path below this one.
    ///
    /// # Errors
    /// [`CatalogError::InvalidValue`] when both together are too long.
    pub fn join(&self, below: &Self) -> Result<Self, CatalogError> {
        format!("{self}/{below}").parse()
    }
}

impl AsRef<str> for RelativePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Compares and orders as its text does, which a look-up by text needs.
impl std::borrow::Borrow<str> for RelativePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RelativePath {
    type Err = CatalogError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let odd =
            |c: char| c == '\\' || c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let has_form = text.split('/').all(|step| !matches!(step, "" | "." | "..")) && !text.contains(odd);
        if has_form && text.chars().count() <= MAX_CHARACTERS {
            Ok(Self(text.to_owned()))
        } else {
            Err(CatalogError::value("path", text, PATH_RULE))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelativePath {
        text.parse().expect(text)
    }

    #[test]
    fn paths_have_one_form() {
        for good in ["a", "src/journal", "...", ".env", "a b/ä.txt", &"ä".repeat(512), "C:"] {
            assert_eq!(path(good).to_string(), good);
        }
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\\b", "a\nb", "a\u{85}b", "a\u{202e}b"] {
            assert!(bad.parse::<RelativePath>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(513).parse::<RelativePath>().is_err());
    }

    #[test]
    fn folders_are_steps_and_not_prefixes() {
        assert_eq!(path("src/journal/a.rs").below(&path("src/journal")), Some("a.rs"));
        assert_eq!(path("src/journal2/a.rs").below(&path("src/journal")), None);
        assert_eq!(path("src").below(&path("src")), None);
        assert_eq!(path("a/b/c").folders().collect::<Vec<_>>(), ["a", "a/b"]);
        assert_eq!((path("a/b").file_name(), path("b").file_name()), ("b", "b"));
        assert_eq!(path("a").join(&path("b/c")).expect("short"), path("a/b/c"));
    }
}
