//! The same figures for parts of the in-scope queries: where is the system good, where not?

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bootstrap::mean_interval;
use crate::judgement::Judgement;
use crate::ratio;
use crate::run::{Answer, Run};

/// Figures of the in-scope queries that share a property.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The property's value.
    pub value: String,
    /// In-scope queries that have it.
    pub n: u64,
    /// `hit@1` and `ndcg@10`, 0..=1.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
    /// Their 95 % bootstrap intervals.
    pub intervals: BTreeMap<String, [f64; 2]>,
}

/// Words that an intent of each length class has at most; the last class has no end.
const LENGTHS: [(usize, &str); 4] = [(5, "1-5"), (10, "6-10"), (20, "11-20"), (usize::MAX, "21+")];

/// Slices by dimension: `tag`, `length` (in words), `names_component`, `unseen_component`, `language`,
/// `right_components`, `source`. A dimension that no query has a value of is left out. Tags and sources are ordered by
/// falling size, the other dimensions by value.
pub fn slices(run: &Run) -> BTreeMap<String, Vec<Slice>> {
    let mut dimensions: BTreeMap<&str, BTreeMap<(u64, String), Vec<Judgement>>> = BTreeMap::new();
    for answer in run.answers.iter().filter(|answer| answer.in_scope()) {
        for (dimension, place, value) in properties(answer) {
            let values = dimensions.entry(dimension).or_default();
            values.entry((place, value)).or_default().push(Judgement::of(answer));
        }
    }
    let ordered = |(dimension, values): (&str, BTreeMap<(u64, String), Vec<Judgement>>)| {
        let mut slices: Vec<Slice> = values.into_iter().map(|((_, value), judged)| slice(value, &judged)).collect();
        if matches!(dimension, "tag" | "source" | "language") {
            slices.sort_by_key(|slice| std::cmp::Reverse(slice.n));
        }
        (dimension.to_owned(), slices)
    };
    dimensions.into_iter().map(ordered).collect()
}

/// What an in-scope answer has: the dimension, the value's place in it, the value.
fn properties(answer: &Answer) -> Vec<(&'static str, u64, String)> {
    let words = answer.intent.split_whitespace().count();
    let length = (0..).zip(LENGTHS).find(|&(_, (most, _))| words <= most);
    let right = Judgement::of(answer).n_relevant();
    let yes_no = |flag: bool| if flag { (0, "yes".to_owned()) } else { (1, "no".to_owned()) };
    let mut tags = answer.tags.clone();
    tags.sort_unstable();
    tags.dedup();
    let mut found: Vec<_> = tags.into_iter().map(|tag| ("tag", 0, tag)).collect();
    found.extend(length.map(|(place, (_, name))| ("length", place, name.to_owned())));
    found.push(("right_components", right.min(3) as u64, if right < 3 { right.to_string() } else { "3+".into() }));
    let flags = [("names_component", answer.names_component), ("unseen_component", answer.unseen_component)];
    found.extend(flags.into_iter().filter_map(|(dimension, flag)| {
        let (place, value) = yes_no(flag?);
        Some((dimension, place, value))
    }));
    let texts = [("language", &answer.language), ("source", &answer.kind)];
    found.extend(texts.into_iter().filter_map(|(dimension, text)| Some((dimension, 0, text.clone()?))));
    found
}

fn slice(value: String, judged: &[Judgement]) -> Slice {
    let n = judged.len() as u64;
    let columns = [
        ("hit@1", judged.iter().map(|one| one.hit(1)).collect::<Vec<f64>>()),
        ("ndcg@10", judged.iter().map(|one| one.ndcg(10)).collect()),
    ];
    let mean = |values: &[f64]| values.iter().sum::<f64>() * ratio(1, n);
    Slice {
        value,
        n,
        metrics: columns.iter().map(|(name, values)| ((*name).to_owned(), mean(values))).collect(),
        intervals: columns.iter().map(|(name, values)| ((*name).to_owned(), mean_interval(values))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Ranked;

    fn answer(words: usize, right: bool, tags: &[&str], names_component: Option<bool>) -> Answer {
        let first = if right { "a" } else { "b" };
        Answer {
            intent: vec!["word"; words].join(" "),
            ranked: vec![Ranked { component: first.into(), ..Ranked::default() }],
            relevant: BTreeMap::from([("a".into(), 1)]),
            tags: tags.iter().map(|&tag| tag.into()).collect(),
            names_component,
            ..Answer::default()
        }
    }

    fn run(answers: Vec<Answer>) -> Run {
        Run { n_components: 2, answers, ..Run::default() }
    }

    #[test]
    fn each_value_has_its_own_figures() {
        let outside = Answer { intent: "x".into(), tags: vec!["t".into()], ..Answer::default() };
        let answers = vec![answer(3, true, &["t", "u", "t"], Some(true)), answer(25, false, &["t"], None), outside];
        let found = slices(&run(answers));
        let shown = |dimension: &str| -> Vec<(String, u64, f64)> {
            found[dimension].iter().map(|slice| (slice.value.clone(), slice.n, slice.metrics["hit@1"])).collect()
        };
        assert_eq!(shown("length"), [("1-5".into(), 1, 1.0), ("21+".into(), 1, 0.0)]);
        assert_eq!(shown("tag"), [("t".into(), 2, 0.5), ("u".into(), 1, 1.0)]);
        assert_eq!(shown("names_component"), [("yes".into(), 1, 1.0)]);
        assert_eq!(shown("right_components"), [("1".into(), 2, 0.5)]);
        assert!(!found.contains_key("language"));
    }

    #[test]
    fn length_classes_meet_without_a_gap() {
        let classes = |words| slices(&run(vec![answer(words, true, &[], None)]))["length"][0].value.clone();
        assert_eq!([5, 6, 10, 11, 20, 21].map(classes), ["1-5", "6-10", "6-10", "11-20", "11-20", "21+"]);
    }
}
