//! Economics as a picture: the shares of the three outcomes, one bar for each period.

use maud::{Markup, PreEscaped, html};

use super::Economics;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 66.0;
const BOTTOM: f64 = 44.0;
/// Most bars; of more periods the last are drawn.
const MAX_BARS: usize = 60;
/// Least room for a bar's label, in units of the picture.
const LABEL_WIDTH: f64 = 60.0;

/// The picture's own, so that it looks the same wherever it is put.
const STYLE: &str = "\
.fitment-economics{font:12px system-ui,sans-serif;--paper:#fff;--text:#1a1f26;--muted:#56606c;--rule:#dbe0e6;--zero:#00694c;--minimal:#0072b2;--raw:#c24e00}\
@media(prefers-color-scheme:dark){.fitment-economics{--paper:#161b22;--text:#e7eaef;--muted:#a1abb8;--rule:#303844;--zero:#5fd3ae;--minimal:#5db7f2;--raw:#f39a5c}}\
.fitment-economics text{fill:var(--text)}.fitment-economics .muted{fill:var(--muted)}.fitment-economics .paper{fill:var(--paper)}\
.fitment-economics line{stroke:var(--rule)}.fitment-economics .zero{fill:var(--zero)}.fitment-economics .minimal{fill:var(--minimal)}\
.fitment-economics .raw{fill:var(--raw)}.fitment-economics rect.bar{stroke:var(--paper);stroke-width:1}";

const OUTCOMES: [(&str, &str); 3] =
    [("zero", "zero generation"), ("minimal", "minimal generation"), ("raw", "raw generation")];

impl Economics {
    /// A self-contained SVG, for a page or a file of its own. `title` is told above it and to those who cannot see it.
    pub fn to_svg(&self, title: &str) -> String {
        let title = &plain(title);
        let skipped = self.periods.len().saturating_sub(MAX_BARS);
        let shown = &self.periods[skipped..];
        let about = match (skipped, self.total.shares()) {
            (_, None) => "no intents".to_owned(),
            (0, Some(_)) => format!("{} intents", self.total.intents()),
            (_, Some(_)) => {
                format!("{} intents; the last {MAX_BARS} of {} periods", self.total.intents(), self.periods.len())
            }
        };
        let svg = html! {
            svg xmlns="http://www.w3.org/2000/svg" class="fitment-economics" viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-labelledby="economics-title economics-about" {
                title id="economics-title" { (title) }
                desc id="economics-about" { (about) "; " (described(shown)) }
                style { (PreEscaped(STYLE)) }
                rect class="paper" width=(WIDTH) height=(HEIGHT) {}
                text x=(px(LEFT)) y="20" font-size="14" font-weight="600" { (shortened(title)) }
                text class="muted" x=(px(WIDTH - RIGHT)) y="20" text-anchor="end" { (about) }
                (legend())
                (grid())
                (bars(shown))
            }
        };
        svg.into_string()
    }
}

fn described(periods: &[(String, super::Figures)]) -> String {
    let told = periods.iter().filter_map(|(name, figures)| {
        let [zero, minimal, raw] = figures.shares()?.map(percent);
        Some(format!("{name}: {zero} zero, {minimal} minimal, {raw} raw"))
    });
    told.collect::<Vec<_>>().join("; ")
}

fn legend() -> Markup {
    let places = [LEFT, LEFT + 150.0, LEFT + 316.0];
    html! {
        @for ((class, name), x) in OUTCOMES.into_iter().zip(places) {
            rect class=(class) x=(px(x)) y="36" width="12" height="12" {}
            text x=(px(x + 18.0)) y="46" { (name) }
        }
    }
}

fn grid() -> Markup {
    html! {
        @for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
            line x1=(px(LEFT)) x2=(px(WIDTH - RIGHT)) y1=(px(down(share))) y2=(px(down(share))) {}
            text class="muted" x=(px(LEFT - 8.0)) y=(px(down(share) + 4.0)) text-anchor="end" { (percent(share)) }
        }
    }
}

fn bars(periods: &[(String, super::Figures)]) -> Markup {
    let count = |count: usize| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    let step = (WIDTH - LEFT - RIGHT) / count(periods.len().max(1));
    let width = (step * 0.72).min(80.0);
    // Labels of bars that stand close are told for every few only.
    let every = (1..=MAX_BARS).find(|every| step * count(*every) >= LABEL_WIDTH).unwrap_or(MAX_BARS);
    html! {
        @for (nth, (name, figures)) in periods.iter().enumerate() {
            @let middle = LEFT + (count(nth) + 0.5) * step;
            @if let Some(shares) = figures.shares() {
                @let below = [0.0, shares[0], shares[0] + shares[1]];
                @for (((class, outcome), share), from) in OUTCOMES.into_iter().zip(shares).zip(below) {
                    @if share > 0.0 {
                        rect class=(format!("bar {class}")) x=(px(middle - width / 2.0)) width=(px(width)) y=(px(down(from + share))) height=(px(down(from) - down(from + share))) {
                            title { (name) ": " (percent(share)) " " (outcome) }
                        }
                    }
                }
            }
            @if nth % every == 0 {
                text x=(px(middle)) y=(px(HEIGHT - BOTTOM + 18.0)) text-anchor="middle" { (name) }
            }
        }
    }
}

fn down(share: f64) -> f64 {
    HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
}

fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}

fn px(value: f64) -> String {
    format!("{value:.1}")
}

/// A text without characters that XML does not know.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') { ' ' } else { c }).collect()
}

/// What finds room beside the counts.
fn shortened(title: &str) -> String {
    const MOST: usize = 48;
    let mut short: String = title.chars().take(MOST).collect();
    if title.chars().nth(MOST).is_some() {
        short.push('…');
    }
    short
}
