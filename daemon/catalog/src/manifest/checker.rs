//! Reads typed values out of a document tree and notes everything that is wrong with it, instead of stopping at the
//! first fault.

use std::collections::HashSet;

use crate::document::{Key, Node, Place, Tree};
use crate::error::shorten;
use crate::{CatalogError, Violation};

/// Collects violations. A reading method that returns `None` has noted why.
#[derive(Default)]
pub(super) struct Checker {
    pub(super) violations: Vec<Violation>,
}

/// How long a text may be, in characters, and whether it may have more than one line.
#[derive(Clone, Copy)]
pub(super) struct TextRule {
    pub(super) longest: usize,
    pub(super) one_line: bool,
}

/// The entries of a mapping, each to be taken once; what is left at the end is unknown.
pub(super) struct Fields<'n> {
    path: String,
    place: Option<Place>,
    entries: Vec<(&'n Key, &'n Node, bool)>,
}

impl Checker {
    pub(super) fn report(&mut self, field: &str, place: Option<Place>, description: impl Into<String>) {
        self.violations.push(Violation {
            field: field.to_owned(),
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            description: description.into(),
        });
    }

    pub(super) fn mapping<'n>(&mut self, path: &str, node: &'n Node) -> Option<Fields<'n>> {
        let Tree::Mapping(entries) = &node.tree else {
            self.report(
                path,
                node.place,
                format!("{} stands where a mapping of keys to values is expected", describe(node)),
            );
            return None;
        };
        let entries = entries.iter().map(|(key, value)| (key, value, false)).collect();
        Some(Fields { path: path.to_owned(), place: node.place, entries })
    }

    /// Text that is not blank, without the white space around it.
    pub(super) fn text(&mut self, path: &str, node: &Node, rule: TextRule) -> Option<String> {
        let text = self.raw_text(path, node)?;
        let length = text.chars().count();
        if text.chars().all(is_invisible) {
            self.report(path, node.place, "is blank; write something or remove the key");
        } else if length > rule.longest {
            self.report(
                path,
                node.place,
                format!("has {length} characters, at most {} are allowed; shorten it", rule.longest),
            );
        } else if rule.one_line && text.contains('\n') {
            self.report(path, node.place, "has several lines, one is allowed; join them");
        } else if let Some(odd) = text.chars().find(|c| is_odd_control(*c)) {
            self.report(path, node.place, format!("holds the control character U+{:04X}; remove it", u32::from(odd)));
        } else {
            return Some(text.trim().to_owned());
        }
        None
    }

    /// Text of any content.
    pub(super) fn raw_text<'n>(&mut self, path: &str, node: &'n Node) -> Option<&'n str> {
        if let Tree::Text(text) = &node.tree {
            return Some(text);
        }
        let found = describe(node);
        let way_out = match node.tree {
            Tree::Number(_) | Tree::Bool(_) => "; quote it, as in \"1.0.0\" or \"on\"",
            Tree::Null => "; write something or remove the key",
            Tree::Text(_) | Tree::Sequence(_) | Tree::Mapping(_) => "",
        };
        self.report(path, node.place, format!("{found} stands where text is expected{way_out}"));
        None
    }

    /// Text that a strict parser turns into a value.
    pub(super) fn parsed<T: std::str::FromStr<Err = CatalogError>>(&mut self, path: &str, node: &Node) -> Option<T> {
        match self.raw_text(path, node)?.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.report(path, node.place, error.to_string());
                None
            }
        }
    }

    /// Text that a predicate accepts; `rule` says which form that is.
    pub(super) fn word(&mut self, path: &str, node: &Node, accepts: fn(&str) -> bool, rule: &str) -> Option<String> {
        let text = self.raw_text(path, node)?;
        if accepts(text) {
            return Some(text.to_owned());
        }
        self.report(path, node.place, format!("`{}`: {rule}", shorten(text)));
        None
    }

    pub(super) fn boolean(&mut self, path: &str, node: &Node) -> Option<bool> {
        if let Tree::Bool(value) = node.tree {
            return Some(value);
        }
        self.report(path, node.place, format!("{} stands where true or false is expected", describe(node)));
        None
    }

    /// A list of at most `most` different items, each read by `item`. Faulty items are noted and left out.
    pub(super) fn list<T>(
        &mut self,
        path: &str,
        node: &Node,
        most: usize,
        mut item: impl FnMut(&mut Self, &str, &Node) -> Option<T>,
    ) -> Vec<T> {
        let Tree::Sequence(items) = &node.tree else {
            self.report(
                path,
                node.place,
                format!("{} stands where a list is expected; write it as a list of one", describe(node)),
            );
            return Vec::new();
        };
        if items.len() > most {
            self.report(path, node.place, format!("has {} items, at most {most} are allowed", items.len()));
            return Vec::new();
        }
        let mut seen = HashSet::new();
        let mut values = Vec::with_capacity(items.len());
        for (i, node) in items.iter().enumerate() {
            let path = format!("{path}[{i}]");
            if let Tree::Text(text) = &node.tree
                && !seen.insert(text.as_str())
            {
                self.report(&path, node.place, format!("`{}` is in the list twice; keep one", shorten(text)));
            }
            values.extend(item(self, &path, node));
        }
        values
    }
}

impl<'n> Fields<'n> {
    /// The path of one of the fields.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// The value of a key that may be absent.
    pub(super) fn optional(&mut self, key: &str) -> Option<(String, &'n Node)> {
        let path = self.path_of(key);
        let entry = self.entries.iter_mut().find(|(found, _, _)| found.text == key)?;
        entry.2 = true;
        Some((path, entry.1))
    }

    /// The value of a key that must be present.
    pub(super) fn required(&mut self, checker: &mut Checker, key: &str) -> Option<(String, &'n Node)> {
        let found = self.optional(key);
        if found.is_none() {
            checker.report(&self.path_of(key), self.place, "is missing; it is required");
        }
        found
    }

    /// Notes what nobody asked for. `known` are the keys that exist.
    pub(super) fn finish(self, checker: &mut Checker, known: &[&str]) {
        for (key, _, taken) in &self.entries {
            if *taken {
                continue;
            }
            let text = shorten(&key.text);
            let way_out = match nearest(&key.text, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known keys are {}", known.join(", ")),
            };
            checker.report(&self.path_of(&text), key.place, format!("unknown key `{text}`; {way_out}"));
        }
    }
}

/// Control characters that no text needs: all but tab and line feed, and those that turn the direction of writing, since
/// a title must read as what it is.
fn is_odd_control(c: char) -> bool {
    matches!(c, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters that leave nothing to read: white space, controls, Unicode's format characters (Cf) and default ignorable
/// ones, which hold the Hangul fillers, and the empty Braille pattern. The published schema lists the same, in its
/// patterns, since not every validator knows Unicode's classes.
fn is_invisible(c: char) -> bool {
    c.is_whitespace()
        || c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
            | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}'
        )
}

/// A value as a message names it.
fn describe(node: &Node) -> String {
    match &node.tree {
        Tree::Null => "nothing".to_owned(),
        Tree::Bool(value) => format!("the boolean `{value}`"),
        Tree::Number(number) => format!("the number `{number}`"),
        Tree::Text(text) => format!("the text `{}`", shorten(text)),
        Tree::Sequence(items) => format!("a list of {}", items.len()),
        Tree::Mapping(entries) => format!("a mapping of {}", entries.len()),
    }
}

/// The known word at most two edits away, if there is one.
pub(crate) fn nearest<'w>(word: &str, known: &[&'w str]) -> Option<&'w str> {
    if word.len() > 64 {
        return None;
    }
    known
        .iter()
        .map(|near| (edits(word, near), *near))
        .filter(|(edits, near)| *edits <= 2 && *edits < near.len())
        .min()
        .map(|(_, near)| near)
}

/// Levenshtein distance in bytes.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}
