//! Pages, pictures and tables hold foreign text without harm and stay within their size.

use fitment_evaluation::curve::{RiskCoverage, risk_coverage_svg};
use fitment_evaluation::{InSample, Run, Signal, compare, evaluate, html, table};

use crate::{answer, run, synthetic};

const HOSTILE: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>\u{1b}[31m\u{0}";

/// A run in which every text is hostile.
fn hostile() -> Run {
    let mut one = answer("1", &["a"], &["b"], 0.9);
    let mut outside = answer("2", &["a"], &[], 0.9);
    outside.kind = Some(HOSTILE.into());
    one.intent = HOSTILE.into();
    one.id = HOSTILE.into();
    one.kind = Some(HOSTILE.into());
    one.language = Some(HOSTILE.into());
    one.tags = vec![HOSTILE.into()];
    one.relevant = [(format!("{HOSTILE}b"), 1)].into();
    for candidate in &mut one.ranked {
        candidate.component = HOSTILE.into();
        candidate.title = HOSTILE.into();
        candidate.matched_text = HOSTILE.into();
        candidate.terms = vec![HOSTILE.into()];
        candidate.signals = vec![Signal { name: HOSTILE.into(), value: 1.0, share: 1.0 }];
    }
    let mut run = run(vec![one, outside]);
    let texts = [&mut run.dataset, &mut run.dataset_digest, &mut run.split, &mut run.system, &mut run.model];
    for text in texts.into_iter().chain([&mut run.model_digest]) {
        *text = HOSTILE.into();
    }
    run.fitted_on = vec![HOSTILE.into()];
    if let Some(promise) = &mut run.promise {
        promise.text = HOSTILE.into();
    }
    run
}

fn page(run: &Run) -> String {
    html::report(run, &evaluate(run).expect("a run without faults"))
}

#[test]
fn foreign_text_is_escaped_everywhere() {
    let mut other = hostile();
    other.answers[0].ranked[0].component = format!("{HOSTILE}b");
    let comparison = compare(&hostile(), &other).expect("the same queries");
    for page in [page(&hostile()), html::comparison(&comparison)] {
        assert!(page.contains("&lt;script&gt;alert(1)"), "the text is shown");
        assert!(!page.contains("<script>alert") && !page.contains("<img"));
        assert_eq!(page.matches("<script").count(), 1, "the page's own");
        assert!(!page.contains(['\u{1b}', '\u{0}']));
    }
}

#[test]
fn a_terminal_sees_no_control_characters() {
    let run = hostile();
    let text =
        table::report(&evaluate(&run).expect("a run")) + &table::comparison(&compare(&run, &run).expect("the same"));
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
}

#[test]
fn a_page_asks_for_nothing_outside_itself() {
    let page = page(&synthetic::run("default", 100, 0.7, 1));
    for reference in [" src=", " href=", "url(", "@import", "http://", "https://"] {
        assert!(!page.contains(reference), "{reference}");
    }
    assert!(page.contains("default-src 'none'") && page.contains("prefers-color-scheme: dark"));
}

#[test]
fn a_page_of_thousands_of_long_queries_stays_small() {
    let mut run = synthetic::run("default", 5_000, 0.5, 1);
    for one in &mut run.answers {
        one.intent = one.intent.repeat(20);
        one.tags.extend((0..5).map(|nth| format!("{}-{nth}", one.id)));
        for candidate in &mut one.ranked {
            candidate.matched_text = candidate.matched_text.repeat(50);
            candidate.terms = (0..100).map(|nth| format!("term{nth}")).collect();
        }
    }
    let page = page(&run);
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
    assert_eq!(page.matches("class=\"query\"").count(), 50);
    assert_eq!(page.matches("class=\"pair\"").count(), 30);
}

#[test]
fn every_picture_has_a_name() {
    let run = synthetic::run("default", 100, 0.7, 1);
    let page = page(&run);
    assert_eq!(
        page.matches("<svg").count(),
        page.matches("role=\"img\" aria-label=\"").count() - page.matches("class=\"bar\"").count()
    );
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    assert!(!page.contains("NaN") && !page.contains("inf\""));
    let picture = risk_coverage_svg(&RiskCoverage::of(&run));
    assert!(picture.contains("<title>risk-coverage curve; promised at most 15.0 % wrong"));
}

#[test]
fn runs_without_much_in_them_have_pages_and_tables() {
    let mut bare = run(vec![answer("1", &[], &["a"], 17.0)]);
    bare.promise = None;
    for run in [run(vec![]), bare, run(vec![answer("1", &["a"], &[], -3.0)])] {
        let found = evaluate(&run).expect("a run");
        assert!(!html::report(&run, &found).contains("NaN") && !table::report(&found).is_empty());
        assert!(!html::comparison(&compare(&run, &run).expect("the same")).contains("NaN"));
    }
}

#[test]
fn tables_fit_a_terminal() {
    let mut run = synthetic::run("default", 200, 0.6, 1);
    run.system = "a system with a very long name ".repeat(5);
    run.in_sample = InSample { ranking: 199_999, promise: 199_999 };
    let other = synthetic::run("other", 200, 0.7, 2);
    for text in
        [table::report(&evaluate(&run).expect("a run")), table::comparison(&compare(&run, &other).expect("same"))]
    {
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(100), "{widest:?} columns:\n{text}");
    }
}
