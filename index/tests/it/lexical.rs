//! What the lexical index promises.

use std::collections::BTreeMap;

use fitment_index::{DocId, DocSet, FieldSpec, IndexError, LexicalIndex, MAX_QUERY_TERMS, analyze_text};
use proptest::prelude::*;

use crate::data::Random;

fn fields() -> [FieldSpec; 2] {
    [FieldSpec::new("name", 3.0), FieldSpec::new("text", 1.0)]
}

fn index(documents: &[(u32, &str, &str)]) -> LexicalIndex {
    let mut index = LexicalIndex::open_or_create(None, &fields()).unwrap();
    for (doc, name, text) in documents {
        index.upsert(DocId(*doc), &[("name", name), ("text", text)]).unwrap();
    }
    index.commit("1").unwrap();
    index
}

fn found(index: &LexicalIndex, text: &str) -> Vec<u32> {
    index.search(text, 10, None, None).unwrap().hits.iter().map(|hit| hit.doc.0).collect()
}

const SMALL: &[(u32, &str, &str)] = &[
    (4, "date-picker", "Lets a person choose a calendar date"),
    (2, "DataTable", "Sortable and filterable tables of records"),
    (9, "OAuth2 sign-in", "Signs a person in with an identity provider; shows the date of the last visit"),
    (7, "payment form", "Takes a credit card"),
];

#[test]
fn words_find_documents_by_weight() {
    let index = index(SMALL);
    assert_eq!(found(&index, "date"), [4, 9]);
    assert_eq!(found(&index, "pick a DATE"), [4, 9]);
    assert_eq!(found(&index, "data table"), [2]);
    assert_eq!(found(&index, "tables that filter"), [2]);
    assert_eq!(found(&index, "oauth"), [9]);
    assert_eq!(found(&index, "signing people in"), [9]);
    assert_eq!(found(&index, "kubernetes"), [] as [u32; 0]);
    let flat = index.search("date person", 10, None, Some(&[0.0, 1.0])).unwrap().hits;
    assert_eq!(flat.iter().map(|hit| hit.doc.0).collect::<Vec<_>>(), [4, 9]);
    let names_only = index.search("person", 10, None, Some(&[1.0, 0.0])).unwrap().hits;
    assert!(names_only.is_empty());
}

#[test]
fn stop_words_and_nothing_find_nothing() {
    let index = index(SMALL);
    for text in ["", "   ", "the of and with", "?!*()[]{}:\"'\\^~+-", "\u{0}\u{1f600}"] {
        let result = index.search(text, 10, None, None).unwrap();
        assert!(result.hits.is_empty() && result.terms.is_empty(), "{text:?}");
        assert!(result.normalizer.abs() < f32::EPSILON);
    }
    assert!(index.search("date", 0, None, None).unwrap().hits.is_empty());
}

#[test]
fn query_syntax_is_only_words() {
    let index = index(SMALL);
    for text in ["name:date", "+date -picker", "\"date\"~5^9", "date OR *:*", "(date", "text:[a TO z] date", "da* date"]
    {
        assert!(found(&index, text).starts_with(&[4]), "{text}");
        assert!(found(&index, text).len() <= 2, "{text}");
    }
}

#[test]
fn filters_are_inside_the_search() {
    let documents: Vec<(u32, &str, &str)> = (0..500).map(|doc| (doc, "", "common words here")).collect();
    let index = index(&documents);
    let allowed: DocSet = (100..500).step_by(100).map(DocId).collect();
    let hits = index.search("common", 3, Some(&allowed), None).unwrap().hits;
    assert_eq!(hits.iter().map(|hit| hit.doc.0).collect::<Vec<_>>(), [100, 200, 300]);
    assert!(index.search("common", 3, Some(&DocSet::new()), None).unwrap().hits.is_empty());
}

#[test]
fn equal_documents_tie_and_go_by_number_whatever_the_order_of_writing() {
    let documents: Vec<(u32, &str, &str)> = (0..300).map(|at| ((at * 7919) % 300, "same name", "same text")).collect();
    let mut index = LexicalIndex::open_or_create(None, &fields()).unwrap();
    for (at, (doc, name, text)) in documents.iter().enumerate() {
        index.upsert(DocId(*doc), &[("name", name), ("text", text)]).unwrap();
        if at % 90 == 0 {
            index.commit("part").unwrap();
        }
    }
    index.commit("all").unwrap();
    let hits = index.search("same text name", 12, None, None).unwrap().hits;
    assert_eq!(hits.iter().map(|hit| hit.doc.0).collect::<Vec<_>>(), (0..12).collect::<Vec<_>>());
    assert!(hits.iter().all(|hit| hit.score.to_bits() == hits[0].score.to_bits()));
}

#[test]
fn writes_are_seen_after_a_commit_and_carry_its_stamp() {
    let mut index = LexicalIndex::open_or_create(None, &fields()).unwrap();
    assert_eq!((index.stamp(), index.len_docs()), (None, 0));
    index.upsert(DocId(1), &[("name", "alpha")]).unwrap();
    assert_eq!(found(&index, "alpha"), [] as [u32; 0]);
    index.commit("revision 1").unwrap();
    assert_eq!((found(&index, "alpha"), index.stamp()), (vec![1], Some("revision 1")));
    index.upsert(DocId(1), &[("name", "beta")]).unwrap();
    index.upsert(DocId(2), &[("name", "beta"), ("name", "gamma")]).unwrap();
    index.commit("revision 2").unwrap();
    assert_eq!(found(&index, "alpha"), [] as [u32; 0]);
    assert_eq!(found(&index, "beta"), [1, 2]);
    assert_eq!(found(&index, "gamma"), [2]);
    index.remove(DocId(1));
    index.remove(DocId(77));
    index.commit("revision 3").unwrap();
    assert_eq!(found(&index, "beta"), [2]);
    assert_eq!(index.docs().unwrap(), [DocId(2)].into_iter().collect());
    index.optimize().unwrap();
    assert_eq!((found(&index, "beta"), index.stamp(), index.len_docs()), (vec![2], Some("revision 3"), 1));
    index.clear().unwrap();
    index.commit("revision 4").unwrap();
    assert_eq!(index.len_docs(), 0);
}

#[test]
fn a_full_match_in_the_heaviest_field_is_about_one() {
    let word = |mut number: u32| {
        let mut word = String::from("k");
        for _ in 0..3 {
            word.push(char::from(b"bcdfghjklm"[number as usize % 10]));
            number /= 10;
        }
        word
    };
    let document = |doc: u32| {
        let name = format!("{} {} unit", word(doc), word(500 + doc % 20));
        (doc, name, format!("filler text {}", word(900 + doc % 9)))
    };
    let documents: Vec<(u32, String, String)> = (0..200).map(document).collect();
    let documents: Vec<(u32, &str, &str)> = documents.iter().map(|(d, n, t)| (*d, n.as_str(), t.as_str())).collect();
    let index = index(&documents);
    let fraction = |text: &str| {
        let result = index.search(text, 1, None, None).unwrap();
        (result.hits.first().map_or(0.0, |hit| hit.score / result.normalizer), result.hits.first().map(|hit| hit.doc.0))
    };
    let (full, doc) = fraction(&format!("{} {}", word(17), word(517)));
    assert_eq!(doc, Some(17));
    assert!((0.8..1.25).contains(&full), "{full}");
    let (half, _) = fraction(&format!("{} unheard", word(17)));
    assert!(half < 0.65 * full, "{half} of {full}");
    assert!(fraction(&word(903)).0 < 0.5);
}

#[test]
fn explanations_sum_to_the_score() {
    let index = index(SMALL);
    let text = "the date a person signs in";
    for hit in index.search(text, 10, None, None).unwrap().hits {
        let parts = index.explain(text, hit.doc, None).unwrap();
        let sum: f32 = parts.iter().map(|part| part.score).sum();
        assert!((sum - hit.score).abs() < 1e-5, "{parts:?} for {hit:?}");
    }
    let parts = index.explain("date", DocId(4), None).unwrap();
    assert_eq!(parts.iter().map(|part| part.field.as_str()).collect::<Vec<_>>(), ["name", "text"]);
    assert!(index.explain("date", DocId(7), None).unwrap().is_empty());
    assert!(index.explain("date", DocId(1234), None).unwrap().is_empty());
}

#[test]
fn a_query_of_a_mebibyte_is_cut_to_its_first_terms() {
    let index = index(SMALL);
    let mut random = Random::new(11);
    let mut text = String::new();
    while text.len() <= 1 << 20 {
        let letters = (0..8).map(|_| char::from(b'a' + u8::try_from(random.below(26)).unwrap()));
        text.extend(letters.chain([' ']));
    }
    assert_eq!(index.search(&text, 10, None, None).unwrap().terms.len(), MAX_QUERY_TERMS);
    text.insert_str(0, "date ");
    assert_eq!(found(&index, &text), [4, 9]);
    assert_eq!(found(&index, &"date ".repeat(1 << 18)), [4, 9]);
    assert_eq!(found(&index, &"x".repeat(1 << 20)), [] as [u32; 0]);
    assert_eq!(found(&index, &"日".repeat(1 << 18)), [] as [u32; 0]);
}

#[test]
fn wrong_fields_and_weights_are_refused() {
    let mut index = index(SMALL);
    let error = index.upsert(DocId(4), &[("nmae", "x")]).unwrap_err();
    assert!(matches!(&error, IndexError::UnknownField { known, .. } if known == "name, text"), "{error}");
    index.commit("2").unwrap();
    assert_eq!(found(&index, "date"), [4, 9]);
    for weights in [&[1.0][..], &[1.0, f32::NAN], &[-1.0, 1.0]] {
        assert!(matches!(index.search("date", 1, None, Some(weights)), Err(IndexError::Option { .. })));
    }
    assert!(LexicalIndex::open_or_create(None, &[FieldSpec::new("a", f32::INFINITY)]).is_err());
}

/// BM25 by its definition, over maps of words.
fn by_definition(documents: &BTreeMap<u32, [Vec<String>; 2]>, terms: &[String]) -> BTreeMap<u32, f64> {
    #[expect(clippy::cast_precision_loss, reason = "small counts")]
    let float = |n: usize| n as f64;
    let count = float(documents.len());
    let mut scores = BTreeMap::new();
    for term in terms {
        let has = |field: usize| documents.values().filter(|doc| doc[field].contains(term)).count();
        let df = float(has(0).max(has(1)));
        let idf = (1.0 + (count - df + 0.5) / (df + 0.5)).ln();
        for (field, weight) in [(0, 3.0), (1, 1.0)] {
            let mean = float(documents.values().map(|doc| doc[field].len()).sum::<usize>()) / count;
            for (id, doc) in documents {
                let tf = float(doc[field].iter().filter(|word| *word == term).count());
                if tf > 0.0 {
                    let norm = 1.2 * (0.25 + 0.75 * float(doc[field].len()) / mean);
                    *scores.entry(*id).or_insert(0.0) += weight * idf * tf * 2.2 / (tf + norm);
                }
            }
        }
    }
    scores
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Lengths below 40 are kept exactly by the engine's length codes, so scores must agree.
    #[test]
    fn scores_follow_the_definition(
        texts in prop::collection::vec(("[a-e]{1,2}( [a-e]{1,2}){0,9}", "[a-e]{1,2}( [a-e]{1,2}){0,30}"), 1..40),
        query in "[a-f]{1,2}( [a-f]{1,2}){0,6}",
    ) {
        let documents: Vec<(u32, &str, &str)> =
            (0..).zip(&texts).map(|(doc, (name, text))| (doc, name.as_str(), text.as_str())).collect();
        let index = index(&documents);
        let model: BTreeMap<u32, [Vec<String>; 2]> =
            documents.iter().map(|(doc, name, text)| (*doc, [analyze_text(name), analyze_text(text)])).collect();
        let result = index.search(&query, 1000, None, None).unwrap();
        let expected = by_definition(&model, &result.terms);
        prop_assert_eq!(result.hits.len(), expected.len());
        for hit in &result.hits {
            let score = expected[&hit.doc.0];
            prop_assert!((f64::from(hit.score) - score).abs() < 1e-3 * score, "{:?} for {}", hit, score);
        }
        prop_assert!(result.hits.is_sorted_by(|a, b| (b.score, a.doc) < (a.score, b.doc)));
    }

    #[test]
    fn no_text_panics(text in any::<String>()) {
        let index = index(SMALL);
        index.search(&text, 3, None, None).unwrap();
        index.explain(&text, DocId(4), None).unwrap();
    }
}
