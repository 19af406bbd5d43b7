//! Two systems on the same queries: what differs, and could chance explain it?

mod significance;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bootstrap;
use crate::error::{EvaluationError, quoted};
use crate::metrics::{MEASURES, Sheet};
use crate::ratio;
use crate::run::{Answer, Run};

/// One run set against another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The data set of both.
    pub dataset: String,
    /// Digest of its labelled intents.
    pub dataset_digest: String,
    /// The split of both.
    pub split: String,
    /// Queries with a right component.
    pub n_in_scope: u64,
    /// Queries without.
    pub n_out_of_scope: u64,
    /// What is compared with.
    pub base: System,
    /// What is compared.
    pub other: System,
    /// Figures that both runs have, by name.
    pub differences: BTreeMap<String, Difference>,
    /// In-scope queries by whose first candidate is right.
    pub hit_at_1: Outcomes,
    /// In-scope queries whose first candidate was right in `base` and is wrong in `other`.
    pub broken: Vec<Change>,
    /// In-scope queries whose first candidate was wrong in `base` and is right in `other`.
    pub fixed: Vec<Change>,
}

/// Which system answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct System {
    /// Its name.
    pub system: String,
    /// Name of its encoding model.
    pub model: String,
    /// Digest of its encoding model.
    pub model_digest: String,
}

/// One figure of both runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// In the first run.
    pub base: f64,
    /// In the second run.
    pub other: f64,
    /// `other - base`.
    pub difference: f64,
    /// 95 % interval of the difference: 1,000 resamples of the queries, the same for both runs.
    pub interval: [f64; 2],
    /// Two-sided paired randomisation test (Smucker et al., CIKM 2007), 10,000 rounds; only for figures that are means
    /// over queries. Not corrected for the number of figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_value: Option<f64>,
}

/// How often which run was better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// `other` is right and `base` is not.
    pub wins: u64,
    /// `base` is right and `other` is not.
    pub losses: u64,
    /// Both or neither.
    pub ties: u64,
}

/// A query whose first candidate changed from right to wrong or back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The answers' id.
    pub id: String,
    /// The intent.
    pub intent: String,
    /// The labelled component of the highest grade.
    pub expected: String,
    /// First candidate of `base`; empty for none.
    pub base: String,
    /// First candidate of `other`; empty for none.
    pub other: String,
}

/// The answers of two runs to the same query: `base`, `other`.
type Pair<'run> = (&'run Answer, &'run Answer);

/// Sets `other` against `base`. Answers are matched by their ids.
///
/// Errors: a run that [`Run::check`] refuses; runs of different data sets, splits, ids or labels.
pub fn compare(base: &Run, other: &Run) -> Result<Comparison, EvaluationError> {
    base.check()?;
    other.check()?;
    let pairs = matched(base, other)?;
    let sheets = Sheets {
        base: Sheet::new(&pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(), base.promise.is_some()),
        other: Sheet::new(&pairs.iter().map(|pair| pair.1).collect::<Vec<_>>(), other.promise.is_some()),
    };
    let changes = |from: bool, to: bool| -> Vec<Change> {
        let changed = |pair: &&Pair| pair.0.first_is_right() == from && pair.1.first_is_right() == to;
        pairs.iter().filter(changed).map(change).collect()
    };
    let (fixed, broken) = (changes(false, true), changes(true, false));
    let n_in_scope = sheets.base.n_in_scope();
    let (wins, losses) = (fixed.len() as u64, broken.len() as u64);
    Ok(Comparison {
        dataset: base.dataset.clone(),
        dataset_digest: base.dataset_digest.clone(),
        split: base.split.clone(),
        n_in_scope,
        n_out_of_scope: pairs.len() as u64 - n_in_scope,
        base: System::of(base),
        other: System::of(other),
        differences: sheets.differences(),
        hit_at_1: Outcomes { wins, losses, ties: n_in_scope - wins - losses },
        broken,
        fixed,
    })
}

impl System {
    fn of(run: &Run) -> Self {
        Self { system: run.system.clone(), model: run.model.clone(), model_digest: run.model_digest.clone() }
    }
}

/// Pairs the answers by id, in the order of the ids.
fn matched<'run>(base: &'run Run, other: &'run Run) -> Result<Vec<Pair<'run>>, EvaluationError> {
    let heads = [
        ("data set", &base.dataset, &other.dataset),
        ("data set digest", &base.dataset_digest, &other.dataset_digest),
        ("split", &base.split, &other.split),
    ];
    for (what, ours, theirs) in heads {
        same(what, ours, theirs)?;
    }
    let by_id = |run: &'run Run| -> BTreeMap<&'run str, &'run Answer> {
        run.answers.iter().map(|answer| (answer.id.as_str(), answer)).collect()
    };
    let (ours, theirs) = (by_id(base), by_id(other));
    let absent = |from: &BTreeMap<&str, &Answer>, among: &BTreeMap<&str, &Answer>| {
        among.keys().find(|id| !from.contains_key(*id)).map(|id| (*id).to_owned())
    };
    if let Some(id) = absent(&theirs, &ours) {
        same("ids", &id, "(no such id)")?;
    }
    if let Some(id) = absent(&ours, &theirs) {
        same("ids", "(no such id)", &id)?;
    }
    let pairs: Vec<Pair> = ours.into_values().zip(theirs.into_values()).collect();
    for (ours, theirs) in &pairs {
        same_labels(ours, theirs)?;
    }
    Ok(pairs)
}

fn same(what: &'static str, base: &str, other: &str) -> Result<(), EvaluationError> {
    let differ = || EvaluationError::NotComparable { what, base: quoted(base), other: quoted(other) };
    if base == other { Ok(()) } else { Err(differ()) }
}

fn same_labels(base: &Answer, other: &Answer) -> Result<(), EvaluationError> {
    let labels = |answer: &Answer| -> Vec<(String, u32)> {
        let graded = answer.relevant.iter().filter(|&(_, &grade)| grade > 0);
        graded.map(|(name, &grade)| (name.clone(), grade)).collect()
    };
    let shown = |answer: &Answer| {
        let each = labels(answer).into_iter().map(|(name, grade)| format!("{name}={grade}"));
        format!("{}: {}", answer.id, each.collect::<Vec<_>>().join(" "))
    };
    if labels(base) == labels(other) { Ok(()) } else { same("labels", &shown(base), &shown(other)) }
}

fn change((base, other): &Pair) -> Change {
    let first = |answer: &Answer| answer.ranked.first().map_or_else(String::new, |first| first.component.clone());
    Change {
        id: base.id.clone(),
        intent: if base.intent.is_empty() { &other.intent } else { &base.intent }.clone(),
        expected: base.best_component().unwrap_or_default().to_owned(),
        base: first(base),
        other: first(other),
    }
}

/// Two runs in columns, query by query.
struct Sheets {
    base: Sheet,
    other: Sheet,
}

impl Sheets {
    fn differences(&self) -> BTreeMap<String, Difference> {
        let (base, other) = (self.base.figures(), self.other.figures());
        let intervals = bootstrap::intervals(self.base.len(), |weights| {
            let (base, mut other) = (self.base.weighted(weights), self.other.weighted(weights));
            other.retain(|name, value| base.get(name).map(|base| *value -= base).is_some());
            other
        });
        let p_values = self.p_values();
        let difference = |(name, interval): (&'static str, [f64; 2])| {
            let (base, other) = (*base.get(name)?, *other.get(name)?);
            let p_value = p_values.get(name).copied();
            Some((name.to_owned(), Difference { base, other, difference: other - base, interval, p_value }))
        };
        intervals.into_iter().filter_map(difference).collect()
    }

    /// Of the figures that are means over in-scope queries.
    fn p_values(&self) -> BTreeMap<&'static str, f64> {
        let n = self.base.n_in_scope();
        if n == 0 {
            return BTreeMap::new();
        }
        // Out-of-scope queries differ by 0 and change no sum.
        let columns: Vec<Vec<f64>> = self
            .base
            .columns()
            .zip(self.other.columns())
            .map(|((_, base), (_, other))| {
                base.iter().zip(other).map(|(base, other)| (other - base) * ratio(1, n)).collect()
            })
            .collect();
        MEASURES.iter().map(|(name, _)| *name).zip(significance::sign_flips(&columns)).collect()
    }
}
