//! Two runs of the same queries.

use fitment_evaluation::{EvaluationError, Run, compare, table};

use crate::{answer, run, synthetic};

/// Makes a run differ.
type Break<'a> = &'a dyn Fn(&mut Run);

fn base() -> Run {
    run(vec![
        answer("1", &["a", "b"], &["a"], 0.9),
        answer("2", &["a", "b"], &["b"], 0.6),
        answer("3", &["a", "b"], &["b"], 0.6),
        answer("4", &["a"], &[], 0.3),
    ])
}

fn other() -> Run {
    let mut run = run(vec![
        answer("4", &["a"], &[], 0.3),
        answer("3", &["b", "a"], &["b"], 0.6),
        answer("2", &["b", "a"], &["b"], 0.6),
        answer("1", &["b", "a"], &["a"], 0.9),
    ]);
    run.system = "other".into();
    run
}

#[test]
fn answers_are_matched_by_their_ids() {
    let found = compare(&base(), &other()).expect("the same queries");
    assert_eq!((found.hit_at_1.wins, found.hit_at_1.losses, found.hit_at_1.ties), (2, 1, 0));
    assert_eq!(found.broken.iter().map(|change| &*change.id).collect::<Vec<_>>(), ["1"]);
    assert_eq!(found.fixed.iter().map(|change| &*change.id).collect::<Vec<_>>(), ["2", "3"]);
    let hit = &found.differences["hit@1"];
    assert!((hit.difference - 1.0 / 3.0).abs() < 1e-12 && (hit.base - 1.0 / 3.0).abs() < 1e-12);
    // All assignments of three signs but those of -1 +1 +1 and its mirror, twice, have a sum as large as 1.
    assert!(hit.p_value.expect("a mean") > 0.9);
    assert_eq!(found.differences["auroc"].p_value, None);
}

#[test]
fn a_run_does_not_differ_from_itself() {
    let found = compare(&base(), &base()).expect("the same queries");
    for (name, difference) in &found.differences {
        assert!(
            difference.difference.abs() < 1e-12 && difference.interval.iter().all(|end| end.abs() < 1e-12),
            "{name}"
        );
        assert!(difference.p_value.is_none_or(|value| (value - 1.0).abs() < 1e-12), "{name}");
    }
}

#[test]
fn swapped_runs_mirror_every_difference() {
    let (one, two) = (synthetic::run("one", 150, 0.6, 1), synthetic::run("two", 150, 0.8, 2));
    let (there, back) = (compare(&one, &two).expect("the same"), compare(&two, &one).expect("the same"));
    for (name, found) in &there.differences {
        let mirrored = &back.differences[name];
        assert!((found.difference + mirrored.difference).abs() < 1e-12, "{name}");
        assert!((found.interval[0] + mirrored.interval[1]).abs() < 1e-9, "{name}");
        assert_eq!(found.p_value, mirrored.p_value, "{name}");
    }
    assert_eq!((there.broken.len(), there.fixed.len()), (back.fixed.len(), back.broken.len()));
}

#[test]
fn a_much_better_system_is_significantly_better() {
    let found = compare(&synthetic::run("one", 200, 0.3, 1), &synthetic::run("two", 200, 0.9, 2)).expect("the same");
    let hit = &found.differences["hit@1"];
    assert!(hit.interval[0] > 0.3 && hit.p_value < Some(0.001), "{hit:?}");
}

#[test]
fn what_is_not_comparable_is_named() {
    let cases: [(Break, &str); 6] = [
        (&|run| run.dataset = "another".into(), "the runs differ in data set: `set` and `another`"),
        (&|run| run.dataset_digest = "sha256:9".into(), "differ in data set digest: `sha256:1` and `sha256:9`"),
        (&|run| run.split = "dev".into(), "differ in split: `test` and `dev`"),
        (&|run| drop(run.answers.pop()), "differ in ids: `1` and `(no such id)`"),
        (&|run| run.answers[0].id = "9".into(), "differ in ids"),
        (&|run| run.answers[3].relevant.extend([("b".into(), 2)]), "differ in labels: `1: a=1` and `1: a=1 b=2`"),
    ];
    for (change, expect) in cases {
        let mut other = other();
        change(&mut other);
        let error = compare(&base(), &other).expect_err("a difference");
        assert!(
            matches!(error, EvaluationError::NotComparable { .. }) && error.to_string().contains(expect),
            "{error}"
        );
    }
}

#[test]
fn empty_runs_compare() {
    let found = compare(&run(vec![]), &run(vec![])).expect("nothing to differ in");
    assert!(found.differences.is_empty() && table::comparison(&found).contains("0 won, 0 lost"));
}
