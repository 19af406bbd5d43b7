//! Signals of words, and the weighted sum over signals.

use fitment_ranking::{Fusion, SIGNALS, Signal, TextProfile, TextStatistics, term_ids};

fn ids(text: &str) -> Vec<u32> {
    term_ids(&text.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
}

fn close(found: f32, expect: f32) {
    assert!((found - expect).abs() < 1e-5, "{found} is not {expect}");
}

#[test]
fn coverage_and_name_are_shares_by_idf() {
    let bar = TextProfile::new(ids("bar chart revenue"), ids("bar chart"), Vec::new(), "bar chart revenue");
    let line = TextProfile::new(ids("line chart trend"), ids("line chart"), Vec::new(), "line chart trend");
    let mut statistics = TextStatistics::default();
    statistics.insert(&bar);
    statistics.insert(&line);
    // idf over 2 components: of `chart` ln(1 + 0.5 / 2.5), of `bar` and `trend` ln 2, of an unknown word ln 6.
    let (chart, rare, unknown) = (1.2f32.ln(), 2f32.ln(), 6f32.ln());
    let query = statistics.query(&ids("bar chart today bar"), "bar chart today");
    close(query.coverage(&bar), (rare + chart) / (rare + chart + unknown));
    close(query.coverage(&line), chart / (rare + chart + unknown));
    let query = statistics.query(&ids("bar trend"), "bar trend");
    close(query.coverage_together(&[&bar, &line]), 1.0);
    close(query.coverage_together(&[]), 0.0);
    // Among titles: `bar` is worth ln(1 + 2 / 1), `chart` ln(1 + 2 / 2).
    close(statistics.name(&bar, &query), 3f32.ln() / (3f32.ln() + 2f32.ln()));
    close(statistics.name(&line, &query), 0.0);
}

#[test]
fn trigrams_are_saturated_bm25() {
    // `^a`, `a$`: one piece `^a$` each, in one component of one: idf ln(1 + 0.5 / 1.5), count 1, mean length 1.
    let only = TextProfile::new(ids("a"), ids("a"), Vec::new(), "a");
    let mut statistics = TextStatistics::default();
    statistics.insert(&only);
    close(statistics.query(&ids("a"), "A").trigrams(&only), 0.5);
    close(statistics.query(&ids("b"), "b").trigrams(&only), 0.0);
    let typing = TextProfile::new(ids("invoice"), ids("invoice"), Vec::new(), "invoice");
    statistics.insert(&typing);
    let misspelt = statistics.query(&ids("invoise"), "invoise");
    assert!(misspelt.trigrams(&typing) > misspelt.trigrams(&only) && misspelt.coverage(&typing) == 0.0);
}

#[test]
fn nothing_asked_or_known_is_zero() {
    let empty = TextProfile::default();
    let statistics = TextStatistics::default();
    let query = statistics.query(&[], "");
    for value in [query.coverage(&empty), query.trigrams(&empty), statistics.name(&empty, &query)] {
        close(value, 0.0);
    }
    assert_eq!(TextProfile::from_bytes(&empty.to_bytes()), Some(empty));
    assert_eq!(TextProfile::from_bytes(&[0xff; 64]), None);
}

#[test]
fn fusion_is_written_by_name_and_read_to_the_bit() {
    let fusion = Fusion::new([(Signal::Centroid, 0.1 + 0.2), (Signal::Name, -1.0 / 3.0)], 5e-324).expect("finite");
    let text = serde_json::to_string(&fusion).expect("can be written");
    assert!(text.contains("\"centroid\"") && !text.contains("\"words\""), "{text}");
    assert_eq!(serde_json::from_str::<Fusion>(&text).expect("can be read"), fusion);
    for wrong in [
        "{\"weights\":{\"centroid\":1e7},\"offset\":0}",
        "{\"weights\":{\"centroid\":null},\"offset\":0}",
        "{\"weights\":{\"centroit\":1},\"offset\":0}",
        "{\"weights\":{},\"offset\":1e999}",
    ] {
        assert!(serde_json::from_str::<Fusion>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn fusion_refuses_numbers_that_are_none() {
    for number in [f64::NAN, f64::INFINITY, -1e7] {
        assert!(Fusion::new([(Signal::Words, number)], 0.0).is_err(), "{number}");
        assert!(Fusion::new([], number).is_err(), "{number}");
    }
}

#[test]
fn score_is_logistic_and_strange_signals_say_nothing() {
    let fusion = Fusion::new([(Signal::Centroid, 2.0), (Signal::Words, 4.0)], 3.0).expect("finite");
    let mut signals = [0.0; SIGNALS];
    signals[Signal::Centroid.index()] = 0.5;
    signals[Signal::Words.index()] = 0.5;
    assert!((fusion.sum(&signals) - 3.0).abs() < 1e-12 && (fusion.score(3.0) - 0.5).abs() < 1e-12);
    assert!((fusion.score(4.0) / (1.0 - fusion.score(4.0)) - std::f64::consts::E).abs() < 1e-9);
    assert_eq!(fusion.shares(&signals), [(Signal::Centroid, 1.0), (Signal::Words, 2.0)]);
    for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        signals[Signal::Words.index()] = strange;
        signals[Signal::Head.index()] = strange;
        assert!((fusion.sum(&signals) - 1.0).abs() < 1e-12, "{strange}");
    }
}

#[test]
fn every_signal_is_found_by_its_name() {
    for (at, signal) in Signal::ALL.into_iter().enumerate() {
        assert_eq!((signal.index(), Signal::named(signal.as_str())), (at, Some(signal)));
    }
    assert_eq!(Signal::named("centroit"), None);
    assert!(Signal::Prototype.is_learnt() && !Signal::SecondStage.is_learnt());
}
