//! Places in texts of policies, and bounds on what a policy may cost to read.

use std::fmt::Display;

use miette::Diagnostic;

use super::PolicySource;
use crate::error::{PolicyFault, one_line};

/// Deepest nesting of brackets and `if`s. An `if` has no end of its own, so all of a policy count.
const MAX_NESTING: usize = 32;
/// Most operators and brackets in one policy: readers of expressions descend into each.
const MAX_OPERATORS: usize = 400;

pub(super) fn fault(
    source: PolicySource<'_>,
    place: Option<(usize, usize)>,
    description: impl Into<String>,
) -> PolicyFault {
    PolicyFault { file: source.file.to_owned(), place, description: description.into() }
}

/// A message of Cedar's with its place and, where it has one, its help.
pub(super) fn diagnosed(source: PolicySource<'_>, error: &(impl Diagnostic + Display)) -> PolicyFault {
    let offset = error.labels().and_then(|mut labels| labels.next()).map(|label| label.offset());
    let place = offset.map(|offset| line_and_column(source.text, offset));
    let description = match error.help() {
        Some(help) => format!("{}; {}", one_line(error), one_line(&help)),
        None => one_line(error),
    };
    fault(source, place, description)
}

/// Where a policy's text starts.
pub(super) fn place_of(source: PolicySource<'_>, text: &str) -> Option<(usize, usize)> {
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

/// Refuses texts that a recursive reader would descend into too far. Strings and comments do not count.
pub(super) fn bounded(source: PolicySource<'_>) -> Result<(), PolicyFault> {
    let (mut nesting, mut ifs, mut operators) = (0_usize, 0_usize, 0_usize);
    let mut rest = source.text.char_indices().peekable();
    while let Some((offset, c)) = rest.next() {
        match c {
            '"' => skip_string(&mut rest),
            '/' if rest.peek().is_some_and(|(_, next)| *next == '/') => {
                while rest.next_if(|(_, next)| *next != '\n').is_some() {}
            }
            '(' | '[' | '{' => {
                nesting += 1;
                operators += 1;
            }
            ')' | ']' | '}' => nesting = nesting.saturating_sub(1),
            ';' => (ifs, operators) = (0, 0),
            'a'..='z' | 'A'..='Z' | '_' => {
                let word = rest.clone().take_while(|(_, c)| c.is_ascii_alphanumeric() || *c == '_').map(|(_, c)| c);
                ifs += usize::from(c == 'i' && word.eq(['f']));
                while rest.next_if(|(_, c)| c.is_ascii_alphanumeric() || *c == '_').is_some() {}
            }
            '&' | '|' | '+' | '-' | '*' | '.' | '!' | '=' | '<' | '>' | '?' => operators += 1,
            _ => {}
        }
        if nesting + ifs > MAX_NESTING || operators > MAX_OPERATORS {
            let rule = format!(
                "a policy has more than {MAX_NESTING} levels of brackets and ifs, or {MAX_OPERATORS} operators; split it"
            );
            return Err(fault(source, Some(line_and_column(source.text, offset)), rule));
        }
    }
    Ok(())
}

fn skip_string(rest: &mut std::iter::Peekable<std::str::CharIndices<'_>>) {
    while let Some((_, c)) = rest.next() {
        match c {
            '\\' => {
                rest.next();
            }
            '"' => return,
            _ => {}
        }
    }
}
