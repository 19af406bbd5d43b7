//! Figures of whole runs, worked by hand, and what their JSON holds.

use fitment_evaluation::metrics::per_query;
use fitment_evaluation::report::Verdict;
use fitment_evaluation::{Answer, InSample, Report, Run, Tier, evaluate, html, table};

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
fn each_kind_out_of_scope_has_its_own_figures() {
    let found = report(&small());
    let [far, near] = ["far", "unspecified"].map(|kind| &found.out_of_scope[kind]);
    let close =
        |found: Option<f64>, expect: f64| assert!((found.expect("a figure") - expect).abs() < 1e-12, "{found:?}");
    // By falling confidence: right, (near,) wrong, right, wrong(, far).
    close(far.aurc, 0.25 * (0.0 + 1.0 / 2.0 + 1.0 / 3.0 + 2.0 / 4.0));
    close(near.aurc, 0.25 * (0.0 + 2.0 / 3.0 + 2.0 / 4.0 + 3.0 / 5.0));
    for kind in [far, near] {
        close(kind.coverage, 3.0 / 4.0);
        close(kind.coverage_at_95, 1.0 / 4.0);
    }
    close(far.precision, 2.0 / 3.0);
    close(near.precision, 2.0 / 4.0);
    let json = serde_json::to_value(&found).expect("JSON");
    assert_eq!(json["out_of_scope"]["far"]["coverage@95"], 0.25);
    let (page, text) = (html::report(&small(), &found), table::report(&found));
    assert!(page.contains("AURC") && text.contains("AURC") && text.contains("precision"), "{text}");
}

#[test]
fn the_calibration_error_has_an_interval_too() {
    let found = report(&synthetic::run("default", 300, 0.7, 1));
    let ([low, high], ece) = (found.intervals["ece"], found.metrics["ece"]);
    assert!(low < high && high - low < 0.2 && ece < high, "{ece}: {low} to {high}");
    assert!((ece - found.calibration.expect("probabilities").ece).abs() < 1e-12);
}

#[test]
fn what_was_fitted_on_the_measured_intents_is_marked_loudly() {
    let mut run = small();
    let clean = report(&run);
    assert!(!table::report(&clean).contains("IN SAMPLE") && !html::report(&run, &clean).contains("IN SAMPLE"));
    assert!(table::report(&clean).contains("fitted on nothing"), "{}", table::report(&clean));
    run.in_sample = InSample { ranking: 6, promise: 2 };
    run.fitted_on = vec!["set test".into()];
    let found = report(&run);
    assert_eq!(
        serde_json::to_value(&found).expect("JSON")["in_sample"],
        serde_json::json!({"ranking": 6, "promise": 2})
    );
    let expect = "IN SAMPLE: the ranking was fitted on 6 and the promise on 2 of these 6 intents";
    let text = table::report(&found);
    assert!(text.contains(&format!("!!! {expect}")) && text.contains("fitted on set test"), "{text}");
    assert!(html::report(&run, &found).contains(expect));
    run.in_sample = InSample { ranking: 2, promise: 0 };
    assert!(
        table::report(&report(&run)).contains("!!! PARTLY IN SAMPLE: the ranking was fitted on 2 of these 6 intents")
    );
}

#[test]
fn no_figure_prints_or_keeps_a_negative_zero() {
    // Everything right: no risk anywhere.
    let right: Vec<Answer> = (0..3).map(|place| answer(&place.to_string(), &["a"], &["a"], 0.0)).collect();
    let run = run(right);
    let found = report(&run);
    assert!(!table::report(&found).contains("-0.0") && !html::report(&run, &found).contains("-0.000"));
    let json = serde_json::to_string(&found).expect("JSON");
    assert!(!json.contains("-0.0"), "{json}");
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
    // Whose tier is whose is said where it stands.
    let found = report(&run);
    let (text, page) = (table::report(&found), html::report(&run, &found));
    for expect in
        ["in truth", "answered zero", "answered raw", "zero: a component fits as it is", "raw: no component fits"]
    {
        assert!(text.contains(expect), "{expect}: {text}");
    }
    assert!(page.contains("what was answered") && page.contains("in truth"));
    let json = serde_json::to_value(&found).expect("JSON");
    assert_eq!(json["tiers"]["read_as"], "confusion[tier of the truth][tier of the answer] = number of intents");
}
