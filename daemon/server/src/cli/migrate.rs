//! `fitment model migrate` and `rollback`: another encoding model on a running daemon.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_proto::v1;

use super::remote;
use crate::client::{AuthorFlags, ServerFlags};
use crate::output::{self, Invalid};

/// Figures that are shown first; all are in the JSON.
const SHOWN: [&str; 6] = ["hit@1", "ndcg@10", "auroc", "hit@5", "mrr@10", "recall@10"];

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment model migrate all-mpnet-base-v2                            make its vectors beside those in force
  fitment model migrate all-mpnet-base-v2 --compare intents.csv      and measure both models
  fitment model migrate all-mpnet-base-v2 --switch                   and have it serve, between two matches
  fitment model rollback                                             back to the model that served before

The daemon goes on serving all the while, with both models in memory. Ended in between, the same command goes on where it was.")]
pub(super) struct MigrateArguments {
    /// A model that is installed where the daemon runs: a name that `fitment model list` shows.
    name: String,
    /// A CSV file of labelled intents for the catalogue that is served, to measure both models on.
    #[arg(long, value_name = "FILE")]
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

pub(super) fn migrate(arguments: MigrateArguments) -> anyhow::Result<ExitCode> {
    let MigrateArguments { name, compare, split, switch, author, json, server } = arguments;
    let compare = compare.as_deref().map(|path| intents(path, split.unwrap_or_default())).transpose()?;
    let AuthorFlags { actor, reason } = author;
    let request = v1::MigrateModelRequest { model: name, rollback: false, compare, switch, actor, reason };
    ask(request, json, &server)
}

pub(super) fn rollback(arguments: RollbackArguments) -> anyhow::Result<ExitCode> {
    let RollbackArguments { author: AuthorFlags { actor, reason }, json, server } = arguments;
    let request = v1::MigrateModelRequest { rollback: true, switch: true, actor, reason, ..Default::default() };
    ask(request, json, &server)
}

fn intents(path: &Path, split: String) -> anyhow::Result<v1::LabelledIntents> {
    if path.is_dir() {
        let fault = format!(
            "{} is a folder with components of its own; a daemon takes a CSV file of intents for the catalogue it serves \
             (`fitment eval --model` compares models on folders)",
            path.display()
        );
        return Err(Invalid(fault).into());
    }
    let csv = std::fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(v1::LabelledIntents { source: Some(v1::labelled_intents::Source::Csv(csv)), name, split })
}

/// Ctrl-C leaves the call, and so ends the work; what was encoded is kept.
fn ask(request: v1::MigrateModelRequest, json: bool, server: &ServerFlags) -> anyhow::Result<ExitCode> {
    let result = super::run_interruptible(async {
        let events = server.models().await?.migrate_model(request).await?.into_inner();
        remote::finish(events).await
    })?;
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
