//! Places in texts of policies, and a bound on how deep a reader of one descends.

use std::fmt::Display;

use miette::Diagnostic;

use super::PolicyText;
use crate::error::{Fault, one_line};

/// Most brackets, `if`s and operators in one policy: Cedar's reader, type checker and evaluator may descend into each.
const MAX_OPERATORS: usize = 400;
/// Deepest nesting of brackets, and most `if`s, which have no end of their own.
const MAX_NESTING: usize = 32;

pub(super) fn fault(source: PolicyText<'_>, place: Option<(usize, usize)>, description: impl Into<String>) -> Fault {
    let path = place.map_or_else(String::new, |(line, column)| format!("line {line}, column {column}"));
    Fault { file: source.file.to_owned(), path, description: description.into() }
}

/// A message of Cedar's with its place and, where it has one, its help.
pub(super) fn diagnosed(source: PolicyText<'_>, error: &(impl Diagnostic + Display)) -> Fault {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let mut description = one_line(error);
    if let Some(help) = error.help() {
        description = format!("{description}; {}", one_line(&help));
    }
    fault(source, offset.map(|offset| line_and_column(source.text, offset)), description)
}

/// Where a policy's text starts.
pub(super) fn place_of(source: PolicyText<'_>, text: &str) -> Option<(usize, usize)> {
    source.text.find(text).filter(|_| !text.is_empty()).map(|offset| line_and_column(source.text, offset))
}

/// Line and column in characters, both from 1.
fn line_and_column(text: &str, offset: usize) -> (usize, usize) {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let before = &text[..offset];
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
}

/// Refuses texts that a recursive reader would descend into too far. What stands in strings and comments does not count.
pub(super) fn bounded(source: PolicyText<'_>) -> Result<(), Fault> {
    let (mut depth, mut ifs, mut operators) = (0_usize, 0_usize, 0_usize);
    let mut word = String::new();
    let mut rest = source.text.char_indices().peekable();
    while let Some((offset, c)) = rest.next() {
        if c.is_ascii_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        ifs += usize::from(word == "if");
        word.clear();
        match c {
            '"' => {
                while let Some((_, inner)) = rest.next() {
                    match inner {
                        '\\' => drop(rest.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest.next_if(|(_, next)| *next != '\n').is_some() {}
            }
            '(' | '[' | '{' => (depth, operators) = (depth + 1, operators + 1),
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            ';' => (ifs, operators) = (0, 0),
            _ if c.is_ascii_punctuation() && !matches!(c, ',' | ':' | '@' | '#') => operators += 1,
            _ => {}
        }
        if depth + ifs > MAX_NESTING || operators > MAX_OPERATORS {
            let rule = format!(
                "a policy has more than {MAX_NESTING} levels of brackets and ifs, or {MAX_OPERATORS} operators; split it"
            );
            return Err(fault(source, Some(line_and_column(source.text, offset)), rule));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> bool {
        bounded(PolicyText { file: "org.cedar", text }).is_err()
    }

    #[test]
    fn what_nests_too_deep_is_refused_before_it_is_read() {
        assert!(!refused("permit (principal, action, resource) when { principal.tenant == \"((((\" };"));
        assert!(refused(&"(".repeat(40)));
        assert!(refused(&format!("permit when {{ {} 1 }}", "if true then ".repeat(40))));
        assert!(refused(&format!("permit when {{ {} true }}", "!".repeat(500))));
        assert!(!refused(&format!("// {}\npermit", "(".repeat(500))));
        assert!(!refused(&"a when { x == y };\n".repeat(500)), "each policy has its own bound");
    }
}
