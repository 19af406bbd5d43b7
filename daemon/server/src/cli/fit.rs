//! `fitment fit`: learns how to rank from labelled intents.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_engine::{FitOptions, Ranker, fit_ranker};

use super::laboratory::{Laboratory, check_writable, same_catalog, write_file};
use crate::config::ConfigFlags;
use crate::output::{self, Steps};
use crate::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment fit --dataset ./intents/metatool --out ranker.json            # labels of this catalogue become signals
  fitment fit --dataset sample --out ranker.json
  fitment fit --weights-only --dataset A --dataset B --out ranker.json  # weights that suit any catalogue
  fitment eval --dataset ./intents/metatool --split test --ranker ranker.json

Weights of the signals, a confidence and, where cross-validation says that they help, labelled intents themselves are
learnt, with heads over vectors and words; nothing is encoded or indexed again. Components without a label are watched apart.
The shipped ranking is kept when nothing is better. Needs out-of-scope intents. Runs for seconds to a few minutes.")]
pub(super) struct FitArguments {
    /// A BEIR folder, a CSV file, or `sample`; the first one is the catalogue that will be served.
    #[arg(long, required = true, value_name = "DIR|FILE|sample")]
    dataset: Vec<PathBuf>,
    /// Folder of manifests for CSV data sets [default: the sample catalogue].
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Split to learn from.
    #[arg(long, default_value = "dev")]
    split: String,
    /// Learn weights and confidence only: for catalogues without labels.
    #[arg(long)]
    weights_only: bool,
    /// Do not keep the shipped ranking when nothing is better than it: how the shipped one itself was made.
    #[arg(long)]
    from_scratch: bool,
    /// Seed of every random choice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// File to write the ranker to.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) fn run(arguments: &FitArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    let config = flags.load()?;
    telemetry::start(&config)?;
    check_writable([&arguments.out])?;
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let mut sets = Vec::new();
    let mut model_digest = String::new();
    let mut first: Option<Laboratory> = None;
    for dataset in &arguments.dataset {
        let laboratory = Laboratory::open(dataset, arguments.catalog.as_deref(), &arguments.split, &config, &tell)?;
        anyhow::ensure!(
            first.as_ref().is_none_or(|first| !same_catalog(&first.files, &laboratory.files)),
            "{} has the same components as the first data set; join their labelled intents in one",
            dataset.display()
        );
        sets.push(laboratory.training_set(&arguments.split, &tell)?);
        model_digest = laboratory.engine.model().digest.to_string();
        first.get_or_insert(laboratory);
    }
    let options = FitOptions { target: (!arguments.weights_only).then_some(0), seed: arguments.seed };
    let shipped = (!arguments.from_scratch).then(Ranker::shipped);
    let ranker = fit_ranker(sets, &model_digest, shipped.as_ref(), &options, &tell)?;
    steps.finish();
    write_file(&arguments.out, &serde_json::to_string(&ranker)?)?;
    describe(&ranker)?;
    Ok(ExitCode::SUCCESS)
}

/// What was tried and what became of it.
pub(super) fn describe(ranker: &Ranker) -> anyhow::Result<()> {
    output::line(format!("ranker {}, fitted on {}", ranker.id, ranker.fitted_on.join(", ")))?;
    let mut table = output::table(&["", "ranking", "hit@1", "of components without labels"]);
    for trial in &ranker.trials {
        table.add_row([
            if trial.taken { "✔".to_owned() } else { String::new() },
            trial.choice.as_str().to_owned(),
            format!("{:.3}", trial.hit_at_1),
            trial.unseen_hit_at_1.map(|hit| format!("{hit:.3}")).unwrap_or_default(),
        ]);
    }
    output::line(table)
}
