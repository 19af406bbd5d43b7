//! Foreign text as a report shows it, and figures for people.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};

/// Whether a character shows nothing, or changes how what stands beside it is shown. Joiners stay: scripts need them.
pub(super) fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// The text with each hidden character replaced by its code point, so that what is read is what is there.
pub(super) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a String cannot fail.
            let _ = write!(shown, "⟨U+{:04X}⟩", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

/// The first `most` characters, with an ellipsis where something is cut.
pub(super) fn cut(text: &str, most: usize) -> String {
    if text.chars().nth(most).is_none() {
        return visible(text);
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", visible(kept.trim_end()))
}

/// A count with thousands separated.
pub(super) fn count(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// `1 part`, `2 parts`.
pub(super) fn counted(value: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// Lines of code, where they are known.
pub(super) fn counted_lines(lines: Option<u64>) -> String {
    lines.map_or_else(|| "lines not stated".to_owned(), |lines| counted(lines, "line", "lines"))
}

/// `2026-11-01 12:00 UTC`.
pub(super) fn minute(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// `2026-11-01`.
pub(super) fn day(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d").to_string()
}

/// Whole days from one instant to another, none where it is not ahead.
pub(super) fn days_left(at: Timestamp, until: Timestamp) -> u64 {
    let left = until.duration_since(at).max(SignedDuration::ZERO);
    left.as_hours().unsigned_abs() / 24
}

/// JSON for files: indented, with hidden characters escaped, so that the file shows them and no program loses them.
pub(super) fn json(value: &serde_json::Value) -> Vec<u8> {
    let plain = serde_json::to_string_pretty(value).expect("a JSON value with text keys can be written");
    let mut text = String::with_capacity(plain.len() + 1);
    for c in plain.chars() {
        // Outside of texts JSON is ASCII, and within them control characters are escaped already.
        if c == '\n' || !is_hidden(c) {
            text.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text.push('\n');
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_shown() {
        assert_eq!(visible("a\u{202e}b\n\u{7f}"), "a⟨U+202E⟩b⟨U+000A⟩⟨U+007F⟩");
        assert_eq!(visible("größer 中 שלום"), "größer 中 שלום");
        assert_eq!((cut("abcd", 3).as_str(), cut("abc", 3).as_str()), ("ab…", "abc"));
    }

    #[test]
    fn json_keeps_hidden_characters() {
        let value = serde_json::json!({ "a\u{202e}": "\u{e0001}\u{200b}\n\u{7f}\"" });
        let written = json(&value);
        assert!(written.iter().all(u8::is_ascii), "{}", String::from_utf8_lossy(&written));
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&written).ok(), Some(value));
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1_234_567].map(count), ["0", "999", "1,234,567"]);
        let at: Timestamp = "2026-11-01T12:00:00Z".parse().expect("an instant");
        let until: Timestamp = "2026-11-03T11:59:59Z".parse().expect("an instant");
        assert_eq!((days_left(at, until), days_left(until, at)), (1, 0));
        assert_eq!((minute(at).as_str(), day(until).as_str()), ("2026-11-01 12:00 UTC", "2026-11-03"));
    }
}
