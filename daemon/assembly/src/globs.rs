//! Patterns of paths that are no code.

use std::collections::BTreeSet;

use globset::{GlobBuilder, GlobMatcher, GlobSet, GlobSetBuilder};

use crate::error::{one_line, shorten};

/// A set of patterns: `*` and `?` stay within a step of a path, `**` crosses steps, `[ab]` and `{a,b}` choose. A pattern
/// holds for whole paths of files; case counts.
#[derive(Debug, Clone, Default)]
pub struct PathGlobs {
    texts: BTreeSet<String>,
    set: GlobSet,
}

/// By their texts.
impl PartialEq for PathGlobs {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl PathGlobs {
    /// Reads patterns, each with what is said when it is none.
    pub(crate) fn read(texts: Vec<String>, mut refuse: impl FnMut(usize, String)) -> Self {
        let mut globs = Self::default();
        let mut builder = GlobSetBuilder::new();
        for (i, text) in texts.into_iter().enumerate() {
            match compile(&text) {
                Ok(matcher) => {
                    builder.add(matcher.glob().clone());
                    globs.texts.insert(text);
                }
                Err(why) => refuse(i, why),
            }
        }
        match builder.build() {
            Ok(set) => globs.set = set,
            Err(error) => refuse(0, format!("the patterns are too large together: {}; write fewer", one_line(&error))),
        }
        globs
    }

    /// Whether a path is one of those.
    pub fn matches(&self, path: &str) -> bool {
        self.set.is_match(path)
    }

    /// The patterns, ordered.
    pub fn texts(&self) -> &BTreeSet<String> {
        &self.texts
    }
}

fn compile(text: &str) -> Result<GlobMatcher, String> {
    // Without a letter of its own a pattern speaks of everything, code included; one among several to choose is not its own.
    let mut inside = false;
    let own = text.chars().any(|c| {
        inside = (inside || c == '[') && c != ']';
        !inside && c.is_alphanumeric()
    });
    if !own {
        return Err(format!("`{}` holds for any path; name the folder or the ending", shorten(text)));
    }
    let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(false).case_insensitive(false).build();
    glob.map(|glob| glob.compile_matcher())
        .map_err(|error| format!("`{}` is no pattern ({}); see docs/assembly.md", shorten(text), error.kind()))
}
