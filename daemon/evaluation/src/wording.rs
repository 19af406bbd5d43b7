//! How figures are called and written for people.

use crate::run::Tier;

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
        "tier_accuracy" => "answers of the expected tier",
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

/// A figure of 0..=1, three places.
pub(crate) fn figure(value: f64) -> String {
    format!("{value:.3}")
}

/// `0.571 to 0.655`.
pub(crate) fn interval([low, high]: [f64; 2]) -> String {
    format!("{low:.3} to {high:.3}")
}

/// A signed difference; a rounded 0 has no sign.
pub(crate) fn signed(value: f64) -> String {
    let shown = format!("{value:+.3}");
    if shown[1..] == *"0.000" { "0.000".to_owned() } else { shown }
}

/// A share of 0..=1 in percent, one place.
pub(crate) fn percent(value: f64) -> String {
    format!("{:.1} %", value * 100.0)
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
