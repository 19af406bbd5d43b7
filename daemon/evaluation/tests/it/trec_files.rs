//! Qrels and run files.

use fitment_evaluation::trec::{read_answers, read_qrels, read_run, write_qrels, write_run};
use fitment_evaluation::{EvaluationError, Judgement, Ranked, Run};
use proptest::prelude::*;

use crate::{answer, candidate, run, synthetic};

fn names(ranked: &[Ranked]) -> Vec<&str> {
    ranked.iter().map(|candidate| candidate.component.as_str()).collect()
}

#[test]
fn files_look_as_trec_eval_wants_them() {
    let mut run = run(vec![answer("q1", &["b", "a"], &["a"], 0.9), answer("q2", &[], &[], 0.1)]);
    run.answers[0].relevant.insert("c".into(), 0);
    assert_eq!(write_qrels(&run).expect("ids"), "q1 0 a 1\nq1 0 c 0\n");
    assert_eq!(write_run(&run).expect("ids"), "q1 Q0 b 1 1 default\nq1 Q0 a 2 0.9 default\n");
}

#[test]
fn files_carry_the_ids_that_the_data_set_has_of_its_own() {
    let mut run = run(vec![answer("q1", &["set/b", "a"], &["set/b"], 0.9)]);
    run.component_ids = [("set/b".to_owned(), "B 7".to_owned())].into();
    assert!(write_qrels(&run).expect_err("a space").to_string().starts_with("component `B 7` is empty or holds white"));
    run.component_ids = [("set/b".to_owned(), "B7".to_owned())].into();
    assert_eq!(write_qrels(&run).expect("ids"), "q1 0 B7 1\n");
    assert_eq!(write_run(&run).expect("ids"), "q1 Q0 B7 1 1 default\nq1 Q0 a 2 0.9 default\n");
}

#[test]
fn qrels_of_beir_are_read_with_and_without_their_header() {
    let trec = read_qrels("q1 0 a 2\nq1 0 b 0\nq2 0 c 1\n").expect("TREC's form");
    let lines = "q1\ta\t2\nq1\tb\t0\n\nq2\tc\t1\r\n";
    for text in [lines.to_owned(), format!("query-id\tcorpus-id\tscore\n{lines}")] {
        assert_eq!(read_qrels(&text).expect("BEIR's form"), trec, "{text}");
    }
    assert_eq!(read_qrels("q\ttwo words\t1").expect("BEIR's form")["q"]["two words"], 1);
    // TREC's own lines with tabs are no table of BEIR's.
    assert_eq!(read_qrels("q1\t0\ta\t2\nq1 0 b 0\nq2 0 c 1").expect("TREC's form"), trec);
    let cases = [
        ("query-id\tcorpus-id\tscore\nq\ta\tmuch", "qrels line 2: grade `much` is not a number; write one"),
        ("q\ta\t1\nq 0 b 1", "qrels line 2: `q 0 b 1` does not have the 3 fields"),
    ];
    for (text, expect) in cases {
        let message = read_qrels(text).expect_err("a bad line").to_string();
        assert!(message.starts_with(expect), "{message}");
    }
}

#[test]
fn empty_files_are_refused_by_their_name() {
    for text in ["", " \n\n", "query-id\tcorpus-id\tscore\n"] {
        let message = read_qrels(text).expect_err("nothing in it").to_string();
        assert!(message.starts_with("qrels is empty"), "{message}");
    }
    assert!(read_run("\n").expect_err("nothing in it").to_string().starts_with("run is empty"));
    let one = answer("q", &["a"], &["a"], 0.5);
    assert!(read_answers("", &write_run(&run(vec![one])).expect("ids")).is_err());
}

#[test]
fn a_run_reads_back_as_it_was_written() {
    let run = synthetic::run("default", 80, 0.7, 1);
    let answers =
        read_answers(&write_qrels(&run).expect("ids"), &write_run(&run).expect("ids")).expect("our own files");
    let kept = run.answers.iter().filter(|one| !one.ranked.is_empty() || !one.relevant.is_empty());
    for (found, written) in answers.iter().zip(kept.clone()) {
        assert_eq!((&found.id, names(&found.ranked)), (&written.id, names(&written.ranked)));
        assert_eq!((&found.relevant, found.in_scope()), (&written.relevant, written.in_scope()));
        assert_eq!(Judgement::of(found), Judgement::of(written));
    }
    assert_eq!(answers.len(), kept.count());
}

#[test]
fn equal_and_rising_scores_keep_their_order() {
    let mut one = answer("q", &[], &[], 0.0);
    let scores =
        [("a", 0.5), ("z", 0.5), ("b", 0.7), ("c", -0.0), ("y", 0.0), ("d", 1e-60), ("e", -1e300), ("x", -1e300)];
    one.ranked = scores.iter().map(|&(name, score)| candidate(name, score)).collect();
    let text = write_run(&run(vec![one])).expect("ids");
    assert_eq!(names(&read_run(&text).expect("our own")["q"]), ["a", "z", "b", "c", "y", "d", "e", "x"], "{text}");
}

#[test]
fn foreign_runs_are_ordered_as_trec_eval_orders_them() {
    // Neither the rank nor the order of lines counts; 0.1 and its neighbour are one 32-bit float.
    let text = "q Q0 a 1 0.1 t\nq Q0 b 2 0.1000000001 t\nq Q0 c 3 7 t\n\nq Q0 d x 1e-2 t\n";
    assert_eq!(names(&read_run(text).expect("a run")["q"]), ["c", "b", "a", "d"]);
}

#[test]
fn queries_of_either_file_become_answers() {
    let qrels = "\u{feff}judged 0 a 2\njudged 0 b -1\nonly-labels 0 a 1\nnone-right 0 a 0\n";
    let ranking = "judged Q0 a 1 3.5 t\noutside Q0 a 1 -2 t\nnone-right Q0 a 1 1 t";
    let answers = read_answers(qrels, ranking).expect("two files");
    let shown: Vec<_> =
        answers.iter().map(|one| (&*one.id, one.in_scope(), one.ranked.len(), one.confidence)).collect();
    let expect = [
        ("judged", true, 1, 3.5),
        ("none-right", false, 1, 1.0),
        ("only-labels", true, 0, -2.0),
        ("outside", false, 1, -2.0),
    ];
    assert_eq!(shown, expect);
    assert_eq!(answers[0].relevant["b"], 0);
}

#[test]
fn bad_lines_are_named_with_their_number_and_the_way_out() {
    let cases = [
        ("q 0 a", "qrels line 1: `q 0 a` does not have the 4 fields `query 0 component grade`"),
        ("q 0 a 1\n\nq 0 b 1 9", "qrels line 3: `q 0 b 1 9` does not have the 4 fields"),
        ("q 0 a one", "qrels line 1: grade `one` is not a number; write one"),
        ("q 0 a 99999999999", "qrels line 1: grade 99999999999 is above 4294967295; use small whole numbers"),
        ("q 0 a 1\nq 0 a 2", "qrels line 2: component `a` occurs twice for query `q`; keep one"),
    ];
    for (text, expect) in cases {
        let message = read_qrels(text).expect_err("a bad line").to_string();
        assert!(message.starts_with(expect), "{message}");
    }
    let cases = [
        ("q Q0 a 1 0.5", "run line 1: `q Q0 a 1 0.5` does not have the 6 fields"),
        ("q Q0 a 1 high t", "run line 1: score `high` is not a number; write one"),
        ("q Q0 a 1 NaN t", "run line 1: score `NaN` is not finite; write a finite number"),
        ("q Q0 a 1 1e999 t", "run line 1: score `1e999` is not finite"),
        ("q Q0 a 1 2 t\nq Q0 a 2 1 t", "run line 2: component `a` occurs twice for query `q`; keep one"),
    ];
    for (text, expect) in cases {
        let message = read_run(text).expect_err("a bad line").to_string();
        assert!(message.starts_with(expect), "{message}");
    }
}

#[test]
fn a_message_repeats_only_the_start_of_a_long_line() {
    let message = read_qrels(&"x".repeat(1_000_000)).expect_err("a bad line").to_string();
    assert!(message.len() < 300 && message.contains('…'), "{message}");
}

#[test]
fn ids_that_a_line_cannot_hold_are_refused() {
    let refused = |run: &Run| {
        let error = write_run(run).expect_err("an id");
        assert!(matches!(error, EvaluationError::UnwritableId { .. }));
        error.to_string()
    };
    let expect = "query `two words` is empty or holds white space, which a TREC file cannot carry; rename it";
    assert_eq!(refused(&run(vec![answer("two words", &["a"], &["a"], 0.9)])), expect);
    assert!(refused(&run(vec![answer("q", &["a\u{1f}b"], &[], 0.9)])).starts_with("component `a b`"));
    let mut unnamed = run(vec![]);
    unnamed.system = String::new();
    assert!(refused(&unnamed).starts_with("system ``"));
}

proptest! {
    #[test]
    fn no_text_panics_the_reader(text in "(?s).{0,200}") {
        let _ = (read_qrels(&text), read_run(&text));
    }

    #[test]
    fn any_ranking_keeps_its_order(scores in prop::collection::vec(-1e40f64..1e40, 0..40)) {
        let mut one = answer("q", &[], &[], 0.0);
        one.ranked = (0..).zip(&scores).map(|(place, &score)| candidate(&format!("c{place}"), score)).collect();
        let text = write_run(&run(vec![one.clone()])).expect("ids");
        let found = read_run(&text).unwrap_or_default();
        prop_assert_eq!(found.get("q").map_or(vec![], |ranked| names(ranked)), names(&one.ranked));
    }
}
