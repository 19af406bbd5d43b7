//! What was taken for what: tiers and components.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ratio;
use crate::run::{Answer, Run, Tier};

/// Pairs of components that a report keeps.
const MAX_PAIRS: usize = 100;
/// Intents that illustrate a pair.
const MAX_EXAMPLES: usize = 3;

/// How the confusion is to be read, for those who see the JSON alone.
const READ_AS: &str = "confusion[tier of the truth][tier of the answer] = number of intents";

/// The truth's tiers against the answers'.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tiers {
    /// Share of answers whose tier is the truth's, 0..=1; whether their component is right is not asked.
    pub accuracy: f64,
    /// Answers with both a tier in the truth and one of their own.
    pub n: u64,
    /// What `confusion` holds, in words.
    #[serde(default)]
    pub read_as: String,
    /// Tier of the truth, then tier of the answer, then the number of intents; all nine are there.
    pub confusion: BTreeMap<Tier, BTreeMap<Tier, u64>>,
}

impl Tiers {
    /// Of a run; `None` where no answer has both tiers.
    pub fn of(run: &Run) -> Option<Self> {
        let pairs: Vec<(Tier, Tier)> =
            run.answers.iter().filter_map(|answer| Some((answer.expected?, answer.outcome?))).collect();
        if pairs.is_empty() {
            return None;
        }
        let row = BTreeMap::from(Tier::ALL.map(|answered| (answered, 0)));
        let mut confusion = BTreeMap::from(Tier::ALL.map(|expected| (expected, row.clone())));
        for (expected, answered) in &pairs {
            *confusion.entry(*expected).or_default().entry(*answered).or_default() += 1;
        }
        let n = pairs.len() as u64;
        let agreeing = pairs.iter().filter(|(expected, answered)| expected == answered).count() as u64;
        Some(Self { accuracy: ratio(agreeing, n), n, read_as: READ_AS.to_owned(), confusion })
    }
}

/// Two components of which one was put first in place of the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfusedPair {
    /// The component that was right, in the more frequent direction.
    pub expected: String,
    /// The component that was put first.
    pub chosen: String,
    /// Intents for `expected` that got `chosen`.
    pub count: u64,
    /// Intents for `chosen` that got `expected`.
    pub reverse: u64,
    /// Some of these intents, those of the more frequent direction first.
    pub examples: Vec<Example>,
}

/// An intent that got the wrong component.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// The answer's id.
    pub id: String,
    /// The intent.
    pub intent: String,
}

/// Mistakes of one direction.
type Directed<'run> = BTreeMap<(&'run str, &'run str), Vec<&'run Answer>>;

/// The most confused pairs, most mistakes first, then by name; at most 100. What was expected is the label of the highest
/// grade, the first by name among equals.
pub fn confused_pairs(run: &Run) -> Vec<ConfusedPair> {
    let mut directed = Directed::new();
    for answer in run.answers.iter().filter(|answer| !answer.first_is_right()) {
        let (Some(expected), Some(first)) = (answer.best_component(), answer.ranked.first()) else { continue };
        directed.entry((expected, &first.component)).or_default().push(answer);
    }
    let mut pairs: Vec<ConfusedPair> =
        directed.iter().filter_map(|(&names, there)| pair(&directed, names, there)).collect();
    let mistakes = |pair: &ConfusedPair| std::cmp::Reverse(pair.count + pair.reverse);
    pairs.sort_by(|a, b| (mistakes(a), &a.expected, &a.chosen).cmp(&(mistakes(b), &b.expected, &b.chosen)));
    pairs.truncate(MAX_PAIRS);
    pairs
}

/// The pair as seen from its more frequent direction, `None` from the other one.
fn pair(directed: &Directed<'_>, (expected, chosen): (&str, &str), there: &[&Answer]) -> Option<ConfusedPair> {
    let back = directed.get(&(chosen, expected)).map_or(&[][..], Vec::as_slice);
    if (back.len(), expected) > (there.len(), chosen) && !back.is_empty() {
        return None;
    }
    let example = |answer: &&Answer| Example { id: answer.id.clone(), intent: answer.intent.clone() };
    Some(ConfusedPair {
        expected: expected.to_owned(),
        chosen: chosen.to_owned(),
        count: there.len() as u64,
        reverse: back.len() as u64,
        examples: there.iter().chain(back).take(MAX_EXAMPLES).map(example).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Ranked;

    fn answer(id: &str, expected: &str, first: &str) -> Answer {
        Answer {
            id: id.into(),
            ranked: vec![Ranked { component: first.into(), ..Ranked::default() }],
            relevant: if expected.is_empty() { BTreeMap::new() } else { BTreeMap::from([(expected.into(), 1)]) },
            ..Answer::default()
        }
    }

    fn run(answers: Vec<Answer>) -> Run {
        Run { n_components: 2, answers, ..Run::default() }
    }

    #[test]
    fn both_directions_are_one_pair() {
        let answers =
            [("1", "a", "b"), ("2", "b", "a"), ("3", "b", "a"), ("4", "a", "a"), ("5", "c", "d"), ("6", "", "a")];
        let found = confused_pairs(&run(answers.map(|(id, expected, first)| answer(id, expected, first)).to_vec()));
        let shown: Vec<_> =
            found.iter().map(|pair| (&*pair.expected, &*pair.chosen, pair.count, pair.reverse)).collect();
        assert_eq!(shown, [("b", "a", 2, 1), ("c", "d", 1, 0)]);
        assert_eq!(found[0].examples.iter().map(|example| &*example.id).collect::<Vec<_>>(), ["2", "3", "1"]);
    }

    #[test]
    fn an_even_pair_is_told_once() {
        let found = confused_pairs(&run(vec![answer("1", "a", "b"), answer("2", "b", "a")]));
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].count, found[0].reverse), (1, 1));
    }

    #[test]
    fn tiers_count_only_where_both_are_known() {
        let tier = |expected, outcome| Answer { outcome, expected, ..Answer::default() };
        let zero = Some(Tier::ZeroGeneration);
        let answers = vec![tier(zero, zero), tier(zero, Some(Tier::RawGeneration)), tier(zero, None), tier(None, zero)];
        let found = Tiers::of(&run(answers)).expect("two");
        assert_eq!((found.n, found.accuracy), (2, 0.5));
        assert_eq!(found.confusion[&Tier::ZeroGeneration][&Tier::RawGeneration], 1);
        assert_eq!(Tiers::of(&run(vec![])), None);
    }
}
