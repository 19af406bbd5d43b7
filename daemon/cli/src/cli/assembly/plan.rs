//! From a requirement to a plan, and from chosen components to what a language model is told of them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use fitment_proto::v1;
use serde::Deserialize;

use super::absent;
use crate::cli::common::Common;
use crate::cli::laboratory::write_file;
use crate::cli::trust::read_file;
use crate::output::{self, Invalid};

/// Longest text from standard input, in bytes: more than is split.
const MAX_INPUT: u64 = 1 << 20;

#[derive(Debug, clap::Args)]
pub(super) struct PlanArguments {
    /// A file with the requirement, Markdown or plain text; `-` reads standard input.
    #[arg(required_unless_present = "intent", conflicts_with = "intent")]
    requirement: Option<PathBuf>,
    /// An intent that is split already; several times.
    #[arg(long, value_name = "TEXT")]
    intent: Vec<String>,
    /// Which versions may answer, such as `license:MIT and not tag:legacy`.
    #[arg(long, default_value = "")]
    filter: String,
    /// Alternatives to each choice.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    alternatives: u32,
    /// Lines of code to reckon with: a YAML or JSON file with any of `raw_lines`, `raw_lines_of`, `configuration_lines`,
    /// `generated_lines`, `generated_lines_of`.
    #[arg(long, value_name = "FILE")]
    estimates: Option<PathBuf>,
    /// The team that asks, for the economics.
    #[arg(long, env = "FITMENT_TEAM", default_value = "")]
    team: String,
    /// Name of the assembly that is drafted.
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "")]
    name: String,
    /// Write the draft to this file, which must not be there yet.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, clap::Args)]
pub(super) struct ContextArguments {
    /// NAMESPACE/NAME@VERSION or sha256:DIGEST, the most important first.
    #[arg(required = true)]
    components: Vec<String>,
    /// Tokens at most.
    #[arg(long, value_name = "N", default_value_t = 4000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tokens: u32,
    /// How tokens are counted: `o200k_base` or `cl100k_base`.
    #[arg(long, value_name = "NAME", default_value = "o200k_base")]
    tokenizer: String,
    /// The team that asks, for the economics.
    #[arg(long, env = "FITMENT_TEAM", default_value = "")]
    team: String,
    #[command(flatten)]
    common: Common,
}

/// Estimates as a file has them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Estimates {
    raw_lines: Option<u32>,
    raw_lines_of: BTreeMap<String, u32>,
    configuration_lines: Option<u32>,
    generated_lines: Option<u32>,
    generated_lines_of: BTreeMap<String, u32>,
}

pub(super) async fn plan(arguments: PlanArguments) -> anyhow::Result<ExitCode> {
    let PlanArguments { requirement, intent, filter, alternatives, estimates, team, name, out, common } = arguments;
    out.as_deref().map(absent).transpose()?;
    let requirement = requirement.map(|path| text_of(&path)).transpose()?.unwrap_or_default();
    let filter =
        (!filter.is_empty()).then_some(v1::FilterInput { form: Some(v1::filter_input::Form::Expression(filter)) });
    let estimates = estimates.map(|path| read_estimates(&path)).transpose()?;
    let request = v1::PlanAssemblyRequest { requirement, intents: intent, filter, alternatives, estimates, team, name };
    let mut client = common.server.assemblies().await?;
    let plan = client.plan_assembly(common.server.request(request)).await?.into_inner();
    if let Some(out) = &out {
        if plan.draft_yaml.is_empty() {
            return Err(Invalid("no part has a component, so there is nothing to draft".to_owned()).into());
        }
        write_file(out, &plan.draft_yaml)?;
    }
    if common.json {
        output::json(&output::message_json("fitment.v1.PlanAssemblyResponse", &plan)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    show_plan(&plan)?;
    if let Some(out) = out {
        output::line(format!("draft written to {}; complete it, then `fitment assembly check` it", out.display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn show_plan(plan: &v1::PlanAssemblyResponse) -> anyhow::Result<()> {
    let mut table = output::table(&["intent", "left to generate", "component", "open", "alternatives"]);
    for part in &plan.parts {
        let left = match part.outcome() {
            v1::Outcome::ZeroGeneration => "nothing",
            v1::Outcome::MinimalGeneration => "configuration",
            v1::Outcome::RawGeneration => "code",
            v1::Outcome::Candidates | v1::Outcome::Unspecified => "(no promise)",
        };
        let (chosen, open) = match &part.choice {
            Some(choice) => (format!("{}@{}", choice.name, choice.version), choice.open_properties.join(" ")),
            None => (String::new(), String::new()),
        };
        let others: Vec<&str> = part.alternatives.iter().map(|other| other.name.as_str()).collect();
        let row = [output::shorten(&part.intent), left.to_owned(), chosen, open, others.join(" ")];
        table.add_row(row);
    }
    output::line(table)?;
    let surface = plan.surface.unwrap_or_default();
    output::line(format!(
        "{} need nothing, {} a configuration ({} properties), {} code",
        surface.zero, surface.minimal, surface.open_properties, surface.raw
    ))?;
    if let (Some(review), Some(all)) = (surface.review_lines, surface.all_generated_lines) {
        let share = surface.saved_share.map(|share| format!(", {:.0} % fewer", share * 100.0)).unwrap_or_default();
        output::line(format!("{review} lines to review, against {all} if everything were generated{share}"))?;
    }
    if plan.parts.iter().any(|part| part.outcome() == v1::Outcome::Candidates) {
        output::line(
            "no calibration is in force, so nothing is promised: calibrate, or choose among the alternatives",
        )?;
    }
    Ok(())
}

pub(super) async fn context(arguments: ContextArguments) -> anyhow::Result<ExitCode> {
    let ContextArguments { components, tokens, tokenizer, team, common } = arguments;
    let request = v1::GetContextPackRequest { components, token_budget: tokens, tokenizer, team };
    let mut client = common.server.assemblies().await?;
    let pack = client.get_context_pack(common.server.request(request)).await?.into_inner();
    if common.json {
        output::json(&output::message_json("fitment.v1.ContextPack", &pack)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    output::line(pack.text.trim_end())?;
    // Beside the text, so that it can be piped on.
    eprintln!("{} of {tokens} tokens ({})", pack.tokens, pack.tokenizer);
    for v1::ContextPiece { component, piece, tokens } in &pack.left_out {
        eprintln!("left out: {piece} of {component} ({tokens} tokens)");
    }
    Ok(ExitCode::SUCCESS)
}

fn text_of(path: &Path) -> anyhow::Result<String> {
    let bytes = if path.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes)?;
        bytes
    } else {
        read_file(path)?
    };
    String::from_utf8(bytes).map_err(|_error| Invalid(format!("{} is not UTF-8", path.display())).into())
}

fn read_estimates(path: &Path) -> anyhow::Result<v1::PlanEstimates> {
    let shown = path.display().to_string();
    let value = fitment_catalog::read_document(&shown, &read_file(path)?, fitment_catalog::Format::Auto)?;
    let Estimates { raw_lines, raw_lines_of, configuration_lines, generated_lines, generated_lines_of } =
        serde_json::from_value(value).map_err(|error| Invalid(format!("{shown}: {error}")))?;
    Ok(v1::PlanEstimates {
        raw_lines,
        raw_lines_of: raw_lines_of.into_iter().collect(),
        configuration_lines,
        generated_lines,
        generated_lines_of: generated_lines_of.into_iter().collect(),
    })
}
