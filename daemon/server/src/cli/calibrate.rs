//! `fitment calibrate`: fits the threshold behind a promise.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_engine::evaluate;

use super::eval::{DataArguments, measure, write_file};
use crate::config::ConfigFlags;
use crate::{output, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  fitment calibrate --dataset sample --split dev --max-error 0.05 --confidence 0.9 --out calibration.json

The threshold is the loosest one at which the one-sided Clopper-Pearson bound on the error among answered intents,
out-of-scope ones included, stays under --max-error. Measure the promise on another split than it was fitted on.")]
pub(super) struct CalibrateArguments {
    #[command(flatten)]
    data: DataArguments,
    /// Error rate among answered intents to accept, between 0 and 1.
    #[arg(long, value_name = "RATE", default_value_t = 0.05, value_parser = share)]
    max_error: f64,
    /// Confidence of the bound, between 0 and 1.
    #[arg(long, value_name = "LEVEL", default_value_t = 0.9, value_parser = share)]
    confidence: f64,
    /// File to write the calibration to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A number strictly between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value > 0.0 && value < 1.0 => Ok(value),
        _ => Err("is not a number strictly between 0 and 1".to_owned()),
    }
}

pub(super) fn run(arguments: &CalibrateArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let config = flags.load()?;
    telemetry::start(&config)?;
    let run = measure(&arguments.data, config, None)?;
    let name = format!("{} {}", run.files.name, arguments.data.split);
    let calibration = evaluate::calibrate(
        &run.engine,
        &name,
        &run.files.dataset,
        &run.measured,
        arguments.max_error,
        arguments.confidence,
    )?;
    write_file(&arguments.out, &serde_json::to_string_pretty(&calibration)?)?;
    output::line(format!(
        "calibration {}: threshold {:.4}, {} answered, {} wrong, bound {:.4}; {}",
        calibration.id,
        calibration.threshold,
        calibration.answered,
        calibration.errors,
        calibration.error_bound,
        calibration.promise()
    ))?;
    Ok(ExitCode::SUCCESS)
}
