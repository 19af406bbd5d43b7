//! What the charts share: scales, axes with ticks, and the small dot-and-whisker of a table row.
//!
//! Charts are drawn on one size and scale with the page; colours are CSS variables, so the page decides on light and dark.

use maud::{Markup, html};

use crate::wording::figure;

/// Size of a chart, in its own units.
pub(crate) const WIDTH: f64 = 480.0;
/// Height of a chart.
pub(crate) const HEIGHT: f64 = 320.0;
const LEFT: f64 = 54.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;
/// Ticks that an axis has at most, about.
const TICKS: f64 = 5.0;

/// How numbers of an axis are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// As they are.
    Plain,
    /// Times 100, with a percent sign.
    Percent,
    /// As percent, without a sign for values below 0: an axis that counts both ways from the middle.
    PercentBothWays,
}

/// One axis.
#[derive(Clone, Debug)]
pub(crate) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    unit: Unit,
    label: &'static str,
}

impl Axis {
    /// `low..high`; an empty range is widened.
    pub(crate) fn new(low: f64, high: f64, unit: Unit, label: &'static str) -> Self {
        let high = if high > low { high } else { low + low.abs().max(1.0) };
        Self { low, high, step: nice_step(high - low), unit, label }
    }

    /// From 0 to the first tick at or above `high`, 1 at most.
    pub(crate) fn share(high: f64, unit: Unit, label: &'static str) -> Self {
        let step = nice_step(high.clamp(0.01, 1.0));
        let high = ((high / step - 1e-9).ceil() * step).clamp(step, 1.0);
        Self { low: 0.0, high, step, unit, label }
    }

    pub(crate) fn high(&self) -> f64 {
        self.high
    }

    pub(crate) fn low(&self) -> f64 {
        self.low
    }

    /// Place of a value, 0 at the low end and 1 at the high end; values outside go to the ends.
    fn place(&self, value: f64) -> f64 {
        ((value - self.low) / (self.high - self.low)).clamp(0.0, 1.0)
    }

    /// The ticks with their labels.
    pub(crate) fn ticks(&self) -> Vec<(f64, String)> {
        let first = (self.low / self.step - 1e-9).ceil();
        let ticks = (0..).map(f64::from).map(|nth| (first + nth) * self.step);
        ticks.take_while(|&tick| tick <= self.high + self.step * 1e-6).map(|tick| (tick, self.written(tick))).collect()
    }

    fn written(&self, tick: f64) -> String {
        let places = |step: f64| usize::from(step < 1.0) + usize::from(step < 0.1) + usize::from(step < 0.01);
        // A rounded 0 has no sign.
        let tick = if tick.abs() < self.step * 1e-6 { 0.0 } else { tick };
        match self.unit {
            Unit::Plain => format!("{tick:.*}", places(self.step)),
            Unit::Percent => format!("{:.*} %", places(self.step * 100.0), tick * 100.0),
            Unit::PercentBothWays => format!("{:.*} %", places(self.step * 100.0), tick.abs() * 100.0),
        }
    }
}

/// 1, 2 or 5 times a power of ten that cuts `span` into about five parts.
fn nice_step(span: f64) -> f64 {
    let rough = span / TICKS;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough * 0.999).unwrap_or(10.0);
    factor * power
}

/// Two axes.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    pub(crate) x: Axis,
    pub(crate) y: Axis,
}

impl Plot {
    /// Place of a value on the horizontal axis.
    pub(crate) fn across(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    /// Place of a value on the vertical axis.
    pub(crate) fn down(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value) * (HEIGHT - TOP - BOTTOM)
    }

    /// Grid, ticks and labels.
    pub(crate) fn frame(&self) -> Markup {
        let (left, right) = (px(LEFT), px(WIDTH - RIGHT));
        let (top, bottom) = (px(TOP), px(HEIGHT - BOTTOM));
        let middle = f64::midpoint(HEIGHT - BOTTOM, TOP);
        html! {
            g class="axis" {
                @for (tick, written) in self.y.ticks() {
                    line class="grid" x1=(left) x2=(right) y1=(px(self.down(tick))) y2=(px(self.down(tick))) {}
                    text x=(px(LEFT - 7.0)) y=(px(self.down(tick) + 4.0)) text-anchor="end" { (written) }
                }
                @for (tick, written) in self.x.ticks() {
                    line class="tick" x1=(px(self.across(tick))) x2=(px(self.across(tick))) y1=(bottom) y2=(px(HEIGHT - BOTTOM + 5.0)) {}
                    text x=(px(self.across(tick))) y=(px(HEIGHT - BOTTOM + 19.0)) text-anchor="middle" { (written) }
                }
                line class="tick" x1=(left) x2=(right) y1=(bottom) y2=(bottom) {}
                line class="tick" x1=(left) x2=(left) y1=(top) y2=(bottom) {}
                text class="label" x=(px((WIDTH + LEFT - RIGHT) / 2.0)) y=(px(HEIGHT - 9.0)) text-anchor="middle" { (self.x.label) }
                text class="label" x="13" y=(px(middle)) text-anchor="middle" transform=(format!("rotate(-90 13 {})", px(middle))) {
                    (self.y.label)
                }
            }
        }
    }

    /// A vertical line over the whole height.
    pub(crate) fn upright(&self, class: &str, x: f64) -> Markup {
        let x = px(self.across(x));
        html! { line class=(class) x1=(x) x2=(x) y1=(px(TOP)) y2=(px(HEIGHT - BOTTOM)) {} }
    }

    /// A horizontal line over the whole width.
    pub(crate) fn level(&self, class: &str, y: f64) -> Markup {
        let y = px(self.down(y));
        html! { line class=(class) x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(y) y2=(y) {} }
    }
}

/// What a legend shows for an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A line of a class.
    Line(&'static str),
    /// A filled square of a class.
    Area(&'static str),
    /// A dot of a class.
    Dot(&'static str),
}

/// Entries in a row above a chart. Widths are estimated from the number of characters.
pub(crate) fn legend(entries: &[(Mark, String)]) -> Markup {
    const PER_CHAR: f64 = 6.3;
    const GAP: f64 = 12.0;
    let mut x = 12.0;
    let mut placed = Vec::new();
    for (mark, text) in entries {
        placed.push((x, *mark, text));
        x += 22.0 + GAP + PER_CHAR * f64::from(u32::try_from(text.chars().count()).unwrap_or(u32::MAX));
    }
    html! {
        g class="legend" {
            @for (x, mark, text) in placed {
                @match mark {
                    Mark::Line(class) => line class=(class) x1=(px(x)) x2=(px(x + 18.0)) y1="14" y2="14" {},
                    Mark::Area(class) => rect class=(class) x=(px(x + 4.0)) y="8" width="12" height="12" {},
                    Mark::Dot(class) => circle class=(class) cx=(px(x + 10.0)) cy="14" r="5" {},
                }
                text x=(px(x + 22.0)) y="18" { (text) }
            }
        }
    }
}

/// A chart with its name for those who cannot see it.
pub(crate) fn svg(title: &str, content: &Markup) -> Markup {
    html! {
        svg class="chart" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(title) {
            title { (title) }
            (content)
        }
    }
}

/// A value and its interval on a scale from `low` to `high`, for a table cell. A scale that crosses 0 shows where.
pub(crate) fn whisker(value: f64, interval: Option<[f64; 2]>, low: f64, high: f64) -> Markup {
    const SPAN: f64 = 188.0;
    let at = |value: f64| px(6.0 + ((value - low) / (high - low)).clamp(0.0, 1.0) * SPAN);
    let title = interval.map_or_else(
        || figure(value),
        |[lower, upper]| format!("{}, 95 % interval {}", figure(value), crate::wording::interval([lower, upper])),
    );
    html! {
        svg class="whisker" viewBox="0 0 200 18" role="img" aria-label=(title) {
            title { (title) }
            @for quarter in [0.0, 0.25, 0.5, 0.75, 1.0] {
                @let x = at(low + quarter * (high - low));
                line class="grid" x1=(x) x2=(x) y1="1" y2="17" {}
            }
            @if low < 0.0 && high > 0.0 { line class="zero" x1=(at(0.0)) x2=(at(0.0)) y1="0" y2="18" {} }
            @if let Some([lower, upper]) = interval {
                line class="range" x1=(at(lower)) x2=(at(upper)) y1="9" y2="9" {}
            }
            circle class="dot" cx=(at(value)) cy="9" r="4.5" {}
        }
    }
}

/// A coordinate, one decimal.
pub(crate) fn px(value: f64) -> String {
    format!("{value:.1}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, written)| written).collect()
    }

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(written(&Axis::new(0.0, 1.0, Unit::Plain, "")), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(written(&Axis::new(-12.0, 31.0, Unit::Plain, "")), ["-10", "0", "10", "20", "30"]);
        assert_eq!(written(&Axis::new(-0.2, 0.2, Unit::PercentBothWays, "")), ["20 %", "10 %", "0 %", "10 %", "20 %"]);
    }

    #[test]
    fn a_share_ends_at_a_tick() {
        let axis = Axis::share(0.23, Unit::Percent, "");
        assert_eq!((written(&axis).last().map(String::as_str), axis.high() >= 0.23), (Some("25 %"), true));
        assert!((Axis::share(0.97, Unit::Percent, "").high() - 1.0).abs() < 1e-12);
        assert!(Axis::share(0.0, Unit::Percent, "").high() > 0.0);
    }

    #[test]
    fn a_range_without_extent_is_widened() {
        let axis = Axis::new(3.0, 3.0, Unit::Plain, "");
        assert!(axis.high() > axis.low() && axis.place(3.0).is_finite());
    }
}
