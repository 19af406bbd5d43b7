//! What can be wrong with a run or a TREC file.

/// Why there is no evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// A run that cannot be judged.
    #[error("answer `{id}`: {fault}")]
    Answer {
        /// The answer's id, cut.
        id: String,
        /// What is wrong with it, and the way out.
        fault: String,
    },
    /// Two runs that do not measure the same thing.
    #[error("the runs differ in {what}: `{base}` and `{other}`; compare runs of the same data set and split")]
    NotComparable {
        /// What differs.
        what: &'static str,
        /// As the first run has it, cut.
        base: String,
        /// As the second run has it, cut.
        other: String,
    },
    /// A file without a line that says anything.
    #[error("{file} is empty: no line says anything; name the right file")]
    Empty {
        /// Which of the two files: `qrels` or `run`.
        file: &'static str,
    },
    /// A line of a TREC file.
    #[error("{file} line {line}: {fault}")]
    Line {
        /// Which of the two files: `qrels` or `run`.
        file: &'static str,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it, and the way out.
        fault: String,
    },
    /// An id that a TREC file cannot carry.
    #[error("{what} `{id}` is empty or holds white space, which a TREC file cannot carry; rename it")]
    UnwritableId {
        /// What the id names.
        what: &'static str,
        /// The id, cut.
        id: String,
    },
}

/// Characters of a foreign value that a message repeats.
const QUOTED_CHARS: usize = 60;

/// A foreign value as a message repeats it: without control characters, cut at 60 characters.
pub(crate) fn quoted(value: &str) -> String {
    let shown: String = value.chars().take(QUOTED_CHARS).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if value.chars().nth(QUOTED_CHARS).is_some() { format!("{shown}…") } else { shown }
}
