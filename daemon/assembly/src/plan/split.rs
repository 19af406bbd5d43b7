//! A requirement text to intents, by rules and word lists alone: the same text gives the same intents on any machine.
//!
//! The method is stated step by step in docs/planning.md. Each intent splits into itself: a candidate is split again
//! until nothing changes, and each change makes it shorter.

mod blocks;
mod clauses;
mod words;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::PlanError;
use blocks::{Block, blocks};

/// Largest requirement text, in bytes.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;
/// Most intents of one text.
pub const MAX_INTENTS: usize = 256;

/// One thing that is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Intent {
    /// What is asked for, on one line.
    pub text: String,
    /// Where it begins in the source, in bytes.
    pub start: usize,
    /// Where it ends, in bytes; what came from elsewhere (a list's heading line) lies outside.
    pub end: usize,
    /// Line of `start`, from 1.
    pub line: usize,
}

/// Splits a text into intents, in the order of the text, none twice.
///
/// # Errors
/// [`PlanError::TextTooLong`] and [`PlanError::TooManyIntents`].
pub fn split(text: &str) -> Result<Vec<Intent>, PlanError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(PlanError::TextTooLong { bytes: text.len() });
    }
    let mut intents: Vec<Intent> = Vec::new();
    let mut known = HashSet::new();
    let (mut line, mut counted) = (1, 0);
    for Candidate { text: words, start, end } in settled(text)? {
        if !known.insert(words.to_lowercase()) {
            continue;
        }
        line += text.get(counted..start).map_or(0, |between| between.matches('\n').count());
        counted = start;
        intents.push(Intent { text: words, start, end, line });
    }
    if intents.len() > MAX_INTENTS {
        return Err(PlanError::TooManyIntents { found: intents.len() });
    }
    Ok(intents)
}

/// A text on its way to being an intent, and where it stands in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    text: String,
    start: usize,
    end: usize,
}

/// Most candidates that are followed. Each that is followed is an intent or makes at least one.
const MAX_CANDIDATES: usize = 16 * MAX_INTENTS;

/// All candidates that split into themselves.
fn settled(text: &str) -> Result<Vec<Candidate>, PlanError> {
    let mut settled = Vec::new();
    let mut waiting = candidates(text);
    let mut found = waiting.len();
    if found > MAX_CANDIDATES {
        return Err(PlanError::TooManyIntents { found });
    }
    waiting.reverse();
    while let Some(candidate) = waiting.pop() {
        let parts = candidates(&candidate.text);
        if matches!(parts.as_slice(), [only] if only.text == candidate.text) {
            settled.push(candidate);
            continue;
        }
        found += parts.len().saturating_sub(1);
        if found > MAX_CANDIDATES {
            return Err(PlanError::TooManyIntents { found });
        }
        // Where the candidate stands in the source as it is, so do its parts; otherwise they stand where it stands.
        let exact = text.get(candidate.start..candidate.end) == Some(candidate.text.as_str());
        waiting.extend(parts.into_iter().rev().map(|part| {
            let (start, end) = (candidate.start + part.start, candidate.start + part.end);
            if exact { Candidate { start, end, ..part } } else { Candidate { text: part.text, ..candidate.clone() } }
        }));
    }
    Ok(settled)
}

/// One pass over a text.
fn candidates(text: &str) -> Vec<Candidate> {
    let mut found = Vec::new();
    for Block { text: source, pieces, context } in blocks(text) {
        for (start, end) in clauses::of(&source) {
            let Some(words) = words::cleaned(&source[start..end]) else { continue };
            let words = match &context {
                Some(context) if words::is_fragment(&words) => format!("{context}: {words}"),
                _ => words,
            };
            let place = |at: usize| blocks::place(&pieces, at);
            let from = source[start..end].len() - source[start..end].trim_start().len();
            let to = source[start..end].trim_end().len();
            found.push(Candidate { text: words, start: place(start + from), end: place((start + to).max(1) - 1) + 1 });
        }
    }
    // A character is never cut, and no place lies before the one that was found before it.
    let mut least = 0;
    for candidate in &mut found {
        candidate.start = candidate.start.max(least).min(text.len());
        candidate.end = candidate.end.max(candidate.start).min(text.len());
        while !text.is_char_boundary(candidate.start) {
            candidate.start -= 1;
        }
        while !text.is_char_boundary(candidate.end) {
            candidate.end += 1;
        }
        least = candidate.start;
    }
    found
}
