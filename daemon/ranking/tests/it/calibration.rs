//! The promise: its bounds against closed forms, its refusals, and how often it is broken.

use fitment_ranking::{
    Observation, RankingError, check_learnable, check_promisable, clopper_pearson_lower, clopper_pearson_upper,
    intents_needed, threshold,
};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

fn close(found: Result<f64, RankingError>, expect: f64) {
    let found = found.expect("can be computed");
    assert!((found - expect).abs() < 1e-9, "{found} is not {expect}");
}

fn seen(confidence: f64, correct: bool) -> Observation {
    Observation { confidence, correct, in_scope: true }
}

fn out_of_scope(confidence: f64) -> Observation {
    Observation { confidence, correct: false, in_scope: false }
}

#[test]
fn bounds_meet_their_closed_forms() {
    for (n, level) in [(1u64, 0.9), (22, 0.9), (100, 0.95), (3000, 0.99)] {
        let root = |x: f64| x.powf(1.0 / f64::from(u32::try_from(n).expect("small")));
        close(clopper_pearson_upper(0, n, level), 1.0 - root(1.0 - level));
        close(clopper_pearson_upper(n - 1, n, level), root(level));
        close(clopper_pearson_upper(n, n, level), 1.0);
        close(clopper_pearson_lower(0, n, level), 0.0);
        close(clopper_pearson_lower(1, n, level), 1.0 - root(level));
        close(clopper_pearson_lower(n, n, level), root(1.0 - level));
        for errors in [n / 7, n / 2, n - n / 3] {
            let upper = clopper_pearson_upper(errors, n, level).expect("can be computed");
            close(clopper_pearson_lower(n - errors, n, level), 1.0 - upper);
        }
    }
}

#[test]
fn upper_bound_is_where_so_few_errors_are_as_rare_as_stated() {
    // The definition: with that error rate, as few errors or fewer come up with probability 1 - level.
    for (errors, n, level) in [(3u32, 50u32, 0.9), (10, 120, 0.95), (1, 400, 0.99)] {
        let p = clopper_pearson_upper(errors.into(), n.into(), level).expect("can be computed");
        let mut term = (f64::from(n) * (1.0 - p).ln()).exp();
        let mut tail = term;
        for k in 0..errors {
            term *= f64::from(n - k) / f64::from(k + 1) * p / (1.0 - p);
            tail += term;
        }
        assert!((tail - (1.0 - level)).abs() < 1e-9, "{errors} of {n}: {tail}");
    }
}

#[test]
fn levels_out_of_range_are_errors() {
    for level in [-0.1, 1.1, f64::NAN] {
        assert!(clopper_pearson_upper(1, 9, level).is_err(), "{level}");
        assert!(clopper_pearson_lower(1, 9, level).is_err(), "{level}");
        assert!(threshold(&[seen(0.5, true), out_of_scope(0.1)], level, 0.9).is_err());
        assert!(threshold(&[seen(0.5, true), out_of_scope(0.1)], 0.1, level).is_err());
    }
}

#[test]
fn intents_needed_is_the_least_that_bounds() {
    for (max_error, level) in [(0.1, 0.9), (0.05, 0.9), (0.2, 0.95), (0.01, 0.99)] {
        let needed = intents_needed(max_error, level) as u64;
        assert!(clopper_pearson_upper(0, needed, level).expect("computed") <= max_error);
        assert!(clopper_pearson_upper(0, needed - 1, level).expect("computed") > max_error);
    }
    assert_eq!(intents_needed(0.1, 0.9), 22);
    assert_eq!(intents_needed(1e-300, 0.9), usize::MAX);
    assert_eq!(intents_needed(0.0, 0.9), usize::MAX);
}

#[test]
fn no_promise_without_out_of_scope_intents_or_with_strange_confidences() {
    let in_scope = vec![seen(0.9, true); 500];
    let error = threshold(&in_scope, 0.1, 0.9).expect_err("nothing bounds answers out of scope");
    assert!(error.to_string().contains("out-of-scope"), "{error}");
    assert!(threshold(&[], 0.1, 0.9).is_err());
    let mut strange = in_scope;
    strange.extend([out_of_scope(0.1), seen(f64::NAN, true)]);
    assert!(matches!(threshold(&strange, 0.1, 0.9), Err(RankingError::Range { .. })));
}

#[test]
fn too_few_intents_say_how_many_more_and_that_many_suffice() {
    let mut few = vec![seen(0.9, true); 20];
    few.push(out_of_scope(0.1));
    let error = threshold(&few, 0.1, 0.9).expect_err("too few").to_string();
    // Two fifths of the risk for the first walk: ln(0.04) / ln(0.9) = 30.6 answered ones, and 1.6 times as many to choose among.
    assert!(
        error.contains("31 answered")
            && error.ends_with("50 in-scope ones to choose a threshold; add 30 more in scope and 2 out of scope"),
        "{error}"
    );
    few.extend(vec![seen(0.9, true); 30]);
    let found = threshold(&few, 0.1, 0.9).expect("right ones in front keep the bound");
    assert!(found.error_bound <= 0.1 && (found.coverage - 1.0).abs() < 1e-12, "{found:?}");
}

/// Of every 28 intents in a row one is wrong, of every 14 one is out of scope: an error of 3.6 % wherever one looks.
fn mostly_right(n: u32) -> Vec<Observation> {
    let at = |place: u32| Observation {
        confidence: 1.0 - f64::from(place) / f64::from(n + 1),
        correct: place % 28 != 13,
        in_scope: place % 14 != 13,
    };
    (0..n).map(at).collect()
}

/// The number before a word.
fn number_before(text: &str, word: &str) -> u32 {
    let before = text.split(word).next().expect("a start").trim_end();
    before.rsplit(' ').next().and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{word}: {text}"))
}

#[test]
fn a_refusal_says_how_many_more_of_each_and_that_many_suffice() {
    let error = threshold(&mostly_right(400), 0.05, 0.9).expect_err("too few").to_string();
    let (more, outside) = (number_before(&error, "more in scope"), number_before(&error, "out of scope; or fit"));
    // About 1,300 answered at an error of 3.6 % and a risk of 4 %, which are 40 % of all.
    assert!((1_000..6_000).contains(&more) && outside > 0 && more / outside >= 12, "{error}");
    let error = threshold(&mostly_right((400 + more + outside) / 2), 0.05, 0.9);
    assert!(error.is_err(), "half as many do not do: {error:?}");
    threshold(&mostly_right((400 + more + outside) * 11 / 10), 0.05, 0.9).expect("about as many do");
}

#[test]
fn a_refusal_says_where_no_number_would_do() {
    let wrong: Vec<Observation> = (0..600u32)
        .map(|place| Observation {
            confidence: 1.0 - f64::from(place) / 1000.0,
            correct: place % 10 > 0,
            in_scope: place % 20 > 0,
        })
        .collect();
    let error = threshold(&wrong, 0.05, 0.9).expect_err("one in ten is wrong").to_string();
    assert!(error.contains("10.0 % of the surest 15 % and 10.0 % of the surest 40 %"), "{error}");
    assert!(error.contains("no number of labelled intents would do"), "{error}");
}

#[test]
fn what_suffices_is_said_before_anything_is_asked() {
    assert_eq!(check_promisable(300, 60, 0.05, 0.9), Ok(()));
    let error = check_promisable(60, 0, 0.05, 0.9).expect_err("none out of scope").to_string();
    assert!(error.contains("add at least 63 out of scope") && error.ends_with("and 41 more in scope"), "{error}");
    assert_eq!(check_learnable(300, 60), Ok(()));
    let error = check_learnable(300, 0).expect_err("none out of scope").to_string();
    assert!(error.ends_with("one for every five in scope: 60"), "{error}");
}

#[test]
fn equal_confidences_stand_or_fall_together() {
    // 60 right at 0.9; at 0.5 40 right and 40 wrong: whatever their order, none of the latter may slip in.
    let mut mixed: Vec<Observation> = (0..60).map(|_| seen(0.9, true)).collect();
    mixed.extend((0..80).map(|at| seen(0.5, at < 40)));
    mixed.push(out_of_scope(0.1));
    let found = threshold(&mixed, 0.1, 0.9).expect("the first 60 keep the bound");
    assert_eq!((found.answered, found.errors, found.threshold.to_bits()), (60, 0, 0.9f64.to_bits()));
    mixed.reverse();
    assert_eq!(threshold(&mixed, 0.1, 0.9), Ok(found));
}

#[test]
fn the_loosest_threshold_that_holds_is_kept() {
    // Right down to a confidence of 0.4, wrong beneath.
    let at = |place: u32| f64::from(place) / 1000.0;
    let mut observations: Vec<Observation> = (0..1000).map(|place| seen(at(place), place >= 400)).collect();
    observations.push(out_of_scope(0.0));
    let found = threshold(&observations, 0.05, 0.9).expect("keeps the bound");
    // Nothing failed on the way: the risk of all starts was handed on.
    let bound = clopper_pearson_upper(found.errors, found.answered, 0.9).expect("computed");
    assert!((bound - found.error_bound).abs() < 1e-12 && bound <= 0.05);
    assert!(found.threshold < 0.42, "{found:?}");
    // One step of the walk further, 6 % more, the bound is broken.
    let next = found.answered + found.answered * 6 / 100 + 1;
    assert!(clopper_pearson_upper(next - 600, next, 0.9).expect("computed") > 0.05);
}

#[test]
fn noise_at_the_top_costs_its_own_share_of_the_risk_and_no_more() {
    // The 60 surest are wrong one time in six, the next 600 are right.
    let at = |place: u32| 1.0 - f64::from(place) / 1000.0;
    let mut observations: Vec<Observation> =
        (0..1000).map(|place| seen(at(place), if place < 60 { place % 6 > 0 } else { place < 660 })).collect();
    observations.push(out_of_scope(0.0));
    let found = threshold(&observations, 0.05, 0.9).expect("keeps the bound from two fifths on");
    assert!(found.answered > 600, "{found:?}");
    let bound = clopper_pearson_upper(found.errors, found.answered, 1.0 - 0.1 * 0.4).expect("computed");
    assert!((bound - found.error_bound).abs() < 1e-12, "{bound} is not {}", found.error_bound);
}

/// Probability that an answer of this confidence is wrong: falls smoothly.
fn error_probability(confidence: f64) -> f64 {
    0.9 / (1.0 + (9.0 * (confidence - 0.35)).exp())
}

/// Of answers with confidences spread evenly over `from..1`.
fn true_error(from: f64) -> f64 {
    let steps = 400;
    let at = |step: i32| from + (1.0 - from) * (f64::from(step) + 0.5) / f64::from(steps);
    (0..steps).map(|step| error_probability(at(step))).sum::<f64>() / f64::from(steps)
}

#[test]
fn the_promise_is_kept_as_often_as_stated() {
    const RUNS: u32 = 300;
    for (max_error, seed) in [(0.05, 1), (0.1, 2), (0.2, 3)] {
        let mut random = SmallRng::seed_from_u64(seed);
        let best = (0..1000).map(|step| f64::from(step) / 1000.0).find(|&from| true_error(from) <= max_error);
        let best_answered = 1.0 - best.expect("the surest answers are right");
        let (mut broken, mut answered) = (0u32, 0.0);
        for _ in 0..RUNS {
            let observations: Vec<Observation> = (0..800)
                .map(|_| {
                    let confidence: f64 = random.random();
                    let correct = !random.random_bool(error_probability(confidence));
                    Observation { confidence, correct, in_scope: correct || random.random_bool(0.5) }
                })
                .collect();
            let Ok(found) = threshold(&observations, max_error, 0.9) else { continue };
            broken += u32::from(true_error(found.threshold) > max_error);
            answered += (1.0 - found.threshold) / f64::from(RUNS);
        }
        // 0.1 and three standard errors of 300 runs.
        assert!(f64::from(broken) / f64::from(RUNS) <= 0.1 + 0.052, "{broken} of {RUNS} broke {max_error}");
        assert!(answered > 0.7 * best_answered, "{max_error}: {answered} of {best_answered} answered");
    }
}
