//! Figures of whole runs, worked by hand, and what their JSON holds.

use fitment_evaluation::metrics::per_query;
use fitment_evaluation::report::Verdict;
use fitment_evaluation::{Answer, Report, Run, Tier, evaluate};

use crate::{answer, run, synthetic};

/// Makes an answer faulty.
type Break<'a> = &'a dyn Fn(&mut Answer);

fn report(run: &Run) -> Report {
    evaluate(run).expect("a run without faults")
}

#[track_caller]
fn check(report: &Report, name: &str, expect: f64) {
    let found = report.metrics[name];
    assert!((found - expect).abs() < 1e-12, "{name}: {found}, expected {expect}");
}

/// Two right, one wrong, one not ranked; two out of scope, of which one is answered.
fn small() -> Run {
    let mut far = answer("out-far", &["a"], &[], 0.1);
    far.kind = Some("far".into());
    run(vec![
        answer("right", &["a", "b"], &["a"], 0.9),
        answer("also right", &["b", "a"], &["a", "b"], 0.6),
        answer("second", &["a", "b"], &["b"], 0.7),
        answer("missing", &["a"], &["c"], 0.2),
        answer("out-near", &["a"], &[], 0.8),
        far,
    ])
}

#[test]
fn a_small_run_by_hand() {
    let found = report(&small());
    assert_eq!((found.n_in_scope, found.n_out_of_scope), (4, 2));
    check(&found, "hit@1", 2.0 / 4.0);
    check(&found, "hit@5", 3.0 / 4.0);
    check(&found, "mrr@10", (1.0 + 1.0 + 0.5) / 4.0);
    check(&found, "recall@5", 3.0 / 4.0);
    check(&found, "completeness@5", 3.0 / 4.0);
    check(&found, "precision@5", (0.2 + 0.4 + 0.2) / 4.0);
    check(&found, "ndcg@10", (1.0 + 1.0 + 1.0 / 3f64.log2()) / 4.0);
    check(&found, "map", (1.0 + 1.0 + 0.5) / 4.0);
    // Pairs won against 0.8: one of four; against 0.1: four of four.
    check(&found, "auroc", 5.0 / 8.0);
    check(&found, "fpr95", 0.5);
    check(&found, "coverage", 3.0 / 4.0);
    check(&found, "precision", 2.0 / 4.0);
    check(&found, "coverage@80", 1.0 / 4.0);
    assert_eq!(found.out_of_scope["far"].false_match_rate, Some(0.0));
    assert_eq!(found.out_of_scope["unspecified"].false_match_rate, Some(1.0));
    assert_eq!(found.out_of_scope["far"].auroc, Some(1.0));
}

#[test]
fn a_promise_is_tested_against_chance() {
    let found = report(&small()).promise_check.expect("a promise");
    // Two wrong of four at 20 %: 1 - 0.8^4 - 4 * 0.2 * 0.8^3.
    assert_eq!((found.answered, found.errors, found.verdict), (4, 2, Verdict::WithinChance));
    assert!((found.p_value - 0.1808).abs() < 1e-9, "{}", found.p_value);
    let wrong = |n: usize| (0..n).map(|place| answer(&place.to_string(), &["a"], &["b"], 0.9)).collect();
    assert_eq!(report(&run(wrong(20))).promise_check.map(|found| found.verdict), Some(Verdict::Broken));
    let silent = run(vec![answer("1", &["a"], &["a"], 0.1)]);
    assert_eq!(report(&silent).promise_check.map(|found| found.verdict), Some(Verdict::Untested));
}

#[test]
fn without_a_promise_nothing_was_answered() {
    let mut run = small();
    run.promise = None;
    let found = report(&run);
    check(&found, "coverage", 0.0);
    assert!(!found.metrics.contains_key("precision"));
    assert_eq!((found.promise_check, found.out_of_scope["far"].false_match_rate), (None, Some(0.0)));
}

#[test]
fn precision_is_left_out_when_nothing_was_answered() {
    let found = report(&run(vec![answer("1", &["a"], &["a"], 0.1)]));
    check(&found, "coverage", 0.0);
    assert!(!found.metrics.contains_key("precision"));
}

#[test]
fn an_empty_run_has_a_report_without_figures() {
    let found = report(&run(vec![]));
    assert!(found.metrics.is_empty() && found.intervals.is_empty() && found.slices.is_empty());
    assert_eq!((found.n_in_scope, found.calibration, found.tiers), (0, None, None));
}

#[test]
fn one_sided_runs_leave_out_what_needs_both() {
    let inside = report(&run(vec![answer("1", &["a"], &["a"], 0.9)]));
    assert!(!inside.metrics.contains_key("auroc"));
    check(&inside, "aurc", 0.0);
    assert_eq!(inside.intervals["hit@1"].map(f64::to_bits), [1f64.to_bits(); 2]);
    let outside = report(&run(vec![answer("1", &["a"], &[], 0.9)]));
    assert!(!outside.metrics.contains_key("hit@1") && !outside.metrics.contains_key("aurc"));
    check(&outside, "precision", 0.0);
}

#[test]
fn every_figure_lies_in_its_interval_and_none_is_null() {
    let found = report(&synthetic::run("default", 300, 0.7, 1));
    for (name, value) in &found.metrics {
        assert!((0.0..=1.0).contains(value), "{name}: {value}");
        if let Some([low, high]) = found.intervals.get(name) {
            assert!(low <= high && *low <= value + 0.02 && *high >= value - 0.02, "{name}: {value} and {low}..{high}");
        }
    }
    assert!(!serde_json::to_string(&found).expect("JSON").contains("null"));
}

#[test]
fn the_json_holds_what_readers_rely_on() {
    let found = serde_json::to_value(report(&synthetic::run("default", 200, 0.7, 1))).expect("JSON");
    let keys = [
        "/dataset",
        "/dataset_digest",
        "/split",
        "/system",
        "/model",
        "/model_digest",
        "/n_components",
        "/n_in_scope",
        "/n_out_of_scope",
        "/fitted_on",
        "/promise/max_error",
        "/metrics/hit@1",
        "/metrics/hit@5",
        "/metrics/recall@5",
        "/metrics/recall@10",
        "/metrics/ndcg@10",
        "/metrics/mrr@10",
        "/metrics/completeness@5",
        "/metrics/auroc",
        "/metrics/fpr95",
        "/metrics/coverage",
        "/metrics/precision",
        "/intervals/hit@1/1",
        "/out_of_scope/far/auroc",
        "/out_of_scope/far/false_match_rate",
        "/slices/length/0/hit@1",
        "/slices/tag/0/intervals/ndcg@10/0",
        "/tiers/accuracy",
        "/tiers/confusion/zero_generation/raw_generation",
        "/calibration/ece",
        "/calibration/bins/0/accuracy",
        "/confused_pairs/0/examples",
        "/timing/whole_ms/p90",
        "/timing/encode_ms/mean",
    ];
    for key in keys {
        assert!(found.pointer(key).is_some_and(|value| !value.is_null()), "{key} is absent");
    }
}

#[test]
fn reports_and_runs_survive_json() {
    let run = synthetic::run("default", 60, 0.7, 1);
    let found = report(&run);
    let text = serde_json::to_string(&found).expect("JSON");
    let again: Report = serde_json::from_str(&text).expect("a report");
    assert!(again.metrics.iter().all(|(name, value)| (found.metrics[name] - value).abs() < 1e-12));
    assert_eq!((again.confused_pairs, again.tiers), (found.confused_pairs.clone(), found.tiers.clone()));
    let text = serde_json::to_string(&run).expect("JSON");
    let again = report(&serde_json::from_str(&text).expect("a run"));
    assert!(again.metrics.iter().all(|(name, value)| (found.metrics[name] - value).abs() < 1e-12));
}

#[test]
fn the_same_run_gives_the_same_report() {
    let run = synthetic::run("default", 100, 0.7, 1);
    assert_eq!(report(&run), report(&run));
}

#[test]
fn figures_of_each_query_average_to_the_report() {
    let run = synthetic::run("default", 120, 0.7, 1);
    let (found, each) = (report(&run), per_query(&run).collect::<Vec<_>>());
    assert_eq!(each.len() as u64, found.n_in_scope);
    for name in ["hit@1", "ndcg@10", "map"] {
        let sum: f64 = each.iter().map(|one| one.values[name]).sum();
        check(&found, name, sum * (1.0 / f64::from(u32::try_from(each.len()).expect("few"))));
    }
}

#[test]
fn faulty_runs_are_refused_with_the_answer_and_the_way_out() {
    let faulty = |change: Break| {
        let mut answers = vec![answer("1", &["a", "b"], &["a"], 0.9), answer("2", &["a"], &["a"], 0.9)];
        change(&mut answers[0]);
        evaluate(&run(answers)).expect_err("a fault").to_string()
    };
    let cases: [(Break, &str); 4] = [
        (&|one| one.id = "2".into(), "answer `2`: the id occurs twice; ids name the intents of a run"),
        (&|one| one.confidence = f64::NAN, "answer `1`: confidence is NaN; it must be a finite number"),
        (&|one| one.ranked[1].score = f64::INFINITY, "score or signal of inf"),
        (&|one| one.ranked[1].component = "a".into(), "component `a` is ranked twice; keep its best rank"),
    ];
    for (change, expect) in cases {
        let message = faulty(change);
        assert!(message.contains(expect), "{message}");
    }
}

#[test]
fn tiers_are_counted_where_expected_and_answered() {
    let mut run = small();
    for one in &mut run.answers {
        one.expected = Some(if one.in_scope() { Tier::ZeroGeneration } else { Tier::RawGeneration });
    }
    let tiers = report(&run).tiers.expect("tiers");
    assert_eq!(tiers.confusion[&Tier::ZeroGeneration][&Tier::RawGeneration], 1);
    assert_eq!(tiers.confusion[&Tier::RawGeneration][&Tier::ZeroGeneration], 1);
    assert!((tiers.accuracy - 4.0 / 6.0).abs() < 1e-12);
}
