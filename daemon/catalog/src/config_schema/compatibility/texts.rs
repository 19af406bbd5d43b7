//! Texts that a pattern or a format may accept. They are guesses: validators decide.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::pool::MAX_LENGTH;

/// One or two texts for each format that is asserted, and some that tell patterns apart.
const SAMPLES: &[&str] = &[
    "a",
    "",
    "A",
    "0",
    "a1",
    "ä",
    " ",
    "a b",
    "a-b",
    "a/b",
    "secret://a",
    "https://example.com/a",
    "http://example.com",
    "urn:a:b",
    "mailto:a@example.com",
    "/a",
    "#a",
    "a@example.com",
    "ä@example.com",
    "example.com",
    "bücher.example",
    "192.0.2.1",
    "2001:db8::1",
    "2024-02-29",
    "2024-02-29T12:00:00Z",
    "12:00:00Z",
    "P1D",
    "01890a5d-ac96-774b-bcce-b302099a8057",
    "1/a",
    "https://example.com/{a}",
    "https://bücher.example/ä",
    "[",
    "true",
    "1.5",
    "-1",
];

/// What is put behind a text to see whether a pattern still accepts it.
const ENDINGS: &[&str] = &["a", "A", "0", "-", "_", ".", "/", " ", "ä", "\n"];

/// Texts worth trying: those of the patterns, the samples, and longer ones of each length.
pub(super) fn texts(patterns: &[&str], lengths: &[u64]) -> Vec<String> {
    let mut made: Vec<String> = patterns.iter().flat_map(|pattern| matching(pattern)).collect();
    let from_patterns = made.len();
    made.extend(SAMPLES.iter().map(|&sample| sample.to_owned()));
    for i in 0..from_patterns {
        for ending in ENDINGS {
            made.push(format!("{}{ending}", made[i]));
        }
    }
    // The first text of the patterns, or the plainest sample, brought to each length.
    for base in made.iter().take(4).cloned().collect::<Vec<_>>() {
        let count = base.chars().count() as u64;
        for length in lengths.iter().copied().filter(|&length| length > count && length <= MAX_LENGTH) {
            let fill = usize::try_from(length - count).unwrap_or_default();
            made.push(format!("{base}{}", "a".repeat(fill)));
            made.push(format!("{base}{}", "0".repeat(fill)));
        }
    }
    let mut seen = std::collections::HashSet::new();
    made.retain(|text| seen.insert(text.clone()));
    made
}

/// How a text is made where a pattern leaves a choice.
#[derive(Clone, Copy)]
struct Choices {
    /// How often above its least number a repetition is repeated, as far as it may be.
    more: u32,
    /// Which member of an alternation, and which range of a class, counted around.
    which: usize,
    /// The end of a class's range instead of its start.
    last: bool,
}

/// Texts that a pattern probably accepts, the shortest first; none where the pattern cannot be read.
fn matching(pattern: &str) -> Vec<String> {
    let Ok(hir) = regex_syntax::parse(pattern) else { return Vec::new() };
    let mut made = Vec::new();
    for more in [0, 1, 2, 64] {
        for which in 0..6 {
            for last in [false, true] {
                let mut text = String::new();
                let choices = Choices { more, which, last };
                if append(&hir, choices, &mut text).is_some() && !made.contains(&text) {
                    made.push(text);
                }
            }
        }
    }
    made
}

/// `None` when the text becomes too long or the pattern accepts nothing.
fn append(hir: &Hir, choices: Choices, text: &mut String) -> Option<()> {
    if text.len() as u64 > MAX_LENGTH {
        return None;
    }
    if hir.properties().maximum_len() == Some(0) {
        return Some(());
    }
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
        HirKind::Class(Class::Unicode(class)) => {
            let ranges = class.ranges();
            let range = ranges.get(choices.which % ranges.len().max(1))?;
            // A class of nearly everything starts with control characters.
            let start = if range.start() < ' ' && range.end() >= 'a' { 'a' } else { range.start() };
            text.push(if choices.last { range.end() } else { start });
        }
        HirKind::Class(Class::Bytes(class)) => {
            let ranges = class.ranges();
            text.push(char::from(ranges.get(choices.which % ranges.len().max(1))?.start()));
        }
        HirKind::Repetition(repetition) => {
            let wanted = repetition.min.saturating_add(choices.more);
            for _ in 0..repetition.max.map_or(wanted, |most| wanted.min(most)) {
                append(&repetition.sub, choices, text)?;
            }
        }
        HirKind::Capture(capture) => append(&capture.sub, choices, text)?,
        HirKind::Concat(parts) => {
            for part in parts {
                append(part, choices, text)?;
            }
        }
        HirKind::Alternation(members) => append(members.get(choices.which % members.len().max(1))?, choices, text)?,
    }
    Some(())
}
