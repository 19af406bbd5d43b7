//! Patterns of JSON Schema as GBNF, over the characters of a JSON string.
//!
//! A pattern is found anywhere in a text unless it is anchored. Anchors at the ends are followed; a pattern that needs
//! anything else of its surroundings is not translated, nor is one that would grow too large.

use regex_syntax::hir::{Class, Hir, HirKind, Look};

use super::text::{class, in_string, terminal};

/// Most repetitions written, each within the others. llama.cpp refuses more than 2,000.
const MAX_REPETITIONS: u64 = 1_000;
/// Most ranges of a class.
const MAX_RANGES: usize = 64;
/// Longest translation, in bytes.
const MAX_LENGTH: usize = 16_384;

/// A pattern that was translated.
pub(super) struct Translated {
    /// The expression for the inside of the string.
    pub(super) expression: String,
    /// Whether it keeps the bounds of length too.
    pub(super) holds_shortest: bool,
    pub(super) holds_longest: bool,
}

/// `None` when the pattern cannot be translated. `char` is the rule for any character.
pub(super) fn translate(pattern: &str, shortest: u64, longest: Option<u64>) -> Option<Translated> {
    // The validator reads patterns in the same way.
    let plain = jsonschema_regex::to_rust_regex(pattern).ok()?;
    let hir = regex_syntax::parse(&plain).ok()?;
    let mut ways = Vec::new();
    let (mut holds_shortest, mut holds_longest) = (true, true);
    for way in alternatives(&hir) {
        let way = anchored(way)?;
        let expression = sequence(&way.parts)?;
        let Lengths { least, most } = lengths_of(&way.parts);
        let mut parts = Vec::new();
        if way.starts && way.ends {
            parts.push(expression);
            holds_shortest &= least >= shortest;
            holds_longest &= longest.is_none_or(|longest| most.is_some_and(|most| most <= longest));
        } else if way.starts != way.ends && most == Some(least) {
            // One open end: it takes up what the length leaves.
            let most = match longest {
                Some(longest) => Some(longest.checked_sub(least)?),
                None => None,
            };
            let (filler, holds) = filler(shortest.saturating_sub(least), most)?;
            holds_longest &= holds;
            if way.starts {
                parts.extend([expression, filler]);
            } else {
                parts.extend([filler, expression]);
            }
        } else {
            holds_shortest &= least >= shortest;
            holds_longest &= longest.is_none();
            if !way.starts {
                parts.push("char*".to_owned());
            }
            parts.push(expression);
            if !way.ends {
                parts.push("char*".to_owned());
            }
        }
        parts.retain(|part| !part.is_empty());
        ways.push(if parts.is_empty() { "\"\"".to_owned() } else { parts.join(" ") });
    }
    let expression = if ways.len() == 1 { ways.remove(0) } else { format!("({})", ways.join(" | ")) };
    (expression.len() <= MAX_LENGTH).then_some(Translated { expression, holds_shortest, holds_longest })
}

/// Any characters between two counts, and whether the upper one is kept. `None` when no count lies between.
fn filler(from: u64, to: Option<u64>) -> Option<(String, bool)> {
    match to {
        Some(to) if to < from => None,
        _ if from > MAX_REPETITIONS => None,
        Some(0) => Some((String::new(), true)),
        Some(to) if to <= MAX_REPETITIONS => Some((format!("char{{{from},{to}}}"), true)),
        Some(_) => Some((format!("char{{{from},}}"), false)),
        None if from == 0 => Some(("char*".to_owned(), true)),
        None => Some((format!("char{{{from},}}"), true)),
    }
}

/// The members of an alternation at the top, through groups.
fn alternatives(hir: &Hir) -> Vec<&Hir> {
    match hir.kind() {
        HirKind::Capture(capture) => alternatives(&capture.sub),
        HirKind::Alternation(members) => members.iter().flat_map(alternatives).collect(),
        _ => vec![hir],
    }
}

/// A way without its anchors.
struct Anchored<'h> {
    parts: Vec<&'h Hir>,
    starts: bool,
    ends: bool,
}

fn anchored(hir: &Hir) -> Option<Anchored<'_>> {
    let mut parts: Vec<&Hir> = match hir.kind() {
        HirKind::Concat(parts) => parts.iter().collect(),
        _ => vec![hir],
    };
    let (mut starts, mut ends) = (false, false);
    while parts.first().is_some_and(|part| is_look(part, Look::Start)) {
        parts.remove(0);
        starts = true;
    }
    while parts.last().is_some_and(|part| is_look(part, Look::End)) {
        parts.pop();
        ends = true;
    }
    // An anchor inside a group, or a word's boundary, is beyond this.
    let plain = parts.iter().all(|part| part.properties().look_set().is_empty());
    plain.then_some(Anchored { parts, starts, ends })
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

fn sequence(parts: &[&Hir]) -> Option<String> {
    let mut written = Vec::new();
    for part in parts {
        written.push(expression(part, 1)?);
    }
    written.retain(|part| !part.is_empty());
    Some(written.join(" "))
}

/// The expression of a part that is repeated `times` times; empty for the empty text.
fn expression(hir: &Hir, times: u64) -> Option<String> {
    match hir.kind() {
        HirKind::Empty => Some(String::new()),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            // Other control characters have escapes that are not written.
            let writable = |c: char| !c.is_control() || "\u{8}\t\n\u{c}\r\u{7f}".contains(c) || c > '\u{7f}';
            text.chars().all(writable).then(|| terminal(&in_string(text)))
        }
        HirKind::Class(Class::Unicode(found)) => class(found, MAX_RANGES),
        HirKind::Class(Class::Bytes(_)) | HirKind::Look(_) => None,
        HirKind::Repetition(repetition) => {
            let (min, max) = (u64::from(repetition.min), repetition.max.map(u64::from));
            let most = times.checked_mul(max.unwrap_or(min).max(1))?;
            // What may be empty cannot be repeated without end.
            let empties = max.is_none() && repetition.sub.properties().minimum_len() == Some(0);
            if most > MAX_REPETITIONS || empties {
                return None;
            }
            let part = expression(&repetition.sub, most)?;
            if part.is_empty() || max == Some(0) {
                return Some(String::new());
            }
            let part = if is_one(&part) { part } else { format!("({part})") };
            Some(match (min, max) {
                (0, None) => format!("{part}*"),
                (1, None) => format!("{part}+"),
                (min, None) => format!("{part}{{{min},}}"),
                (0, Some(1)) => format!("{part}?"),
                (1, Some(1)) => part,
                (min, Some(max)) if min == max => format!("{part}{{{min}}}"),
                (min, Some(max)) => format!("{part}{{{min},{max}}}"),
            })
        }
        HirKind::Capture(capture) => expression(&capture.sub, times),
        HirKind::Concat(parts) => {
            let mut written = Vec::new();
            for part in parts {
                written.push(expression(part, times)?);
            }
            written.retain(|part| !part.is_empty());
            Some(written.join(" "))
        }
        HirKind::Alternation(members) => {
            let mut written = Vec::new();
            for member in members {
                let member = expression(member, times)?;
                written.push(if member.is_empty() { "\"\"".to_owned() } else { member });
            }
            Some(format!("({})", written.join(" | ")))
        }
    }
}

/// Whether an expression is one symbol that a repetition can follow: a class, a group, or a text of one character.
fn is_one(expression: &str) -> bool {
    let bytes = expression.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    match (first, last) {
        // Brackets within a class are written as escapes, so the first closing one ends it.
        (b'[', b']') => expression.find(']') == Some(expression.len() - 1),
        (b'"', b'"') => expression.len() == 3,
        _ => false,
    }
}

/// Lengths of texts in characters; no upper bound when `most` is `None`.
struct Lengths {
    least: u64,
    most: Option<u64>,
}

fn lengths_of(parts: &[&Hir]) -> Lengths {
    let mut sum = Lengths { least: 0, most: Some(0) };
    for part in parts {
        let Lengths { least, most } = lengths(part);
        sum.least = sum.least.saturating_add(least);
        sum.most = sum.most.zip(most).and_then(|(a, b)| a.checked_add(b));
    }
    sum
}

fn lengths(hir: &Hir) -> Lengths {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Lengths { least: 0, most: Some(0) },
        HirKind::Literal(literal) => {
            let count = std::str::from_utf8(&literal.0).map_or(literal.0.len(), |text| text.chars().count()) as u64;
            Lengths { least: count, most: Some(count) }
        }
        HirKind::Class(_) => Lengths { least: 1, most: Some(1) },
        HirKind::Repetition(repetition) => {
            let Lengths { least, most } = lengths(&repetition.sub);
            let max = repetition.max.map(u64::from);
            Lengths {
                least: least.saturating_mul(u64::from(repetition.min)),
                most: if most == Some(0) { Some(0) } else { most.zip(max).and_then(|(a, b)| a.checked_mul(b)) },
            }
        }
        HirKind::Capture(capture) => lengths(&capture.sub),
        HirKind::Concat(parts) => lengths_of(&parts.iter().collect::<Vec<_>>()),
        HirKind::Alternation(members) => {
            let all: Vec<Lengths> = members.iter().map(lengths).collect();
            Lengths {
                least: all.iter().map(|one| one.least).min().unwrap_or_default(),
                most: all.iter().map(|one| one.most).try_fold(0, |most, one| one.map(|one| most.max(one))),
            }
        }
    }
}
