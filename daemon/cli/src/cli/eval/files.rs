//! What is measured from files alone: two saved runs against each other, and TREC files of anybody's system.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fitment_evaluation::{EvaluationError, Run, compare, evaluate, html, table, trec};

use crate::cli::laboratory::{check_writable, read_text, write_file};
use crate::output::{self, Invalid};

#[derive(Debug, clap::Args)]
pub(super) struct TrecArguments {
    /// Judgements: TREC's lines (query, 0, component, grade), or BEIR's table (query, component, grade).
    #[arg(long, value_name = "FILE")]
    qrels: PathBuf,
    /// Answers: query, Q0, component, rank, score, tag.
    #[arg(long, value_name = "FILE")]
    run: PathBuf,
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report for people to this file: one HTML page, nothing else needed.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write every answer to this file as JSON, for `fitment eval compare`.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
}

fn read_run(file: &Path) -> anyhow::Result<Run> {
    serde_json::from_str(&read_text(file)?)
        .map_err(|error| Invalid(format!("{}: not what `fitment eval --save` writes: {error}", file.display())).into())
}

/// Two runs that `fitment eval --save` wrote.
pub(super) fn compare_runs(
    base: &Path,
    other: &Path,
    json: Option<&PathBuf>,
    page: Option<&PathBuf>,
) -> anyhow::Result<ExitCode> {
    check_writable(json.into_iter().chain(page))?;
    let comparison = compare(&read_run(base)?, &read_run(other)?).map_err(|error| Invalid(error.to_string()))?;
    if let Some(file) = json {
        write_file(file, &serde_json::to_string_pretty(&comparison)?)?;
    }
    if let Some(file) = page {
        write_file(file, &html::comparison(&comparison))?;
    }
    output::line(table::comparison(&comparison))?;
    Ok(ExitCode::SUCCESS)
}

/// Figures of another system.
pub(super) fn foreign(arguments: &TrecArguments) -> anyhow::Result<ExitCode> {
    let TrecArguments { qrels, run, json, html: page, save } = arguments;
    check_writable([json, page, save].into_iter().flatten())?;
    let answers =
        trec::read_answers(&read_text(qrels)?, &read_text(run)?).map_err(|error| named(&error, qrels, run))?;
    let name = |file: &Path| file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let run = Run { dataset: name(qrels), system: name(run), answers, ..Run::default() };
    let report = evaluate(&run).map_err(|error| Invalid(error.to_string()))?;
    if let Some(file) = json {
        write_file(file, &serde_json::to_string_pretty(&report)?)?;
    }
    if let Some(file) = page {
        write_file(file, &html::report(&run, &report))?;
    }
    if let Some(file) = save {
        write_file(file, &serde_json::to_string(&run)?)?;
    }
    output::line(table::report(&report))?;
    Ok(ExitCode::SUCCESS)
}

/// A fault of one of the two files, with its path.
fn named(error: &EvaluationError, qrels: &Path, run: &Path) -> Invalid {
    let of = |file: &str| if file == "qrels" { qrels.display() } else { run.display() };
    Invalid(match error {
        EvaluationError::Line { file, .. } | EvaluationError::Empty { file } => format!("{}: {error}", of(file)),
        other => other.to_string(),
    })
}
