//! `fitment fit`: learns how to rank from labelled intents.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_engine::evaluate::{self, LabelledFiles};
use fitment_engine::{FitOptions, Ranker, fit_ranker};
use fitment_proto::v1;

use super::laboratory::{
    FIT_SPLIT, Laboratory, Manifests, check_writable, read, refuse_twice, same_catalog, write_file,
};
use super::ranker;
use super::remote::{self, RemoteFlags};
use crate::client::ServerFlags;
use crate::output::{self, Invalid, Steps};
use fitment_server::config::ConfigFlags;
use fitment_server::telemetry;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment fit --dataset ./intents/metatool --out ranker.json            # labels of this catalogue become signals
  fitment fit --dataset sample --out ranker.json
  fitment fit --weights-only --dataset A --dataset B --out ranker.json  # weights that suit any catalogue
  fitment eval --dataset ./intents/metatool --split test --ranker ranker.json
  fitment fit --server 127.0.0.1:7411 --dataset labels.csv               # on a daemon's catalogue, into force at once
  fitment fit --feedback                                                # on what verdicts have taught the daemon

Weights of the signals, a confidence and, where cross-validation says that they help, labelled intents themselves are
learnt, with heads over vectors and words; nothing is encoded or indexed again. Components without a label are watched apart.
The shipped ranking is kept when nothing is better. Needs out-of-scope intents. Runs for seconds to a few minutes.")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub(super) struct FitArguments {
    /// A BEIR folder, a CSV file, or `sample`; the first one is the catalogue that will be served.
    #[arg(long, required_unless_present = "feedback", value_name = "DIR|FILE|sample")]
    dataset: Vec<PathBuf>,
    /// Folder of manifests for CSV data sets [default: the sample catalogue].
    #[arg(long, value_name = "DIR")]
    catalog: Option<PathBuf>,
    /// Split to learn from [default: dev; of feedback all of it].
    #[arg(long)]
    split: Option<String>,
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
    #[arg(long, value_name = "FILE", required_unless_present_any = ["server", "feedback"])]
    out: Option<PathBuf>,
    #[command(flatten)]
    remote: RemoteFlags,
    /// Learn and say what came of it, but put nothing into force.
    #[arg(long, help_heading = "On a running daemon")]
    dry_run: bool,
    /// Print JSON.
    #[arg(long, help_heading = "On a running daemon")]
    json: bool,
}

pub(super) fn run(arguments: &FitArguments, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    match (arguments.remote.server(), &arguments.out) {
        (Some(server), _) => on_daemon(arguments, &server),
        (None, Some(out)) => in_laboratory(arguments, out, flags),
        (None, None) => Err(Invalid("--out is missing".into()).into()),
    }
}

/// On the catalogue that a daemon serves.
fn on_daemon(arguments: &FitArguments, server: &ServerFlags) -> anyhow::Result<ExitCode> {
    remote::refuse(&[
        ("--catalog", arguments.catalog.is_some()),
        ("--from-scratch", arguments.from_scratch),
        ("--out", arguments.out.is_some()),
    ])?;
    let request = v1::FitRequest {
        intents: Some(arguments.remote.intents(remote::only(&arguments.dataset)?, arguments.split.as_deref())?),
        weights_only: arguments.weights_only,
        seed: arguments.seed,
        dry_run: arguments.dry_run,
    };
    let result = super::run_interruptible(async {
        let events = server.evaluation().await?.fit(request).await?.into_inner();
        remote::finish(events).await
    })?;
    if arguments.json {
        output::json(&output::message_json("fitment.v1.FitResult", &result)?)?;
    } else {
        ranker::describe(&result.ranker.unwrap_or_default())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// In a scratch store.
fn in_laboratory(arguments: &FitArguments, out: &PathBuf, flags: &ConfigFlags) -> anyhow::Result<ExitCode> {
    if arguments.dry_run || arguments.json {
        return Err(Invalid("--dry-run and --json go with --server or --feedback".into()).into());
    }
    let config = flags.load()?;
    telemetry::start(&config)?;
    check_writable([out])?;
    let split = arguments.split.as_deref().unwrap_or(FIT_SPLIT);
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let data_sets = read_all(arguments, split)?;
    let mut sets = Vec::new();
    let mut model_digest = String::new();
    for data_set in data_sets {
        let laboratory = Laboratory::build(data_set, &config, &tell)?;
        sets.push(laboratory.training_set(split, &tell)?);
        model_digest = laboratory.engine.model().digest.to_string();
    }
    let target = (!arguments.weights_only).then_some(0);
    let shipped = (!arguments.from_scratch).then(Ranker::shipped).map(AsRef::as_ref);
    let fitted = super::run_stoppable(|stop| {
        let options = FitOptions { target, seed: arguments.seed, stop: stop.clone() };
        Ok(fit_ranker(sets, &model_digest, shipped, &options, &tell)?)
    })?;
    steps.finish();
    write_file(out, &serde_json::to_string(&fitted)?)?;
    describe(&fitted)?;
    Ok(ExitCode::SUCCESS)
}

/// Every data set, read; what they lack is said before anything is encoded.
fn read_all(arguments: &FitArguments, split: &str) -> anyhow::Result<Vec<(LabelledFiles, Manifests)>> {
    refuse_twice("--dataset", &arguments.dataset)?;
    let mut data_sets: Vec<(LabelledFiles, Manifests)> = Vec::new();
    for path in &arguments.dataset {
        let data_set = read(path, arguments.catalog.as_deref(), split)?;
        if data_sets.first().is_some_and(|(first, _)| same_catalog(first, &data_set.0)) {
            return Err(Invalid(format!(
                "{} has the same components as the first data set; join their labelled intents in one",
                path.display()
            ))
            .into());
        }
        data_sets.push(data_set);
    }
    evaluate::check_learnable(data_sets.iter().map(|(files, _)| (&files.dataset, split)))?;
    Ok(data_sets)
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
