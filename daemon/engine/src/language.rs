//! Which language an intent is in, so that a model of one language promises nothing about another.
//!
//! Two witnesses: three-letter pieces (`whatlang`), which are sure of long texts only, and function words, which nearly every
//! sentence holds and commands, identifiers and product names do not. English is given up where one of the two is sure, or where
//! both lean away from it.

#[cfg(test)]
mod sentences;
mod words;

use whatlang::{Detector, Info, Lang, Script};

use self::words::{ENGLISH, Known, LATIN};

/// Fewest letters of a text whose language is guessed at all.
const SHORTEST: usize = 12;
/// What the pieces alone must say: at least this sure (0..=1) of so many letters and words, of which at most a quarter are
/// English function words.
const SURE: f64 = 0.7;
const SURE_LETTERS: usize = 24;
const SURE_WORDS: usize = 4;
/// How sure the pieces must be, 0..=1, where two words or more are of a language.
const LEANING: f64 = 0.2;
/// The same where only one is: of the guess, and of that language against English alone.
const LEANING_AWAY: f64 = 0.25;
const LEANING_AGAINST: f64 = 0.5;
/// In how many words one is a sign: of more, it is a name or a quotation.
const SHORT_TEXT: std::ops::RangeInclusive<usize> = 3..=8;

/// The language of an intent where it is surely not one that the model speaks, `None` otherwise: also for what is too short
/// or too odd to tell. Models whose name begins with `multilingual` speak any.
pub fn foreign_language(intent: &str, model: &str) -> Option<&'static str> {
    if model.starts_with("multilingual") {
        return None;
    }
    let letters = intent.chars().filter(|c| c.is_alphabetic()).count();
    let foreign_letters = intent.chars().filter(|c| c.is_alphabetic() && !is_latin(*c)).count();
    // A script is plain to see however short the text is.
    if letters > 0 && foreign_letters * 2 > letters {
        let guess = whatlang::detect(intent);
        return Some(guess.map_or("in a script that is not Latin", |guess| guess.lang().eng_name()));
    }
    if letters < SHORTEST {
        return None;
    }
    in_latin_script(intent, letters).map(Lang::eng_name)
}

fn in_latin_script(intent: &str, letters: usize) -> Option<Lang> {
    let separates = |c: char| !(c.is_alphabetic() || matches!(c, '\'' | '-'));
    let written: Vec<&str> = intent.split(separates).filter(|word| word.contains(char::is_alphabetic)).collect();
    let words: Vec<String> = written.iter().map(|word| word.to_lowercase()).collect();
    let english = words.iter().filter(|word| ENGLISH.contains(&word.as_str())).count();
    // A name keeps its foreign letters in an English text, and would outweigh all of it.
    let is_name = |word: &&&str| word.starts_with(char::is_uppercase) && !word.is_ascii();
    let told: Vec<&str> = written.iter().filter(|word| !is_name(word)).copied().collect();
    let told = told.join(" ");
    let guess = guess(&told, &LATIN.each_ref().map(|known| known.lang))?;
    let away = if guess.lang() == Lang::Eng { 0.0 } else { guess.confidence() };
    let long = letters >= SURE_LETTERS && words.len() >= SURE_WORDS;
    if long && away >= SURE && english * 4 <= words.len() {
        return Some(guess.lang());
    }
    let (known, signs) =
        LATIN.iter().map(|known| (known, signs(known, &words, &written))).max_by_key(|(_, signs)| *signs)?;
    let against = || {
        let pair = self::guess(&told, &[Lang::Eng, known.lang]);
        pair.filter(|pair| pair.lang() == known.lang).map_or(0.0, |pair| pair.confidence())
    };
    let found = match signs {
        0 => false,
        1 => {
            english == 0 && SHORT_TEXT.contains(&words.len()) && (away >= LEANING_AWAY || against() >= LEANING_AGAINST)
        }
        _ => signs > 2 * english && signs * 5 >= words.len() && (away > 0.0 || against() >= LEANING),
    };
    found.then_some(known.lang)
}

/// Words of a text that speak for a language: different function words, and words with its letters. What begins with a capital
/// may be a name, which keeps its letters everywhere.
fn signs(known: &Known, words: &[String], written: &[&str]) -> usize {
    let mut own: Vec<&String> = words.iter().filter(|word| known.words.contains(&word.as_str())).collect();
    own.sort_unstable();
    own.dedup();
    let with_letters = written.iter().filter(|word| word.starts_with(char::is_lowercase));
    own.len() + with_letters.filter(|word| word.contains(|c| known.letters.contains(c))).count()
}

fn guess(intent: &str, among: &[Lang]) -> Option<Info> {
    Detector::with_allowlist(among.to_vec()).detect(intent).filter(|guess| guess.script() == Script::Latin)
}

fn is_latin(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

#[cfg(test)]
mod tests {
    use super::sentences::{PLAIN, SHORT, TECHNICAL};
    use super::*;

    fn is_foreign(intent: &str) -> bool {
        assert_eq!(foreign_language(intent, "multilingual-e5-small"), None);
        foreign_language(intent, "all-MiniLM-L6-v2").is_some()
    }

    #[test]
    fn a_hundred_plain_sentences_in_other_languages_are_seen() {
        let all: Vec<&str> = PLAIN.iter().flat_map(|(_, sentences)| *sentences).copied().collect();
        assert_eq!(all.len(), 100);
        let missed: Vec<&&str> = all.iter().filter(|sentence| !is_foreign(sentence)).collect();
        assert!(missed.is_empty(), "{missed:?}");
        // Of short ones some are too much like English.
        let missed: Vec<&&str> = SHORT.iter().filter(|sentence| !is_foreign(sentence)).collect();
        assert!(missed.len() <= 6, "{missed:?}");
    }

    #[test]
    fn english_with_commands_and_names_is_let_be() {
        let sample = fitment_catalog::File { name: "intents.csv", bytes: fitment_catalog::sample_intents().as_bytes() };
        let sample = fitment_catalog::Dataset::from_csv(sample).expect("the sample's");
        let intents = sample.intents.iter().map(|intent| intent.text.as_str());
        let taken: Vec<&str> = intents.chain(TECHNICAL).filter(|intent| is_foreign(intent)).collect();
        assert!(taken.is_empty(), "{taken:?}");
    }

    /// Where the labelled intents of the public sets are at hand: at most one English intent in two hundred loses its promise.
    #[test]
    fn english_intents_of_public_sets_are_let_be() {
        let Some(folder) = std::env::var_os("FITMENT_INTENTS_DIR").map(std::path::PathBuf::from) else { return };
        for set in ["nl2bash", "metatool", "clinc150"] {
            let files = crate::evaluate::read_dataset(&folder.join(set), "dev").expect("a BEIR folder");
            let texts: Vec<&str> = files.dataset.intents.iter().map(|intent| intent.text.as_str()).collect();
            let taken: Vec<&&str> = texts.iter().filter(|text| is_foreign(text)).collect();
            assert!(taken.len() * 200 <= texts.len(), "{set}: {taken:?}");
        }
    }

    #[test]
    fn what_says_nothing_is_let_be() {
        for intent in ["", "12345 !!", "tar xvf", "zoek", "---", "a b c d e f g h i j k l m n"] {
            assert!(!is_foreign(intent), "{intent}");
        }
    }
}
