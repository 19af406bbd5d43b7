//! How figures are called and written for people.

use crate::recalibration::Recalibration;
use crate::run::{InSample, Tier};

/// Figures that every view shows, in reading order.
pub(crate) const MAIN: [&str; 18] = [
    "hit@1",
    "hit@3",
    "hit@5",
    "recall@5",
    "recall@10",
    "ndcg@10",
    "mrr@10",
    "map",
    "completeness@5",
    "auroc",
    "fpr95",
    "aurc",
    "ece",
    "coverage@90",
    "coverage@95",
    "coverage",
    "precision",
    "tier_accuracy",
];

/// What was measured on: the data set and its split, where it has one.
pub(crate) fn measured_on(dataset: &str, split: &str) -> String {
    if split.is_empty() { dataset.to_owned() } else { format!("{dataset} / {split}") }
}

/// A figure's name for people.
pub(crate) fn label(metric: &str) -> String {
    match metric {
        "auroc" => "AUROC".into(),
        "fpr95" => "FPR95".into(),
        "aurc" => "AURC".into(),
        "ece" => "ECE".into(),
        "map" => "MAP".into(),
        "tier_accuracy" => "tier accuracy".into(),
        "coverage" => "coverage (promised)".into(),
        "precision" => "precision (promised)".into(),
        _ => match metric.split_once('@') {
            Some(("ndcg", cut)) => format!("nDCG@{cut}"),
            Some(("mrr", cut)) => format!("MRR@{cut}"),
            Some(("coverage", percent)) => format!("coverage at {percent} %"),
            _ => metric.to_owned(),
        },
    }
}

/// What a figure says, in a line.
pub(crate) fn meaning(metric: &str) -> &'static str {
    match metric.split_once('@').map_or(metric, |(name, _)| name) {
        "hit" => "in-scope intents with a right component this far up",
        "recall" => "share of an intent's right components this far up",
        "ndcg" => "graded ranking quality, the ideal order being 1",
        "mrr" => "mean of 1 / rank of the first right component",
        "map" => "mean average precision",
        "completeness" => "intents with all their right components this far up",
        "auroc" => "chance that an in-scope intent is surer than an out-of-scope one",
        "fpr95" => "out-of-scope intents that pass where 95 % of in-scope ones do; lower is better",
        "aurc" => "area under the risk-coverage curve; lower is better",
        "ece" => "mean gap between confidence and share right; lower is better",
        "coverage" if metric.contains('@') => {
            "what an oracle's threshold on this very run could answer at this precision"
        }
        "coverage" => "in-scope intents that were answered under the promise",
        "precision" => "answered intents, out-of-scope ones included, whose first candidate was right",
        "tier_accuracy" => "answers whose tier is the truth's, whichever component they name",
        _ => "",
    }
}

/// A slice dimension for people.
pub(crate) fn dimension(name: &str) -> &str {
    match name {
        "length" => "words in the intent",
        "names_component" => "intent names the component",
        "unseen_component" => "component unseen when fitting",
        "right_components" => "right components",
        other => other,
    }
}

/// A tier for people.
pub(crate) fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::ZeroGeneration => "zero",
        Tier::MinimalGeneration => "minimal",
        Tier::RawGeneration => "raw",
    }
}

/// What a tier means, in the truth.
pub(crate) fn tier_meaning(tier: Tier) -> &'static str {
    match tier {
        Tier::ZeroGeneration => "a component fits as it is",
        Tier::MinimalGeneration => "a component fits once configured",
        Tier::RawGeneration => "no component fits",
    }
}

/// What follows when [`in_sample`] says something.
pub(crate) const FLATTERED: &str = "the figures flatter what was fitted: measure on other intents";

/// What of the system had seen the measured intents, `None` where nothing had. all: intents that were measured.
pub(crate) fn in_sample(seen: InSample, all: u64) -> Option<String> {
    let part = |what: &str, n: u64| (n > 0).then(|| format!("{what} on {}", count(n)));
    let alone = if seen.ranking == 0 { "the promise was fitted" } else { "the promise" };
    let parts = [part("the ranking was fitted", seen.ranking), part(alone, seen.promise)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    let word = if seen.ranking.max(seen.promise) >= all { "IN SAMPLE" } else { "PARTLY IN SAMPLE" };
    (!parts.is_empty()).then(|| format!("{word}: {} of these {} intents", parts.join(" and "), count(all)))
}

/// What random recalibrations said: name and value.
pub(crate) fn recalibration(found: &Recalibration) -> Vec<(String, String)> {
    let of = |part: u64| format!("{} of {}", count(part), count(found.repeats));
    let named = |name: &str, value: String| (name.to_owned(), value);
    vec![
        named("promised at most wrong", percent(found.max_error)),
        named("promises that the other half broke", format!("{} ({})", of(found.broken), percent(found.broken_share))),
        named("95 % interval of that share", interval(found.broken_interval)),
        named("allowed", percent(found.allowed_share)),
        named("broken by more than chance explains", of(found.broken_beyond_chance)),
        named("nothing could be promised", of(found.refused)),
        named("wrong among all that was answered", percent(found.error_rate)),
        named("mean coverage", percent(found.coverage)),
    ]
}

/// What anything in the system was fitted on.
pub(crate) fn fitted_on(names: &[String]) -> String {
    const SHOWN: usize = 8;
    const NAME_CHARS: usize = 60;
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<String> = names.iter().take(SHOWN).map(|name| cut(name, NAME_CHARS)).collect();
    if shown.is_empty() { "nothing".to_owned() } else { format!("{}{more}", shown.join(", ")) }
}

/// A figure, three places; a rounded 0 has no sign.
pub(crate) fn figure(value: f64) -> String {
    let shown = format!("{value:.3}");
    if shown == "-0.000" { "0.000".to_owned() } else { shown }
}

/// `0.571 to 0.655`.
pub(crate) fn interval(ends: [f64; 2]) -> String {
    let [low, high] = ends.map(figure);
    format!("{low} to {high}")
}

/// A signed difference; a rounded 0 has no sign.
pub(crate) fn signed(value: f64) -> String {
    let shown = format!("{value:+.3}");
    if shown[1..] == *"0.000" { "0.000".to_owned() } else { shown }
}

/// A share of 0..=1 in percent, one place.
pub(crate) fn percent(value: f64) -> String {
    let shown = format!("{:.1} %", value * 100.0);
    if shown == "-0.0 %" { "0.0 %".to_owned() } else { shown }
}

/// A p-value; none below 0.001 is told apart.
pub(crate) fn p_value(value: f64) -> String {
    if value < 0.001 { "<0.001".to_owned() } else { format!("{value:.3}") }
}

/// A count with thousands separated.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|group| std::str::from_utf8(group).ok()).collect();
    groups.join(",")
}

/// The first `most` characters, with an ellipsis where something is cut; control characters become spaces.
pub(crate) fn cut(text: &str, most: usize) -> String {
    let shown = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_none() {
        return shown(text);
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    format!("{}…", shown(kept.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0004, -0.0004, 0.25, -0.25].map(signed), ["0.000", "0.000", "+0.250", "-0.250"]);
        assert_eq!([-0.0, -0.0004, 0.25].map(figure), ["0.000", "0.000", "0.250"]);
        assert_eq!((interval([-0.0, 1e-9]).as_str(), percent(-0.0).as_str()), ("0.000 to 0.000", "0.0 %"));
        assert_eq!((percent(0.1234).as_str(), p_value(0.0001).as_str()), ("12.3 %", "<0.001"));
    }

    #[test]
    fn long_text_ends_in_an_ellipsis() {
        assert_eq!(
            (cut("abc", 3).as_str(), cut("abcd", 3).as_str(), cut("größer", 4).as_str()),
            ("abc", "ab…", "grö…")
        );
        assert_eq!(cut("a\u{1b}[31mb", 20), "a [31mb");
    }
}
