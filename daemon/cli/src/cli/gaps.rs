//! `fitment gaps`: what is asked for and nothing certified meets.

use std::path::PathBuf;
use std::process::ExitCode;

use fitment_proto::v1;

use super::common::{Common, timestamp};
use super::laboratory::write_file;
use crate::client::AuthorFlags;
use crate::output;

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  fitment gaps list                                  # the most asked for first
  fitment gaps list --window 30 --json
  fitment gaps show 3f0c9a51b2d4
  fitment gaps draft 3f0c9a51b2d4 --out coffee.yaml  # a manifest to complete, certify and import
  fitment gaps link 3f0c9a51b2d4 kitchen/coffee      # say what closes it
  fitment gaps link 3f0c9a51b2d4 --remove
  fitment gaps report 3f0c9a51b2d4                   # how its intents are answered now")]
pub(super) struct GapArguments {
    #[command(subcommand)]
    command: GapCommand,
}

#[derive(Debug, clap::Subcommand)]
enum GapCommand {
    /// List gaps, the most asked for first.
    List {
        /// Days of the window that the trend compares with the one before.
        #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
        window: u32,
        /// Gaps to show at most; 0: all.
        #[arg(long, value_name = "N", default_value_t = 20)]
        most: usize,
        #[command(flatten)]
        common: Common,
    },
    /// Show one gap with its intents.
    Show {
        /// Its id.
        gap: String,
        /// Days of the window that the trend compares with the one before.
        #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..=365))]
        window: u32,
        #[command(flatten)]
        common: Common,
    },
    /// Write the draft of a manifest whose example intents are those of a gap. Imports nothing.
    Draft {
        /// Its id.
        gap: String,
        /// Write it to this file, which must not be there yet, instead of printing it.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        common: Common,
    },
    /// Say which component closes a gap.
    Link {
        /// Its id.
        gap: String,
        /// NAMESPACE/NAME or NAMESPACE/NAME@VERSION.
        #[arg(required_unless_present = "remove")]
        component: Option<String>,
        /// Take the link back.
        #[arg(long, conflicts_with = "component")]
        remove: bool,
        #[command(flatten)]
        author: AuthorFlags,
        #[command(flatten)]
        common: Common,
    },
    /// Ask the intents of a gap again, and compare all traffic before and since its link.
    Report {
        /// Its id.
        gap: String,
        #[command(flatten)]
        common: Common,
    },
}

pub(super) fn run(arguments: GapArguments) -> anyhow::Result<ExitCode> {
    super::client_runtime()?.block_on(async {
        match arguments.command {
            GapCommand::List { window, most, common } => list(window, most, &common).await,
            GapCommand::Show { gap, window, common } => show(gap, window, &common).await,
            GapCommand::Draft { gap, out, common } => draft(gap, out, &common).await,
            GapCommand::Link { gap, component, remove: _, author, common } => {
                link(gap, component.unwrap_or_default(), author, &common).await
            }
            GapCommand::Report { gap, common } => report(gap, &common).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn list(window_days: u32, most: usize, common: &Common) -> anyhow::Result<()> {
    /// Gaps of a page.
    const PAGE: u32 = 100;
    let most = if most == 0 { usize::MAX } else { most };
    let mut client = common.server.gaps().await?;
    let (mut gaps, mut page_token) = (Vec::new(), String::new());
    let (total, counts) = loop {
        let page_size = u32::try_from(most - gaps.len()).unwrap_or(PAGE).min(PAGE);
        let request = v1::ListGapsRequest { page_size, page_token, window_days };
        let page = client.list_gaps(common.server.request(request)).await?.into_inner();
        gaps.extend(page.gaps);
        page_token = page.next_page_token;
        if page_token.is_empty() || gaps.len() >= most {
            break (page.total_size, page.counts.unwrap_or_default());
        }
    };
    if common.json {
        let gaps: Vec<_> =
            gaps.iter().map(|gap| output::message_json("fitment.v1.Gap", gap)).collect::<Result<_, _>>()?;
        let counts = output::message_json("fitment.v1.GapCounts", &counts)?;
        return output::json(&serde_json::json!({"gaps": gaps, "total": total, "counts": counts}));
    }
    let mut table =
        output::table(&["gap", "asked", "trend", "intents", "last asked", "what is asked", "nearest", "closed by"]);
    let shown = gaps.len();
    for gap in gaps {
        let trend = trend(&gap);
        let (nearest, closed) = (nearest(&gap), closed_by(&gap));
        let text = gap.representatives.first().map(shown_text).unwrap_or_default();
        let (asked, intents, last) = (gap.asked.to_string(), gap.intents.to_string(), day(gap.last_time));
        table.add_row([gap.id, asked, trend, intents, last, text, nearest, closed]);
    }
    if shown > 0 {
        output::line(table)?;
    }
    let lost = match (counts.lost, counts.dropped) {
        (0, 0) => String::new(),
        (lost, dropped) => format!("; {lost} lost and {dropped} dropped since the start"),
    };
    output::line(format!("{shown} of {total} gaps, {} distinct intents{lost}", counts.intents))
}

async fn show(id: String, window_days: u32, common: &Common) -> anyhow::Result<()> {
    let request = v1::GetGapRequest { id, window_days };
    let got = common.server.gaps().await?.get_gap(common.server.request(request)).await?.into_inner();
    if common.json {
        return output::json(&output::message_json("fitment.v1.GetGapResponse", &got)?);
    }
    let gap = got.gap.unwrap_or_default();
    show_gap(&gap)?;
    let mut table = output::table(&["asked", "last asked", "likeness", "intent"]);
    for intent in &got.intents {
        let (asked, likeness) = (intent.asked.to_string(), format!("{:.2}", intent.cosine));
        table.add_row([asked, day(intent.last_time), likeness, shown_text(intent)]);
    }
    output::line(table)
}

async fn draft(id: String, out: Option<PathBuf>, common: &Common) -> anyhow::Result<()> {
    let request = common.server.request(v1::DraftManifestRequest { id });
    let draft = common.server.gaps().await?.draft_manifest(request).await?.into_inner();
    if let Some(file) = &out {
        anyhow::ensure!(!file.exists(), "{} is there already; name a new file", file.display());
        write_file(file, draft.manifest_yaml.trim_end())?;
    }
    if common.json {
        return output::json(&output::message_json("fitment.v1.DraftManifestResponse", &draft)?);
    }
    let left_out = match draft.left_out {
        0 => String::new(),
        count => format!("; {count} intents did not fit"),
    };
    match out {
        Some(file) => output::line(format!("{} written to {}{left_out}", draft.name, file.display())),
        None => output::line(format!(
            "# draft: complete it, certify it, import it{left_out}\n{}",
            draft.manifest_yaml.trim_end()
        )),
    }
}

async fn link(id: String, component: String, author: AuthorFlags, common: &Common) -> anyhow::Result<()> {
    let AuthorFlags { reason, actor } = author;
    let request = common.server.request(v1::LinkGapRequest { id, component, actor, reason });
    let linked = common.server.gaps().await?.link_gap(request).await?.into_inner();
    if common.json {
        return output::json(&output::message_json("fitment.v1.LinkGapResponse", &linked)?);
    }
    let gap = linked.gap.unwrap_or_default();
    match &gap.link {
        Some(link) => output::line(format!("gap {} is closed by {}", gap.id, link.component)),
        None => output::line(format!("gap {} is open", gap.id)),
    }
}

async fn report(id: String, common: &Common) -> anyhow::Result<()> {
    let request = common.server.request(v1::ReportGapRequest { id });
    let report = common.server.gaps().await?.report_gap(request).await?.into_inner();
    if common.json {
        return output::json(&output::message_json("fitment.v1.ReportGapResponse", &report)?);
    }
    show_gap(&report.gap.clone().unwrap_or_default())?;
    let mut table = output::table(&["", "answers", "zero", "minimal", "raw", "candidates"]);
    let rows = [
        ("its intents, asked again now", report.replayed),
        ("all traffic before the link", report.traffic_before),
        ("all traffic since the link", report.traffic_since),
    ];
    for (what, counts) in rows.into_iter().filter_map(|(what, counts)| Some((what, counts?))) {
        let v1::OutcomeCounts { zero_generation, minimal_generation, raw_generation, candidates } = counts;
        let total = zero_generation + minimal_generation + raw_generation + candidates;
        let share = |count: u64| share(count, total);
        table.add_row([
            what.to_owned(),
            total.to_string(),
            share(zero_generation),
            share(minimal_generation),
            share(raw_generation),
            share(candidates),
        ]);
    }
    output::line(table)?;
    for answering in &report.answered_by {
        output::line(format!("  {} answers {} of what was asked", answering.name, answering.asked))?;
    }
    if report.not_replayed > 0 {
        let (asked, not) = (report.replayed_intents, report.not_replayed);
        output::line(format!(
            "{asked} distinct intents asked again, {not} not: no text kept, or beyond the most asked"
        ))?;
    }
    Ok(())
}

fn show_gap(gap: &v1::Gap) -> anyhow::Result<()> {
    output::line(format!(
        "gap {}: asked {} times, {} ({} distinct intents, {} to {})",
        gap.id,
        gap.asked,
        trend(gap),
        gap.intents,
        day(gap.first_time),
        day(gap.last_time)
    ))?;
    for near in &gap.nearest {
        output::line(format!("  near: {}@{} ({:.2})", near.name, near.version, near.cosine))?;
    }
    let closed = closed_by(gap);
    output::line(if closed.is_empty() { "  nothing closes it".to_owned() } else { format!("  closed by: {closed}") })
}

/// This window against the one before.
fn trend(gap: &v1::Gap) -> String {
    let (now, before) = (gap.asked_in_window, gap.asked_in_window_before);
    let arrow = match now.cmp(&before) {
        std::cmp::Ordering::Less => "↓",
        std::cmp::Ordering::Equal => "→",
        std::cmp::Ordering::Greater => "↑",
    };
    format!("{before} {arrow} {now}")
}

fn nearest(gap: &v1::Gap) -> String {
    gap.nearest.first().map(|near| format!("{} ({:.2})", near.name, near.cosine)).unwrap_or_default()
}

fn closed_by(gap: &v1::Gap) -> String {
    let link = gap.link.as_ref().map(|link| link.component.clone());
    let answered = (!gap.answered_by.is_empty()).then(|| format!("{} answers now", gap.answered_by));
    link.into_iter().chain(answered).collect::<Vec<_>>().join("; ")
}

fn shown_text(intent: &v1::GapIntent) -> String {
    match (intent.text.as_str(), intent.text_digest.as_str()) {
        ("", "") => "(not kept)".to_owned(),
        ("", digest) => digest.chars().take(19).collect(),
        (text, _) => output::shorten(text),
    }
}

fn day(time: Option<prost_types::Timestamp>) -> String {
    timestamp(time).map(|time| time.strftime("%Y-%m-%d").to_string()).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "a share for people")]
fn share(count: u64, total: u64) -> String {
    if total == 0 { "-".to_owned() } else { format!("{:.1} %", count as f64 * 100.0 / total as f64) }
}
