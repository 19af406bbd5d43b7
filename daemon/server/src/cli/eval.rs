//! `fitment eval`: figures on labelled intents, from a scratch store.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_engine::evaluate::{self, LabelledFiles, Measured};
use fitment_engine::{Calibration, Engine, Ranking};

use crate::config::{Config, ConfigFlags};
use crate::output::{self, Steps};
use crate::{daemon, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment eval --dataset ./intents/clinc150 --split dev --json clinc150.json
  fitment eval --dataset ./intents/nl2bash --split dev --ranker lexical
  fitment eval --dataset sample --split test                        # the sample catalogue's own intents
  fitment eval --dataset sample --split test --calibration calibration.json
  fitment eval --dataset intents.csv --catalog ./components --split dev

A BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv) brings its own components; a CSV file is measured on the
catalogue in --catalog, or on the sample catalogue. The store is a scratch one and is removed at the end.")]
pub(super) struct EvalArguments {
    #[command(flatten)]
    data: DataArguments,
    /// Put this calibration (see `fitment calibrate`) into force, to measure its promise: adds coverage and precision.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Write the figures to this file as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What to measure on, and how to rank.
#[derive(Debug, clap::Args)]
pub(super) struct DataArguments {
    /// A BEIR folder, a CSV file, or `sample`.
    #[arg(long, value_name = "DIR|FILE|sample")]
    pub(super) dataset: PathBuf,
    /// Folder of manifests for a CSV data set [default: the sample catalogue].
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Split to use.
    #[arg(long, default_value = "dev")]
    pub(super) split: String,
    /// Rank by both searches, by meaning alone or by words alone.
    #[arg(long, value_enum, default_value_t = Ranker::Fused)]
    ranker: Ranker,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Ranker {
    /// As configured.
    Fused,
    /// Vectors alone.
    Dense,
    /// Words alone (BM25).
    Lexical,
}

/// A measured split.
pub(super) struct Run {
    pub(super) engine: Engine,
    pub(super) files: LabelledFiles,
    pub(super) measured: Vec<Measured>,
    _scratch: tempfile::TempDir,
}

pub(super) fn run(arguments: &EvalArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let config = flags.load()?;
    telemetry::start(&config)?;
    let run = measure(&arguments.data, config, arguments.calibration.as_deref())?;
    let report =
        evaluate::report(&run.engine, &run.files.name, &run.files.dataset, &arguments.data.split, &run.measured);
    if let Some(file) = &arguments.json {
        write_file(file, &serde_json::to_string_pretty(&report)?)?;
    }
    output::line(format!(
        "{} {}: {} in scope, {} out of scope, {} components, model {}",
        report.dataset, report.split, report.n_in_scope, report.n_out_of_scope, report.n_components, report.model
    ))?;
    for (name, value) in &report.metrics {
        output::line(format!("  {name:16} {value:.4}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the catalogue in a scratch store and answers every intent of the split.
pub(super) fn measure(arguments: &DataArguments, config: Config, calibration: Option<&Path>) -> anyhow::Result<Run> {
    let calibration = calibration.map(read_calibration).transpose()?;
    let (files, manifests) = read(arguments)?;
    let scratch = tempfile::tempdir().context("no scratch folder can be made")?;
    let ranking = match arguments.ranker {
        Ranker::Fused => config.ranking.clone(),
        Ranker::Dense => Ranking { dense_weight: 1.0, ..config.ranking.clone() },
        Ranker::Lexical => Ranking { dense_weight: 0.0, ..config.ranking.clone() },
    };
    let config = Config { data_dir: scratch.path().to_path_buf(), ranking, ..config };
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let engine = daemon::open_engine(&config, &tell)?;
    let measured = super::run_interruptible(async {
        evaluate::load(&engine, manifests, &tell).await?;
        if let Some(calibration) = calibration {
            put_into_force(&engine, calibration)?;
        }
        Ok(evaluate::measure(&engine, &files.dataset, &arguments.split, &tell).await?)
    })?;
    steps.finish();
    Ok(Run { engine, files, measured, _scratch: scratch })
}

fn read_calibration(file: &Path) -> anyhow::Result<Calibration> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    serde_json::from_str(&text)
        .with_context(|| format!("{} is no calibration that `fitment calibrate` wrote", file.display()))
}

/// Errors: a calibration that was fitted on another catalogue, with another model or other weights.
fn put_into_force(engine: &Engine, calibration: Calibration) -> anyhow::Result<()> {
    let id = calibration.id.clone();
    anyhow::ensure!(
        calibration.catalog_digest == engine.catalog_digest(),
        "calibration {id} was fitted on another catalogue; fit one on this catalogue with `fitment calibrate`"
    );
    engine.put_calibration(calibration)?;
    let info = engine.info();
    anyhow::ensure!(info.calibration_id.as_ref() == Some(&id), "{}", info.calibration);
    Ok(())
}

type Manifests = Vec<(String, Vec<u8>)>;

fn read(arguments: &DataArguments) -> anyhow::Result<(LabelledFiles, Manifests)> {
    let sample = || fitment_catalog::sample().map(|file| (file.path.to_owned(), file.bytes.to_vec())).collect();
    if arguments.dataset == Path::new("sample") && !arguments.dataset.exists() {
        let file = fitment_catalog::File { name: "intents.csv", bytes: fitment_catalog::sample_intents().as_bytes() };
        let dataset = fitment_catalog::Dataset::from_csv(file)?;
        return Ok((LabelledFiles { name: "sample".into(), dataset }, sample()));
    }
    let files = evaluate::read_dataset(&arguments.dataset, &arguments.split)?;
    let own = files.dataset.components.iter().map(|manifest| (manifest.name().to_string(), manifest.canonical_json()));
    let manifests = match &arguments.catalog {
        Some(folder) => evaluate::read_catalog_folder(folder)?,
        None if arguments.dataset.is_file() => sample(),
        None => own.collect(),
    };
    Ok((files, manifests))
}

/// Writes a file whole or not at all.
pub(super) fn write_file(path: &Path, text: &str) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = || format!("{} cannot be written", path.display());
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    std::io::Write::write_all(&mut file, format!("{text}\n").as_bytes()).with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}
