//! The charts of a report: risk and coverage, confidence in and out of scope, reliability.

use maud::{Markup, html};

use super::section;
use crate::calibration::Calibration;
use crate::curve::{self, RiskCoverage};
use crate::plot::{Axis, Mark, Plot, Unit, legend, px, svg};
use crate::run::{Answer, Run};
use crate::wording::{count, figure, percent};

/// Bars of a histogram.
const BARS: u32 = 30;

/// How many answers would be wrong at every threshold.
pub(super) fn risk_coverage(run: &Run) -> Markup {
    let curve = RiskCoverage::of(run);
    if curve.points.is_empty() {
        return html! {};
    }
    let hint = "How many answers would be wrong if only the surest intents were answered. Lower is better.";
    section("Risk and coverage", hint, &curve::chart(&curve))
}

/// Counts of one bar.
#[derive(Clone, Copy, Default)]
struct Bar {
    right: u64,
    wrong: u64,
    outside: u64,
}

/// Where the confidences of both sides lie.
pub(super) fn confidence(run: &Run) -> Markup {
    if run.answers.is_empty() {
        return html! {};
    }
    let x = confidence_axis(&run.answers);
    let bars = bars(&run.answers, &x);
    let inside = bars.iter().map(|bar| bar.right + bar.wrong).sum::<u64>();
    let outside = bars.iter().map(|bar| bar.outside).sum::<u64>();
    let share = |part: u64, whole: u64| crate::ratio(part, whole.max(1));
    let highest = bars.iter().map(|bar| share(bar.right + bar.wrong, inside).max(share(bar.outside, outside)));
    let most = Axis::share(highest.fold(0.0, f64::max), Unit::Percent, "").high();
    let y = Axis::new(-most, most, Unit::PercentBothWays, "out of scope  |  in scope");
    let (low, width) = (x.low(), (x.high() - x.low()) / f64::from(BARS));
    let plot = Plot { x, y };
    let threshold = run.promise.as_ref().map(|promise| promise.threshold);
    let mut entries = vec![
        (Mark::Area("right"), "right first".to_owned()),
        (Mark::Area("wrong"), "wrong first".to_owned()),
        (Mark::Area("outside"), "out of scope".to_owned()),
    ];
    entries.extend(threshold.map(|threshold| (Mark::Line("promise"), format!("threshold {}", figure(threshold)))));
    let content = html! {
        (plot.frame())
        (legend(&entries))
        @for (place, bar) in (0u32..).zip(&bars) {
            @let (from, to) = (low + f64::from(place) * width, low + f64::from(place + 1) * width);
            @let (right, all) = (share(bar.right, inside), share(bar.right + bar.wrong, inside));
            g {
                title { (figure(from)) " to " (figure(to)) ": " (bar.right) " right, " (bar.wrong) " wrong, " (bar.outside) " out of scope" }
                (block(&plot, "right", (from, to), (0.0, right)))
                (block(&plot, "wrong", (from, to), (right, all)))
                (block(&plot, "outside", (from, to), (-share(bar.outside, outside), 0.0)))
            }
        }
        (plot.level("zero", 0.0))
        @if let Some(threshold) = threshold { (plot.upright("promise", threshold)) }
    };
    let title = format!("histograms of confidence: {} in scope, {} out of scope", count(inside), count(outside));
    let hint = "Share of each side's intents. The further apart the two sides, the better out-of-scope intents can be refused.";
    section("Confidence", hint, &svg(&title, &content))
}

/// 0..1 where confidences are probabilities, else their range.
fn confidence_axis(answers: &[Answer]) -> Axis {
    let confidences = answers.iter().map(|answer| answer.confidence);
    let low = confidences.clone().fold(f64::INFINITY, f64::min);
    let high = confidences.fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low >= 0.0 && high <= 1.0 { (0.0, 1.0) } else { (low, high) };
    Axis::new(low, high, Unit::Plain, "confidence")
}

fn bars(answers: &[Answer], x: &Axis) -> Vec<Bar> {
    let mut bars = vec![Bar::default(); BARS as usize];
    for answer in answers {
        let bar = &mut bars[place(answer.confidence, x)];
        match (answer.in_scope(), answer.first_is_right()) {
            (true, true) => bar.right += 1,
            (true, false) => bar.wrong += 1,
            (false, _) => bar.outside += 1,
        }
    }
    bars
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the number of bars")]
fn place(confidence: f64, x: &Axis) -> usize {
    let share = (confidence - x.low()) / (x.high() - x.low());
    ((share * f64::from(BARS)).floor().clamp(0.0, f64::from(BARS - 1))) as usize
}

/// A rectangle between two places on each axis; nothing where it has no height.
fn block(plot: &Plot, class: &str, (left, right): (f64, f64), (below, above): (f64, f64)) -> Markup {
    const SPACE: f64 = 1.0;
    let (x, y) = (plot.across(left), plot.down(above));
    let (width, height) = (plot.across(right) - x - SPACE, plot.down(below) - y);
    html! {
        @if height > 0.0 { rect class=(class) x=(px(x)) y=(px(y)) width=(px(width)) height=(px(height)) {} }
    }
}

/// Confidence against the share that is right.
pub(super) fn reliability(calibration: &Calibration) -> Markup {
    let plot = Plot {
        x: Axis::new(0.0, 1.0, Unit::Plain, "confidence"),
        y: Axis::new(0.0, 1.0, Unit::Percent, "first candidate right"),
    };
    let entries = [
        (Mark::Line("ideal"), "as sure as right".to_owned()),
        (Mark::Dot("bin"), "bin of intents".to_owned()),
        (Mark::Line("gap"), "gap".to_owned()),
    ];
    let content = html! {
        (plot.frame())
        (legend(&entries))
        line class="ideal" x1=(px(plot.across(0.0))) y1=(px(plot.down(0.0))) x2=(px(plot.across(1.0))) y2=(px(plot.down(1.0))) {}
        @for bin in &calibration.bins {
            @let (x, y) = (px(plot.across(bin.confidence)), px(plot.down(bin.accuracy)));
            g {
                title { (count(bin.n)) " intents at confidence " (figure(bin.confidence)) ": " (percent(bin.accuracy)) " right" }
                line class="gap" x1=(x) x2=(x) y1=(y) y2=(px(plot.down(bin.confidence))) {}
                circle class="bin" cx=(x) cy=(y) r="5.5" {}
            }
        }
    };
    let title = format!("reliability diagram; expected calibration error {}", figure(calibration.ece));
    let hint = format!(
        "Confidence read as a probability: dots on the dotted line are as sure as they are right. Expected calibration error {}.",
        figure(calibration.ece)
    );
    section("Reliability", &hint, &svg(&title, &content))
}
