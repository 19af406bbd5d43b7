//! Intents as the encoder and the lexical search see them.

use unicode_normalization::UnicodeNormalization;

use crate::error::EngineError;

/// Longest intent in bytes of UTF-8.
pub const MAX_INTENT_BYTES: usize = 8 * 1024;

/// Unicode NFC, control characters and runs of white space made one space, ends trimmed.
///
/// Errors: an intent that is longer than [`MAX_INTENT_BYTES`], or blank after this.
pub fn normalize_intent(intent: &str) -> Result<String, EngineError> {
    if intent.len() > MAX_INTENT_BYTES {
        return Err(EngineError::field(
            "intent",
            format!(
                "is {} bytes long, at most {MAX_INTENT_BYTES} are taken; state the need in a few sentences",
                intent.len()
            ),
        ));
    }
    let normalized = normalize_text(intent);
    if normalized.chars().all(is_invisible) {
        return Err(EngineError::field("intent", "is empty or blank; say in plain words what is needed"));
    }
    Ok(normalized)
}

/// Characters that show nothing by themselves; an intent of nothing else is blank.
fn is_invisible(character: char) -> bool {
    matches!(character, ' ' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// [`normalize_intent`] without its limits, for texts that were checked elsewhere.
pub fn normalize_text(text: &str) -> String {
    let mut normalized = String::with_capacity(text.len());
    for character in text.nfc() {
        if !(character.is_whitespace() || character.is_control()) {
            normalized.push(character);
        } else if !normalized.is_empty() && !normalized.ends_with(' ') {
            normalized.push(' ');
        }
    }
    normalized.truncate(normalized.trim_end().len());
    normalized
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expect: &str) {
        assert_eq!(normalize_intent(input).expect("a valid intent"), expect);
    }

    #[test]
    fn white_space_and_control_characters_fold() {
        check("  sign\t in \r\n form\u{0} ", "sign in form");
        check("cafe\u{301}", "café");
        check("支払い フォーム", "支払い フォーム");
    }

    #[test]
    fn blank_and_long_intents_are_refused() {
        for intent in ["", " \n\t", "\u{0}\u{3000}", "\u{200b}\u{200d} \u{feff}"] {
            assert!(normalize_intent(intent).is_err(), "{intent:?}");
        }
        assert!(normalize_intent(&"a".repeat(MAX_INTENT_BYTES)).is_ok());
        let error = normalize_intent(&"a".repeat(MAX_INTENT_BYTES + 1)).expect_err("too long");
        assert!(error.to_string().contains("8193 bytes"), "{error}");
    }
}
