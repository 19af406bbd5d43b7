//! `fitment calibrate`: fits the thresholds behind a promise.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fitment_engine::evaluate::{self, CalibrationBasis};
use fitment_engine::{Calibration, Evidence, Fingerprints, Method, Seen};
use fitment_evaluation::curve::{RiskCoverage, risk_coverage_svg, risk_coverage_text};
use fitment_proto::v1;

use super::laboratory::{FIT_SPLIT, Laboratory, check_writable, read, share, write_file};
use super::remote::{self, RemoteFlags};
use crate::client::ServerFlags;
use crate::output::{self, Invalid, Steps};
use fitment_server::config::ConfigFlags;
use fitment_server::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment calibrate --dataset sample --split dev --max-error 0.2 --out calibration.json
  fitment calibrate --dataset ./intents/metatool --ranker ranker.json --out calibration.json --picture curve.svg
  fitment calibrate --dataset sample --synthetic --max-error 0.3 --out calibration.json   # without labelled intents
  fitment calibrate --server 127.0.0.1:7411 --dataset labels.csv --max-error 0.1           # a daemon's promise
  fitment calibrate --server 127.0.0.1:7411 --synthetic --max-error 0.3

Answers that need nothing and answers that need a configuration have a threshold each: the loosest one at which the one-sided
Clopper-Pearson bound on the error among answered intents, out-of-scope ones included, stays under --max-error (fixed-sequence
testing from three starts). Intents that the ranker learnt from are judged by the parts of its fit that had not seen them.")]
pub(super) struct CalibrateArguments {
    /// A BEIR folder, a CSV file, or `sample`.
    #[arg(long, required_unless_present_any = ["feedback", "server"], value_name = "DIR|FILE|sample")]
    dataset: Option<PathBuf>,
    /// Folder of manifests for a CSV data set [default: the sample catalogue].
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Split to fit on [default: dev; of feedback all of it].
    #[arg(long)]
    split: Option<String>,
    /// Rank with this ranker (see `fitment fit`) [default: the shipped one].
    #[arg(long, value_name = "FILE")]
    ranker: Option<PathBuf>,
    /// Take the catalogue's own example intents, each left out in turn, in the place of labelled intents.
    #[arg(long)]
    synthetic: bool,
    /// Error rate among answered intents to accept, between 0 and 1.
    #[arg(long, value_name = "RATE", default_value_t = 0.05, value_parser = share)]
    max_error: f64,
    /// Confidence of the bound, between 0 and 1.
    #[arg(long, value_name = "LEVEL", default_value_t = 0.9, value_parser = share)]
    confidence: f64,
    /// Write the risk-coverage curve to this file as a picture (SVG).
    #[arg(long, value_name = "FILE")]
    picture: Option<PathBuf>,
    /// File to write the calibration to.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["server", "feedback"])]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteFlags,
    /// Fit and say what came of it, but put nothing into force.
    #[arg(long, help_heading = "On a running daemon")]
    dry_run: bool,
    /// Print JSON.
    #[arg(long, help_heading = "On a running daemon")]
    json: bool,
}

pub(super) fn run(arguments: &CalibrateArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    match (arguments.remote.server(), &arguments.dataset, &arguments.out) {
        (Some(server), _, _) => on_daemon(arguments, &server),
        (None, Some(dataset), Some(out)) => in_laboratory(arguments, dataset, out, flags),
        (None, _, _) => Err(Invalid("--dataset or --out is missing".into()).into()),
    }
}

/// On the catalogue that a daemon serves.
fn on_daemon(arguments: &CalibrateArguments, server: &ServerFlags) -> anyhow::Result<ExitCode> {
    use v1::calibrate_request::Basis;
    remote::refuse(&[
        ("--catalog", arguments.catalog.is_some()),
        ("--ranker", arguments.ranker.is_some()),
        ("--picture", arguments.picture.is_some()),
        ("--out", arguments.out.is_some()),
    ])?;
    let basis = if arguments.synthetic {
        Basis::Synthetic(())
    } else {
        Basis::Intents(arguments.remote.intents(arguments.dataset.as_deref(), arguments.split.as_deref())?)
    };
    let request = v1::CalibrateRequest {
        basis: Some(basis),
        max_error: arguments.max_error,
        confidence: arguments.confidence,
        dry_run: arguments.dry_run,
    };
    let result = super::run_interruptible(async {
        let events = server.evaluation().await?.calibrate(request).await?.into_inner();
        remote::finish(events).await
    })?;
    if arguments.json {
        output::json(&output::message_json("fitment.v1.CalibrateResult", &result)?)?;
    } else {
        let v1::CalibrateResult { calibration, warnings } = result;
        let calibration = calibration.unwrap_or_default();
        output::line(format!("calibration {}: {}", calibration.id, calibration.promise))?;
        for warning in warnings {
            output::line(format!("  warning: {warning}"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// In a scratch store.
fn in_laboratory(
    arguments: &CalibrateArguments,
    dataset: &Path,
    out: &PathBuf,
    flags: &ConfigFlags,
) -> anyhow::Result<ExitCode> {
    if arguments.dry_run || arguments.json {
        return Err(Invalid("--dry-run and --json go with --server or --feedback".into()).into());
    }
    let config = flags.load()?;
    telemetry::start(&config)?;
    check_writable(arguments.picture.iter().chain([out]))?;
    let split = arguments.split.as_deref().unwrap_or(FIT_SPLIT);
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let data_set = read(dataset, arguments.catalog.as_deref(), split)?;
    if !arguments.synthetic {
        evaluate::check_promisable(&data_set.0.dataset, split, arguments.max_error, arguments.confidence)?;
    }
    let laboratory = Laboratory::build(data_set, &config, &tell)?;
    laboratory.use_ranker(arguments.ranker.as_ref())?;
    let (seen, evidence, reference) = observe(arguments.synthetic, &laboratory, split, &tell)?;
    steps.finish();
    let name = match evidence {
        Evidence::Synthetic => evaluate::SYNTHETIC.to_owned(),
        Evidence::Labelled | Evidence::CrossFitted => format!("{} {}", laboratory.files.name, split),
    };
    let basis = CalibrationBasis {
        name: &name,
        dataset_digest: laboratory.files.dataset.split_digest(split).to_string(),
        evidence,
        seen: &seen,
        intents: match evidence {
            Evidence::Synthetic => Fingerprints::default(),
            Evidence::Labelled | Evidence::CrossFitted => evaluate::fingerprints(&laboratory.files.dataset, split),
        },
        reference,
    };
    let fitted = evaluate::calibrate(&laboratory.engine, basis, arguments.max_error, arguments.confidence);
    let threshold = fitted.as_ref().ok().and_then(|(found, _)| operating_threshold(found));
    let curve = curve(&seen, Some(arguments.max_error), threshold);
    if let Some(picture) = &arguments.picture {
        write_file(picture, &risk_coverage_svg(&curve))?;
    }
    output::line(risk_coverage_text(&curve))?;
    let (calibration, warnings) = fitted?;
    write_file(out, &serde_json::to_string_pretty(&calibration)?)?;
    describe(&calibration, &warnings)?;
    Ok(ExitCode::SUCCESS)
}

type Observed = (Vec<Seen>, Evidence, Option<fitment_engine::Reference>);

fn observe(
    synthetic: bool,
    laboratory: &Laboratory,
    split: &str,
    on_progress: fitment_engine::OnProgress<'_>,
) -> anyhow::Result<Observed> {
    let Laboratory { engine, files, .. } = laboratory;
    if synthetic {
        let seen = super::run_stoppable(|stop| Ok(evaluate::synthetic(engine, stop, on_progress)?))?;
        return Ok((seen, Evidence::Synthetic, None));
    }
    let measured = super::run_interruptible(async {
        Ok(evaluate::measure(engine, &files.dataset, split, Method::Fused, on_progress).await?)
    })?;
    let reference = evaluate::reference(&measured);
    let (seen, evidence) = evaluate::observations(engine, &files.dataset, split, &measured);
    Ok((seen, evidence, reference))
}

/// The threshold that most answers have to pass.
pub(super) fn operating_threshold(calibration: &Calibration) -> Option<f64> {
    calibration.thresholds().max_by_key(|found| found.answered).map(|found| found.threshold)
}

fn curve(seen: &[Seen], max_error: Option<f64>, threshold: Option<f64>) -> RiskCoverage {
    let observations = seen.iter().map(|seen| fitment_evaluation::abstention::Observation {
        confidence: seen.observation.confidence,
        in_scope: seen.observation.in_scope,
        correct: seen.observation.correct,
    });
    RiskCoverage::new(observations, max_error, threshold)
}

/// What was fitted, in words.
pub(super) fn describe(calibration: &Calibration, warnings: &[String]) -> anyhow::Result<()> {
    output::line(format!("calibration {}: {}", calibration.id, calibration.promise()))?;
    for (name, found) in [("zero generation", calibration.zero), ("minimal generation", calibration.minimal)] {
        if let Some(found) = found {
            output::line(format!(
                "  {name}: confidence of {:.3} or more, {} answered, {} wrong, bound {:.3}, {:.0} % of in-scope intents",
                found.threshold,
                found.answered,
                found.errors,
                found.error_bound,
                found.coverage * 100.0
            ))?;
        }
    }
    for warning in warnings {
        output::line(format!("  warning: {warning}"))?;
    }
    Ok(())
}
