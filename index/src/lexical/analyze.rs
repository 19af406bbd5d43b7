//! Text to terms, the same for documents and queries.
//!
//! Runs of letters and digits are words; `camelCase`, `snake_case`, `kebab-case` and digits part them, and a word that was
//! parted is kept whole as well, so `OAuth2` meets both `oauth` and `OAuth2`. Han, kana and Hangul are taken character by
//! character. Then: lower case, ASCII folding, English stop words out, English stemmer.

use std::sync::OnceLock;

use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, LowerCaser, Stemmer, StopWordFilter, TextAnalyzer, Token, TokenStream, Tokenizer,
};

/// Longer words are no words: encoded data, keys, hashes.
const MAX_WORD_CHARS: usize = 64;

/// Words of English that say nothing about what a component does.
const STOP_WORDS: &[&str] = &[
    "a", "about", "again", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been",
    "being", "but", "by", "can", "could", "d", "did", "do", "does", "doing", "don", "each", "else", "etc", "every",
    "few", "for", "from", "get", "gets", "give", "gives", "got", "had", "has", "have", "having", "he", "her", "here",
    "his", "how", "i", "if", "in", "into", "is", "it", "its", "just", "let", "lets", "like", "ll", "m", "make",
    "makes", "may", "me", "might", "more", "most", "must", "my", "need", "needs", "no", "nor", "not", "of", "on",
    "one", "only", "or", "other", "our", "out", "own", "please", "re", "s", "same", "shall", "she", "should", "so",
    "some", "such", "t", "than", "that", "the", "their", "them", "then", "there", "these", "they", "this", "those",
    "to", "too", "us", "ve", "very", "want", "wants", "was", "we", "were", "what", "when", "where", "which", "while",
    "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
];

/// The analyzer, as tantivy takes it.
pub(super) fn analyzer() -> TextAnalyzer {
    // Made once: the list of stop words is shared by its clones.
    static MADE: OnceLock<TextAnalyzer> = OnceLock::new();
    MADE.get_or_init(|| {
        TextAnalyzer::builder(WordTokenizer)
            .filter(LowerCaser)
            .filter(AsciiFoldingFilter)
            .filter(StopWordFilter::remove(STOP_WORDS.iter().map(|&word| word.to_owned())))
            .filter(Stemmer::new(Language::English))
            .build()
    })
    .clone()
}

/// The terms of a text, in order, repeats included: what an index would keep of it.
pub fn analyze(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    analyzer().token_stream(text).process(&mut |token| terms.push(token.text.clone()));
    terms
}

/// The terms of a text as [`analyze`] gives them, stop words included.
pub fn analyze_all(text: &str) -> Vec<String> {
    let mut analyzer = TextAnalyzer::builder(WordTokenizer)
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(Stemmer::new(Language::English))
        .build();
    let mut terms = Vec::new();
    analyzer.token_stream(text).process(&mut |token| terms.push(token.text.clone()));
    terms
}

#[derive(Clone)]
struct WordTokenizer;

struct WordStream<'a> {
    text: &'a str,
    /// Where the next run is looked for.
    at: usize,
    /// Pieces of the current run, last first: byte ranges in `text`.
    pieces: Vec<(usize, usize)>,
    token: Token,
}

impl Tokenizer for WordTokenizer {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        WordStream { text, at: 0, pieces: Vec::new(), token: Token::default() }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        while self.pieces.is_empty() {
            let rest = &self.text[self.at..];
            let Some(start) = rest.find(char::is_alphanumeric) else {
                return false;
            };
            let first = rest[start..].chars().next().expect("a character was found there");
            let length = if stands_alone(first) {
                first.len_utf8()
            } else {
                let end = |c: char| !c.is_alphanumeric() || stands_alone(c);
                rest[start..].find(end).unwrap_or(rest.len() - start)
            };
            let start = self.at + start;
            self.at = start + length;
            split(self.text, start, self.at, &mut self.pieces);
            self.pieces.reverse();
        }
        let Some((start, end)) = self.pieces.pop() else {
            return false;
        };
        self.token.position = self.token.position.wrapping_add(1);
        self.token.offset_from = start;
        self.token.offset_to = end;
        self.token.text.clear();
        self.token.text.push_str(&self.text[start..end]);
        true
    }

    fn token(&self) -> &Token {
        &self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        &mut self.token
    }
}

/// Scripts written without spaces: each character is a term of its own.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}'
        | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

/// Pieces of one run: the parts between digits, the parts of camel case, and the whole when it was parted.
fn split(text: &str, start: usize, end: usize, pieces: &mut Vec<(usize, usize)>) {
    let run = &text[start..end];
    if run.len() > 4 * MAX_WORD_CHARS || run.chars().count() > MAX_WORD_CHARS {
        return;
    }
    pieces.push((start, end));
    let mut stretch_start = start;
    let mut previous: Option<char> = None;
    for (at, c) in run.char_indices() {
        if previous.is_some_and(|previous| previous.is_numeric() != c.is_numeric()) {
            split_case(text, stretch_start, start + at, (start, end), pieces);
            stretch_start = start + at;
        }
        previous = Some(c);
    }
    split_case(text, stretch_start, end, (start, end), pieces);
}

/// Pieces of a stretch of letters or of digits: itself when it is not the whole, and its camel-case parts of two letters
/// and more.
fn split_case(text: &str, start: usize, end: usize, whole: (usize, usize), pieces: &mut Vec<(usize, usize)>) {
    if (start, end) != whole {
        pieces.push((start, end));
    }
    let stretch = &text[start..end];
    let chars: Vec<(usize, char)> = stretch.char_indices().collect();
    let mut part_start = 0;
    for at in 1..=chars.len() {
        let boundary = at == chars.len() || {
            let (before, here) = (chars[at - 1].1, chars[at].1);
            let after = chars.get(at + 1).map(|next| next.1);
            // `fooBar` parts before B; `HTTPServer` parts before S.
            here.is_uppercase() && (before.is_lowercase() || after.is_some_and(char::is_lowercase))
        };
        if boundary {
            let part_end = chars.get(at).map_or(stretch.len(), |next| next.0);
            let part = (start + chars[part_start].0, start + part_end);
            if at - part_start > 1 && part != (start, end) {
                pieces.push(part);
            }
            part_start = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &[&str]) {
        assert_eq!(analyze(text), expect, "{text}");
    }

    #[test]
    fn identifiers_are_parted_and_kept() {
        check("userProfileCard", &["userprofilecard", "user", "profil", "card"]);
        check("HTTPServer", &["httpserver", "http", "server"]);
        check("OAuth2", &["oauth2", "oauth", "auth", "2"]);
        check("oauth 2", &["oauth", "2"]);
        check("date-picker_field", &["date", "picker", "field"]);
        check("sha256sum", &["sha256sum", "sha", "256", "sum"]);
        check("S3", &["s3", "3"]);
        check("C", &["c"]);
    }

    #[test]
    fn words_are_folded_stemmed_and_stopped() {
        check("The Tables' filtering", &["tabl", "filter"]);
        check("Crème brûlée", &["creme", "brule"]);
        check("I need something that is not there", &["someth"]);
        check("the of and", &[]);
        check("", &[]);
        check(" \u{0} --- !!! \u{1f600}", &[]);
    }

    #[test]
    fn other_scripts_and_junk() {
        check("日本語text", &["日", "本", "語", "text"]);
        check("Привет", &["привет"]);
        check(&"x".repeat(65), &[]);
        check(&format!("{} ok", "9f".repeat(200)), &["ok"]);
    }
}
