//! Texts in the forms that OSCAL has for them, which are narrower than those of the documents that they come from:
//! identifiers begin with a letter, values have no line breaks, titles and remarks are Markdown.

use std::fmt::Write as _;

use crate::report::text;

/// A text as a token. One that begins with a letter and holds letters, digits, `.`, `-` and `_` alone stays as it is. Any
/// other gets `_` in front, and what may not stand in a token becomes `_` and its code in two hexadecimal digits a byte:
/// `6.4.3` is `_6.4.3`, `A.5(b)` is `_A.5_28b_29`. Unequal texts have unequal tokens.
pub(super) fn token(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic()) && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut token = "_".to_owned();
    for b in text.bytes() {
        if plain(b) && b != b'_' {
            token.push(char::from(b));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(token, "_{b:02x}");
        }
    }
    token
}

/// A text as a value: no hidden characters, no white space around it, not empty.
pub(super) fn value(text: &str) -> String {
    let shown = text::visible(text);
    let trimmed = shown.trim();
    if trimmed.is_empty() { "(empty)".to_owned() } else { trimmed.to_owned() }
}

/// A text as a line of Markdown that says it and nothing else.
pub(super) fn prose(text: &str) -> String {
    let mut escaped = String::new();
    for c in value(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '{' | '}' | '~' | '^' | '#' | '|' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn tokens_stay_apart() {
        assert_eq!(token("art-32"), "art-32");
        assert_eq!(token("6.4.3"), "_6.4.3");
        assert_eq!(token("A.5(b)"), "_A.5_28b_29");
        let texts = ["_", "__", "a", "_a", "1", "_1", "_5f", "whole", "named", "_whole", "a/b", "a_2fb"];
        let tokens: BTreeSet<String> = texts.iter().map(|text| token(text)).collect();
        assert_eq!(tokens.len(), texts.len());
        assert!(!tokens.contains("_whole") && !tokens.contains("_named"));
    }

    #[test]
    fn values_and_prose_hold_the_text_alone() {
        assert_eq!((value(" \n ").as_str(), value("").as_str(), value(" a ").as_str()), ("⟨U+000A⟩", "(empty)", "a"));
        assert_eq!(prose("<b>*x* [a](b) {{ insert }}"), "&lt;b&gt;\\*x\\* \\[a\\](b) \\{\\{ insert \\}\\}");
    }
}
