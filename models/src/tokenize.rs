//! Text to token ids, cut to the model's limit.

use std::path::Path;

use tokenizers::{PostProcessor, Tokenizer, TruncationDirection};

use crate::error::ModelError;

/// Characters of a text that are looked at first, per token of the limit. English has about five a token.
const FIRST_LOOK: usize = 16;
/// Characters of a text that are looked at most, per token of the limit.
const LAST_LOOK: usize = 256;
/// Tokens beyond the limit that must be there before the rest of a text is left unread: the cut may change the last
/// tokens before it, never those this far ahead of it.
const MARGIN: usize = 8;

/// A tokenizer with its own padding and truncation switched off, cutting each text to `max_tokens`.
pub(crate) struct TextTokenizer {
    tokenizer: Tokenizer,
    max_tokens: usize,
    special_tokens: usize,
    lowercase: bool,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`; `path` is for messages. `vocabulary`: rows of the model's embedding table.
    pub(crate) fn new(
        json: &[u8],
        path: &Path,
        max_tokens: usize,
        lowercase: bool,
        vocabulary: usize,
    ) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::BadTokenizer { path: path.to_path_buf(), reason };
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|error| refuse(error.to_string()))?;
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|error| refuse(error.to_string()))?;
        let special_tokens = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if special_tokens >= max_tokens {
            return Err(refuse(format!("adds {special_tokens} special tokens, the model takes {max_tokens} in all")));
        }
        let highest = tokenizer.get_vocab(true).into_values().max();
        if highest.is_none_or(|highest| highest as usize >= vocabulary) {
            return Err(refuse(format!(
                "its highest token id is {}, the model embeds {vocabulary} tokens",
                highest.map_or_else(|| "absent".to_owned(), |highest| highest.to_string()),
            )));
        }
        Ok(Self { tokenizer, max_tokens, special_tokens, lowercase })
    }

    /// Token ids of `text`, special ones counted: `[1..=max_tokens]`, each under the model's vocabulary.
    ///
    /// A text is read from its start, in growing pieces that end at white space, until more tokens are there than the
    /// limit keeps. So a megabyte costs no more than a page, and the ids are those of the whole text unless its first
    /// `max_tokens` tokens cover more than 256 characters each (one endless word, or a flood of blanks).
    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>, ModelError> {
        let refuse = |error: tokenizers::Error| ModelError::Tokenize { bytes: text.len(), reason: error.to_string() };
        let wanted = self.max_tokens - self.special_tokens;
        let mut characters = self.max_tokens * FIRST_LOOK;
        let mut encoding = loop {
            let piece = start_of(text, characters);
            let cut = piece.len() < text.len();
            let encoding = if self.lowercase {
                self.tokenizer.encode_fast(piece.to_lowercase(), false)
            } else {
                self.tokenizer.encode_fast(piece, false)
            }
            .map_err(refuse)?;
            if !cut || encoding.len() >= wanted + MARGIN || characters >= self.max_tokens * LAST_LOOK {
                break encoding;
            }
            characters *= 4;
        };
        encoding.truncate(wanted, 0, TruncationDirection::Right);
        let encoding = self.tokenizer.post_process(encoding, None, true).map_err(refuse)?;
        if encoding.is_empty() {
            return Err(ModelError::NoTokens { bytes: text.len() });
        }
        Ok(encoding.get_ids().to_vec())
    }
}

/// The first `characters` of `text`, ending before its last white space where there is any.
fn start_of(text: &str, characters: usize) -> &str {
    let Some((end, _)) = text.char_indices().nth(characters) else {
        return text;
    };
    let piece = &text[..end];
    match piece.rfind(char::is_whitespace) {
        Some(blank) if blank > 0 => &piece[..blank],
        _ => piece,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_at_white_space() {
        let check = |text: &str, characters: usize, expect: &str| assert_eq!(start_of(text, characters), expect);
        check("one two", 9, "one two");
        check("one two", 7, "one two");
        check("one two", 6, "one");
        check("héllo wörld", 8, "héllo");
        check("日本語日本語", 3, "日本語");
        check(" endless", 4, " end");
        check("", 4, "");
    }
}
