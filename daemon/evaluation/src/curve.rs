//! The risk-coverage curve: how many answers are wrong if only so many intents are answered.

use std::fmt::Write;

use maud::{Markup, PreEscaped, html};

use crate::abstention::{Confidences, Observation, OperatingPoint};
use crate::plot::{Axis, HEIGHT, Mark, Plot, Unit, WIDTH, legend, px, svg};
use crate::run::Run;
use crate::wording::{figure, percent};

/// Points that a drawn curve has at most.
const MAX_POINTS: usize = 300;
/// Points that tell their numbers under the pointer.
const MAX_TIPS: usize = 40;
/// Width of the text picture, and of its labels on the left.
const COLUMNS: usize = 70;
const MARGIN: usize = 7;
/// Lines of the text picture above the axis; axis, ticks and caption make 16.
const ROWS: usize = 13;

/// A curve with what was promised.
#[derive(Clone, Debug, PartialEq)]
pub struct RiskCoverage {
    /// By growing coverage; see [`Confidences::points`].
    pub points: Vec<OperatingPoint>,
    /// Promised error, 0..=1.
    pub max_error: Option<f64>,
    /// Where the system operates.
    pub operating: Option<OperatingPoint>,
}

impl RiskCoverage {
    /// The curve of observations. `threshold`: where the system operates.
    pub fn new(
        observations: impl IntoIterator<Item = Observation>,
        max_error: Option<f64>,
        threshold: Option<f64>,
    ) -> Self {
        let points = Confidences::of(observations).points();
        let operating =
            threshold.and_then(|threshold| points.iter().rfind(|point| point.threshold >= threshold).copied());
        Self { points, max_error, operating }
    }

    /// The curve of a run, with its promise.
    pub fn of(run: &Run) -> Self {
        let promise = run.promise.as_ref();
        Self::new(
            run.answers.iter().map(Observation::of),
            promise.map(|promise| promise.max_error),
            promise.map(|promise| promise.threshold),
        )
    }

    /// Risk of the strictest threshold that covers this much; 0 for no curve.
    fn risk_at(&self, coverage: f64) -> f64 {
        let place = self.points.partition_point(|point| point.coverage < coverage - 1e-9);
        self.points.get(place).or(self.points.last()).map_or(0.0, |point| point.risk)
    }

    /// The vertical axis: high enough for the curve and the promise.
    fn risk_axis(&self) -> Axis {
        let risks = self.points.iter().map(|point| point.risk).chain(self.max_error);
        Axis::share(risks.fold(0.0, f64::max), Unit::Percent, "wrong among the answered")
    }

    /// What the picture shows, in a sentence.
    fn caption(&self) -> String {
        let mut caption = "risk-coverage curve".to_owned();
        if let Some(max_error) = self.max_error {
            let _ = write!(caption, "; promised at most {} wrong", percent(max_error));
        }
        if let Some(point) = &self.operating {
            let _ = write!(caption, "; {} covered, {} wrong", percent(point.coverage), percent(point.risk));
        }
        caption
    }

    /// What the signs of the text picture mean, at most 70 columns.
    fn key(&self) -> String {
        let promise = self.max_error.map(|error| format!("╌ promised at most {} wrong", percent(error)));
        let operating =
            self.operating.map(|point| format!("● {} covered, {} wrong", percent(point.coverage), percent(point.risk)));
        let parts: Vec<String> = promise.into_iter().chain(operating).collect();
        if parts.is_empty() { "share of wrong answers by coverage".to_owned() } else { parts.join("; ") }
    }
}

/// The curve as a chart for a page that has the style.
pub(crate) fn chart(curve: &RiskCoverage) -> Markup {
    let plot = Plot { x: Axis::new(0.0, 1.0, Unit::Percent, "in-scope intents answered"), y: curve.risk_axis() };
    let at = |point: &OperatingPoint| (px(plot.across(point.coverage)), px(plot.down(point.risk)));
    let drawn: Vec<(String, String)> = thinned(&curve.points, MAX_POINTS).iter().map(at).collect();
    let line: Vec<String> = drawn.iter().map(|(x, y)| format!("{x},{y}")).collect();
    let mut entries = vec![(Mark::Line("curve"), "error".to_owned())];
    entries.extend(curve.max_error.map(|error| (Mark::Line("promise"), format!("promised {}", percent(error)))));
    entries.extend(curve.operating.map(|point| {
        (Mark::Dot("operating"), format!("{} covered, {} wrong", percent(point.coverage), percent(point.risk)))
    }));
    let content = html! {
        (plot.frame())
        (legend(&entries))
        @if let Some(error) = curve.max_error { (plot.level("promise", error)) }
        polyline class="curve" points=(line.join(" ")) {}
        @for point in thinned(&curve.points, MAX_TIPS) {
            @let (x, y) = at(&point);
            circle class="tip" cx=(x) cy=(y) r="7" {
                title { (percent(point.coverage)) " covered, " (percent(point.risk)) " wrong at confidence " (figure(point.threshold)) }
            }
        }
        @if let Some(point) = &curve.operating {
            @let (x, y) = at(point);
            circle class="operating" cx=(x) cy=(y) r="6" {}
        }
    };
    svg(&curve.caption(), &content)
}

/// The curve as a picture file: one SVG document, light or dark as its viewer prefers.
pub fn risk_coverage_svg(curve: &RiskCoverage) -> String {
    let style = concat!(include_str!("html/colors.css"), include_str!("html/charts.css"));
    let document = html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) width=(WIDTH * 2.0) height=(HEIGHT * 2.0) {
            style { (PreEscaped(style)) }
            rect class="paper" width="100%" height="100%" {}
            (chart(curve))
        }
    };
    document.into_string()
}

/// The curve in block characters, 70 columns by 16 lines: the filled area is the risk, `╌` what was promised and `●` where
/// the system operates.
pub fn risk_coverage_text(curve: &RiskCoverage) -> String {
    let axis = curve.risk_axis();
    let width = COLUMNS - MARGIN;
    let levels = ROWS * 8;
    let heights: Vec<usize> =
        (0..width).map(|column| cells(curve.risk_at(middle(column, width)), axis.high(), levels)).collect();
    let row_of = |risk: f64| ROWS - 1 - (cells(risk, axis.high(), levels) / 8).min(ROWS - 1);
    let promise = curve.max_error.map(row_of);
    let operating = curve.operating.map(|point| (row_of(point.risk), cells(point.coverage, 1.0, width - 1)));
    let mut text = String::new();
    for row in 0..ROWS {
        text.push_str(&row_label(&axis, row));
        for (column, &height) in heights.iter().enumerate() {
            let filled = height.saturating_sub((ROWS - 1 - row) * 8).min(8);
            text.push(match (operating == Some((row, column)), filled) {
                (true, _) => '●',
                (false, 0 | 8) if promise == Some(row) => '╌',
                (false, eighths) => BLOCKS[eighths],
            });
        }
        text.push('\n');
    }
    let ticks = format!("0 %{:>half$}{:>rest$}", "50 % covered", "100 %", half = width / 2 + 3, rest = width / 2 - 5);
    let _ = write!(text, "{:>MARGIN$}{}\n{:>MARGIN$}{ticks}\n{}\n", "└", "─".repeat(width), "", curve.key());
    text
}

/// A cell filled from below by so many eighths.
const BLOCKS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Label and border of a line: a number at the top, in the middle and at the bottom.
fn row_label(axis: &Axis, row: usize) -> String {
    let share = match row {
        0 => axis.high(),
        _ if row == ROWS / 2 => axis.high() / 2.0,
        _ if row == ROWS - 1 => 0.0,
        _ => return format!("{:>MARGIN$}", "│"),
    };
    let places = usize::from((share * 100.0).fract() > 1e-6);
    format!("{:>width$}┤", format!("{:.places$} %", share * 100.0), width = MARGIN - 1)
}

/// `value` of `most` in `cells` steps, rounded.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a place on a small screen"
)]
fn cells(value: f64, most: f64, cells: usize) -> usize {
    ((value / most).clamp(0.0, 1.0) * cells as f64).round() as usize
}

/// Middle of a column, 0..=1.
#[expect(clippy::cast_precision_loss, reason = "a place on a small screen")]
fn middle(column: usize, width: usize) -> f64 {
    (column as f64 + 0.5) / width as f64
}

/// At most `most` points, evenly taken, the last one among them.
fn thinned(points: &[OperatingPoint], most: usize) -> Vec<OperatingPoint> {
    let step = points.len().div_ceil(most).max(1);
    let mut kept: Vec<OperatingPoint> = points.iter().rev().step_by(step).copied().collect();
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(n: u32) -> RiskCoverage {
        let observations = (0..n).map(|i| Observation {
            confidence: 1.0 - f64::from(i) / f64::from(n),
            in_scope: i % 5 != 4,
            correct: i % 5 != 4 && i % 3 != 2,
        });
        RiskCoverage::new(observations, Some(0.1), Some(0.5))
    }

    #[test]
    fn the_text_picture_keeps_its_size() {
        for curve in [curve(200), curve(1), RiskCoverage::new([], None, None)] {
            let text = risk_coverage_text(&curve);
            assert_eq!(text.lines().count(), 16, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= COLUMNS), "{text}");
        }
    }

    #[test]
    fn the_text_picture_shows_promise_and_operating_point() {
        let text = risk_coverage_text(&curve(200));
        assert_eq!(text.matches('●').count(), 2, "{text}");
        assert!(text.contains("promised at most 10.0 % wrong"), "{text}");
    }

    #[test]
    fn a_long_curve_is_thinned_and_keeps_its_end() {
        let curve = curve(10_000);
        let kept = thinned(&curve.points, MAX_POINTS);
        assert!(kept.len() <= MAX_POINTS && kept.last() == curve.points.last());
        assert!(risk_coverage_svg(&curve).len() < 40_000);
    }

    #[test]
    fn the_picture_is_one_document() {
        let picture = risk_coverage_svg(&RiskCoverage::new([], None, None));
        assert!(picture.starts_with("<svg xmlns=") && picture.ends_with("</svg>"), "{picture}");
    }
}
