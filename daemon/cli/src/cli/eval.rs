//! `fitment eval`: figures on labelled intents, from a scratch store or a daemon.

mod files;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use fitment_engine::evaluate::{self, CalibrationBasis, LabelledFiles};
use fitment_engine::{Author, Evidence, Fingerprints, FitOptions, Method, OnProgress, Ranker, fit_ranker};
use fitment_evaluation::{Report, Run, evaluate as figures, html, table, trec};
use fitment_proto::v1;

use super::laboratory::{
    FIT_SPLIT, Laboratory, Manifests, check_writable, read, read_calibration, refuse_twice, same_catalog, share,
    write_file,
};
use super::remote::{self, RemoteFlags};
use super::{calibrate, fit};
use crate::client::ServerFlags;
use crate::output::{self, Invalid, Steps};
use fitment_server::config::{Config, ConfigFlags};
use fitment_server::telemetry;

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
#[command(after_help = "\
Examples:
  fitment eval --dataset ./intents/clinc150 --split dev --json clinc150.json --html clinc150.html
  fitment eval --dataset ./intents/nl2bash --split test --fit ./intents/nl2bash     # fit and calibrate on its dev split
  fitment eval --dataset ./intents/nl2bash --split dev --baseline bm25
  fitment eval --dataset sample --split test                        # the sample catalogue's own intents
  fitment eval --dataset sample --split test --calibration calibration.json
  fitment eval --dataset intents.csv --catalog ./components --split dev
  fitment eval --dataset ./intents/metatool --fit ./intents/metatool --recalibrate 30     # is a promise kept as often as stated?
  fitment eval --dataset ./intents/bfcl --split dev --save a.json && fitment eval compare a.json b.json
  fitment eval --server 127.0.0.1:7411 --dataset labels.csv --split test                    # a daemon as it serves

A BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv) brings its own components; a CSV file is measured on the
catalogue in --catalog, or on the sample catalogue. The store is a scratch one and is removed at the end.")]
pub(super) struct EvalArguments {
    #[command(subcommand)]
    command: Option<EvalCommand>,
    /// A BEIR folder, a CSV file, or `sample`.
    #[arg(long, required_unless_present = "feedback", value_name = "DIR|FILE|sample")]
    dataset: Option<PathBuf>,
    /// Folder of manifests for a CSV data set [default: the sample catalogue].
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Split to measure [default: dev; of feedback all of it].
    #[arg(long)]
    split: Option<String>,
    /// Fit and calibrate on the dev split of this data set first; may be given several times. Labels become signals only
    /// where a set has the measured components.
    #[arg(long, value_name = "DIR|FILE|sample", conflicts_with_all = ["ranker", "calibration"])]
    fit: Vec<PathBuf>,
    /// Rank with this ranker (see `fitment fit`) [default: the shipped one].
    #[arg(long, value_name = "FILE")]
    ranker: Option<PathBuf>,
    /// Put this calibration (see `fitment calibrate`) into force, to measure its promise: adds coverage and precision.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Rank in a simpler way, to compare with.
    #[arg(long, value_enum, default_value_t = Baseline::Fused, conflicts_with_all = ["fit", "ranker", "calibration"])]
    baseline: Baseline,
    /// Fit a promise on a random half of the measured intents and try it on the other half, this many times; how often it is
    /// broken is added to the figures. Intents that the ranker learnt from are judged cross-fitted.
    #[arg(long, value_name = "TIMES", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    recalibrate: Option<u32>,
    /// With --fit and --recalibrate: error rate among answered intents to promise, between 0 and 1.
    #[arg(long, value_name = "RATE", default_value_t = 0.05, value_parser = share)]
    max_error: f64,
    /// With --fit and --recalibrate: confidence of the promise, between 0 and 1.
    #[arg(long, value_name = "LEVEL", default_value_t = 0.9, value_parser = share)]
    confidence: f64,
    /// With --fit: seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a report for people to this file: one HTML page, nothing else needed.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write every answer to this file as JSON, for `fitment eval compare`.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Write a TREC run file; components have the ids of their data set's own files.
    #[arg(long, value_name = "FILE")]
    trec_run: Option<PathBuf>,
    /// Write the judgements as TREC qrels.
    #[arg(long, value_name = "FILE")]
    trec_qrels: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteFlags,
}

#[derive(Debug, clap::Subcommand)]
enum EvalCommand {
    /// Compare two runs of the same data set and split, intent by intent.
    #[command(after_help = "Example:\n  fitment eval compare before.json after.json --html difference.html")]
    Compare {
        /// Answers that `fitment eval --save` wrote, to compare with.
        base: PathBuf,
        /// Answers to compare.
        other: PathBuf,
        /// Write the comparison to this file as JSON.
        #[arg(long, value_name = "FILE")]
        json: Option<PathBuf>,
        /// Write the comparison to this file as an HTML page.
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// Figures of another system, from TREC files.
    #[command(after_help = "\
Examples:
  fitment eval trec --qrels qrels.txt --run run.txt --json figures.json
  fitment eval trec --qrels ./intents/nl2bash/qrels/dev.tsv --run theirs.txt --html theirs.html")]
    Trec(files::TrecArguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Baseline {
    /// None: by the ranker.
    Fused,
    /// Words alone.
    Bm25,
    /// Vectors alone.
    Dense,
    /// Equal-weight reciprocal-rank fusion of the two.
    Rrf,
    /// By chance.
    Random,
}

impl Baseline {
    fn method(self) -> (Method, &'static str) {
        match self {
            Self::Fused => (Method::Fused, "fused"),
            Self::Bm25 => (Method::Words, "bm25"),
            Self::Dense => (Method::Dense, "dense"),
            Self::Rrf => (Method::ReciprocalRank, "rrf"),
            Self::Random => (Method::Random, "random"),
        }
    }
}

pub(super) fn run(arguments: &EvalArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Some(EvalCommand::Compare { base, other, json, html }) => {
            files::compare_runs(base, other, json.as_ref(), html.as_ref())
        }
        Some(EvalCommand::Trec(arguments)) => files::foreign(arguments),
        None => measure(arguments, flags),
    }
}

fn measure(arguments: &EvalArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let EvalArguments { json, html: page, save, trec_run, trec_qrels, .. } = arguments;
    check_writable([json, page, save, trec_run, trec_qrels].into_iter().flatten())?;
    if let Some(server) = arguments.remote.server() {
        return on_daemon(arguments, &server);
    }
    let config = flags.load()?;
    telemetry::start(&config)?;
    let split = arguments.split.as_deref().unwrap_or(FIT_SPLIT);
    let dataset = arguments.dataset.as_ref().ok_or_else(|| Invalid("--dataset is missing".into()))?;
    let calibration = arguments.calibration.as_deref().map(read_calibration).transpose()?;
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let data_set = read(dataset, arguments.catalog.as_deref(), split)?;
    let to_fit = read_all_to_fit(arguments)?;
    let laboratory = Laboratory::build(data_set, &config, &tell)?;
    laboratory.use_ranker(arguments.ranker.as_ref())?;
    if let Some(calibration) = calibration {
        laboratory.use_calibration(calibration)?;
    }
    if !to_fit.is_empty() {
        fit_and_calibrate(arguments, to_fit, &laboratory, &config, &tell)?;
    }
    let (method, system) = arguments.baseline.method();
    let files = &laboratory.files;
    let measured = super::run_interruptible(async {
        Ok(evaluate::measure(&laboratory.engine, &files.dataset, split, method, &tell).await?)
    })?;
    steps.finish();
    let run = evaluate::run(&laboratory.engine, &files.name, &files.dataset, split, system, &measured);
    let mut report = figures(&run)?;
    report.recalibration = arguments.recalibrate.map(|repeats| {
        let (seen, _) = evaluate::observations(&laboratory.engine, &files.dataset, split, &measured);
        evaluate::recalibrate(&seen, arguments.max_error, arguments.confidence, repeats)
    });
    write_all(arguments, &run, &report)?;
    Ok(ExitCode::SUCCESS)
}

/// On the catalogue that a daemon serves.
fn on_daemon(arguments: &EvalArguments, server: &ServerFlags) -> anyhow::Result<ExitCode> {
    remote::refuse(&[
        ("--catalog", arguments.catalog.is_some()),
        ("--ranker", arguments.ranker.is_some()),
        ("--calibration", arguments.calibration.is_some()),
        ("--fit", !arguments.fit.is_empty()),
        ("--recalibrate", arguments.recalibrate.is_some()),
        ("--baseline", arguments.baseline != Baseline::Fused),
    ])?;
    let intents = arguments.remote.intents(arguments.dataset.as_deref(), arguments.split.as_deref())?;
    let request = v1::EvaluateRequest { intents: Some(intents), with_answers: true };
    let result = super::run_interruptible(async {
        let events = server.evaluation().await?.evaluate(request).await?.into_inner();
        remote::finish(events).await
    })?;
    let form = "the daemon's figures are of another form; use the same version here and there";
    let run: Run = serde_json::from_str(&result.answers_json).context(form)?;
    let report: Report = serde_json::from_str(&result.report_json).context(form)?;
    write_all(arguments, &run, &report)?;
    for warning in result.warnings {
        output::line(format!("warning: {warning}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the files that are asked for, and the figures for people.
fn write_all(arguments: &EvalArguments, run: &Run, report: &Report) -> anyhow::Result<()> {
    let EvalArguments { json, html: page, save, trec_run, trec_qrels, .. } = arguments;
    if let Some(file) = json {
        write_file(file, &serde_json::to_string_pretty(report)?)?;
    }
    if let Some(file) = page {
        write_file(file, &html::report(run, report))?;
    }
    if let Some(file) = save {
        write_file(file, &serde_json::to_string(run)?)?;
    }
    if let Some(file) = trec_run {
        write_file(file, &trec::write_run(run)?)?;
    }
    if let Some(file) = trec_qrels {
        write_file(file, &trec::write_qrels(run)?)?;
    }
    output::line(table::report(report))
}

/// The data sets of `--fit`, read; what they lack is said before anything is encoded.
fn read_all_to_fit(arguments: &EvalArguments) -> anyhow::Result<Vec<(LabelledFiles, Manifests)>> {
    refuse_twice("--fit", &arguments.fit)?;
    let catalog = arguments.catalog.as_deref();
    let data_sets: Vec<_> =
        arguments.fit.iter().map(|path| read(path, catalog, FIT_SPLIT)).collect::<anyhow::Result<_>>()?;
    if !data_sets.is_empty() {
        evaluate::check_learnable(data_sets.iter().map(|(files, _)| (&files.dataset, FIT_SPLIT)))?;
    }
    Ok(data_sets)
}

/// Fits a ranker and a calibration on the dev splits of the data sets of `--fit`, and on nothing else.
fn fit_and_calibrate(
    arguments: &EvalArguments,
    data_sets: Vec<(LabelledFiles, Manifests)>,
    laboratory: &Laboratory,
    config: &Config,
    on_progress: OnProgress<'_>,
) -> anyhow::Result<()> {
    let (mut sets, mut target) = (Vec::new(), None);
    for data_set in data_sets {
        if same_catalog(&data_set.0, &laboratory.files) {
            if target.is_some() {
                return Err(
                    Invalid(format!("--fit {} has the same components as another --fit", data_set.0.name)).into()
                );
            }
            target = Some(sets.len());
            sets.push(laboratory.training_set_of(&data_set.0, FIT_SPLIT, on_progress)?);
        } else {
            let other = Laboratory::build(data_set, config, on_progress)?;
            sets.push(other.training_set(FIT_SPLIT, on_progress)?);
        }
    }
    // The observations are of the target, or of every set.
    let judged = sets.iter().enumerate().filter(|(place, _)| target.is_none_or(|target| target == *place));
    let intents = judged.fold(Fingerprints::default(), |all, (_, set)| all.with(&set.intents));
    let digest = sets.iter().map(|set| set.dataset_digest.clone()).collect::<Vec<_>>().join(" ");
    let engine = &laboratory.engine;
    let model_digest = engine.model().digest.to_string();
    let ranker = super::run_stoppable(|stop| {
        let options = FitOptions { target, seed: arguments.seed, stop: stop.clone() };
        Ok(fit_ranker(sets, &model_digest, Some(Ranker::shipped()), &options, on_progress)?)
    })?;
    engine.put_ranker(&ranker)?;
    fit::describe(&ranker)?;
    let name = ranker.fitted_on.join(", ");
    let basis = CalibrationBasis {
        name: &name,
        dataset_digest: digest,
        evidence: Evidence::CrossFitted,
        seen: &ranker.observations,
        intents,
        reference: None,
    };
    match evaluate::calibrate(engine, basis, arguments.max_error, arguments.confidence) {
        Ok((calibration, warnings)) => {
            calibrate::describe(&calibration, &warnings)?;
            engine.put_calibration(calibration, &Author::default())?;
        }
        // Figures without a promise are worth having; that there is none is said.
        Err(error) => output::line(format!("no promise: {error}"))?,
    }
    Ok(())
}
