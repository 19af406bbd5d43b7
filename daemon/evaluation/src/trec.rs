//! Labels and rankings in the files that `trec_eval` and everything built on it reads.
//!
//! A qrels line is `query 0 component grade`, a run line `query Q0 component rank score tag`; fields are separated by white
//! space. BEIR's qrels are read as well. Components have the ids of their data set's own files, so that what is written goes
//! with the qrels that came with it. Ids that are empty or hold white space or control characters cannot be written and are refused: an encoding
//! would have to be undone by every reader.
//!
//! `trec_eval` ignores the rank and the order of lines. It sorts by the score as a 32-bit float, and equal scores by the
//! component's bytes, last first. The reader here does the same; the writer lowers scores just enough that each is less
//! than the one before it even as a 32-bit float, so that every reader sees the order of the run.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::error::{EvaluationError, quoted};
use crate::run::{Answer, Ranked, Run};

/// Grades by query, then component.
pub type Qrels = BTreeMap<String, BTreeMap<String, u32>>;
/// Candidates by query, best first.
pub type Rankings = BTreeMap<String, Vec<Ranked>>;

/// Scores are written within this, far enough from a 32-bit float's ends to have room for strictly falling ones.
const LARGEST_SCORE: f64 = 1e30;

/// The labels of a run, components called as their data set calls them. Out-of-scope queries without labels have no line.
///
/// Errors: an id that a line cannot hold.
pub fn write_qrels(run: &Run) -> Result<String, EvaluationError> {
    let mut lines = String::new();
    for answer in &run.answers {
        let query = writable("query", &answer.id)?;
        for (component, grade) in &answer.relevant {
            let component = writable("component", own_id(run, component))?;
            let _ = writeln!(lines, "{query} 0 {component} {grade}");
        }
    }
    Ok(lines)
}

/// The rankings of a run, tagged with its system. A query without candidates has no line.
///
/// Errors: an id or a system's name that a line cannot hold.
pub fn write_run(run: &Run) -> Result<String, EvaluationError> {
    let tag = writable("system", &run.system)?;
    let mut lines = String::new();
    for answer in &run.answers {
        let query = writable("query", &answer.id)?;
        let mut ceiling = f32::INFINITY;
        for (rank, candidate) in (1..).zip(&answer.ranked) {
            let component = writable("component", own_id(run, &candidate.component))?;
            let score = narrowed(candidate.score.clamp(-LARGEST_SCORE, LARGEST_SCORE)).min(ceiling);
            ceiling = score.next_down();
            let _ = writeln!(lines, "{query} Q0 {component} {rank} {score} {tag}");
        }
    }
    Ok(lines)
}

/// A score as `trec_eval` reads it. Adding 0 turns -0 into 0, as there is only one zero to a comparison.
#[expect(clippy::cast_possible_truncation, reason = "trec_eval's scores are 32-bit floats")]
fn narrowed(score: f64) -> f32 {
    score as f32 + 0.0
}

/// What the data set's own files call a component.
fn own_id<'run>(run: &'run Run, component: &'run str) -> &'run str {
    run.component_ids.get(component).map_or(component, String::as_str)
}

fn writable<'id>(what: &'static str, id: &'id str) -> Result<&'id str, EvaluationError> {
    let unwritable = id.is_empty() || id.contains(|c: char| c.is_whitespace() || c.is_control());
    if unwritable { Err(EvaluationError::UnwritableId { what, id: quoted(id) }) } else { Ok(id) }
}

/// Reads labels: TREC's lines, or BEIR's, which are query, component and grade with tabs between, mostly under a header. The
/// first line tells which. A negative grade counts as 0; empty lines are skipped.
///
/// Errors: no label at all; a line that is none of a qrels file; a component that is labelled twice for a query.
pub fn read_qrels(text: &str) -> Result<Qrels, EvaluationError> {
    let mut qrels = Qrels::new();
    let mut form = None;
    for line in lines("qrels", text) {
        let first = form.is_none();
        let beir = *form.get_or_insert_with(|| line.cells().is_ok());
        let (query, component, grade) = if beir {
            let [query, component, grade] = line.cells()?;
            if first && grade.parse::<f64>().is_err() {
                continue;
            }
            (query, component, grade)
        } else {
            let [query, _, component, grade] = line.fields("`query 0 component grade`")?;
            (query, component, grade)
        };
        let grade: i64 = line.number("grade", grade)?;
        let Ok(grade) = u32::try_from(grade.max(0)) else {
            return Err(line.fault(format!("grade {grade} is above {}; use small whole numbers", u32::MAX)));
        };
        let labels = qrels.entry(query.to_owned()).or_default();
        if labels.insert(component.to_owned(), grade).is_some() {
            return Err(line.twice(query, component));
        }
    }
    if qrels.is_empty() { Err(EvaluationError::Empty { file: "qrels" }) } else { Ok(qrels) }
}

/// Reads rankings, in `trec_eval`'s order. Empty lines are skipped.
///
/// Errors: no line at all; a line that is none of a run file; a score that is no finite number; a component that is ranked twice for a
/// query.
pub fn read_run(text: &str) -> Result<Rankings, EvaluationError> {
    let mut scores: BTreeMap<&str, BTreeMap<&str, f64>> = BTreeMap::new();
    for line in lines("run", text) {
        let [query, _, component, _, score, _] = line.fields("`query Q0 component rank score tag`")?;
        let number: f64 = line.number("score", score)?;
        if !number.is_finite() {
            return Err(line.fault(format!("score `{}` is not finite; write a finite number", quoted(score))));
        }
        if scores.entry(query).or_default().insert(component, number).is_some() {
            return Err(line.twice(query, component));
        }
    }
    if scores.is_empty() {
        return Err(EvaluationError::Empty { file: "run" });
    }
    Ok(scores.into_iter().map(|(query, scores)| (query.to_owned(), ranking(scores))).collect())
}

fn ranking(scores: BTreeMap<&str, f64>) -> Vec<Ranked> {
    let mut order: Vec<(&str, f64)> = scores.into_iter().collect();
    order.sort_by(|a, b| narrowed(b.1).total_cmp(&narrowed(a.1)).then_with(|| b.0.cmp(a.0)));
    order
        .into_iter()
        .map(|(component, score)| Ranked { component: component.to_owned(), score, ..Ranked::default() })
        .collect()
}

/// Judged answers of somebody else's system, ordered by id: every query of either file. A query that no label has a grade
/// above 0 for is out of scope. The confidence is the first candidate's score; a query without candidates has the lowest
/// score of the file.
///
/// Errors: as [`read_qrels`] and [`read_run`].
pub fn read_answers(qrels: &str, run: &str) -> Result<Vec<Answer>, EvaluationError> {
    let mut labels = read_qrels(qrels)?;
    let mut rankings = read_run(run)?;
    let scores = rankings.values().flatten().map(|candidate| candidate.score);
    let lowest = scores.min_by(f64::total_cmp).unwrap_or(0.0);
    for query in labels.keys() {
        rankings.entry(query.clone()).or_default();
    }
    let answer = |(id, ranked): (String, Vec<Ranked>)| Answer {
        relevant: labels.remove(&id).unwrap_or_default(),
        confidence: ranked.first().map_or(lowest, |first| first.score),
        id,
        ranked,
        ..Answer::default()
    };
    Ok(rankings.into_iter().map(answer).collect())
}

/// A line that holds something.
struct Line<'text> {
    file: &'static str,
    /// From 1.
    number: usize,
    text: &'text str,
}

fn lines<'text>(file: &'static str, text: &'text str) -> impl Iterator<Item = Line<'text>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let numbered = (1..).zip(text.lines()).map(move |(number, text)| Line { file, number, text });
    numbered.filter(|line| !line.text.trim().is_empty())
}

impl<'text> Line<'text> {
    /// Exactly `N` fields, which look like `shape`.
    fn fields<const N: usize>(&self, shape: &str) -> Result<[&'text str; N], EvaluationError> {
        // One more than needed tells that there are too many, however long the line.
        let fields: Vec<&str> = self.text.split_whitespace().take(N + 1).collect();
        let Ok(fields) = fields.try_into() else {
            let shown = quoted(self.text.trim());
            return Err(self.fault(format!("`{shown}` does not have the {N} fields {shape}")));
        };
        Ok(fields)
    }

    /// The three cells of a line of BEIR's; their ids may hold spaces.
    fn cells(&self) -> Result<[&'text str; 3], EvaluationError> {
        let cells: Vec<&str> = self.text.split('\t').map(str::trim).take(4).collect();
        let Ok(cells) = cells.try_into() else {
            let shown = quoted(self.text.trim());
            return Err(
                self.fault(format!("`{shown}` does not have the 3 fields `query component grade`, with tabs between"))
            );
        };
        Ok(cells)
    }

    fn number<T: std::str::FromStr>(&self, what: &str, value: &str) -> Result<T, EvaluationError> {
        let fault = || self.fault(format!("{what} `{}` is not a number; write one", quoted(value)));
        value.parse().ok().ok_or_else(fault)
    }

    fn twice(&self, query: &str, component: &str) -> EvaluationError {
        self.fault(format!("component `{}` occurs twice for query `{}`; keep one", quoted(component), quoted(query)))
    }

    fn fault(&self, fault: String) -> EvaluationError {
        EvaluationError::Line { file: self.file, line: self.number, fault }
    }
}
