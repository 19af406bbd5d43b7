//! The course of a soak as an SVG file: panels one below the other, lines over minutes.

use std::fmt::Write as _;

/// A panel.
pub(crate) struct Panel {
    /// What its numbers are, with the unit.
    pub(crate) title: &'static str,
    /// The lines of it.
    pub(crate) lines: Vec<Line>,
}

/// A line.
pub(crate) struct Line {
    pub(crate) name: String,
    /// `(minute, value)`
    pub(crate) points: Vec<(f64, f64)>,
}

/// Colours that are told apart also by those who see few of them (Okabe and Ito).
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7"];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 170.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 170.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 28.0;

/// Draws panels over the same minutes. `fitted_from`: the minute from which on trends were fitted.
pub(crate) fn draw(title: &str, panels: &[Panel], fitted_from: f64) -> String {
    let points = || panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
    let minutes = points().map(|&(minute, _)| minute).fold(1.0, f64::max);
    let mut svg = String::new();
    let whole = 40.0 + HEIGHT * f64::from(u32::try_from(panels.len()).unwrap_or(u32::MAX));
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{whole}\" viewBox=\"0 0 {WIDTH} {whole}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"24\" font-size=\"15\">{}</text>",
        escape(title)
    );
    let mut top = 40.0;
    for panel in panels {
        draw_panel(&mut svg, panel, top, minutes, fitted_from);
        top += HEIGHT;
    }
    svg.push_str("</svg>\n");
    svg
}

fn draw_panel(svg: &mut String, panel: &Panel, top: f64, minutes: f64, fitted_from: f64) {
    let most = panel.lines.iter().flat_map(|line| &line.points).map(|&(_, value)| value).fold(0.0, f64::max);
    let step = nice_step(most / 4.0);
    let most = step * (most / step).ceil().max(1.0);
    let (right, bottom) = (WIDTH - RIGHT, top + HEIGHT - BOTTOM);
    let x = |minute: f64| LEFT + (right - LEFT) * minute / minutes;
    let y = |value: f64| bottom - (bottom - top - TOP) * value / most;
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"#f3f6f9\"/>\n\
         <text x=\"{LEFT}\" y=\"{:.1}\" fill=\"#333333\">{}</text>",
        x(fitted_from),
        top + TOP,
        right - x(fitted_from),
        bottom - top - TOP,
        top + TOP - 8.0,
        escape(panel.title)
    );
    let mut value = 0.0;
    while value <= most + step / 2.0 {
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" x2=\"{right:.1}\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#d8dde2\"/>\n\
             <text x=\"{1:.1}\" y=\"{2:.1}\" text-anchor=\"end\" fill=\"#555555\">{value}</text>",
            y(value),
            LEFT - 6.0,
            y(value) + 4.0
        );
        value += step;
    }
    let every = nice_step(minutes / 6.0).max(1.0);
    let mut minute = 0.0;
    while minute <= minutes {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#555555\">{minute} min</text>",
            x(minute),
            bottom + 16.0
        );
        minute += every;
    }
    for (number, line) in panel.lines.iter().enumerate() {
        let colour = COLOURS.get(number % COLOURS.len()).copied().unwrap_or("#000000");
        let points: Vec<String> =
            line.points.iter().map(|&(minute, value)| format!("{:.1},{:.1}", x(minute), y(value))).collect();
        let _ = writeln!(
            svg,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.5\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>",
            points.join(" "),
            right + 10.0,
            top + TOP + 12.0 + 16.0 * f64::from(u32::try_from(number).unwrap_or_default()),
            escape(&line.name)
        );
    }
}

/// 1, 2 or 5 times a power of ten, at least so much.
fn nice_step(least: f64) -> f64 {
    if least.is_nan() || least <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().find(|step| step * power >= least * (1.0 - 1e-9));
    step.unwrap_or(10.0) * power
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        for (least, step) in [(0.0, 1.0), (0.7, 1.0), (1.0, 1.0), (1.1, 2.0), (23.0, 50.0), (51.0, 100.0)] {
            assert!((nice_step(least) - step).abs() < 1e-9, "{least}: {}", nice_step(least));
        }
    }

    #[test]
    fn a_picture_holds_its_lines_and_escapes_their_names() {
        let line = Line { name: "a < b".into(), points: vec![(0.0, 1.0), (1.0, 3.0)] };
        let svg = draw("soak", &[Panel { title: "MiB", lines: vec![line] }], 0.5);
        assert!(svg.contains("a &lt; b") && svg.contains("<polyline") && svg.ends_with("</svg>\n"), "{svg}");
    }
}
