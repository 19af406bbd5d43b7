//! `fitment feedback`: verdicts on a running daemon's answers and what comes of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use fitment_catalog::{Dataset, LabelledIntent};
use fitment_proto::v1;

use super::common::Common;
use super::laboratory::write_file;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment feedback record 0199f1a2-... --accepted
  fitment feedback record 0199f1a2-... --chosen ui/data-table --note 'it must sort'
  fitment feedback list --state waiting
  fitment feedback approve 5c1f...-9a01...
  fitment feedback export --out labels.csv          # for eval and calibrate: --dataset labels.csv
  fitment feedback examples --out ./proposals       # manifests of new versions with more example intents
  fitment feedback drift")]
pub(super) struct FeedbackArguments {
    #[command(subcommand)]
    command: FeedbackCommand,
}

#[derive(Debug, clap::Subcommand)]
enum FeedbackCommand {
    /// Say what became of an answer.
    Record {
        /// The answer's decision id; `fitment match --json` shows it.
        decision: String,
        #[command(flatten)]
        verdict: VerdictFlags,
        /// Why, for whoever reviews it.
        #[arg(long, default_value = "")]
        note: String,
        #[command(flatten)]
        common: Common,
    },
    /// List labelled intents.
    List {
        /// Only those in this state.
        #[arg(long, value_enum)]
        state: Option<State>,
        #[command(flatten)]
        common: Common,
    },
    /// Approve labelled intents: all that are named, or none.
    Approve {
        /// Their ids.
        #[arg(required = true)]
        labels: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Refuse labelled intents: all that are named, or none.
    Refuse {
        /// Their ids.
        #[arg(required = true)]
        labels: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// Write the approved labelled intents to a CSV file that `eval` and `calibrate` read.
    Export {
        /// The file.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Write manifests of new versions whose example intents are extended by approved ones. Imports nothing.
    Examples {
        /// The folder; it must be empty or absent.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        #[command(flatten)]
        common: Common,
    },
    /// Show how far today's intents are from earlier ones, and whether the promise is kept.
    Drift {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct VerdictFlags {
    /// The first candidate meets the intent.
    #[arg(long)]
    accepted: bool,
    /// The first candidate does not, and what does is not known.
    #[arg(long)]
    rejected: bool,
    /// This component meets the intent.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    chosen: Option<String>,
    /// Nothing in the catalogue meets the intent.
    #[arg(long)]
    none_fits: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum State {
    /// Not through the gate yet.
    Waiting,
    /// Through the gate.
    Approved,
    /// Refused by an operator.
    Refused,
}

pub(super) fn run(arguments: FeedbackArguments) -> anyhow::Result<ExitCode> {
    super::client_runtime()?.block_on(async {
        match arguments.command {
            FeedbackCommand::Record { decision, verdict, note, common } => {
                record(decision, verdict, note, &common).await
            }
            FeedbackCommand::List { state, common } => list(state, &common).await,
            FeedbackCommand::Approve { labels, common } => review(labels, v1::ReviewDecision::Approve, &common).await,
            FeedbackCommand::Refuse { labels, common } => review(labels, v1::ReviewDecision::Refuse, &common).await,
            FeedbackCommand::Export { out, common } => export(&out, &common).await,
            FeedbackCommand::Examples { out, common } => examples(&out, &common).await,
            FeedbackCommand::Drift { common } => drift(&common).await,
        }
    })
}

async fn record(decision_id: String, flags: VerdictFlags, note: String, common: &Common) -> anyhow::Result<ExitCode> {
    use v1::record_outcome_request::Verdict;
    let VerdictFlags { accepted, rejected, chosen, none_fits } = flags;
    let verdict = match chosen {
        Some(name) => Some(Verdict::ChosenComponent(name)),
        None if accepted => Some(Verdict::Accepted(())),
        None if rejected => Some(Verdict::Rejected(())),
        None if none_fits => Some(Verdict::NoneFits(())),
        None => None,
    };
    let request = v1::RecordOutcomeRequest { decision_id, verdict, note, request_id: String::new() };
    let recorded = common.server.feedback().await?.record_outcome(common.server.request(request)).await?.into_inner();
    if common.json {
        output::json(&output::message_json("fitment.v1.RecordOutcomeResponse", &recorded)?)?;
    } else {
        output::line(&recorded.detail)?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(state: Option<State>, common: &Common) -> anyhow::Result<ExitCode> {
    let state = match state {
        None => v1::LabelState::Unspecified,
        Some(State::Waiting) => v1::LabelState::Waiting,
        Some(State::Approved) => v1::LabelState::Approved,
        Some(State::Refused) => v1::LabelState::Refused,
    };
    let mut client = common.server.feedback().await?;
    let mut labels = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = v1::ListLabelsRequest { page_size: 1000, page_token, state: state as i32 };
        let page = client.list_labels(common.server.request(request)).await?.into_inner();
        labels.extend(page.labels);
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    print_labels(&labels, common)?;
    if !common.json {
        output::line(format!("{} labelled intents", labels.len()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn review(label_ids: Vec<String>, decision: v1::ReviewDecision, common: &Common) -> anyhow::Result<ExitCode> {
    let request = v1::ReviewLabelsRequest { label_ids, decision: decision as i32 };
    let reviewed = common.server.feedback().await?.review_labels(common.server.request(request)).await?.into_inner();
    print_labels(&reviewed.labels, common)?;
    Ok(ExitCode::SUCCESS)
}

fn print_labels(labels: &[v1::Label], common: &Common) -> anyhow::Result<()> {
    if common.json {
        let labels: Vec<_> =
            labels.iter().map(|label| output::message_json("fitment.v1.Label", label)).collect::<Result<_, _>>()?;
        return output::json(&labels);
    }
    let mut table = output::table(&["id", "intent", "meets it", "verdicts", "state", "note"]);
    for label in labels {
        let component = if label.component.is_empty() { "nothing" } else { &label.component };
        let state = label.state().as_str_name().trim_start_matches("LABEL_STATE_").to_lowercase();
        table.add_row([&label.id, &label.intent, component, &label.count.to_string(), &state, &label.note]);
    }
    output::line(table)
}

async fn export(out: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    // No deadline: it takes as long as there are rows.
    let mut rows = common.server.feedback().await?.export_labels(v1::ExportLabelsRequest {}).await?.into_inner();
    let mut dataset = Dataset { components: Vec::new(), ids: BTreeMap::new(), intents: Vec::new() };
    let mut splits: BTreeMap<String, u64> = BTreeMap::new();
    while let Some(row) = rows.message().await? {
        let v1::ExportLabelsResponse { split, intent, expected, alternates, rationale } = row;
        *splits.entry(split.clone()).or_default() += 1;
        let mut judgements = BTreeMap::new();
        if !expected.is_empty() {
            judgements.insert(expected.parse()?, 2);
        }
        for alternate in alternates {
            judgements.insert(alternate.parse()?, 1);
        }
        dataset.intents.push(LabelledIntent {
            id: String::new(),
            text: intent,
            split,
            example_type: Some("feedback".to_owned()),
            judgements,
            candidates: None,
            outcome: None,
            rationale: Some(rationale).filter(|text| !text.is_empty()),
            out_of_scope_kind: None,
            names_component: None,
            unseen_component: None,
        });
    }
    let csv = String::from_utf8(dataset.to_csv()).context("labelled intents are text")?;
    write_file(out, csv.trim_end())?;
    if common.json {
        output::json(&serde_json::json!({"exported": dataset.intents.len(), "splits": splits, "file": out}))?;
    } else {
        let splits: Vec<String> = splits.iter().map(|(split, count)| format!("{count} {split}")).collect();
        let splits = if splits.is_empty() { String::new() } else { format!(" ({})", splits.join(", ")) };
        output::line(format!("{} labelled intents{splits} written to {}", dataset.intents.len(), out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn examples(folder: &Path, common: &Common) -> anyhow::Result<ExitCode> {
    let occupied =
        folder.exists() && std::fs::read_dir(folder).with_context(|| folder.display().to_string())?.next().is_some();
    anyhow::ensure!(!occupied, "{} is not empty; write into a new folder", folder.display());
    let mut proposals =
        common.server.feedback().await?.propose_examples(v1::ProposeExamplesRequest {}).await?.into_inner();
    let mut written = Vec::new();
    let mut table = output::table(&["component", "from", "to", "new examples", "left out"]);
    while let Some(proposal) = proposals.message().await? {
        let v1::ProposeExamplesResponse { name, base_version, version, manifest_yaml, added, left_out } = proposal;
        // The names come from outside: only what is a name becomes a path.
        let name: fitment_catalog::ComponentName = name.parse()?;
        let version: semver::Version = version.parse().context("the daemon sent no semantic version")?;
        let file = folder.join(format!("{name}@{version}.yaml"));
        if let Some(parent) = file.parent() {
            std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
        }
        write_file(&file, manifest_yaml.trim_end())?;
        let (name, version) = (name.to_string(), version.to_string());
        table.add_row([&name, &base_version, &version, &added.len().to_string(), &left_out.to_string()]);
        written.push(serde_json::json!({
            "name": name, "base_version": base_version, "version": version, "added": added, "left_out": left_out,
            "file": file,
        }));
    }
    if common.json {
        output::json(&written)?;
    } else {
        let count = written.len();
        if count > 0 {
            output::line(table)?;
        }
        output::line(format!(
            "{count} manifests written to {}; look through them, then `fitment catalog import {}`",
            folder.display(),
            folder.display()
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn drift(common: &Common) -> anyhow::Result<ExitCode> {
    let request = common.server.request(v1::GetDriftRequest {});
    let drift = common.server.feedback().await?.get_drift(request).await?.into_inner();
    if common.json {
        output::json(&output::message_json("fitment.v1.GetDriftResponse", &drift)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let intents = drift.intents.unwrap_or_default();
    let level = match intents.level() {
        v1::DriftLevel::Unspecified => "too few decisions to say",
        v1::DriftLevel::Stable => "stable",
        v1::DriftLevel::Moderate => "moderate drift",
        v1::DriftLevel::Strong => "strong drift",
    };
    let source = if intents.reference_from_calibration { "intents of the calibration" } else { "first decisions" };
    output::line(format!(
        "intents: {level} ({} decisions against {} {source})",
        intents.window_size, intents.reference_size
    ))?;
    for (name, value) in [
        ("confidence, PSI", intents.confidence_psi),
        ("best dense score, PSI", intents.top_dense_psi),
        ("mean vector, 1 - cosine", intents.mean_vector_distance),
    ] {
        if let Some(value) = value {
            output::line(format!("  {name:24} {value:.4}"))?;
        }
    }
    match drift.promise {
        None => output::line("promise: no calibration was put into force")?,
        Some(promise) => {
            let kept = if promise.broken { "broken" } else { "not broken" };
            output::line(format!("promise: {kept}; {}", promise.detail))?;
        }
    }
    let counts = drift.counts.unwrap_or_default();
    output::line(format!(
        "remembered: {} decisions ({} lost); labelled intents: {} waiting, {} approved, {} refused",
        counts.decisions, counts.decisions_lost, counts.labels_waiting, counts.labels_approved, counts.labels_refused
    ))?;
    Ok(ExitCode::SUCCESS)
}
