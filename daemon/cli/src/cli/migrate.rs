//! `fitment model migrate` and `rollback`: another encoding model on a running daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_engine::{Method, evaluate};
use fitment_evaluation::{Comparison, Run};
use fitment_proto::v1;

use super::laboratory::{FIT_SPLIT, Laboratory, read};
use super::remote;
use crate::client::{AuthorFlags, ServerFlags};
use crate::output::{self, Steps};
use fitment_server::config::Config;
use fitment_server::put_comparison;
use fitment_server::telemetry;

/// Figures that are shown first; all are in the JSON.
const SHOWN: [&str; 6] = ["hit@1", "ndcg@10", "auroc", "hit@5", "mrr@10", "recall@10"];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment model migrate all-mpnet-base-v2                            make its vectors beside those in force
  fitment model migrate all-mpnet-base-v2 --compare intents.csv      and measure both models
  fitment model migrate all-mpnet-base-v2 --compare ./clinc150       on a folder with components of its own
  fitment model migrate all-mpnet-base-v2 --switch                   and have it serve, between two matches
  fitment model rollback                                             back to the model that served before

The daemon goes on serving all the while, with both models in memory. Ended in between, the same command goes on where it was.")]
pub(super) struct MigrateArguments {
    /// A model that is installed where the daemon runs: a name that `fitment model list` shows.
    name: String,
    /// A CSV file of labelled intents for the catalogue that is served, or a folder with components of its own as `fitment eval`
    /// takes it, to measure both models on. A folder is measured by this command, in scratch stores, with the models that are
    /// installed on this machine.
    #[arg(long, value_name = "PATH")]
    compare: Option<PathBuf>,
    /// Take this split of the labelled intents [default: dev].
    #[arg(long, requires = "compare")]
    split: Option<String>,
    /// Have it serve from then on. What was fitted on the old model is stale until that serves again.
    #[arg(long)]
    switch: bool,
    #[command(flatten)]
    author: AuthorFlags,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

#[derive(Debug, clap::Args)]
pub(super) struct RollbackArguments {
    #[command(flatten)]
    author: AuthorFlags,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: ServerFlags,
}

pub(super) fn migrate(arguments: MigrateArguments, config: &Config) -> anyhow::Result<ExitCode> {
    let MigrateArguments { name, compare, split, switch, author, json, server } = arguments;
    let measured = match compare.as_deref().filter(|path| path.is_dir()) {
        Some(folder) => Some(measure(folder, split.as_deref().unwrap_or(FIT_SPLIT), &name, config, &server)?),
        None => None,
    };
    let file = compare.filter(|_| measured.is_none());
    let compare = file.as_deref().map(|path| intents(path, split.unwrap_or_default())).transpose()?;
    let AuthorFlags { actor, reason } = author;
    let request = v1::MigrateModelRequest { model: name, rollback: false, compare, switch, actor, reason };
    ask(request, measured, json, &server)
}

/// The daemon's model and another one on a folder with components of its own, each in a scratch store with the shipped ranker.
/// Returns what it was measured on too.
fn measure(
    folder: &Path,
    split: &str,
    to: &str,
    config: &Config,
    server: &ServerFlags,
) -> anyhow::Result<(String, Comparison)> {
    telemetry::start(config)?;
    let from = super::client_runtime()?.block_on(async {
        let request = server.request(v1::GetServerInfoRequest {});
        anyhow::Ok(server.info().await?.get_server_info(request).await?.into_inner())
    })?;
    let from = from.model.context("the daemon names no model; retry once it is ready")?.name;
    let steps = Steps::new();
    let tell = |what: &str, done: u64, total: u64| steps.tell(what, done, total);
    let mut runs: Vec<Run> = Vec::with_capacity(2);
    let mut measured_on = String::new();
    for model in [from.as_str(), to] {
        let config = Config { model: model.to_owned(), model_is_chosen: true, ..config.clone() };
        let laboratory = Laboratory::build(read(folder, None, split)?, &config, &tell)?;
        let (engine, files) = (&laboratory.engine, &laboratory.files);
        let measured = super::run_interruptible(async {
            Ok(evaluate::measure(engine, &files.dataset, split, Method::Fused, &tell).await?)
        })?;
        measured_on = format!("{} {split}", files.name);
        runs.push(Run {
            promise: None,
            ..evaluate::run(engine, &files.name, &files.dataset, split, "fused", &measured)
        });
    }
    steps.finish();
    Ok((measured_on, fitment_evaluation::compare(&runs[0], &runs[1])?))
}

pub(super) fn rollback(arguments: RollbackArguments) -> anyhow::Result<ExitCode> {
    let RollbackArguments { author: AuthorFlags { actor, reason }, json, server } = arguments;
    let request = v1::MigrateModelRequest { rollback: true, switch: true, actor, reason, ..Default::default() };
    ask(request, None, json, &server)
}

fn intents(path: &Path, split: String) -> anyhow::Result<v1::LabelledIntents> {
    let csv = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(v1::LabelledIntents { source: Some(v1::labelled_intents::Source::Csv(csv)), name, split })
}

/// Ctrl-C leaves the call, and so ends the work; what was encoded is kept.
fn ask(
    request: v1::MigrateModelRequest,
    measured: Option<(String, Comparison)>,
    json: bool,
    server: &ServerFlags,
) -> anyhow::Result<ExitCode> {
    let mut result = super::run_interruptible(async {
        let events = server.models().await?.migrate_model(request).await?.into_inner();
        remote::finish(events).await
    })?;
    if let Some((measured_on, comparison)) = measured {
        put_comparison(&mut result, measured_on, comparison);
    }
    if json {
        output::json(&output::message_json("fitment.v1.MigrateModelResult", &result)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let v1::MigrateModelResult { from, to, switched, calibration, figures, measured_on, wins, losses, .. } = result;
    if !figures.is_empty() {
        let mut table = output::table(&[&measured_on, &from, &to, "difference, 95 %", "p"]);
        for figure in SHOWN.iter().filter_map(|name| figures.iter().find(|figure| figure.name == *name)) {
            let difference = figure.to - figure.from;
            table.add_row([
                figure.name.clone(),
                format!("{:.4}", figure.from),
                format!("{:.4}", figure.to),
                format!("{difference:+.4} [{:+.4}, {:+.4}]", figure.low, figure.high),
                figure.p_value.map(|p| format!("{p:.4}")).unwrap_or_default(),
            ]);
        }
        output::line(table)?;
        output::line(format!("{to} is right and {from} is not {wins} times, the other way round {losses} times"))?;
    }
    if switched {
        output::line(format!("{to} serves; `fitment model rollback` goes back to {from}\n{calibration}"))?;
    } else {
        output::line(format!(
            "{from} serves; every version has its vectors of {to}: `fitment model migrate {to} --switch` has it serve"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}
