//! `fitment ranker`: which ranker a running daemon uses.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_proto::v1;

use super::common::{Common, time_text};
use super::laboratory::{check_writable, write_file};
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment ranker list
  fitment ranker show                                # the one in force, and what is promised with it
  fitment ranker show 3f9a0c2b1d4e5f60 --out ranker.json
  fitment ranker activate 3f9a0c2b1d4e5f60
  fitment ranker activate default                    # back to the shipped one

`fitment fit --server ADDR --dataset FILE.csv` puts a new one into force; the last 20 are kept. Nothing is encoded or indexed
again. A calibration holds for the ranker that it was fitted with.")]
pub(super) struct RankerArguments {
    #[command(subcommand)]
    command: RankerCommand,
}

#[derive(Debug, clap::Subcommand)]
enum RankerCommand {
    /// List the rankers that were put into force, newest fit first, and the shipped one.
    List {
        #[command(flatten)]
        common: Common,
    },
    /// Show a ranker and what is promised.
    Show {
        /// Its id, or `default` [default: the one in force].
        id: Option<String>,
        /// Write the artefact to this file, for `fitment eval --ranker`.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Put a ranker into force.
    Activate {
        /// Its id, or `default` for the shipped one.
        id: String,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) fn run(arguments: RankerArguments) -> anyhow::Result<ExitCode> {
    super::client_runtime()?.block_on(async {
        match arguments.command {
            RankerCommand::List { common } => list(&common).await,
            RankerCommand::Show { id, out, common } => show(id.unwrap_or_default(), out, &common).await,
            RankerCommand::Activate { id, common } => activate(id, &common).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(common: &Common) -> anyhow::Result<()> {
    let request = common.server.request(v1::ListRankersRequest {});
    let listed = common.server.evaluation().await?.list_rankers(request).await?.into_inner();
    if common.json {
        return output::json(&output::message_json("fitment.v1.ListRankersResponse", &listed)?);
    }
    let mut table = output::table(&["", "id", "fitted on", "since", "ranking", "hit@1"]);
    for ranker in &listed.rankers {
        let taken = ranker.trials.iter().find(|trial| trial.taken);
        table.add_row([
            if ranker.in_force { "✔".to_owned() } else { String::new() },
            ranker.id.clone(),
            fitted_on(ranker),
            time_text(ranker.create_time),
            taken.map(|trial| trial.choice.clone()).unwrap_or_default(),
            taken.map(|trial| format!("{:.3}", trial.hit_at_1)).unwrap_or_default(),
        ]);
    }
    output::line(table)
}

async fn show(id: String, out: Option<PathBuf>, common: &Common) -> anyhow::Result<()> {
    check_writable(&out)?;
    let mut client = common.server.evaluation().await?;
    let request = v1::GetRankerRequest { id, with_artefact: out.is_some() };
    let v1::GetRankerResponse { ranker, artefact_json } =
        client.get_ranker(common.server.request(request)).await?.into_inner();
    let ranker = ranker.unwrap_or_default();
    if let Some(file) = out {
        write_file(&file, &artefact_json)?;
    }
    if common.json {
        return output::json(&output::message_json("fitment.v1.Ranker", &ranker)?);
    }
    describe(&ranker)?;
    let request = common.server.request(v1::GetCalibrationRequest {});
    let calibration = client.get_calibration(request).await?.into_inner();
    output::line(format!("promise: {}", calibration.detail))
}

async fn activate(id: String, common: &Common) -> anyhow::Result<()> {
    let request = common.server.request(v1::ActivateRankerRequest { id });
    let activated = common.server.evaluation().await?.activate_ranker(request).await?.into_inner();
    if common.json {
        return output::json(&output::message_json("fitment.v1.ActivateRankerResponse", &activated)?);
    }
    let ranker = activated.ranker.unwrap_or_default();
    output::line(format!("ranker {} is in force\npromise: {}", ranker.id, activated.calibration))
}

fn fitted_on(ranker: &v1::Ranker) -> String {
    if ranker.fitted_on.is_empty() { "public development splits".to_owned() } else { ranker.fitted_on.join(", ") }
}

/// What was tried and what became of it.
pub(super) fn describe(ranker: &v1::Ranker) -> anyhow::Result<()> {
    let force = if ranker.in_force { "in force" } else { "not in force" };
    output::line(format!("ranker {}, {force}, fitted on {}", ranker.id, fitted_on(ranker)))?;
    if ranker.trials.is_empty() {
        return Ok(());
    }
    let mut table = output::table(&["", "ranking", "hit@1", "of components without labels"]);
    for trial in &ranker.trials {
        table.add_row([
            if trial.taken { "✔".to_owned() } else { String::new() },
            trial.choice.clone(),
            format!("{:.3}", trial.hit_at_1),
            trial.unseen_hit_at_1.map(|hit| format!("{hit:.3}")).unwrap_or_default(),
        ]);
    }
    output::line(table)
}
