//! `fitment calibrate`: fits the thresholds behind a promise.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_engine::evaluate::{self, CalibrationBasis};
use fitment_engine::{Calibration, Evidence, Method, Seen};
use fitment_evaluation::curve::{RiskCoverage, risk_coverage_svg, risk_coverage_text};

use super::laboratory::{Laboratory, check_writable, share, write_file};
use crate::config::ConfigFlags;
use crate::output::{self, Steps};
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment calibrate --dataset sample --split dev --max-error 0.2 --out calibration.json
  fitment calibrate --dataset ./intents/metatool --ranker ranker.json --out calibration.json --picture curve.svg
  fitment calibrate --dataset sample --synthetic --max-error 0.3 --out calibration.json   # without labelled intents

Answers that need nothing and answers that need a configuration have a threshold each: the loosest one at which the one-sided
Clopper-Pearson bound on the error among answered intents, out-of-scope ones included, stays under --max-error (fixed-sequence
testing from three starts). Intents that the ranker learnt from are judged by the parts of its fit that had not seen them.")]
pub(super) struct CalibrateArguments {
    /// A BEIR folder, a CSV file, or `sample`.
    #[arg(long, value_name = "DIR|FILE|sample")]
    dataset: PathBuf,
    /// Folder of manifests for a CSV data set [default: the sample catalogue].
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Split to fit on.
    #[arg(long, default_value = "dev")]
    split: String,
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
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &CalibrateArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let config = flags.load()?;
    telemetry::start(&config)?;
    check_writable(arguments.picture.iter().chain([&arguments.out]))?;
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let laboratory =
        Laboratory::open(&arguments.dataset, arguments.catalog.as_deref(), &arguments.split, &config, &tell)?;
    laboratory.use_ranker(arguments.ranker.as_ref())?;
    let (seen, evidence, reference) = observe(arguments, &laboratory, &tell)?;
    steps.finish();
    let name = match evidence {
        Evidence::Synthetic => evaluate::SYNTHETIC.to_owned(),
        Evidence::Labelled | Evidence::CrossFitted => format!("{} {}", laboratory.files.name, arguments.split),
    };
    let basis = CalibrationBasis {
        name: &name,
        dataset_digest: laboratory.files.dataset.digest().to_string(),
        evidence,
        seen: &seen,
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
    write_file(&arguments.out, &serde_json::to_string_pretty(&calibration)?)?;
    describe(&calibration, &warnings)?;
    Ok(ExitCode::SUCCESS)
}

type Observed = (Vec<Seen>, Evidence, Option<fitment_engine::Reference>);

fn observe(
    arguments: &CalibrateArguments,
    laboratory: &Laboratory,
    on_progress: fitment_engine::OnProgress<'_>,
) -> anyhow::Result<Observed> {
    let Laboratory { engine, files, .. } = laboratory;
    if arguments.synthetic {
        return Ok((evaluate::synthetic(engine, on_progress)?, Evidence::Synthetic, None));
    }
    let measured = super::run_interruptible(async {
        Ok(evaluate::measure(engine, &files.dataset, &arguments.split, Method::Fused, on_progress).await?)
    })?;
    let reference = evaluate::reference(&measured);
    let ranker = engine.ranker();
    if ranker.dataset_digests.contains(&files.dataset.digest().to_string()) && !ranker.observations.is_empty() {
        return Ok((ranker.observations.clone(), Evidence::CrossFitted, reference));
    }
    Ok((measured.iter().map(|one| one.seen).collect(), Evidence::Labelled, reference))
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
