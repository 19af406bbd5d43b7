//! A block's text to clauses: sentences, then what is joined within them where each side stands alone.

use unicode_segmentation::UnicodeSegmentation;

use super::words;

/// Longest sentence that is looked through for clauses, in bytes.
const MAX_JOINED_BYTES: usize = 2_000;

/// Ranges of a text, in order and apart from each other.
pub(super) fn of(text: &str) -> Vec<(usize, usize)> {
    if text.starts_with('|') {
        return cells(text);
    }
    let mut clauses = Vec::new();
    for (start, end) in sentences(text) {
        if end - start > MAX_JOINED_BYTES {
            clauses.push((start, end));
            continue;
        }
        let mut from = start;
        for (stop, next) in joints(&text[start..end]) {
            // A shorter joint within one that was cut at already.
            if start + stop < from {
                continue;
            }
            let (left, right) = (&text[from..start + stop], &text[start + next..end]);
            if words::stands_before(left) && words::stands_after(right, &text[start + stop..start + next]) {
                clauses.push((from, start + stop));
                from = start + next;
            }
        }
        clauses.push((from, end));
    }
    clauses
}

/// A row's cells of two words or more; all of it when there is none.
fn cells(row: &str) -> Vec<(usize, usize)> {
    let mut at = 0;
    let mut cells: Vec<(usize, usize)> = Vec::new();
    for cell in row.split('|') {
        cells.push((at, at + cell.len()));
        at += cell.len() + 1;
    }
    let lettered = |range: &&(usize, usize)| row[range.0..range.1].split_whitespace().count() > 1;
    let many: Vec<(usize, usize)> = cells.iter().filter(lettered).copied().collect();
    if many.is_empty() { cells } else { many }
}

/// Sentences by UAX #29, without the breaks after abbreviations and ordinal numbers.
fn sentences(text: &str) -> Vec<(usize, usize)> {
    let mut sentences: Vec<(usize, usize)> = Vec::new();
    for (at, sentence) in text.split_sentence_bound_indices() {
        match sentences.last_mut() {
            Some(last) if words::ends_in_abbreviation(&text[last.0..last.1]) => last.1 = at + sentence.len(),
            _ => sentences.push((at, at + sentence.len())),
        }
    }
    sentences
}

/// Where clauses may be joined: the end of the left and the beginning of the right one. Nothing within brackets and
/// quotation marks counts.
fn joints(sentence: &str) -> Vec<(usize, usize)> {
    let mut joints = Vec::new();
    let (mut depth, mut quoted) = (0_usize, false);
    let lower = sentence.to_ascii_lowercase();
    for (at, c) in sentence.char_indices() {
        match c {
            '(' | '[' | '{' | '\u{201c}' | '\u{201e}' | '\u{ab}' => depth += 1,
            ')' | ']' | '}' | '\u{201d}' | '\u{bb}' => depth = depth.saturating_sub(1),
            '"' => quoted = !quoted,
            ';' | ',' | ' ' if depth == 0 && !quoted => {
                let joint = words::JOINTS.iter().find(|joint| lower[at..].starts_with(**joint));
                if let Some(joint) = joint {
                    joints.push((at, at + joint.len()));
                }
            }
            _ => {}
        }
    }
    joints
}
